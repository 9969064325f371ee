"""The cleaning recipe of EDF and BDF (DESIGN 5.3): header fields, annotation text, what follows the records.

Every patch keeps the length; samples, onsets and the numbers of the header stay as they are.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date
from typing import BinaryIO

from ecogsafe.formats.date_shift import shifted_edf_day, text_dates
from ecogsafe.formats.edf_annotations import redact, wipe
from ecogsafe.formats.edf_header import (
    BLOCK_BYTES,
    DIMENSION,
    LABEL,
    PATIENT,
    PREFILTER,
    RECORDING,
    RESERVED,
    SIGNAL_RESERVED,
    START,
    TRANSDUCER,
    EdfHeader,
    read_header,
    signal_field,
    standard_word,
)
from ecogsafe.formats.edf_identity import format_date
from ecogsafe.formats.edf_regions import annotation_blocks
from ecogsafe.formats.regions import Patch, blot, blot_stretch, difference, read_at
from ecogsafe.formats.request import CleaningRequest

#: ``dd.mm.yy``; the time of day follows
_DAY_BYTES = 8


def patient_field(code: str) -> bytes:
    """Return the only patient field a cleaned file may have: ``<code> X X X``."""
    return f"{code} X X X".encode("ascii").ljust(PATIENT[1])


def recording_field(start: date) -> bytes:
    """Return the only recording field a cleaned file may have: ``Startdate dd-MMM-yyyy X X X``."""
    return f"Startdate {format_date(start)} X X X".encode("ascii").ljust(RECORDING[1])


def has_cleaned_form(header: EdfHeader, code: str) -> bool:
    """Return whether the patient, recording and reserved fields are what cleaning writes for ``code``."""
    return (
        header.patient_field == patient_field(code)
        and header.recording_field == recording_field(header.start.date())
        and header.reserved_field == _reserved_field(header)
    )


def patches(file: BinaryIO, request: CleaningRequest) -> Iterator[Patch]:
    """Yield, in the order of the file, what cleans it; nothing if it is clean.

    With annotations ``keep`` the annotation signals are not touched, whatever ``request.find`` reports; only dates
    go where the dates are shifted.

    Raises
    ------
    MalformedFileError
        As `read_header`; before anything is yielded.
    """
    header = read_header(file)
    old = read_at(file, 0, header.header_bytes)
    yield from difference(0, old, _cleaned_header(old, header, request))
    find = request.find_in_annotations
    if request.annotations == "keep":
        find = text_dates
    if request.annotations != "keep" or request.shift_days:
        for block in annotation_blocks(header):
            old = read_at(file, block.offset, block.length)
            new = wipe(old) if request.annotations == "wipe" else redact(old, find)
            yield from difference(block.offset, old, new)
    yield from blot_stretch(file, header.records_stop, header.trailing_bytes, request.find_in_annotations)


def _reserved_field(header: EdfHeader) -> bytes:
    return standard_word(header.reserved_field).ljust(RESERVED[1])


def _cleaned_header(old: bytes, header: EdfHeader, request: CleaningRequest) -> bytes:
    new = bytearray(old)
    day = shifted_edf_day(header.start.date(), request.shift_days) if request.shift_days else header.start.date()
    if request.shift_days:
        new[START[0] : START[0] + _DAY_BYTES] = day.strftime("%d.%m.%y").encode("ascii")
    for layout, value in (
        (PATIENT, patient_field(request.code)),
        (RECORDING, recording_field(day)),
        (RESERVED, _reserved_field(header)),
    ):
        new[layout[0] : sum(layout)] = value
    editable = bytearray(len(new))
    for place in _text_fields(header):
        # field by field first: where a text fills its field, the next one hides the end of a word
        new[place] = blot(bytes(new[place]), request.find_in_text)
        editable[place] = b"\1" * (place.stop - place.start)
    return blot(bytes(new), request.find, bytes(editable))


def _text_fields(header: EdfHeader) -> Iterator[slice]:
    num_signals = header.header_bytes // BLOCK_BYTES - 1
    for i, signal in enumerate(header.signals):
        for layout in (LABEL, TRANSDUCER, DIMENSION, PREFILTER, SIGNAL_RESERVED):
            # an annotation signal must go on being known as one
            if not (layout is LABEL and signal.is_annotation):
                yield signal_field(i, num_signals, layout)
