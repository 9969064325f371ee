"""``deid plan``: an export looked at, its person recognised, its segments ordered; nothing is changed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Literal
from zoneinfo import ZoneInfo

from ecogsafe.catalog import subjects
from ecogsafe.core.config import clinical_zone
from ecogsafe.core.errors import ExitStatus, MixedPatientsError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import new_code
from ecogsafe.deid.date_shift import choose_shift, shifted_plan
from ecogsafe.deid.identifiers import Identifiers, read_identifiers_file
from ecogsafe.deid.layout import subject_folders
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.deid.plan import plan_deid
from ecogsafe.deid.planned import DeidPlan
from ecogsafe.deid.whose import Belongs, Shares, belongs_to, divide
from ecogsafe.formats.discovery import discover
from ecogsafe.formats.found import Discovery, PersonHints
from ecogsafe.service.date_shifts import check_shift, tell_shift
from ecogsafe.service.deid_journals import History, journals_of
from ecogsafe.service.deid_telling import tell_decisions, tell_plan, verdict
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import OpenedKeys, Recognised, check_code, open_keys, recognise
from ecogsafe.service.running import Run
from ecogsafe.service.segment_records import existing_segments, has_shifted_dates
from ecogsafe.service.withdrawal import refuse_more_data

__all__ = ["DeidRequest", "Identifiers", "plan", "read_identifiers_file"]

#: names found with the given identifiers may lead to further entries, and those to further names
_ROUNDS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DeidRequest:
    """What the user asked for; the paths and identifiers are private."""

    export: Path = field(repr=False)
    out: Path | None = field(default=None, repr=False)
    #: given by the user; empty: taken from the export
    identifiers: Identifiers = field(default_factory=Identifiers)
    code: str | None = None
    annotations: Literal["redact", "wipe", "keep"] = "redact"
    #: every date is moved by one random whole number of days; once begun it goes on without being asked for
    shift_dates: bool = False
    copy: bool = False
    keep_native_content: bool = False
    #: spellings one letter off and short forms of first names count too, in free text
    near: bool = False
    settle_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Surveyed:
    """An export and the one person it is looked at for."""

    discovery: Discovery
    #: given and found, merged
    identifiers: Identifiers
    belongs: Belongs
    #: what the user said of the person; None: nothing
    given: Identifiers | None
    #: why there is nothing to plan; None: there is
    problem: UsageError | None = None


def anyone(hints: PersonHints, stem: str) -> bool | None:
    """Answer where nobody was named: the export is about one person, whoever that is."""
    return None if Identifiers.from_hints([hints]).is_empty else True


def survey(request: DeidRequest) -> Surveyed:
    """Read the export and gather everything that identifies the person.

    Raises
    ------
    UsageError
        It does not exist, or does not say whose it is.
    MixedPatientsError
        No identifiers were given and it holds several people, or those given fit several.
    """
    discovery = discover(request.export)
    given = None if request.identifiers.is_empty else request.identifiers
    problem: UsageError | None = None
    if not discovery.studies and not discovery.recordings:
        problem = UsageError(
            "EXPORT", "holds no recordings: no study folder, no EDF, no BDF", next="check the path of the export"
        )
        return Surveyed(discovery, request.identifiers, anyone, given, problem)
    if given is None:
        return _survey_all(discovery)
    identifiers = given
    for _ in range(_ROUNDS):
        belongs = belongs_to(identifiers)
        shares = divide(discovery, belongs, given)
        merged = given.merge(_found(shares))
        if merged == identifiers:
            break
        identifiers = merged
    if not shares.ours:
        problem = UsageError(
            "EXPORT", "holds nothing of the person with these identifiers", next="check the spelling, or give --mrn"
        )
    return Surveyed(discovery, identifiers, belongs_to(identifiers), given, problem)


def of_known_person(request: DeidRequest, key: LinkingKey) -> DeidRequest:
    """Return ``request`` with what the linking key knows of its code, where the user said no more than the code."""
    person = key.person(request.code) if request.code else None
    if person is None or says_who(request.identifiers):
        return request
    return replace(request, identifiers=person.identifiers.merge(request.identifiers))


def says_who(given: Identifiers) -> bool:
    """Return whether ``given`` names a person, rather than adding to what is known of one."""
    return bool(given.last_name or given.first_name or given.mrn or given.birth_date)


def _survey_all(discovery: Discovery) -> Surveyed:
    """Return the export as that of the one person it names."""
    try:
        shares = divide(discovery, anyone)
    except MixedPatientsError:
        raise MixedPatientsError(
            "EXPORT",
            "holds recordings of more than one person",
            next="say which one with --identifiers FILE, --last-name or --mrn",
        ) from None
    identifiers = _found(shares)
    if identifiers.is_empty:
        raise UsageError(
            "EXPORT",
            "does not say whose it is",
            next="give the identifiers with --identifiers FILE (or - to type them)",
        )
    return Surveyed(discovery, identifiers, anyone, None)


def _found(shares: Shares) -> Identifiers:
    return Identifiers.from_hints(source.person for source in shares.ours)


def make_plan(
    run: Run,
    request: DeidRequest,
    surveyed: Surveyed,
    code: str,
    history: History | None = None,
    *,
    shift_days: int = 0,
) -> DeidPlan:
    """Return the plan for the subject ``code``.

    Parameters
    ----------
    history
        What the journals say of the subject; None where they cannot be opened (no password).
    shift_days
        By how many days the subject's dates are moved already.
    """
    history = history or History()
    made = plan_deid(
        surveyed.discovery,
        code=code,
        belongs=surveyed.belongs,
        person=surveyed.given,
        existing=existing_segments(run.catalog, code, history.folders, shift_days=shift_days),
        zone=site_zone(run),
        taken=[*_standing(request.out, code), *history.places],
        copy=request.copy,
    )
    return shifted_plan(made, shift_days)


def _standing(out: Path | None, code: str) -> Iterator[str]:
    """Yield every path of the subject below OUT, folders too: whatever it is, nothing may take its name."""
    if out is not None:
        for name in subject_folders(code):
            yield from (path.relative_to(out).as_posix() for path in (out / name).rglob("*"))


def site_zone(run: Run) -> ZoneInfo | None:
    """Return the time zone of the recording site, None where the settings name none."""
    name = run.home.settings().time_zone
    return clinical_zone(name) if name else None


def plan(run: Run, request: DeidRequest, password: PasswordSource | None) -> tuple[DeidPlan, Surveyed]:
    """Make the plan and tell it; with a password a returning patient is recognised.

    A person nobody knows yet gets a code for show; the real one is drawn by ``apply``.

    Raises
    ------
    UsageError
        There is nothing to plan, or the person withdrew.
    """
    check_code(request.code)
    keys = _keys_if_useful(run, password)
    key = keys.file.read() if keys else LinkingKey()
    surveyed = survey(of_known_person(request, key))
    if surveyed.problem is not None:
        raise surveyed.problem
    known = recognise(key, surveyed.identifiers, request.code) if keys else None
    code = known.person.code if known and known.person else request.code
    if code is not None:
        refuse_more_data(run, code)
    history = None
    if keys is not None and code is not None:
        history = journals_of(run, keys).history(code)
    made = _plan_shifted(run, request, surveyed, code or new_code(()), known.person if known else None, history)
    _tell_person(run, known, code)
    _tell_cut_run(run, code)
    tell_plan(run, made, site_zone(run))
    tell_decisions(run, surveyed.identifiers, near=request.near)
    run.message = verdict(made)
    if made.conflicts:
        run.tally.note(ExitStatus.CONFLICT)
    return made, surveyed


def _plan_shifted(
    run: Run, request: DeidRequest, surveyed: Surveyed, code: str, person: Person | None, history: History | None
) -> DeidPlan:
    """Return the plan; where dates are or will be shifted and nobody can say by how much, by a number for show."""
    with run.catalog.read() as tx:
        is_marked = has_shifted_dates(tx, code)
    if history is None and is_marked:
        days = 0
    else:
        keep = request.keep_native_content
        known = history or History()
        days = check_shift(run, code, person, known, wanted=request.shift_dates, keep_native_content=keep)
    made = make_plan(run, request, surveyed, code, history, shift_days=days)
    if days:
        tell_shift(run, code)
    elif request.shift_dates or is_marked:
        made = shifted_plan(made, choose_shift(made))
        tell_shift(run, code, example=True)
    return made


def _keys_if_useful(run: Run, password: PasswordSource | None) -> OpenedKeys | None:
    """Open the linking key if there is one, and say so if nobody gave the password."""
    if not run.home.linking_key.exists():
        return None
    if password is None:
        message = (
            "without the password a returning patient is not recognised: the code and the numbers shown may not be "
            "the ones that apply will use"
        )
        run.tell(Item(action="plan", status="note", message=message))
        return None
    return open_keys(run.home, run.catalog, password)


def _tell_cut_run(run: Run, code: str | None) -> None:
    with run.catalog.read() as tx:
        is_open = code is not None and bool(subjects.open_journals(tx, code))
    if is_open:
        message = "an earlier run on this subject was cut: apply finishes it first, so that the plan will be another"
        run.tell(Item(action="plan", status="note", subject=code, message=message))


def _tell_person(run: Run, known: Recognised | None, code: str | None) -> None:
    if known is not None:
        run.tell(Item(action="plan", status="note", message=known.message))
        if known.question:
            run.tell(Item(action="plan", status="note", message=f"apply will ask: {known.question}"))
    if code is None:
        message = "a new subject: ecogsafe deid apply draws the code; the one shown here is an example"
        run.tell(Item(action="plan", status="note", message=message))
