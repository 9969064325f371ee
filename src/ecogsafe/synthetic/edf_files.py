"""EDF, EDF+C, EDF+D and BDF files, with every free-text field open to the caller (FORMATS 4.1)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

from ecogsafe.synthetic.waves import Wave

#: Digital range of the signals written; 0.1 microvolt a step.
_DIGITAL_16 = (-32768, 32767)
_DIGITAL_24 = (-8388608, 8388607)


@dataclass(frozen=True, slots=True, kw_only=True)
class EdfSignal:
    """One ordinary signal; texts are bytes or text (then Latin-1), cut nowhere: too long raises."""

    label: str | bytes
    samples_per_record: int
    transducer: str | bytes = ""
    prefilter: str | bytes = ""
    reserved: str | bytes = ""
    dimension: str = "uV"


@dataclass(frozen=True, slots=True, kw_only=True)
class EdfAnnotation:
    """One annotation; ``onset_s`` counts from the true start, sub-second part included."""

    onset_s: Decimal
    texts: tuple[str, ...]
    duration_s: Decimal | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class EdfPlan:
    """What a file shall be.

    Attributes
    ----------
    variant
        ``EDF``, ``EDF+C``, ``EDF+D``, ``BDF`` (reserved ``24BIT``), ``BDF+C`` or ``BDF+D``.
    start
        Naive wall clock; its microseconds go to the first timekeeping annotation.
    gap_after, gap_s
        A hole in time after that many records (EDF+D).
    reserved_text
        What stands behind the standard word in the 44 reserved bytes.
    annotation_signals
        How many; all but the first carry annotations without timekeeping. Plain EDF/BDF may have some too.
    annotation_bytes
        Room for annotations in each record and signal; raised to what the longest record needs.
    trailing
        Bytes after the last record.
    declared_records
        The number in the header where it is not the true one (-1: not closed).
    """

    variant: str
    start: datetime
    patient_field: bytes
    recording_field: bytes
    signals: tuple[EdfSignal, ...]
    records: int
    record_duration_s: Decimal = Decimal(1)
    annotations: tuple[EdfAnnotation, ...] = ()
    gap_after: int = 0
    gap_s: Decimal = Decimal(0)
    reserved_text: str = ""
    annotation_signals: int = 1
    annotation_bytes: int = 120
    trailing: bytes = b""
    declared_records: int | None = None


def write_edf(path: Path, plan: EdfPlan, wave: Wave) -> str:
    """Write a new file at ``path`` and return the SHA-256 of the bytes of its ordinary signals.

    Raises
    ------
    ValueError
        A text does not fit its field.
    FileExistsError
        ``path`` exists.
    """
    width = 3 if plan.variant.startswith("BDF") else 2
    blocks = [_records_of_tals(plan, index) for index in range(plan.annotation_signals)]
    longest = max((len(b) for signal in blocks for b in signal), default=0)
    room = -(-max(longest, plan.annotation_bytes) // width) * width
    digest = hashlib.sha256()
    with path.open("xb") as out:
        out.write(_header(plan, width, room // width))
        for record in range(plan.records):
            samples = _samples(plan, wave, width, record)
            digest.update(samples)
            out.write(samples)
            for signal in blocks:
                out.write(signal[record].ljust(room, b"\0"))
        out.write(plan.trailing)
    return digest.hexdigest()


def _samples(plan: EdfPlan, wave: Wave, width: int, record: int) -> bytes:
    cut = wave.int24 if width == 3 else wave.int16
    return b"".join(
        cut(channel, record * signal.samples_per_record, signal.samples_per_record)
        for channel, signal in enumerate(plan.signals)
    )


def _record_onset(plan: EdfPlan, record: int) -> Decimal:
    """Return the start of a record, s after the whole second in the header."""
    gap = plan.gap_s if plan.gap_after and record >= plan.gap_after else Decimal(0)
    return _subsecond(plan) + record * plan.record_duration_s + gap


def _subsecond(plan: EdfPlan) -> Decimal:
    return Decimal(plan.start.microsecond).scaleb(-6)


def _records_of_tals(plan: EdfPlan, signal: int) -> list[bytes]:
    """Return the bytes of one annotation signal, record by record; timekeeping comes first."""
    records = [b""] * plan.records
    if signal == 0:
        records = [_tal(_record_onset(plan, r), None, ("",)) for r in range(plan.records)]
    for index, annotation in enumerate(plan.annotations):
        if index % plan.annotation_signals == signal:
            onset = annotation.onset_s + _subsecond(plan)
            home = max(
                (r for r in range(plan.records) if _record_onset(plan, r) <= onset), default=0
            )  # EDF+ 2.2.2: any record may hold it; the one being recorded is what amplifiers do
            records[home] += _tal(onset, annotation.duration_s, annotation.texts)
    return records


def _tal(onset: Decimal, duration: Decimal | None, texts: Sequence[str]) -> bytes:
    """Return one time-stamped annotations list: EDF+ 2.2.2, https://www.edfplus.info/specs/edfplus.html."""
    head = f"{_plain(onset):s}" if onset < 0 else f"+{_plain(onset)}"
    if duration is not None:
        head += f"\x15{_plain(duration)}"
    body = "".join(f"\x14{text}" for text in texts)
    return f"{head}{body}\x14\0".encode()


