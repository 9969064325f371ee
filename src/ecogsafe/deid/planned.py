"""What a de-identification plan says. Plain data: no handles, no clock; source paths are private."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.private import Private
from ecogsafe.deid.layout import Tree
from ecogsafe.formats.clock import StudyClock
from ecogsafe.formats.found import FoundFile
from ecogsafe.formats.kinds import Kind


class Part(StrEnum):
    """What a segment can have, each at most once."""

    RECORDING = "recording"
    STUDY = "study"
    VTC_TEXT = "vtc-text"
    SNC_TEXT = "snc-text"


class Confidence(StrEnum):
    """How sure a pair is."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


@dataclass(frozen=True, slots=True, kw_only=True)
class PartRecord:
    """One part of a segment as the catalogue remembers it; nothing in it names anybody."""

    #: aware UTC for Natus and text outputs, the site's wall clock (naive) for EDF and BDF
    start: datetime | None
    end: datetime | None = None
    #: of kinds, indices and sizes; patches keep sizes, so it also fits the source when it comes again
    fingerprint: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExistingSegment:
    """A number the subject has already used, with what is known of it."""

    number: int
    parts: Mapping[Part, PartRecord] = field(default_factory=dict)
    #: parts of which files were moved in; the others of ``parts`` were planned once and left or undone
    published: frozenset[Part] = frozenset()
    #: source folders of its study by earlier journals (private); files left there join this number
    folders: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True, kw_only=True)
class Move:
    """One file that gets a place below OUT."""

    source: FoundFile
    #: below ``OUT/<tree>``, with ``/``
    target: str
    tree: Tree
    kind: Kind
    segment: int
    #: ``<code>_<n>``
    stem: str

    @property
    def place(self) -> str:
        """Path below OUT."""
        return f"{self.tree}/{self.target}"


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftBehind:
    """One file that stays where it is."""

    file: FoundFile
    reason: str
    #: False where it should have been moved; ``status`` then says what follows for the run
    by_rule: bool = True
    status: ExitStatus = ExitStatus.DONE
    segment: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Conflict:
    """Why nothing may move yet."""

    reason: str
    files: tuple[FoundFile, ...]
    #: path below OUT that is contested, "" where there is none
    place: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanNote:
    """Something a person should look at: a tie, gap, overlap, missing kind, hole, zero-length clip."""

    #: ``tie gap overlap missing-kind hole zero-length clock clock-change zone-suspect unnamed already-there``
    topic: str
    text: str
    segments: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Why two parts are taken for one segment."""

    first: Part
    second: Part
    #: seconds between their first moments; None where one is unknown
    apart_s: float | None
    same_stem: bool
    confidence: Confidence
    evidence: str
    #: another candidate was exactly as near
    tied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PlannedSegment:
    """One segment after the plan."""

    number: int
    is_new: bool
    parts: Mapping[Part, PartRecord]
    #: parts that get files by this plan
    moved: frozenset[Part] = frozenset()
    pairs: tuple[Pair, ...] = ()
    #: of the study that this plan moves
    clock: StudyClock | None = None
    #: first moment, UTC (the wall clock taken as UTC where no zone was needed)
    start: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidPlan:
    """What ``deid apply`` will do."""

    root: Path
    code: str
    moves: tuple[Move, ...]
    left: tuple[LeftBehind, ...]
    conflicts: tuple[Conflict, ...]
    notes: tuple[PlanNote, ...]
    segments: tuple[PlannedSegment, ...]
    #: files of other patients
    not_touched: tuple[FoundFile, ...] = ()
    #: whole days by which the person's dates are moved (private); the times of ``segments`` are the true ones
    shift_days: int = field(default=0, repr=False)

    @property
    def bytes(self) -> int:
        """Size of everything that moves."""
        return sum(move.source.size for move in self.moves)


def masked_path(path: Path, root: Path) -> str:
    """Return ``path`` as it may be printed: below ``root``, every word masked."""
    try:
        shown = path.relative_to(root)
    except ValueError:
        shown = Path(path.name)
    return printable(str(Private(str(shown))))


def printable(text: str) -> str:
    """Return ``text`` with bytes that were no UTF-8 in a name shown as question marks."""
    return text.encode("utf-8", "surrogateescape").decode("utf-8", "replace").replace("\ufffd", "?")


def _clock_record(clock: StudyClock | None) -> dict[str, Any] | None:
    if clock is None:
        return None
    report = clock.report
    return {
        "rows": report.rows,
        "rows_left_out": len(report.left_out),
        "rate_hz": round(report.rate_hz, 6),
        "worst_residual_s": round(report.worst_residual_s, 6),
        "lasting_s": clock.lasting_s,
        "jumps_s": [round(jump.seconds, 6) for jump in report.jumps],
        "clips": clock.clips,
        "clip_offset_hours": clock.clip_offset_hours,
    }


def as_record(plan: DeidPlan, *, reveal: bool = False) -> dict[str, Any]:
    """Return ``plan`` as plain JSON data; source paths masked unless ``reveal``, times moved by the date shift."""

    def shown(file: FoundFile) -> str:
        return str(file.path) if reveal else masked_path(file.path, plan.root)

    def moment(value: datetime | None) -> str | None:
        return (value + timedelta(days=plan.shift_days)).isoformat() if value else None

    return {
        "code": plan.code,
        "bytes": plan.bytes,
        "segments": [
            {
                "number": s.number,
                "new": s.is_new,
                "start": moment(s.start),
                "moved": sorted(s.moved),
                "clock": _clock_record(s.clock),
                "parts": {
                    part.value: {"start": moment(r.start), "end": moment(r.end), "fingerprint": r.fingerprint}
                    for part, r in s.parts.items()
                },
                "pairs": [
                    {
                        "parts": [p.first.value, p.second.value],
                        "apart_s": p.apart_s,
                        "same_stem": p.same_stem,
                        "confidence": p.confidence.value,
                        "evidence": p.evidence,
                    }
                    for p in s.pairs
                ],
            }
            for s in plan.segments
        ],
        "moves": [
            {"source": shown(m.source), "to": m.place, "kind": m.kind.value, "bytes": m.source.size} for m in plan.moves
        ],
        "left": [
            {
                "source": shown(entry.file),
                "reason": entry.reason,
                "by_rule": entry.by_rule,
                "status": int(entry.status),
            }
            for entry in plan.left
        ],
        "conflicts": [
            {"reason": c.reason, "place": c.place, "sources": [shown(f) for f in c.files]} for c in plan.conflicts
        ],
        "notes": [{"topic": n.topic, "text": n.text, "segments": list(n.segments)} for n in plan.notes],
        "not_touched": len(plan.not_touched),
    }
