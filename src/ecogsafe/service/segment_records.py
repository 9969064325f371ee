"""The segments of a subject, between the plan's words and the catalogue's rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ecogsafe.catalog import subjects
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.subjects import SegmentRow
from ecogsafe.deid.date_shift import shifted_record
from ecogsafe.deid.planned import ExistingSegment, Part, PartRecord, PlannedSegment
from ecogsafe.formats.kinds import RECORDING_KINDS, Kind

#: (number of the segment, its part)
SegmentPart = tuple[int, Part]
#: marks, in the record of a part, times that are moved by the subject's date shift
_SHIFTED = "shifted"
_NOBODY: Mapping[int, frozenset[Path]] = {}


def part_of(kind: Kind) -> Part:
    """Return which part of its segment a file of ``kind`` belongs to."""
    if kind in RECORDING_KINDS:
        return Part.RECORDING
    return {Kind.VTC_TEXT: Part.VTC_TEXT, Kind.SNC_TEXT: Part.SNC_TEXT}.get(kind, Part.STUDY)


def existing_segments(
    catalog: Catalog, code: str, folders: Mapping[int, frozenset[Path]] = _NOBODY, *, shift_days: int = 0
) -> list[ExistingSegment]:
    """Return every number the subject ``code`` has ever used.

    A retired number stays with its recording: nothing of it stands here, but should the recording come again
    it gets the number again, and nothing else ever does. So does a number that only an object in a store tells
    of: another home gave it, or a catalogue that is lost.

    Parameters
    ----------
    folders
        Source folders of the studies by number, as the journals know them (private).
    shift_days
        By how many days the subject's dates are moved; the times returned are the true ones. Where the dates are
        moved and nobody knows by how much (0), they are None.
    """
    with catalog.read() as tx:
        rows = subjects.segments_of(tx, code, with_retired=True)
        unknown = subjects.numbers_sent(tx, code) - {row.number for row in rows}
    known = [_segment(row, folders.get(row.number, frozenset()), shift_days) for row in rows]
    return [*known, *(ExistingSegment(number=number) for number in sorted(unknown))]


def has_shifted_dates(tx: Transaction, code: str) -> bool:
    """Return whether the catalogue knows times of ``code`` that are moved by a date shift."""
    return any(_is_shifted(row) for row in subjects.segments_of(tx, code, with_retired=True))


def is_published(tx: Transaction, code: str) -> bool:
    """Return whether anything of ``code`` stands below OUT, or was sent."""
    standing = subjects.segments_of(tx, code)
    return any(row.kinds for row in standing) or len(subjects.segments_of(tx, code, with_retired=True)) > len(standing)


def _is_shifted(row: SegmentRow) -> bool:
    return any(_SHIFTED in record for record in json.loads(row.fingerprint).values())


def _segment(row: SegmentRow, folders: frozenset[Path], shift_days: int) -> ExistingSegment:
    parts = {Part(name): _part(record, shift_days) for name, record in json.loads(row.fingerprint).items()}
    published = frozenset(Part(k) for k in row.kinds)
    return ExistingSegment(number=row.number, parts=parts, published=published, folders=folders)


def _part(record: dict[str, Any], shift_days: int) -> PartRecord:
    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    known = PartRecord(start=moment(record["start"]), end=moment(record["end"]), fingerprint=record["fingerprint"])
    if _SHIFTED not in record:
        return known
    return shifted_record(known, -shift_days) if shift_days else PartRecord(start=None, fingerprint=known.fingerprint)


def _row(code: str, segment: PlannedSegment, published: Collection[str], shift_days: int) -> SegmentRow:
    """Return the row of a segment; the catalogue never learns the true times of a subject whose dates are moved."""

    def text(value: datetime | None) -> str | None:
        return value.isoformat() if value else None

    parts = {part: shifted_record(record, shift_days) for part, record in segment.parts.items()}
    recording = parts.get(Part.RECORDING)
    study = parts.get(Part.STUDY)
    lead = recording or study
    duration = (lead.end - lead.start).total_seconds() if lead and lead.start and lead.end else None
    sign = {_SHIFTED: True} if shift_days else {}
    records = {
        part.value: {"start": text(r.start), "end": text(r.end), "fingerprint": r.fingerprint, **sign}
        for part, r in parts.items()
    }
    return SegmentRow(
        subject=code,
        number=segment.number,
        start_utc=text(study.start) if study else None,
        start_local=text(recording.start) if recording else None,
        duration_s=duration,
        kinds=tuple(sorted(published)),
        fingerprint=json.dumps(records, sort_keys=True),
    )


def note_planned(tx: Transaction, code: str, segments: Sequence[PlannedSegment], shift_days: int = 0) -> None:
    """Give the planned numbers away, durably, before anything moves; what is published stays as it was.

    Numbers that were planned before the dates of the subject were shifted get shifted times as well.
    """
    known = {row.number: row for row in subjects.segments_of(tx, code, with_retired=True)}
    for segment in segments:
        before = known.get(segment.number)
        row = _row(code, segment, before.kinds if before else (), shift_days)
        if before is None:
            subjects.add_segments(tx, [row])
        elif segment.moved or (shift_days and not _is_shifted(before)):
            subjects.update_segment(tx, row)


def note_numbers(tx: Transaction, code: str, published: Iterable[SegmentPart]) -> None:
    """Take numbers that only the journals know of, as in a recovered home: nothing else may get them."""
    known = {row.number for row in subjects.segments_of(tx, code, with_retired=True)}
    for number, kinds in sorted(_by_number(published).items()):
        if number not in known:
            row = SegmentRow(code, number, None, None, None, tuple(sorted(kinds)), fingerprint="{}")
            subjects.add_segments(tx, [row])


def note_published(tx: Transaction, code: str, published: Iterable[SegmentPart]) -> None:
    """Note which parts of which segments now stand below OUT."""
    added = _by_number(published)
    for row in subjects.segments_of(tx, code):
        if row.number in added:
            subjects.update_segment(tx, replace(row, kinds=tuple(sorted({*row.kinds, *added[row.number]}))))


def note_taken_back(
    tx: Transaction, code: str, taken_back: Iterable[SegmentPart], standing: Collection[SegmentPart]
) -> None:
    """Note what an undo took away.

    A segment of which nothing stands and nothing was ever sent is undone whole: its number is free, also that of
    one which was planned and never moved. Where anything was sent, the number stays with its recording for ever
    (DESIGN 5.1).

    Parameters
    ----------
    standing
        Parts of which earlier applies moved files in that are not taken back.
    """
    removed = _by_number(part for part in taken_back if part not in standing)
    empty: list[int] = []
    for row in subjects.segments_of(tx, code):
        kinds = tuple(k for k in row.kinds if k not in removed.get(row.number, ()))
        if kinds != row.kinds:
            subjects.update_segment(tx, replace(row, kinds=kinds))
        if not kinds:
            empty.append(row.number)
    subjects.forget_segments(tx, code, empty)


def _by_number(pairs: Iterable[SegmentPart]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for number, part in pairs:
        found.setdefault(number, set()).add(part.value)
    return found