def _plain(number: Decimal) -> str:
    """Return a decimal without exponent or trailing zeros."""
    text = f"{number:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _header(plan: EdfPlan, width: int, annotation_samples: int) -> bytes:
    bdf = width == 3
    count = len(plan.signals) + plan.annotation_signals
    word = "24BIT" if plan.variant == "BDF" else "" if plan.variant == "EDF" else plan.variant
    records = plan.records if plan.declared_records is None else plan.declared_records
    fixed: tuple[tuple[str | bytes, int], ...] = (
        (b"\xffBIOSEMI" if bdf else b"0", 8),
        (plan.patient_field, 80),
        (plan.recording_field, 80),
        (f"{plan.start:%d.%m.%y}", 8),
        (f"{plan.start:%H.%M.%S}", 8),
        (str(256 * (count + 1)), 8),
        (f"{word} {plan.reserved_text}".strip(), 44),
        (str(records), 8),
        (_plain(plan.record_duration_s), 8),
        (str(count), 4),
    )
    return b"".join(_field(value, size) for value, size in (*fixed, *_signal_fields(plan, width, annotation_samples)))


def _signal_fields(plan: EdfPlan, width: int, annotation_samples: int) -> Iterator[tuple[str | bytes, int]]:
    bdf = width == 3
    annotation = EdfSignal(
        label="BDF Annotations" if bdf else "EDF Annotations",
        samples_per_record=annotation_samples,
        dimension="",
    )
    signals = (*plan.signals, *(annotation,) * plan.annotation_signals)
    low, high = _DIGITAL_24 if bdf else _DIGITAL_16
    physical = ("-26214.4", "26214.4") if bdf else ("-3276.8", "3276.7")
    yield from ((s.label, 16) for s in signals)
    yield from ((s.transducer, 80) for s in signals)
    yield from ((s.dimension, 8) for s in signals)
    for is_low in (True, False):
        for s in signals:
            text = physical[0 if is_low else 1] if s is not annotation else "-1" if is_low else "1"
            yield text, 8
    yield from ((str(low), 8) for _ in signals)
    yield from ((str(high), 8) for _ in signals)
    yield from ((s.prefilter, 80) for s in signals)
    yield from ((str(s.samples_per_record), 8) for s in signals)
    yield from ((s.reserved, 32) for s in signals)


def _field(value: str | bytes, size: int) -> bytes:
    data = value.encode("latin-1") if isinstance(value, str) else value
    if len(data) > size:
        raise ValueError(f"a header field of {size} bytes was given {len(data)}")
    return data.ljust(size, b" ")
