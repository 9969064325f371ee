"""Entries of an export that stands on no disk, and the plan they make."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.plan import plan_deid
from ecogsafe.deid.planned import DeidPlan, ExistingSegment, Part, PartRecord
from ecogsafe.deid.whose import belongs_to
from ecogsafe.formats.found import (
    Discovery,
    FoundFile,
    LooseRecording,
    OtherEntry,
    PersonHints,
    StudyFolder,
    TextOutput,
)
from ecogsafe.formats.kinds import Kind, kind_of_name
from tests.deid.small_export import CODE, PERSON, moment

ROOT = Path("/export")
ZONE = ZoneInfo("America/Los_Angeles")
OTHER = PersonHints(last_name="Brampton", first_name="Ida", mrn="0100")


def a_file(path: str, *, kind: Kind | None = None, size: int = 10, links: int = 1, readable: bool = True) -> FoundFile:
    name = ROOT / path
    return FoundFile(
        path=name,
        kind=kind or kind_of_name(name.name),
        device=1,
        inode=abs(hash(path)) % 10**6,
        size=size,
        mtime_ns=0,
        ctime_ns=0,
        atime_ns=0,
        mode=0o644,
        links=links,
        readable=readable,
    )


def a_study(stem: str, at: float | None, *names: str, person: PersonHints = PERSON, **more: object) -> StudyFolder:
    names = names or (f"{stem}.eeg", f"{stem}.erd", f"{stem}_0000.avi", f"{stem}_0001.avi")
    start = None if at is None else moment(at)
    return StudyFolder(
        path=ROOT / stem,
        stem=stem,
        files=tuple(a_file(f"{stem}/{n}", size=10 + i) for i, n in enumerate(names)),
        start_utc=start,
        end_utc=start and start + timedelta(hours=1),
        person=person,
        **more,  # type: ignore[arg-type]
    )


def local(at: float, offset_s: float = 0.0) -> datetime:
    return (moment(at) + timedelta(seconds=offset_s)).astimezone(ZONE).replace(tzinfo=None)


def a_recording(
    name: str, at: float, *, off: float = 0.0, size: int = 10, person: PersonHints = PERSON, links: int = 1
) -> LooseRecording:
    return LooseRecording(
        file=a_file(name, size=size, links=links),
        stem=Path(name).stem,
        start_local=local(at, off),
        duration_s=3600.0,
        person=person,
    )


def a_text(name: str, kind: Kind, at: float) -> TextOutput:
    return TextOutput(file=a_file(name, kind=kind), start_utc=moment(at), person=PERSON)


def make_plan(
    *sources: StudyFolder | LooseRecording | TextOutput,
    others: Sequence[OtherEntry] = (),
    zone: ZoneInfo | None = ZONE,
    existing: Sequence[ExistingSegment] = (),
    taken: Sequence[str] = (),
    copy: bool = False,
    person: PersonHints = PERSON,
) -> DeidPlan:
    discovery = Discovery(
        root=ROOT,
        studies=tuple(s for s in sources if isinstance(s, StudyFolder)),
        recordings=tuple(s for s in sources if isinstance(s, LooseRecording)),
        texts=tuple(s for s in sources if isinstance(s, TextOutput)),
        others=tuple(others),
    )
    belongs = belongs_to(Identifiers.from_hints([person]))
    return plan_deid(discovery, code=CODE, belongs=belongs, existing=existing, zone=zone, taken=taken, copy=copy)


def to(plan: DeidPlan, source: str) -> str:
    return next(m.place for m in plan.moves if m.source.path == ROOT / source)


def topics(plan: DeidPlan) -> set[str]:
    return {n.topic for n in plan.notes}


def existing_segment(number: int, at: float, *parts: Part) -> ExistingSegment:
    records = {
        part: PartRecord(start=local(at) if part is Part.RECORDING else moment(at), fingerprint="0" * 16)
        for part in parts
    }
    return ExistingSegment(number=number, parts=records, published=frozenset(parts))


def as_existing(plan: DeidPlan, *, published: bool = True, folders: Sequence[str] = ()) -> list[ExistingSegment]:
    return [
        ExistingSegment(
            number=s.number,
            parts=s.parts,
            published=frozenset(s.parts) if published else frozenset(),
            folders=frozenset(ROOT / f for f in folders),
        )
        for s in plan.segments
    ]
