"""The zstd stream of a volume: where the tar stream is cut into frames, and how each frame is made.

A frame holds at most 16 MiB of tar stream, and either compressed or stored members, never both. A member
of 1 MiB or more has frames of its own, so that it can be fetched alone. Stored frames are written here,
byte by byte as RFC 8878 says, so that they do not depend on the version of the zstd library.

References
----------
RFC 8878, Zstandard: 3.1.1 (frames), 3.1.1.2 (blocks), 3.1.2 (skippable frames).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import xxhash
import zstandard

from ecogsafe.core.errors import VerificationError
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES
from ecogsafe.transfer.archive.tar_stream import TarPlan

MIB = 1024 * 1024
#: most tar stream in one frame
FRAME_BYTES = 16 * MIB
#: from this size on a member shares no frame with another
OWN_FRAMES_FROM = MIB
#: level of compressed frames; higher ones cost more time than EDF gives back
LEVEL = 3
#: the zstd library that compresses here, as journalled with every volume
ZSTD_VERSION = ".".join(str(number) for number in zstandard.ZSTD_VERSION)

_MAGIC = b"\x28\xb5\x2f\xfd"
_SKIPPABLE_MAGIC = 0x184D2A50
#: content size in 8 bytes, single segment, content checksum, no dictionary
_STORED_DESCRIPTOR = b"\xe4"
_STORED_HEADER_BYTES = len(_MAGIC) + 1 + 8
_BLOCK_BYTES = 128 * 1024
_BLOCK_HEADER_BYTES = 3
_CHECKSUM_BYTES = 4
_SKIPPABLE_HEADER_BYTES = 8


@dataclass(frozen=True, slots=True)
class FrameSpan:
    """One frame before it is made: its place in the tar stream, end excluded."""

    tar_start: int
    tar_stop: int
    #: raw blocks instead of compressed ones
    stored: bool

    @property
    def length(self) -> int:
        """Bytes of tar stream."""
        return self.tar_stop - self.tar_start


def frame_spans(plan: TarPlan, stored: Sequence[bool]) -> Iterator[FrameSpan]:
    """Yield where the tar stream is cut, in order, without holes.

    Parameters
    ----------
    stored
        For each member whether it is stored; the manifest and the end of the tar file are compressed.
    """
    start = stop = 0
    kind = True
    for placed, is_stored in zip(plan.members, stored, strict=True):
        is_alone = placed.entry.size >= OWN_FRAMES_FROM
        if stop > start and (is_alone or is_stored != kind):
            yield from _cut(start, stop, stored=kind)
            start = stop
        kind, stop = is_stored, placed.stop
        if is_alone:
            yield from _cut(start, stop, stored=kind)
            start = stop
    if stop > start and kind:
        yield from _cut(start, stop, stored=True)
        start = stop
    yield from _cut(start, plan.size, stored=False)


def _cut(start: int, stop: int, *, stored: bool) -> Iterator[FrameSpan]:
    for position in range(start, stop, FRAME_BYTES):
        yield FrameSpan(position, min(position + FRAME_BYTES, stop), stored)


def compressed_frame(data: bytes | bytearray | memoryview) -> bytes:
    """Return one zstd frame of ``data``: content size declared, content checksum, one thread, no dictionary."""
    compressor = zstandard.ZstdCompressor(level=LEVEL, write_checksum=True, write_content_size=True, threads=0)
    return compressor.compress(data)


def stored_frame(data: bytes | bytearray | memoryview) -> bytes:
    """Return one zstd frame of raw blocks with exactly the bytes of ``data``, which is not empty."""
    view = memoryview(data)
    pieces: list[bytes | memoryview] = [_MAGIC, _STORED_DESCRIPTOR, struct.pack("<Q", len(view))]
    for offset in range(0, len(view), _BLOCK_BYTES):
        block = view[offset : offset + _BLOCK_BYTES]
        is_last = offset + len(block) == len(view)
        # block type 0 (raw) in bits 1-2
        pieces += (struct.pack("<I", len(block) << 3 | is_last)[:_BLOCK_HEADER_BYTES], block)
    pieces.append(struct.pack("<Q", xxhash.xxh64_intdigest(view))[:_CHECKSUM_BYTES])
    return b"".join(pieces)


def stored_frame_size(length: int) -> int:
    """Return the size of `stored_frame` for ``length`` bytes."""
    blocks = -(-length // _BLOCK_BYTES)
    return _STORED_HEADER_BYTES + blocks * _BLOCK_HEADER_BYTES + length + _CHECKSUM_BYTES


def most_frame_bytes(length: int) -> int:
    """Return what a frame of ``length`` bytes of tar stream can have at most, stored or compressed."""
    # ZSTD_COMPRESSBOUND: the library never writes more
    bound = length + (length >> 8) + (((_BLOCK_BYTES - length) >> 11) if length < _BLOCK_BYTES else 0)
    return max(bound + 64, stored_frame_size(length))


def padding_for(size: int) -> int:
    """Return the length of the skippable frame that fills ``size`` bytes of zstd stream up to whole age chunks."""
    gap = -size % CHUNK_BYTES
    # a skippable frame has a header of 8 bytes
    return gap + CHUNK_BYTES if 0 < gap < _SKIPPABLE_HEADER_BYTES else gap


def skippable_frame(length: int) -> bytes:
    """Return a frame of ``length`` bytes that every decompressor passes over; nothing for 0.

    Raises
    ------
    ValueError
        No skippable frame is so short.
    """
    if length == 0:
        return b""
    if length < _SKIPPABLE_HEADER_BYTES:
        raise ValueError("a skippable frame has at least 8 bytes")
    content = length - _SKIPPABLE_HEADER_BYTES
    return struct.pack("<II", _SKIPPABLE_MAGIC, content) + bytes(content)


def open_frame(frame: bytes | bytearray | memoryview, length: int) -> bytes:
    """Return the ``length`` bytes of tar stream that one whole frame holds, its checksum compared.

    Raises
    ------
    VerificationError
        It is not such a frame, or was changed.
    """
    try:
        decompressor = zstandard.ZstdDecompressor(max_window_size=2 * FRAME_BYTES)
        content = decompressor.decompress(frame, max_output_size=length, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise VerificationError("archive", "a compressed frame of it is damaged") from error
    if len(content) != length:
        raise VerificationError("archive", "a frame of it has another length than the index says")
    return content
