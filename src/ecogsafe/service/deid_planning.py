"""``deid plan``: an export looked at, its person recognised, its segments ordered; nothing is changed."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal
from zoneinfo import ZoneInfo

from ecogsafe.core.config import clinical_zone
from ecogsafe.core.errors import ExitStatus, MixedPatientsError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import new_code
from ecogsafe.deid.identifiers import Identifiers, read_identifiers_file
from ecogsafe.deid.linking_key import LinkingKey
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.plan import plan_deid
from ecogsafe.deid.planned import DeidPlan, as_record, masked_path
from ecogsafe.deid.whose import Source, belongs_to, divide
from ecogsafe.formats.discovery import discover
from ecogsafe.formats.found import Discovery
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import check_code, open_keys, recognise
from ecogsafe.service.running import Run
from ecogsafe.service.segment_records import existing_segments

__all__ = ["DeidRequest", "Identifiers", "plan", "read_identifiers_file"]


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidRequest:
    """What the user asked for; the paths and identifiers are private."""

    export: Path = field(repr=False)
    out: Path | None = field(default=None, repr=False)
    #: given by the user; empty: taken from the export
    identifiers: Identifiers = field(default_factory=Identifiers)
    code: str | None = None
    annotations: Literal["redact", "wipe", "keep"] = "redact"
    copy: bool = False
    keep_native_content: bool = False
    settle_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """An export and the one person it is looked at for."""

    discovery: Discovery
    #: given and found, merged
    identifiers: Identifiers


def survey(request: DeidRequest) -> Surveyed:
    """Read the export and gather everything that identifies the person.

    Raises
    ------
    UsageError
        It does not exist or holds no recordings.
    MixedPatientsError
        No identifiers were given and it holds several people, or those given fit several.
    """
    discovery = discover(request.export)
    sources: tuple[Source, ...] = (*discovery.studies, *discovery.recordings, *discovery.texts)
    if not discovery.studies and not discovery.recordings:
        raise UsageError(
            "EXPORT", "holds no recordings: no study folder, no EDF, no BDF", next="check the path of the export"
        )
    person = request.identifiers
    if person.is_empty:
        named = [s.person for s in sources if not Identifiers.from_hints([s.person]).is_empty]
        if not named:
            raise UsageError(
                "EXPORT",
                "does not say whose it is",
                next="give the identifiers with --identifiers FILE (or - to type them)",
            )
        person = Identifiers.from_hints(named[:1])
        if divide(discovery, belongs_to(person)).others:
            raise MixedPatientsError(
                "EXPORT",
                "holds recordings of more than one person",
                next="say which one with --identifiers FILE, --last-name or --mrn",
            )
    shares = divide(discovery, belongs_to(person))
    if not shares.ours:
        raise UsageError(
            "EXPORT", "holds nothing of the person with these identifiers", next="check the spelling, or give --mrn"
        )
    return Surveyed(discovery, person.merge(Identifiers.from_hints(s.person for s in shares.ours)))


def make_plan(run: Run, request: DeidRequest, surveyed: Surveyed, code: str) -> DeidPlan:
    """Return the plan for the subject ``code``."""
    zone_name = run.home.settings().time_zone
    zone: ZoneInfo | None = clinical_zone(zone_name) if zone_name else None
    return plan_deid(
        surveyed.discovery,
        code=code,
        belongs=belongs_to(surveyed.identifiers),
        existing=existing_segments(run.catalog, code),
        zone=zone,
        taken=_taken(request.out, code),
        copy=request.copy,
    )


def _taken(out: Path | None, code: str) -> list[str]:
    """Return the paths of the subject that stand below OUT already."""
    if out is None or not out.is_dir():
        return []
    folders = [
        out / "video" / code,
        out / "edf" / f"{code}_edf",
        out / "text" / f"{code}_vtc",
        out / "text" / f"{code}_snc",
    ]
    return [p.relative_to(out).as_posix() for f in folders if f.is_dir() for p in f.rglob("*") if not p.is_dir()]


def plan(run: Run, request: DeidRequest, password: PasswordSource | None) -> tuple[DeidPlan, Surveyed]:
    """Make the plan and tell it; with a password a returning patient is recognised.

    A person nobody knows yet gets a code for show; the real one is drawn by ``apply``.
    """
    check_code(request.code)
    surveyed = survey(request)
    code = request.code
    if run.home.linking_key.exists() and code is None:
        if password is None:
            run.tell(
                _note("without the password a returning patient is not recognised: the code shown may not be theirs")
            )
        else:
            known = recognise(open_keys(run.home, run.catalog, password).file.read(), surveyed.identifiers, None)
            run.tell(_note(known.message))
            code = known.person.code if known.person else None
    shown_code = code or new_code(())
    made = make_plan(run, request, surveyed, shown_code)
    if code is None:
        run.tell(_note("a new subject: ecogsafe deid apply draws the code; the one shown here is an example"))
    tell_plan(run, made)
    tell_decisions(run, surveyed.identifiers)
    run.message = verdict(made)
    if made.conflicts:
        run.tally.note(ExitStatus.CONFLICT)
    return made, surveyed


def _note(message: str) -> Item:
    return Item(action="plan", status="note", message=message)


def verdict(made: DeidPlan) -> str:
    """Return the plan in one line."""
    new = sum(1 for s in made.segments if s.is_new)
    return (
        f"{len(made.moves)} files of {len(made.segments)} segments ({new} new), {len(made.left)} left behind, "
        f"{len(made.not_touched)} of other patients not touched, {len(made.conflicts)} conflicts"
    )


def tell_plan(run: Run, made: DeidPlan) -> None:
    """Tell segments, notes, conflicts and what is left behind; source paths are masked."""
    record: dict[str, Any] = as_record(made)
    for segment in record["segments"]:
        run.tell(
            Item(
                action="segment",
                status="planned",
                subject=made.code,
                segment=segment["number"],
                message=_segment_line(segment),
                details=segment,
            )
        )
    for note in made.notes:
        segment_number = note.segments[0] if note.segments else None
        run.tell(
            Item(
                action="plan",
                status="note",
                subject=made.code,
                segment=segment_number,
                message=f"{note.topic}: {note.text}",
            )
        )
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
    tell_left(run, made)


def _segment_line(segment: dict[str, Any]) -> str:
    parts = ", ".join(sorted(segment["parts"]))
    pairs = "; ".join(p.get("evidence", "") for p in segment.get("pairs", []))
    start = (segment["start"] or "unknown start")[:19].replace("T", " ")
    return f"segment {segment['number']}  {start}  {parts}" + (f"  ({pairs})" if pairs else "")


def tell_left(run: Run, made: DeidPlan) -> None:
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
    if made.not_touched:
        run.counts["not_touched"] = len(made.not_touched)


def tell_decisions(run: Run, identifiers: Identifiers) -> None:
    """Tell how each identifier is searched, masked, so that a person can see why a short name is or is not found."""
    for decision in Matcher(identifiers).decisions():
        run.tell(
            Item(
                action="identifier",
                status="note",
                message=f"{decision.kind} {decision.term}: {decision.rule.value}"
                + (f" ({decision.why})" if decision.why else ""),
            )
        )


def other_matcher(key: LinkingKey, code: str) -> Matcher | None:
    """Return the search for everybody else in the linking key; None where there is nobody."""
    others = key.others(code)
    return Matcher(None, others=others) if others else None
