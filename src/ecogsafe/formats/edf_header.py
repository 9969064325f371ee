"""The header of an EDF or BDF file, read from its bytes.

Nothing is assumed that files get wrong: records need not last 1 s, their number may be -1 or a lie, the last
one may be cut, annotation signals may exist in a file that does not call itself EDF+, text may be any 8-bit.

References
----------
EDF: Kemp et al. 1992; EDF+: https://www.edfplus.info/specs/edfplus.html;
BDF: https://www.biosemi.com/faq/file_format.htm
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
from datetime import date, datetime, timedelta
from decimal import Decimal
from typing import BinaryIO, Final

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.edf_annotations import first_onset_s, looks_like_annotations
from ecogsafe.formats.edf_identity import EdfIdentity, lenient_text, parse_identity, start_date_of
from ecogsafe.formats.regions import file_size, read_at

#: Bytes of the fixed part, and of each signal's part, of a header.
BLOCK_BYTES: Final = 256
#: ``(offset, length)`` in the fixed part.
PATIENT: Final = (8, 80)
RECORDING: Final = (88, 80)
START: Final = (168, 16)
RESERVED: Final = (192, 44)
#: ``(offset, length)`` in the signal part of a one-signal file; with n signals the offset is n times as far.
LABEL: Final = (0, 16)
TRANSDUCER: Final = (16, 80)
DIMENSION: Final = (96, 8)
PREFILTER: Final = (136, 80)
SAMPLES: Final = (216, 8)
SIGNAL_RESERVED: Final = (224, 32)

_EDF, _BDF = "an EDF file", "a BDF file"
_ANNOTATION_LABELS = ("edf annotations", "bdf annotations")
_STANDARD_WORDS = (b"EDF+C", b"EDF+D", b"BDF+C", b"BDF+D", b"24BIT")
_START = re.compile(rb"(\d\d)\D(\d\d)\D(\d\d|yy)(\d\d)\D(\d\d)\D(\d\d)")
_INTEGER = re.compile(rb"[+-]?\d+")
_SECONDS = re.compile(rb"\+?(?:\d+(?:[.,]\d*)?|[.,]\d+)(?:[eE][+-]?\d{1,2})?")
# A time stamp is shorter; so much of a signal is looked at to see whether it holds annotations.
_STAMP_BYTES = 48


@dataclass(frozen=True, slots=True, kw_only=True)
class EdfSignal:
    """One signal; its texts are private (a label may hold a name)."""

    label: str = field(repr=False)
    transducer: str = field(repr=False)
    prefilter: str = field(repr=False)
    reserved: str = field(repr=False)
    #: at least 1
    samples_per_record: int
    #: bytes from the start of a record, and bytes in a record
    offset: int
    size: int
    is_annotation: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class EdfHeader:
    """What a header says, and what the size of the file says."""

    is_bdf: bool
    #: ``EDF``, ``EDF+C``, ``EDF+D``, ``BDF``, ``BDF+C`` or ``BDF+D``
    variant: str
    #: 80 bytes each, as they stand
    patient_field: bytes = field(repr=False)
    recording_field: bytes = field(repr=False)
    #: date and time, 16 bytes as they stand
    start_field: bytes
    reserved_field: bytes = field(repr=False)
    #: local wall clock, with the sub-second of the first timekeeping annotation
    start: datetime
    #: onset of the first record, s, None without annotations; a whole second or more is not part of `start`
    first_onset_s: Decimal | None
    #: as written; -1 = the recorder did not close the file
    num_records: int
    #: s, at least 0
    record_duration_s: Decimal
    signals: tuple[EdfSignal, ...]
    header_bytes: int
    record_bytes: int
    #: records that are whole in the file, at most `num_records` where that is known
    complete_records_in_file: int
    #: bytes of a last record that is cut, 0 if none is
    partial_record_bytes: int
    #: bytes after the last record of a file that is longer than its header says
    trailing_bytes: int
    #: s from the first to the last sample, gaps of EDF+D included
    duration_s: float

    @property
    def is_truncated(self) -> bool:
        """Whether records that should be there are cut or missing."""
        return self.partial_record_bytes > 0 or self.complete_records_in_file < self.num_records

    @property
    def records_stop(self) -> int:
        """Offset of the first byte after the last record, whole or cut."""
        whole = self.complete_records_in_file * self.record_bytes
        return self.header_bytes + whole + self.partial_record_bytes

    @property
    def annotation_signals(self) -> tuple[EdfSignal, ...]:
        """The signals that hold text."""
        return tuple(s for s in self.signals if s.is_annotation)

    def identity_hints(self) -> EdfIdentity:
        """Return whom the patient and recording fields speak of; private."""
        return parse_identity(self.patient_field, self.recording_field)


def standard_word(reserved: bytes) -> bytes:
    """Return the word of the standard that a 44-byte reserved field begins with, empty if none."""
    return next((word for word in _STANDARD_WORDS if reserved.startswith(word)), b"")


def signal_field(index: int, num_signals: int, layout: tuple[int, int]) -> slice:
    """Return where in the whole header one field of one signal stands."""
    start = BLOCK_BYTES + layout[0] * num_signals + index * layout[1]
    return slice(start, start + layout[1])


def read_header(file: BinaryIO) -> EdfHeader:
    """Return the header of the EDF or BDF ``file``, positioned anywhere.

    Reads the header and, of the first and last record, the bytes that time stamps take; no samples.

    Raises
    ------
    MalformedFileError
        Not EDF/BDF; shorter than its header; numbers that cannot be read or contradict each other; no
        readable start; or text in a signal that does not call itself an annotation signal.
    """
    size = file_size(file)
    fixed = read_at(file, 0, BLOCK_BYTES)
    is_bdf = _version(fixed)
    item = _BDF if is_bdf else _EDF
    num_signals = _integer(fixed[252:256], item, "number of signals")
    header_bytes = _integer(fixed[184:192], item, "header size")
    if num_signals < 1 or header_bytes != BLOCK_BYTES * (num_signals + 1):
        raise MalformedFileError(item, "the header size does not fit the number of signals")
    if size < header_bytes:
        raise MalformedFileError(item, "the file ends inside its header")
    num_records = _integer(fixed[236:244], item, "number of records")
    if num_records < -1:
        raise MalformedFileError(item, "the number of records is negative")
    record_duration_s = _seconds(fixed[244:252], item)
    signals = _signals(read_at(file, 0, header_bytes), num_signals, 3 if is_bdf else 2, item)
    record_bytes = signals[-1].offset + signals[-1].size

    body = size - header_bytes
    fitting = body // record_bytes
    complete = fitting if num_records < 0 else min(fitting, num_records)
    rest = body - complete * record_bytes
    is_cut = num_records < 0 or complete < num_records
    word = standard_word(_cut(fixed, RESERVED))
    header = EdfHeader(
        is_bdf=is_bdf,
        variant=("BDF" if is_bdf else "EDF") + (word[3:].decode("ascii") if word[3:4] == b"+" else ""),
        patient_field=_cut(fixed, PATIENT),
        recording_field=_cut(fixed, RECORDING),
        start_field=_cut(fixed, START),
        reserved_field=_cut(fixed, RESERVED),
        start=_start(fixed, item),
        first_onset_s=None,
        num_records=num_records,
        record_duration_s=record_duration_s,
        signals=signals,
        header_bytes=header_bytes,
        record_bytes=record_bytes,
        complete_records_in_file=complete,
        partial_record_bytes=rest if is_cut else 0,
        trailing_bytes=0 if is_cut else rest,
        duration_s=float(complete * record_duration_s),
    )
    _refuse_hidden_annotations(file, header)
    return _with_onsets(file, header)


def _cut(data: bytes, layout: tuple[int, int]) -> bytes:
    return data[layout[0] : layout[0] + layout[1]]


def _version(fixed: bytes) -> bool:
    version = fixed[:8]
    if len(fixed) == BLOCK_BYTES and version == b"\xffBIOSEMI":
        return True
    if len(fixed) == BLOCK_BYTES and version.rstrip(b" \0") == b"0":
        return False
    raise MalformedFileError("an EDF/BDF file", "it does not begin as one")


def _integer(raw: bytes, item: str, what: str) -> int:
    text = raw.strip(b" \0")
    if not _INTEGER.fullmatch(text):
        raise MalformedFileError(item, f"its {what} cannot be read")
    return int(text)


def _seconds(raw: bytes, item: str) -> Decimal:
    text = raw.strip(b" \0")
    if not _SECONDS.fullmatch(text):
        raise MalformedFileError(item, "the record duration is not a number")
    return Decimal(text.decode("ascii").replace(",", "."))


def _signals(header: bytes, num_signals: int, sample_bytes: int, item: str) -> tuple[EdfSignal, ...]:
    signals: list[EdfSignal] = []
    offset = 0
    for i in range(num_signals):
        samples = _integer(header[signal_field(i, num_signals, SAMPLES)], item, "number of samples in a record")
        if samples < 1:
            raise MalformedFileError(item, "a signal has no samples in a record")
        size = samples * sample_bytes
        label = lenient_text(header[signal_field(i, num_signals, LABEL)])
        signals.append(
            EdfSignal(
                label=label,
                transducer=lenient_text(header[signal_field(i, num_signals, TRANSDUCER)]),
                prefilter=lenient_text(header[signal_field(i, num_signals, PREFILTER)]),
                reserved=lenient_text(header[signal_field(i, num_signals, SIGNAL_RESERVED)]),
                samples_per_record=samples,
                offset=offset,
                size=size,
                is_annotation=label.strip().lower() in _ANNOTATION_LABELS,
            )
        )
        offset += size
    return tuple(signals)


def _start(fixed: bytes, item: str) -> datetime:
    match = _START.fullmatch(_cut(fixed, START))
    if match is None:
        raise MalformedFileError(item, "the start date and time cannot be read")
    in_recording = start_date_of(_cut(fixed, RECORDING))
    day, month = int(match[1]), int(match[2])
    if match[3] != b"yy":
        year = int(match[3])
        year += 1900 if year >= 85 else 2000
        # two digits cannot tell 1984 from 2084: the four of EDF+ decide where both name the same day
        if in_recording and (in_recording.day, in_recording.month) == (day, month):
            year = in_recording.year if in_recording.year % 100 == year % 100 else year
    elif in_recording is not None:
        # EDF+ 2.1.3.2: from 2085 on the year is "yy" here and stands in the recording field
        year = in_recording.year
    else:
        raise MalformedFileError(item, "the start date has no year")
    try:
        return datetime.combine(date(year, month, day), datetime.min.time()).replace(
            hour=int(match[4]), minute=int(match[5]), second=int(match[6])
        )
    except ValueError as error:
        raise MalformedFileError(item, "the start is no date and time") from error


def _head(file: BinaryIO, header: EdfHeader, signal: EdfSignal, record: int) -> bytes:
    offset = header.header_bytes + record * header.record_bytes + signal.offset
    return read_at(file, offset, min(signal.size, _STAMP_BYTES))


def _refuse_hidden_annotations(file: BinaryIO, header: EdfHeader) -> None:
    if header.complete_records_in_file == 0:
        return
    for signal in header.signals:
        if not signal.is_annotation and looks_like_annotations(_head(file, header, signal, 0)):
            raise MalformedFileError(
                _BDF if header.is_bdf else _EDF, "a signal holds annotations but is not labelled so"
            )


def _with_onsets(file: BinaryIO, header: EdfHeader) -> EdfHeader:
    """Return ``header`` with the times that stand in annotations: sub-second start, end of an EDF+D."""
    if not header.annotation_signals or header.complete_records_in_file == 0:
        return header
    timekeeper = header.annotation_signals[0]
    first = first_onset_s(_head(file, header, timekeeper, 0))
    if first is None:
        return header
    start, duration_s = header.start, header.duration_s
    if 0 <= first < 1:
        start += timedelta(microseconds=int(first * 1_000_000))
    if header.variant.endswith("+D"):
        last = first_onset_s(_head(file, header, timekeeper, header.complete_records_in_file - 1))
        if last is not None and last >= first:
            duration_s = float(last - first + header.record_duration_s)
    return replace(header, start=start, first_onset_s=first, duration_s=duration_s)
