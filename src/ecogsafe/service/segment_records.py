"""The segments of a subject, between the plan's words and the catalogue's rows."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from ecogsafe.catalog import subjects
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.subjects import SegmentRow
from ecogsafe.deid.planned import ExistingSegment, Part, PartRecord, PlannedSegment


def existing_segments(catalog: Catalog, code: str) -> list[ExistingSegment]:
    """Return every number the subject ``code`` has ever used, retired ones included."""
    with catalog.read() as tx:
        rows = subjects.segments_of(tx, code, with_retired=True)
    return [_segment(row) for row in rows]


def _segment(row: SegmentRow) -> ExistingSegment:
    if row.retired_at is not None:
        return ExistingSegment(number=row.number)
    parts = {Part(name): _part(record) for name, record in json.loads(row.fingerprint).items()}
    return ExistingSegment(number=row.number, parts=parts, published=frozenset(Part(k) for k in row.kinds))


def _part(record: dict[str, Any]) -> PartRecord:
    def moment(text: str | None) -> datetime | None:
        return datetime.fromisoformat(text) if text else None

    return PartRecord(start=moment(record["start"]), end=moment(record["end"]), fingerprint=record["fingerprint"])


def _row(code: str, segment: PlannedSegment, published: Collection[Part]) -> SegmentRow:
    def text(value: datetime | None) -> str | None:
        return value.isoformat() if value else None

    recording = segment.parts.get(Part.RECORDING)
    study = segment.parts.get(Part.STUDY)
    lead = recording or study
    duration = (lead.end - lead.start).total_seconds() if lead and lead.start and lead.end else None
    records = {
        part.value: {"start": text(r.start), "end": text(r.end), "fingerprint": r.fingerprint}
        for part, r in segment.parts.items()
    }
    return SegmentRow(
        subject=code,
        number=segment.number,
        start_utc=text(study.start) if study else None,
        start_local=text(recording.start) if recording else None,
        duration_s=duration,
        kinds=tuple(sorted(part.value for part in published)),
        fingerprint=json.dumps(records, sort_keys=True),
    )


def note_planned(tx: Transaction, code: str, segments: Sequence[PlannedSegment]) -> None:
    """Give the planned numbers away, durably, before anything moves; what is published stays as it was."""
    known = {row.number: row for row in subjects.segments_of(tx, code)}
    for segment in segments:
        before = known.get(segment.number)
        row = _row(code, segment, [Part(k) for k in before.kinds] if before else [])
        if before is None:
            subjects.add_segments(tx, [row])
        elif segment.moved:
            subjects.update_segment(tx, row)


def note_published(tx: Transaction, code: str, published: Iterable[tuple[int, Part]]) -> None:
    """Note which parts of which segments now stand below OUT."""
    added = _by_number(published)
    for row in subjects.segments_of(tx, code):
        if row.number in added:
            subjects.update_segment(tx, replace(row, kinds=tuple(sorted({*row.kinds, *added[row.number]}))))


def note_taken_back(tx: Transaction, code: str, taken_back: Iterable[tuple[int, Part]]) -> None:
    """Note which parts of which segments an undo took away; their numbers keep their planned parts."""
    removed = _by_number(taken_back)
    for row in subjects.segments_of(tx, code):
        if row.number in removed:
            kinds = tuple(k for k in row.kinds if k not in removed[row.number])
            subjects.update_segment(tx, replace(row, kinds=kinds))


def _by_number(pairs: Iterable[tuple[int, Part]]) -> dict[int, set[str]]:
    found: dict[int, set[str]] = {}
    for number, part in pairs:
        found.setdefault(number, set()).add(part.value)
    return found
