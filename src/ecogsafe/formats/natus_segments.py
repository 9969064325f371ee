"""Which .erd segments a study has (.stc) and where their samples begin (.etc); FORMATS 2.6."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from ecogsafe.formats.natus import (
    GENERIC_HEADER_BYTES,
    decode_text,
    malformed,
    parse_generic_header,
    read_whole,
)
from ecogsafe.formats.regions import file_size, read_at

STC_ENTRIES = 408
STC_ENTRY_BYTES = 272
STC_NAME_BYTES = 256
ETC_ENTRY_BYTES = 16
_STC_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Segment:
    """One entry of the .stc; ``name`` (private) has no extension, stamps and counts are in samples."""

    name: str
    start_stamp: int
    end_stamp: int
    sample_number: int
    sample_span: int


@dataclass(frozen=True, slots=True)
class PacketGroup:
    """One entry of the .etc: where samples ``sample_number`` … begin in the .erd, at ``sample_stamp``."""

    offset: int
    sample_stamp: int
    sample_number: int
    sample_span: int


def stc_entry_offsets(data: bytes) -> range:
    """Return the offsets of the whole entries of the .stc ``data``; a part of one may follow.

    Raises
    ------
    MalformedFileError
        Not an .stc of schema 1, or it ends before its first entry.
    """
    if parse_generic_header(data).file_schema != _STC_SCHEMA:
        raise malformed("its .stc schema is not 1")
    if len(data) < STC_ENTRIES:
        raise malformed("it ends before its first .stc entry")
    count = (len(data) - STC_ENTRIES) // STC_ENTRY_BYTES
    return range(STC_ENTRIES, STC_ENTRIES + count * STC_ENTRY_BYTES, STC_ENTRY_BYTES)


def segment_name(entry: bytes) -> str:
    """Return the segment name with which ``entry`` begins, without ``.erd``."""
    name = decode_text(entry[:STC_NAME_BYTES])
    return name[:-4] if name.lower().endswith(".erd") else name


def read_stc(file: BinaryIO) -> tuple[Segment, ...]:
    """Return the segments that an .stc lists, in recording order.

    Raises
    ------
    MalformedFileError
        As `stc_entry_offsets`, or the last entry is cut.
    """
    data = read_whole(file)
    offsets = stc_entry_offsets(data)
    if offsets.stop != len(data):
        raise malformed("its last .stc entry is cut")
    return tuple(
        Segment(
            segment_name(data[at : at + STC_NAME_BYTES]),
            *struct.unpack_from("<4i", data, at + STC_NAME_BYTES),
        )
        for at in offsets
    )


def read_etc(file: BinaryIO) -> Iterator[PacketGroup]:
    """Yield the entries of an .etc.

    Raises
    ------
    MalformedFileError
        Not a Natus header, or the last entry is cut.
    """
    parse_generic_header(read_at(file, 0, GENERIC_HEADER_BYTES))
    size = file_size(file)
    if (size - GENERIC_HEADER_BYTES) % ETC_ENTRY_BYTES:
        raise malformed("its last .etc entry is cut")
    for at in range(GENERIC_HEADER_BYTES, size, ETC_ENTRY_BYTES):
        offset, stamp, number, span = struct.unpack("<Iiih", read_at(file, at, ETC_ENTRY_BYTES)[:14])
        yield PacketGroup(offset, stamp, number, span)
