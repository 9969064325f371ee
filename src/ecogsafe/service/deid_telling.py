"""A plan in lines that a lab manager reads: one a segment, gaps between them, what stays behind in groups."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from ecogsafe.core.events import Item
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.layout import DECIMATED
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.plan_notes import clock_line, span
from ecogsafe.deid.planned import (
    Confidence,
    DeidPlan,
    LeftBehind,
    Move,
    Pair,
    Part,
    PlannedSegment,
    PlanNote,
    as_record,
    masked_path,
)
from ecogsafe.deid.timeline import timeline
from ecogsafe.formats.found import FoundFile
from ecogsafe.formats.kinds import CLIP_KINDS, RECORDING_KINDS, TEXT_KINDS
from ecogsafe.service.running import Run

_WORDS = {Part.RECORDING: "EDF", Part.STUDY: "study", Part.VTC_TEXT: "VTC", Part.SNC_TEXT: "SNC"}
_ORDER = tuple(_WORDS)
_LEVELS = tuple(Confidence)
_SOMEBODY_ELSES = "belongs to somebody else, left where it was"
#: study folders and loose files of others that are told without -v
_SHOWN_PLACES = 8
#: notes that stand between two segments rather than at the end
_BETWEEN = ("gap", "overlap", "tie")


def verdict(made: DeidPlan) -> str:
    """Return the plan in one line."""
    touched = [s for s in made.segments if s.moved]
    new = sum(1 for s in touched if s.is_new)
    told = f"{_count(len(made.moves), 'file')} of {_count(len(touched), 'segment')} ({new} new)"
    return f"{told}, {_count(len(made.conflicts), 'conflict')}" if made.conflicts else told


def tell_plan(run: Run, made: DeidPlan, zone: ZoneInfo | None) -> None:
    """Tell segments, notes, conflicts and what is left behind; source paths are masked."""
    _tell_segments(run, made, zone)
    for note in made.notes:
        if not _is_between(note):
            run.tell(_note(made, note))
    for conflict in made.conflicts:
        sources = ", ".join(masked_path(f.path, made.root) for f in conflict.files)
        run.tell(
            Item(
                action="plan",
                status="conflict",
                subject=made.code,
                path=conflict.place or sources,
                message=f"{conflict.reason} ({sources})" if conflict.place else conflict.reason,
            )
        )
    _tell_left(run, made)


def _tell_segments(run: Run, made: DeidPlan, zone: ZoneInfo | None) -> None:
    records: list[dict[str, Any]] = as_record(made)["segments"]
    moves: dict[int, list[Move]] = defaultdict(list)
    for move in made.moves:
        moves[move.segment].append(move)
    touched = [s for s in made.segments if s.moved]
    if touched:
        clock = f"the site's clock ({zone.key})" if zone else "the clock of the files"
        total = sum(move.source.size for move in made.moves)
        text = f"subject {made.code}: {_count(len(touched), 'segment')} by {clock}"
        run.tell(Item(action="plan", status="note", subject=made.code, bytes=total, message=text))
    there = len(made.segments) - len(touched)
    if there:
        text = f"{_count(there, 'segment')} of {made.code} known before, with nothing new here"
        run.tell(Item(action="plan", status="note", subject=made.code, message=text))
    for segment, record in zip(made.segments, records, strict=True):
        run.tell(
            Item(
                action="segment",
                status="planned" if segment.moved else "note",
                subject=made.code,
                segment=segment.number,
                message=segment_line(segment, moves[segment.number], zone, made.shift_days),
                details=record,
            )
        )
        if segment.clock is not None:
            text = f"     {clock_line(segment.clock)}"
            run.tell(Item(action="clock", status="note", subject=made.code, segment=segment.number, message=text))
        for note in made.notes:
            if _is_between(note) and note.segments[0] == segment.number:
                run.tell(_note(made, note))


def _is_between(note: PlanNote) -> bool:
    return note.topic in _BETWEEN and len(note.segments) == 2


def _note(made: DeidPlan, note: PlanNote) -> Item:
    return Item(
        action="plan",
        status="note",
        subject=made.code,
        segment=note.segments[0] if note.segments else None,
        message=f"{'     ' if _is_between(note) else ''}{note.topic}: {note.text}",
    )


def segment_line(segment: PlannedSegment, moves: Sequence[Move], zone: ZoneInfo | None, shift_days: int = 0) -> str:
    """Return one segment as one line: number, start (shifted), duration, parts, how sure the pairing is and why."""
    columns = [
        f"{segment.number:>4}",
        _start(segment.start, zone, shift_days),
        f"{_duration(segment):>11}",
        _parts(segment, moves),
    ]
    if segment.pairs:
        columns.append(_pairs(segment.pairs))
    elif segment.moved and not segment.is_new:
        columns.append("more of a study that is there")
    return "  ".join(columns)


def _start(start: datetime | None, zone: ZoneInfo | None, shift_days: int) -> str:
    if start is None:
        return f"{'start unknown':<19}"
    return f"{start.astimezone(zone or UTC) + timedelta(days=shift_days):%Y-%m-%d %H:%M:%S}"


def _duration(segment: PlannedSegment) -> str:
    spans = [
        (r.end - r.start).total_seconds()
        for part in (Part.RECORDING, Part.STUDY)
        if (r := segment.parts.get(part)) and r.start and r.end
    ]
    return span(spans[0]) if spans else "?"


def _parts(segment: PlannedSegment, moves: Sequence[Move]) -> str:
    """Return ``EDF, study (2 clips), VTC``; what was there before stands in brackets."""
    told = []
    for part in _ORDER:
        if part not in segment.parts:
            continue
        word = _WORDS[part]
        if part is Part.RECORDING and any(m.target.endswith(".bdf") for m in moves):
            word = "BDF"
        if part not in segment.moved:
            word = f"[{word}]"
        elif part is Part.STUDY:
            word = f"{word} ({_count(sum(1 for m in moves if m.kind in CLIP_KINDS), 'clip')})"
        told.append(word)
    return ", ".join(told)


def _pairs(pairs: Sequence[Pair]) -> str:
    """Return how sure the weakest pair is, and how far apart the starts are."""
    weakest = max((p.confidence for p in pairs), key=_LEVELS.index)
    told = (f"{_WORDS[p.second]} {p.evidence.removeprefix('starts ').replace(' s apart', ' s', 1)}" for p in pairs)
    apart = " apart" if all(p.apart_s is not None for p in pairs) else ""
    return f"pairing {weakest.value} ({'; '.join(told)}{apart})"


def _tell_left(run: Run, made: DeidPlan) -> None:
    """Tell and count what stays in EXPORT, and what belongs to others."""
    for left in made.left:
        run.tally.left_behind += 1
        if not left.by_rule:
            run.tally.note(left.status)
        run.tell(
            Item(
                action="plan",
                status="left_behind",
                subject=made.code,
                segment=left.segment,
                path=masked_path(left.file.path, made.root),
                message=left.reason,
                details={"by_rule": left.by_rule},
            )
        )
    by_rule = [left for left in made.left if left.by_rule]
    if by_rule:
        text = f"stays in EXPORT by rule (-v lists it): {_groups(by_rule)}"
        run.tell(Item(action="plan", status="note", subject=made.code, message=text))
    if made.not_touched:
        _tell_others(run, made)


def _tell_others(run: Run, made: DeidPlan) -> None:
    """List what belongs to other people, and sum it up by study folder and loose file."""
    run.counts["not_touched"] = len(made.not_touched)
    run.tally.left_behind += len(made.not_touched)
    for file in made.not_touched:
        path = masked_path(file.path, made.root)
        run.tell(
            Item(
                action="plan",
                status="left_behind",
                path=path,
                message=_SOMEBODY_ELSES,
                details={"by_rule": True, "somebody_elses": True},
            )
        )
    text = f"{_count(len(made.not_touched), 'file')} of other patients: not touched"
    run.tell(Item(action="plan", status="note", subject=made.code, message=text))
    groups = Counter(_place_of(file) for file in made.not_touched)
    for place, number in list(groups.items())[:_SHOWN_PLACES]:
        what = masked_path(place, made.root)
        holds = "" if any(place == file.path for file in made.not_touched) else f", {_count(number, 'file')}"
        run.tell(Item(action="plan", status="note", message=f"     {what}{holds}: {_SOMEBODY_ELSES}"))
    if len(groups) > _SHOWN_PLACES:
        text = f"     and {len(groups) - _SHOWN_PLACES} more folders or files (-v lists every file)"
        run.tell(Item(action="plan", status="note", message=text))


def _place_of(file: FoundFile) -> Path:
    """Return what a person would call it by: a loose recording or text itself, anything else its study folder."""
    if file.kind in RECORDING_KINDS | TEXT_KINDS:
        return file.path
    folder = file.path.parent
    return folder.parent if folder.name.lower() == DECIMATED.lower() else folder


def _groups(left: Sequence[LeftBehind]) -> str:
    counted = Counter(entry.reason for entry in left)
    return ", ".join(f"{number} × {reason}" for reason, number in counted.most_common())


def timeline_lines(made: DeidPlan, zone: ZoneInfo | None, *, width: int, is_ascii: bool) -> tuple[str, ...]:
    """Return the subject's timeline: one look shows what is there and what is missing."""
    return timeline(made, zone=zone, width=width, is_ascii=is_ascii)


def tell_decisions(run: Run, identifiers: Identifiers, *, near: bool = False) -> None:
    """Tell how each identifier is searched, masked, so that a person can see why a short name is or is not found."""
    decisions = Matcher(identifiers, near=near).decisions()
    for decision in decisions:
        why = f" ({decision.why})" if decision.why else ""
        run.tell(
            Item(
                action="identifier",
                status="note",
                message=f"{decision.kind} {decision.term}: {decision.rule.value}{why}",
            )
        )
    text = f"{_count(len(decisions), 'identifier')} searched for (-v tells how each is)"
    run.tell(Item(action="plan", status="note", message=text))


def _count(number: int, word: str) -> str:
    return f"{number:,} {word}{'' if number == 1 else 's'}"
