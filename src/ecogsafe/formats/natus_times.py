"""Clocks of a study: .snc (sample ↔ UTC), .vtc and .vt2 (first and last frame of each clip).

FORMATS 2.7 to 2.9 and 2.12.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import BinaryIO
from uuid import UUID

from ecogsafe.formats.natus import (
    GENERIC_HEADER_BYTES,
    decode_text,
    malformed,
    parse_generic_header,
    read_whole,
)

SNC_ENTRY_BYTES = 12
VTC_HEADER_BYTES = 20
VTC_NAME_BYTES = 261
#: Follows each name in the AVI layout.
LOCATION_GUID = UUID("5ef8feff-dcfc-44e5-8fae-19f5d622b6d4")

_FILETIME_EPOCH = datetime(1601, 1, 1, tzinfo=UTC)
#: Digital EEG and its video did not exist before; a FILETIME outside is none.
_EARLIEST = datetime(1980, 1, 1, tzinfo=UTC)
_LATEST = datetime(2200, 1, 1, tzinfo=UTC)
_CLIP_ENDINGS = (".avi", ".mpg", ".mpeg", ".mp4", ".mov")


@dataclass(frozen=True, slots=True)
class SyncPoint:
    """One row of the sample ↔ clock map: sample stamp ``stamp`` was taken at ``utc``."""

    stamp: int
    utc: datetime


@dataclass(frozen=True, slots=True)
class ClipTimes:
    """First and last frame of one video file; ``name`` is private."""

    name: str
    start_utc: datetime
    end_utc: datetime


@dataclass(frozen=True, slots=True)
class VtcLayout:
    """How records of a .vtc are laid out: their size, and where start and end stand in them, in bytes."""

    record_bytes: int
    start: int
    end: int


AVI_LAYOUT = VtcLayout(293, 277, 285)
MPEG1_LAYOUT = VtcLayout(284, 268, 276)


def filetime_to_utc(filetime: int) -> datetime:
    """Return the moment ``filetime`` (100 ns since 1601-01-01 UTC), cut to microseconds.

    Raises
    ------
    MalformedFileError
        The moment lies outside 1980 … 2199.
    """
    if 0 < filetime < 2**63:
        moment = _FILETIME_EPOCH + timedelta(microseconds=min(filetime // 10, 2 * 10**16))
        if _EARLIEST <= moment < _LATEST:
            return moment
    raise malformed("a time in it is not a time")


def utc_to_filetime(moment: datetime) -> int:
    """Return the FILETIME of an aware ``moment``."""
    return (moment - _FILETIME_EPOCH) // timedelta(microseconds=1) * 10


def read_snc(file: BinaryIO) -> tuple[SyncPoint, ...]:
    """Return the sync points of an .snc, in the order of the file; a cut last entry is not counted.

    Raises
    ------
    MalformedFileError
        Not a Natus header, no whole entry, or a time that is none.
    """
    data = read_whole(file)
    parse_generic_header(data)
    entries = range(GENERIC_HEADER_BYTES, len(data) - SNC_ENTRY_BYTES + 1, SNC_ENTRY_BYTES)
    points = []
    for at in entries:
        stamp, filetime = struct.unpack_from("<iq", data, at)
        points.append(SyncPoint(stamp, filetime_to_utc(filetime)))
    if not points:
        raise malformed("it holds no .snc entry")
    return tuple(points)


def vtc_layout(data: bytes) -> VtcLayout | None:
    """Return the layout of the .vtc (or .vt2) ``data``, or None where neither layout fits.

    The schema number decides; each record's name must then be a clip's or empty, and, in a file
    whose schema is unknown, each record must carry the Location GUID at its place.
    """
    if len(data) < VTC_HEADER_BYTES:
        return None
    schema = int.from_bytes(data[16:20], "little")
    if schema & 0xFFFFF == 0x10001:
        layout, needs_guid = AVI_LAYOUT, False
    elif schema == 1:
        layout, needs_guid = MPEG1_LAYOUT, False
    else:
        layout, needs_guid = AVI_LAYOUT, True
    at = VTC_NAME_BYTES
    for record in vtc_records(data, layout):
        if needs_guid and record[at : at + 16] != LOCATION_GUID.bytes_le:
            return None
        name, terminated, _ = record[:VTC_NAME_BYTES].partition(b"\0")
        if not terminated or (name and not decode_text(name).lower().endswith(_CLIP_ENDINGS)):
            return None
    return None if needs_guid and len(data) < VTC_HEADER_BYTES + layout.record_bytes else layout


def vtc_record_offsets(data: bytes, layout: VtcLayout) -> range:
    """Return the offsets of the whole records of ``data``."""
    count = (len(data) - VTC_HEADER_BYTES) // layout.record_bytes
    return range(VTC_HEADER_BYTES, VTC_HEADER_BYTES + count * layout.record_bytes, layout.record_bytes)


def vtc_records(data: bytes, layout: VtcLayout) -> Iterator[bytes]:
    """Yield the whole records of ``data``."""
    for at in vtc_record_offsets(data, layout):
        yield data[at : at + layout.record_bytes]


def read_vtc(file: BinaryIO) -> tuple[ClipTimes, ...]:
    """Return the clips that a .vtc, or a .vt2 of the same layout, lists; a cut last record is not counted.

    Raises
    ------
    MalformedFileError
        Neither layout fits, or a time that is none.
    """
    data = read_whole(file)
    layout = vtc_layout(data)
    if layout is None:
        raise malformed("its clip records follow no known layout")
    clips = []
    for record in vtc_records(data, layout):
        start, end = (filetime_to_utc(struct.unpack_from("<q", record, at)[0]) for at in (layout.start, layout.end))
        clips.append(ClipTimes(decode_text(record[:VTC_NAME_BYTES]), start, end))
    return tuple(clips)
