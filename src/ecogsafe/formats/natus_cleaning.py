"""Text regions and patches of .erd .etc .snc .stc .vtc .vt2 (FORMATS 2.11, points 1 and 2).

Every patch keeps its length; samples, stamps and times are never touched.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from typing import BinaryIO

from ecogsafe.formats import natus
from ecogsafe.formats.date_shift import shifted_filetime, shifted_seconds
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.natus_segments import (
    ETC_ENTRY_BYTES,
    STC_ENTRIES,
    STC_ENTRY_BYTES,
    STC_NAME_BYTES,
    segment_name,
    stc_entry_offsets,
)
from ecogsafe.formats.natus_times import (
    SNC_ENTRY_BYTES,
    VTC_NAME_BYTES,
    VtcLayout,
    vtc_layout,
    vtc_record_offsets,
)
from ecogsafe.formats.regions import Patch, Region, blot, difference, file_size, read_at
from ecogsafe.formats.request import CleaningRequest
from ecogsafe.formats.study_names import common_stem, number_suffix

#: A clip name in a .vt2 of unknown layout: what stands before the number is found by walking back.
_CLIP_NUMBER = re.compile(rb"(_[0-9]{4})\.(avi|mpg|mp4)", re.IGNORECASE)
_NEVER_IN_A_NAME = frozenset(range(32)) | frozenset(b'"*/:<>?\\|')
_LONGEST_NAME = 255
_TIME_T = struct.Struct("<i")
_FILETIME = struct.Struct("<q")
_FIXED_ENTRY = {Kind.ETC: ETC_ENTRY_BYTES, Kind.SNC: SNC_ENTRY_BYTES}


def text_regions(kind: Kind, file: BinaryIO) -> Iterator[Region]:
    """Yield where a file of a fixed-layout Natus kind holds text.

    Raises
    ------
    MalformedFileError
        The structure cannot be walked.
    """
    size = file_size(file)
    if kind in (Kind.STC, Kind.VTC, Kind.VT2):
        if kind is Kind.STC:
            stc_entry_offsets(natus.read_whole(file))
        elif kind is Kind.VTC:
            _layout_of_vtc(natus.read_whole(file))
        if not size:
            raise natus.malformed("it is empty")
        yield Region(0, size)
        return
    if kind is Kind.ERD:
        serials = natus.serials_offset(file)
        yield Region(0, natus.GENERIC_HEADER_BYTES)
        yield Region(serials, natus.SERIALS_BYTES)
        return
    natus.read_generic_header(file)
    yield Region(0, natus.GENERIC_HEADER_BYTES)
    cut = _cut_entry(kind, size)
    if cut:
        yield Region(size - cut, cut)


def patches(kind: Kind, file: BinaryIO, request: CleaningRequest) -> Iterator[Patch]:
    """Yield what de-identifies a file of a fixed-layout Natus kind; nothing where it already is.

    Raises
    ------
    MalformedFileError
        The structure cannot be walked, so the file has to be left behind.
    """
    if kind is Kind.STC:
        data = natus.read_whole(file)
        yield from header_patches(data, request)
        yield from _stc_patches(data, request)
    elif kind in (Kind.VTC, Kind.VT2):
        data = natus.read_whole(file)
        layout = _layout_of_vtc(data) if kind is Kind.VTC else _layout_of_vt2(data)
        if layout is not None:
            yield from _vtc_patches(data, layout, request)
        else:
            yield from _unknown_vt2_patches(data, request)
    elif kind is Kind.ERD:
        serials = natus.serials_offset(file)
        yield from header_patches(read_at(file, 0, natus.GENERIC_HEADER_BYTES), request)
        yield from difference(serials, read_at(file, serials, natus.SERIALS_BYTES), bytes(natus.SERIALS_BYTES))
    else:
        yield from header_patches(read_at(file, 0, natus.GENERIC_HEADER_BYTES), request)
        if kind is Kind.SNC and request.shift_days:
            yield from _snc_patches(natus.read_whole(file), request.shift_days)
        size = file_size(file)
        cut = _cut_entry(kind, size)
        old = read_at(file, size - cut, cut)
        yield from difference(size - cut, old, blot(old, request.find))


def header_patches(data: bytes, request: CleaningRequest) -> Iterator[Patch]:
    """Yield what clears the generic header at the start of ``data``: ids zero, names zero, MRN the code.

    Raises
    ------
    MalformedFileError
        ``data`` does not begin with a generic header.
    """
    natus.parse_generic_header(data)
    start = natus.INTERNAL_IDS
    if request.shift_days:
        old = data[start - _TIME_T.size : start]
        moved = shifted_seconds(_TIME_T.unpack(old)[0], request.shift_days)
        yield from difference(start - _TIME_T.size, old, _TIME_T.pack(moved))
    new = bytearray(natus.GENERIC_HEADER_BYTES - start)
    code = request.code.encode("ascii")
    new[natus.PATIENT_ID - start : natus.PATIENT_ID - start + len(code)] = code
    yield from difference(start, data[start : natus.GENERIC_HEADER_BYTES], bytes(new))


def _snc_patches(data: bytes, days: int) -> Iterator[Patch]:
    """Yield the FILETIME of every sync point, moved; sample stamps stay."""
    for at in range(natus.GENERIC_HEADER_BYTES, len(data) - SNC_ENTRY_BYTES + 1, SNC_ENTRY_BYTES):
        yield from _time_patch(data, at + SNC_ENTRY_BYTES - _FILETIME.size, days)


def _time_patch(data: bytes, at: int, days: int) -> Iterator[Patch]:
    old = data[at : at + _FILETIME.size]
    yield from difference(at, old, _FILETIME.pack(shifted_filetime(_FILETIME.unpack(old)[0], days)))


def _cut_entry(kind: Kind, size: int) -> int:
    """Return how many bytes of a cut last entry the file ends with: too few for a name, yet not samples."""
    return (size - natus.GENERIC_HEADER_BYTES) % _FIXED_ENTRY[kind]


def _stc_patches(data: bytes, request: CleaningRequest) -> Iterator[Patch]:
    offsets = stc_entry_offsets(data)
    names = [segment_name(data[at : at + STC_NAME_BYTES]) for at in offsets]
    stems = [request.stem, *filter(None, [common_stem(names)])]
    # twelve reserved integers, which nobody describes
    spare = data[natus.GENERIC_HEADER_BYTES + 8 : STC_ENTRIES]
    yield from difference(natus.GENERIC_HEADER_BYTES + 8, spare, blot(spare, request.find))
    for at, name in zip(offsets, names, strict=True):
        new = (request.stem + number_suffix(name, stems=stems)).encode("ascii") if name else b""
        yield from difference(at, data[at : at + STC_NAME_BYTES], _padded(new, STC_NAME_BYTES))
    rest = data[offsets.start + len(offsets) * STC_ENTRY_BYTES :]
    if rest:
        yield from difference(len(data) - len(rest), rest, bytes(len(rest)))


def _layout_of_vtc(data: bytes) -> VtcLayout:
    layout = vtc_layout(data)
    if layout is None:
        raise natus.malformed("its clip records follow no known layout")
    return layout


def _layout_of_vt2(data: bytes) -> VtcLayout | None:
    """Return the .vtc layout if it fits to the last byte; the layout of a .vt2 is published nowhere."""
    layout = vtc_layout(data)
    if layout is None:
        return None
    offsets = vtc_record_offsets(data, layout)
    return layout if offsets.start + len(offsets) * layout.record_bytes == len(data) else None


def _vtc_patches(data: bytes, layout: VtcLayout, request: CleaningRequest) -> Iterator[Patch]:
    offsets = vtc_record_offsets(data, layout)
    for at in offsets:
        name = natus.decode_text(data[at : at + VTC_NAME_BYTES])
        new = b""
        if name:
            base, _, extension = name.rpartition(".")
            suffix = number_suffix(base, stems=(request.stem,))
            new = f"{request.stem}{suffix}.{extension.lower()}".encode("ascii")
        yield from difference(at, data[at : at + VTC_NAME_BYTES], _padded(new, VTC_NAME_BYTES))
        if request.shift_days:
            for time in sorted((layout.start, layout.end)):
                yield from _time_patch(data, at + time, request.shift_days)
    rest = data[offsets.start + len(offsets) * layout.record_bytes :]
    if rest:
        yield from difference(len(data) - len(rest), rest, bytes(len(rest)))


def _unknown_vt2_patches(data: bytes, request: CleaningRequest) -> Iterator[Patch]:
    """Replace each 8-bit clip name where it stands, then every identifier that is left.

    Its times cannot be found, so with a date shift the file stays behind.
    """
    if request.shift_days:
        raise natus.malformed("its layout is unknown, so its dates cannot be shifted")
    new = bytearray(data)
    done = 0
    for found in _CLIP_NUMBER.finditer(data):
        start = found.start()
        lowest = max(done, start - _LONGEST_NAME)
        while start > lowest and data[start - 1] not in _NEVER_IN_A_NAME:
            start -= 1
        number, extension = found.groups()
        name = request.stem.encode("ascii") + number + b"." + extension.lower()
        stop = found.end()
        room = stop
        while room < len(data) and data[room] == 0 and room - start < len(name) + 1:
            room += 1
        if start + len(name) <= max(stop, room - 1):
            stop = max(stop, start + len(name))
            new[start:stop] = _padded(name, stop - start)
        else:
            new[start : found.start()] = b"x" * (found.start() - start)
        done = stop
    if not done:
        raise natus.malformed("its layout is unknown and it holds no clip name")
    yield from difference(0, data, blot(bytes(new), request.find))


def _padded(name: bytes, length: int) -> bytes:
    if len(name) > length:
        raise natus.malformed("a new name does not fit into it")
    return name.ljust(length, b"\0")
