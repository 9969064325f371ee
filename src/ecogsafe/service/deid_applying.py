"""``deid apply``: the plan carried out under a journal, read back, searched, cleared."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from ecogsafe.core.errors import ExitStatus, PlanConflictError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.apply import ApplyOptions, apply_plan, continue_journal
from ecogsafe.deid.date_shift import choose_shift, shifted_plan
from ecogsafe.deid.journal import Entry, JournalKind
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.planned import DeidPlan
from ecogsafe.deid.prepare import Clean, check_places
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.regions import Patch
from ecogsafe.formats.request import CleaningRequest
from ecogsafe.service.acts import note_act
from ecogsafe.service.date_shifts import KEPT, SHIFTED, check_shift, refuse_shift, tell_shift
from ecogsafe.service.deid_clearing import Cleared, clear_standing, note_subject
from ecogsafe.service.deid_journals import RecordedJournals, journals_of, tell_key_backup, told_truly
from ecogsafe.service.deid_planning import (
    DeidRequest,
    Surveyed,
    make_plan,
    of_known_person,
    says_who,
    site_zone,
    survey,
)
from ecogsafe.service.deid_telling import tell_plan, verdict
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import (
    Confirm,
    OpenedKeys,
    check_code,
    choose_code,
    enter_person,
    is_command_of,
    open_keys,
    recognise,
)
from ecogsafe.service.running import Run
from ecogsafe.service.statement import LEFT_BEHIND, OPTIONS
from ecogsafe.service.withdrawal import refuse_more_data


def apply(run: Run, request: DeidRequest, password: PasswordSource, confirm: Confirm) -> None:
    """Carry out the whole: finish what was cut, recognise, plan, journal, patch, move, read back, clear.

    Nothing is written, not even to the linking key, before the plan stands without conflict.

    Raises
    ------
    PlanConflictError
        The plan has conflicts; nothing was changed.
    EcogsafeError
        What stops the run; nothing is lost or half-done, the same command goes on.
    """
    out = request.out
    if out is None:
        raise UsageError("--to", "is missing", next="name the OUT folder")
    check_code(request.code)
    check_places(request.export.absolute(), out.absolute())
    keys = open_keys(run.home, run.catalog, password)
    finished = _finish_cut_runs(run, request, keys)
    key = keys.file.read()
    surveyed = survey(of_known_person(request, key))
    if surveyed.problem is not None:
        _end_without_plan(run, request, keys, finished, surveyed.problem, confirm)
        return
    known = recognise(key, surveyed.identifiers, request.code)
    if known.question:
        confirm(known.question)
    code = choose_code(run.catalog, key, known, request.code)
    if _finish_subject(run, keys, code, key):
        surveyed = survey(of_known_person(request, key))
        if surveyed.problem is not None:
            _end_without_plan(run, request, keys, [*finished, code], surveyed.problem, confirm)
            return
    made = _plan(run, request, keys, surveyed, code)
    tell_plan(run, made, site_zone(run))
    if made.conflicts:
        raise PlanConflictError(
            code,
            f"the plan has {len(made.conflicts)} conflicts",
            next="ecogsafe deid plan shows them; move one of the sources out of EXPORT",
        )
    if not made.moves and known.person is None:
        run.message = f"{verdict(made)}: nothing of it can be moved"
        return
    if made.moves:
        _make_out(out)
    is_first_shift = bool(made.shift_days) and not (known.person and known.person.date_shift_days)
    person, key = enter_person(keys, known, code, surveyed.identifiers, shift_days=made.shift_days)
    if is_first_shift:
        # the number must have its second copy before a single date is moved by it
        tell_key_backup(run)
    note_subject(run, person)
    _note_request(run, request, made)
    run.tell(Item(action="apply", status="note", subject=code, message=f"the subject's code is {code}"))
    with told_truly(journals_of(run, keys), code):
        done = _carry_out(run, request, keys, made, person).done if made.moves else []
        cleared = _clear(run, out, person, key, done, keep_native=request.keep_native_content, near=request.near)
        tell_key_backup(run)
    run.message = _message(code, verdict(made), cleared)


def _plan(run: Run, request: DeidRequest, keys: OpenedKeys, surveyed: Surveyed, code: str) -> DeidPlan:
    """Return the plan for the subject, which is held; at its first ``--shift-dates`` the number is drawn here."""
    history = journals_of(run, keys).history(code)
    keep = request.keep_native_content
    # read again: until the subject was held, another run may have entered something
    person = keys.file.read().person(code)
    days = check_shift(run, code, person, history, wanted=request.shift_dates, keep_native_content=keep)
    made = make_plan(run, request, surveyed, code, history, shift_days=days)
    if request.shift_dates and not days and made.moves:
        made = shifted_plan(made, choose_shift(made))
    if made.shift_days:
        tell_shift(run, code)
    return made


def _note_request(run: Run, request: DeidRequest, made: DeidPlan) -> None:
    """Put into the record what was asked for and what stays behind, by reason: the statement rests on it."""
    native = "native content kept" if request.keep_native_content else "native content cleaned"
    spellings = "exact and near spellings" if request.near else "exact spellings"
    left = Counter(left.reason for left in made.left)
    with run.catalog.write() as tx:
        note_act(
            tx,
            run,
            OPTIONS,
            subject=made.code,
            result=f"{SHIFTED if made.shift_days else KEPT}; annotations: {request.annotations}; {spellings}; {native}",
        )
        words = "; ".join(f"{count} x {reason}" for reason, count in sorted(left.items())) or "nothing"
        note_act(tx, run, LEFT_BEHIND, subject=made.code, result=words)


def _make_out(out: Path) -> None:
    try:
        out.mkdir(mode=0o750, parents=True, exist_ok=True)
    except OSError as error:
        raise UsageError(
            "OUT", f"cannot be made ({os.strerror(error.errno or 0)})", next="choose another folder with --to"
        ) from None
    if not os.access(out, os.W_OK | os.X_OK):
        raise UsageError("OUT", "cannot be written", next="check its permissions, or choose another folder with --to")


def _finish_cut_runs(run: Run, request: DeidRequest, keys: OpenedKeys) -> list[str]:
    """Carry the journals that this very command left open to their end; return their subjects.

    They come before the look at EXPORT: what such a run has moved, or is half through with, says nothing any more.
    """
    journals = journals_of(run, keys)
    key = keys.file.read()
    finished = []
    for name in journals.unfinished():
        code = name.split("-", 1)[0]
        person = key.person(code)
        if person is None or not is_command_of(person, request.identifiers, request.code):
            continue
        if _same_place(journals.read(name).export_root, request.export):
            _finish_subject(run, keys, code, key)
            finished.append(code)
    return finished


def _finish_subject(run: Run, keys: OpenedKeys, code: str, key: LinkingKey) -> bool:
    """Hold the subject, and carry a journal that an earlier run left open to its end; return whether there was one."""
    run.hold_subject(code, shared=False)
    refuse_more_data(run, code)
    journals = journals_of(run, keys)
    journals.settle(code)
    name = journals.open_id(code)
    if name is None:
        return False
    message = "an earlier run was cut: its journal is finished first"
    run.tell(Item(action="apply", status="note", subject=code, message=message))
    journal = journals.read(name)
    with told_truly(journals, code):
        outcome = continue_journal(name, journals=journals, events=run.tell, stop=run.stop.is_set)
        _count(run, outcome)
        person = key.person(code)
        if person is not None:
            note_subject(run, person)
            if journal.kind is JournalKind.APPLY:
                # the journal does not say what was to be kept, so whatever was not cleaned counts as kept
                _clear(run, journal.out_root, person, key, outcome.done, keep_native=True)
    return True


def _same_place(first: Path, second: Path) -> bool:
    try:
        return first.samefile(second)
    except OSError:
        return first.resolve() == second.resolve()


def _end_without_plan(
    run: Run, request: DeidRequest, keys: OpenedKeys, finished: list[str], problem: UsageError, confirm: Confirm
) -> None:
    """End well where an earlier run took everything out of EXPORT; files it had no time to search are searched now.

    Raises
    ------
    UsageError
        ``problem``: nobody has ever de-identified this EXPORT.
    """
    journals = journals_of(run, keys)
    told = []
    for code, outs in _earlier_applies(journals, keys.file.read(), request).items():
        run.hold_subject(code, shared=False)
        refuse_more_data(run, code)
        journals.settle(code)
        known = recognise(keys.file.read(), request.identifiers, code)
        if known.question and says_who(request.identifiers):
            confirm(known.question)
        if request.shift_dates and not (known.person and known.person.date_shift_days):
            refuse_shift(code)
        person, key = enter_person(keys, known, code, request.identifiers)
        note_subject(run, person)
        for out in sorted(outs):
            cleared = _clear(run, out, person, key, [], keep_native=request.keep_native_content, near=request.near)
            told.append(_message(code, "nothing new in EXPORT", cleared))
    if not told and not finished:
        raise problem
    tell_key_backup(run)
    run.message = "; ".join(told) or f"{', '.join(finished)}: finished"


def _earlier_applies(journals: RecordedJournals, key: LinkingKey, request: DeidRequest) -> dict[str, set[Path]]:
    """Return the OUT folders, by subject, where something stands that this very command took out of EXPORT."""
    found: dict[str, set[Path]] = {}
    for person in key.persons:
        if not is_command_of(person, request.identifiers, request.code):
            continue
        standing = journals.history(person.code).places
        for name in journals.ids(person.code):
            journal = journals.read(name)
            ours = journal.kind is JournalKind.APPLY and _same_place(journal.export_root, request.export)
            if ours and any(entry.place in standing for entry in journal.entries):
                found.setdefault(person.code, set()).add(journal.out_root)
    return found


def cleaner(request: DeidRequest, person: Person) -> Clean:
    """Return the recipe: what must change in a file of this person."""
    matcher = Matcher(person.identifiers, near=request.near)

    def clean(kind: Kind, file: BinaryIO, stem: str) -> Iterable[Patch]:
        wanted = CleaningRequest(
            code=person.code,
            stem=stem,
            find=matcher.find,
            find_near=matcher.find_near if request.near else None,
            annotations=request.annotations,
            shift_days=person.date_shift_days or 0,
        )
        return patches(kind, file, wanted)

    return clean


def _carry_out(run: Run, request: DeidRequest, keys: OpenedKeys, made: DeidPlan, person: Person) -> Outcome:
    outcome = apply_plan(
        made,
        out=request.out or Path(),
        journals=journals_of(run, keys, made),
        clean=cleaner(request, person),
        events=run.tell,
        options=ApplyOptions(
            copy=request.copy, settle_s=request.settle_s, keep_native_content=request.keep_native_content
        ),
        stop=run.stop.is_set,
    )
    _count(run, outcome)
    return outcome


def _count(run: Run, outcome: Outcome) -> None:
    run.tally.done += len(outcome.done)
    run.tally.bytes += outcome.bytes
    for left in outcome.not_done:
        run.tally.note(left.status)
        if left.status is ExitStatus.SOURCE_CHANGED:
            run.tally.left_behind += 1
        else:
            run.tally.failed += 1


def _clear(
    run: Run,
    out: Path,
    person: Person,
    key: LinkingKey,
    done: list[Entry],
    *,
    keep_native: bool,
    near: bool = False,
) -> Cleared:
    fresh = {entry.place for entry in done}
    return clear_standing(run, out, person, key, fresh=fresh, keep_native=keep_native, near=near)


def _message(code: str, verdict_of_plan: str, cleared: Cleared) -> str:
    return "; ".join(part for part in (f"{code}: {verdict_of_plan}", cleared.words) if part)
