"""Frames: cut where they must be, made as RFC 8878 says, opened by zstd itself."""

from __future__ import annotations

import random
import struct
import subprocess
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import VerificationError
from ecogsafe.transfer.archive import compress_choice, frames
from ecogsafe.transfer.archive.tar_stream import Entry, plan_tar

BLOCK = 128 * 1024
MIB = 2**20


def _unzstd(data: bytes) -> bytes:
    return subprocess.run(["zstd", "-dqc"], input=data, capture_output=True, check=True).stdout


@pytest.mark.parametrize("size", [1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK, 700_001])
def test_zstd_opens_stored_and_compressed_frames(size: int) -> None:
    data = random.Random(size).randbytes(size)
    stored, compressed = frames.stored_frame(data), frames.compressed_frame(data)
    assert len(stored) == frames.stored_frame_size(size) <= frames.most_frame_bytes(size)
    assert len(compressed) <= frames.most_frame_bytes(size)
    assert _unzstd(stored + frames.skippable_frame(100) + compressed) == data + data
    assert frames.open_frame(stored, size) == frames.open_frame(compressed, size) == data


def test_a_compressed_frame_declares_size_and_checksum() -> None:
    frame = frames.compressed_frame(b"eeg " * 100_000)
    magic, descriptor = struct.unpack("<IB", frame[:5])
    assert magic == 0xFD2FB528
    # single segment or not, content size present, checksum, no dictionary
    assert descriptor & 0b111 == 0b100
    assert descriptor >> 6
    assert frames.compressed_frame(b"eeg " * 100_000) == frame


@pytest.mark.parametrize("offset", [0, 4, 8, 20, 5000, -1])
def test_a_flipped_byte_of_a_frame_is_found(offset: int) -> None:
    data = random.Random(1).randbytes(10_000)
    for frame in (frames.stored_frame(data), frames.compressed_frame(data)):
        broken = bytearray(frame)
        broken[offset] ^= 1
        with pytest.raises(VerificationError):
            frames.open_frame(broken, len(data))
        with pytest.raises(VerificationError):
            frames.open_frame(frame[:-1], len(data))
        with pytest.raises(VerificationError):
            frames.open_frame(frame, len(data) - 1)


@given(st.integers(0, 300_000))
def test_padding_fills_up_whole_chunks(size: int) -> None:
    padding = frames.padding_for(size)
    assert (size + padding) % 65_536 == 0
    assert padding == 0 or padding >= 8
    assert len(frames.skippable_frame(padding)) == padding
    assert padding < 65_536 + 8


def test_no_skippable_frame_is_shorter_than_its_header() -> None:
    with pytest.raises(ValueError, match="8 bytes"):
        frames.skippable_frame(7)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.sampled_from([0, 1, 4000, MIB - 1, MIB, 17 * MIB, 40 * MIB]), st.booleans()), max_size=8))
def test_frames_have_no_holes_and_never_mix(members: list[tuple[int, bool]]) -> None:
    plan = plan_tar([Entry(f"a/{n}", size, 0) for n, (size, _) in enumerate(members)])
    spans = list(frames.frame_spans(plan, [stored for _, stored in members]))
    assert (spans[0].tar_start, spans[-1].tar_stop) == (0, plan.size)
    assert all(a.tar_stop == b.tar_start for a, b in pairwise(spans))
    assert all(0 < span.length <= frames.FRAME_BYTES for span in spans)
    borders = {span.tar_start for span in spans}
    for placed, (size, stored) in zip(plan.members, members, strict=True):
        touching = [s for s in spans if s.tar_start < placed.stop and s.tar_stop > placed.start]
        assert {span.stored for span in touching} == {stored}
        if size >= MIB:
            assert {placed.start, placed.stop} <= borders | {plan.size}
    assert not spans[-1].stored


def test_what_shrinks_is_compressed_and_what_does_not_is_stored() -> None:
    eeg = b"\x01\x02\x03\x04" * 200_000
    noise = random.Random(2).randbytes(800_000)
    for data, stored in [(eeg, False), (noise, True), (b"", False), (b"text " * 10, False)]:
        ratio = compress_choice.measured_ratio(len(data), lambda offset, size, d=data: d[offset : offset + size])
        assert compress_choice.is_stored(ratio) is stored
