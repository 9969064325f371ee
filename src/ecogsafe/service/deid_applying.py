"""``deid apply``: the plan carried out under a journal, read back, searched, cleared."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from ecogsafe.catalog import clearances, subjects
from ecogsafe.core.errors import ExitStatus, PlanConflictError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.deid.apply import ApplyOptions, apply_plan, continue_journal
from ecogsafe.deid.journal import Entry, Journal
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.planned import DeidPlan, Part
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.kinds import RECORDING_KINDS, Kind
from ecogsafe.formats.regions import Patch
from ecogsafe.formats.request import CleaningRequest
from ecogsafe.service.deid_planning import DeidRequest, make_plan, other_matcher, survey, tell_plan, verdict
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.key_backup import back_up_keys
from ecogsafe.service.persons import Confirm, OpenedKeys, check_code, open_keys, settle_person
from ecogsafe.service.running import Run
from ecogsafe.service.scanning import (
    ScanTarget,
    finding_summary,
    record_clearances,
    scan_targets,
    target_below_out,
)
from ecogsafe.service.segment_records import note_planned, note_published

Clean = Callable[[Kind, BinaryIO, str], Iterable[Patch]]


@dataclass(frozen=True, slots=True)
class RecordedJournals(JournalFolder):
    """The journals of the home, each also known to the catalogue and backed up before anything moves."""

    run: Run | None = None
    plan: DeidPlan | None = None

    def write(self, journal: Journal) -> None:
        """Write and prove the journal, note it and the numbers it gives away, and copy it to a second place."""
        JournalFolder.write(self, journal)
        if self.run is None:
            return
        digest = hashlib.sha256(self.path(journal.id).read_bytes()).hexdigest()
        with self.run.catalog.write() as tx:
            if self.plan is not None:
                note_planned(tx, journal.subject, self.plan.segments)
            subjects.open_journal(
                tx,
                journal.id,
                subject=journal.subject,
                kind=journal.kind.value,
                sha256=digest,
                undoes=journal.reverses,
            )
        tell_key_backup(self.run)

    def end(self, name: str) -> None:
        """Note the end in the marks and in the catalogue."""
        JournalFolder.end(self, name)
        if self.run is not None:
            with self.run.catalog.write() as tx:
                if subjects.journal(tx, name) is not None:
                    subjects.close_journal(tx, name)


def journals_of(run: Run, keys: OpenedKeys, plan: DeidPlan | None = None) -> RecordedJournals:
    """Return the home's journals, sealed to every recipient and opened with the lab key."""
    return RecordedJournals(
        folder=run.home.journals,
        seal=lambda plain: seal(plain, keys.recipients),
        open_sealed=lambda sealed: open_sealed(sealed, [keys.identity]),
        run=run,
        plan=plan,
    )


def tell_key_backup(run: Run) -> None:
    """Copy keys and journals to their second places and say where they stand."""
    copies = back_up_keys(run.home, run.catalog)
    for url, problem in copies.failed:
        run.tally.note(ExitStatus.PARTIAL)
        run.tell(Item(action="key-backup", status="failed", store=url, message=problem))
    if not copies.complete and not copies.failed:
        message = "the linking key has no second copy: set [key_backup] urls, or a file:// destination, in config.toml"
        run.tell(Item(action="key-backup", status="note", message=message))


def apply(run: Run, request: DeidRequest, password: PasswordSource, confirm: Confirm) -> None:
    """Carry out the whole: recognise, plan, journal, patch, move, read back, clear.

    Raises
    ------
    PlanConflictError
        The plan has conflicts; nothing was changed.
    EcogsafeError
        What stops the run; nothing is lost or half-done, the same command goes on.
    """
    if request.out is None:
        raise UsageError("--to", "is missing", next="name the OUT folder")
    check_code(request.code)
    keys = open_keys(run.home, run.catalog, password)
    request = _make_out(request)
    surveyed = survey(request)
    person, key = settle_person(keys, surveyed.identifiers, request.code, confirm)
    run.hold_subject(person.code, shared=False)
    with run.catalog.write() as tx:
        subjects.add_subject(tx, person.code, revision=person.revision)
        subjects.set_revision(tx, person.code, person.revision)
    run.tell(Item(action="apply", status="note", subject=person.code, message=f"the subject's code is {person.code}"))
    finished = _continue(run, keys, person.code)
    if finished is not None:
        surveyed = survey(request) if _still_there(request.export) else surveyed
    plan = make_plan(run, request, surveyed, person.code)
    tell_plan(run, plan)
    if plan.conflicts:
        raise PlanConflictError(
            person.code,
            f"the plan has {len(plan.conflicts)} conflicts",
            next="ecogsafe deid plan shows them; move one of the sources out of EXPORT",
        )
    outcome = _carry_out(run, request, keys, plan, person)
    done = [*(finished.done if finished else []), *outcome.done]
    _after(run, request.out or Path(), person, key, done, outcome)
    run.message = f"{run.message}; {verdict(plan)}" if run.message else verdict(plan)
    if not any(s.status is not ExitStatus.DONE for s in outcome.not_done):
        run.counts["segments"] = len(plan.segments)


