"""The index read back and refused, and how files are shared out among volumes."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest

from ecogsafe.core.errors import VerificationError
from ecogsafe.transfer.archive.frames import FrameSpan
from ecogsafe.transfer.archive.index import Frame, Member, VolumeIndex, parse_index
from ecogsafe.transfer.archive.volumes import (
    MIB,
    VolumeName,
    most_object_bytes,
    parse_volume_key,
    part_size_of,
    share_out,
)

INDEX = VolumeIndex(
    subject="abcd1234",
    kind="vid",
    volume=2,
    key="abcd1234/abcd1234_vid_0002.tar.zst.age",
    created="2026-01-02T03:04:05.000000Z",
    object_size=1_000_000,
    object_crc64nvme=2**63 + 5,
    header_bytes=400,
    zstd_size=900_000,
    tar_size=30_720,
    zstd_version="1.5.7",
    frames=(
        Frame(0, 10_000, 0, 70_000),
        Frame(10_000, 20_000, 70_000, 140_000),
        Frame(20_000, 30_720, 196_608, 900_000),
    ),
    members=(
        Member("abcd1234/abcd1234_1/abcd1234_1_0001.avi", 15_000, 7, "0" * 64, 512),
        Member("abcd1234/abcd1234_1/abcd1234_1_0002.avi", 0, 7, "1" * 64, 16_000),
        Member("abcd1234/abcd1234_1/abcd1234_1_0003.avi", 9_000, 7, "2" * 64, 19_000),
    ),
)


def test_an_index_comes_back_as_it_was() -> None:
    assert parse_index(INDEX.to_bytes(), item="index") == INDEX
    assert INDEX.to_bytes() == replace(INDEX).to_bytes()


def test_ranges_are_joined_but_not_across_padding() -> None:
    first, empty, last = INDEX.members
    assert INDEX.ranges_for(first) == ((0, 140_000),)
    assert INDEX.ranges_for(empty) == ()
    assert INDEX.ranges_for(last) == ((70_000, 140_000), (196_608, 900_000))
    assert INDEX.object_range(70_000, 140_000) == (400 + 65_552, 400 + 3 * 65_552)
    assert INDEX.object_range(196_608, 900_000)[1] <= INDEX.object_size


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"format": "another"}, "not the index"),
        ({"version": 2}, "version 2"),
        ({"frames": []}, "holes"),
        ({"frames": [[0, 10_000, 0, 70_000], [10_001, 30_720, 70_000, 80_000]]}, "holes"),
        ({"frames": [[0, 10_000, 0, 70_000], [10_000, 30_720, 60_000, 80_000]]}, "holes"),
        ({"frames": [[0, 30_720, 0, 900_001]]}, "holes"),
        ({"frames": "none"}, "form"),
        ({"members": [{"path": "a"}]}, "form"),
        ({"object_crc64nvme": 5}, "form"),
    ],
)
def test_an_index_that_contradicts_itself_is_refused(change: dict[str, Any], word: str) -> None:
    record = json.loads(INDEX.to_bytes()) | change
    with pytest.raises(VerificationError, match=word):
        parse_index(json.dumps(record).encode(), item="index")


def test_members_outside_and_twice_are_refused() -> None:
    first = INDEX.members[0]
    for members in ((first, first), (replace(first, data_offset=30_000),), (replace(first, size=-1),)):
        with pytest.raises(VerificationError):
            parse_index(replace(INDEX, members=members).to_bytes(), item="index")
    with pytest.raises(VerificationError):
        parse_index(b"\xff not JSON", item="index")


def test_keys_are_read_as_they_are_written() -> None:
    name = VolumeName("abcd1234", "edf", 12, is_index=False)
    assert name.key == "abcd1234/abcd1234_edf_0012.tar.zst.age"
    assert parse_volume_key(name.key) == name
    assert parse_volume_key(replace(name, is_index=True, number=12_345).key) == replace(
        name, is_index=True, number=12_345
    )
    for key in ("abcd1234/bcde2345_edf_0012.tar.zst.age", "abcd1234/abcd1234_edf_00012.tar.zst.age", "abcd1234/x.age"):
        assert parse_volume_key(key) is None


def test_files_are_shared_out_in_their_order() -> None:
    assert share_out([5, 5, 5, 50, 1], lambda n: n * MIB, limit=11 * MIB) == [[5, 5], [5], [50], [1]]
    assert share_out([], lambda n: n) == []


def test_large_volumes_have_at_most_9000_parts() -> None:
    spans = [FrameSpan(n * 16 * MIB, (n + 1) * 16 * MIB, stored=True) for n in range(20_000)]
    size = part_size_of(spans)
    assert size % MIB == 0
    assert most_object_bytes(spans, size, prefix=400) / size < 9_100
    assert part_size_of(spans[:100]) == 16 * MIB