def _make_out(request: DeidRequest) -> DeidRequest:
    out = request.out
    if out is not None and not out.exists():
        try:
            out.mkdir(mode=0o750, parents=True)
        except OSError as error:
            raise UsageError(
                "OUT", f"cannot be made ({error.strerror})", next="choose another folder with --to"
            ) from None
    return request


def _still_there(export: Path) -> bool:
    return export.is_dir()


def _continue(run: Run, keys: OpenedKeys, code: str) -> Outcome | None:
    """Finish a journal that an earlier run left open."""
    journals = journals_of(run, keys)
    name = journals.open_id(code)
    if name is None:
        return None
    run.tell(
        Item(
            action="apply", status="note", subject=code, message="an earlier run was cut: its journal is finished first"
        )
    )
    with run.catalog.write() as tx:
        if subjects.journal(tx, name) is None:
            digest = hashlib.sha256(journals.path(name).read_bytes()).hexdigest()
            journal = journals.read(name)
            subjects.open_journal(
                tx, name, subject=code, kind=journal.kind.value, sha256=digest, undoes=journal.reverses
            )
    outcome = continue_journal(name, journals=journals, events=run.tell, stop=run.stop.is_set)
    journals.end(name)
    return outcome


def cleaner(request: DeidRequest, person: Person) -> Clean:
    """Return the recipe: what must change in a file of this person."""
    matcher = Matcher(person.identifiers)

    def clean(kind: Kind, file: BinaryIO, stem: str) -> Iterable[Patch]:
        wanted = CleaningRequest(code=person.code, stem=stem, find=matcher.find, annotations=request.annotations)
        return patches(kind, file, wanted)

    return clean


def _carry_out(run: Run, request: DeidRequest, keys: OpenedKeys, plan: DeidPlan, person: Person) -> Outcome:
    out = request.out or Path()
    return apply_plan(
        plan,
        out=out,
        journals=journals_of(run, keys, plan),
        clean=cleaner(request, person),
        events=run.tell,
        options=ApplyOptions(
            copy=request.copy, settle_s=request.settle_s, keep_native_content=request.keep_native_content
        ),
        stop=run.stop.is_set,
    )


def _after(run: Run, out: Path, person: Person, key: LinkingKey, done: list[Entry], outcome: Outcome) -> None:
    """Note what stands, search it, clear it, and copy the keys once more."""
    run.tally.done += len(done)
    run.tally.bytes += sum(entry.size for entry in done)
    for left in outcome.not_done:
        run.tally.note(left.status)
        if left.status is ExitStatus.SOURCE_CHANGED:
            run.tally.left_behind += 1
        else:
            run.tally.failed += 1
    with run.catalog.write() as tx:
        note_published(tx, person.code, {(entry.segment, part_of(entry)) for entry in done})
        # whatever stood there before was other bytes
        clearances.withdraw_clearances(tx, [(entry.tree.value, entry.target) for entry in done])
    targets = [t for entry in done if (t := target_below_out(out.absolute() / entry.place)) is not None]
    scanned = _scan(run, targets, person, key)
    run.message = f"{person.code}: {scanned}"
    tell_key_backup(run)


def _scan(run: Run, targets: list[ScanTarget], person: Person, key: LinkingKey) -> str:
    if not targets:
        return "nothing was moved"
    others = other_matcher(key, person.code)
    matchers = [Matcher(person.identifiers), *([others] if others else [])]
    outcome = scan_targets(run, targets, matchers, clear=(person.code, person.revision))
    record_clearances(run, outcome)
    run.counts["cleared"] = len(outcome.cleared)
    run.counts["findings"] = outcome.findings
    return finding_summary(outcome)


def part_of(entry: Entry) -> Part:
    """Return which part of its segment a journal entry belongs to."""
    if entry.kind in RECORDING_KINDS:
        return Part.RECORDING
    return {Kind.VTC_TEXT: Part.VTC_TEXT, Kind.SNC_TEXT: Part.SNC_TEXT}.get(entry.kind, Part.STUDY)
