"""The journals of the home as the catalogue knows them: noted before anything moves, closed with all that follows."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.catalog import audit, clearances, files, subjects
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.errors import EcogsafeError, ExitStatus
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.journal import Entry, Journal, JournalKind
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.layout import DECIMATED, Tree
from ecogsafe.deid.planned import DeidPlan
from ecogsafe.service.key_backup import back_up_keys
from ecogsafe.service.persons import OpenedKeys
from ecogsafe.service.running import Run
from ecogsafe.service.segment_records import (
    SegmentPart,
    note_numbers,
    note_planned,
    note_published,
    note_taken_back,
    part_of,
)

#: what an error says where it says nothing else (`EcogsafeError`)
NOTHING_CHANGED = "Nothing was changed"


@dataclass(frozen=True, slots=True)
class History:
    """What all journals of a subject come to."""

    #: part of a segment by path below OUT: moved in and not taken back
    places: Mapping[str, SegmentPart] = field(default_factory=dict)
    #: source folders of the studies, by number of the segment (private)
    folders: Mapping[int, frozenset[Path]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class RecordedJournals(JournalFolder):
    """The journals of the home, each also known to the catalogue and copied to a second place before anything moves."""

    run: Run
    #: whose numbers are given away together with the next journal
    plan: DeidPlan | None = None
    #: a sealed journal never changes, so it is opened once
    _opened: dict[str, Journal] = field(default_factory=dict, repr=False, compare=False)

    def read(self, name: str) -> Journal:
        """Return the journal ``name``; errors as `JournalFolder.read`."""
        if name not in self._opened:
            self._opened[name] = JournalFolder.read(self, name)
        return self._opened[name]

    def write(self, journal: Journal) -> None:
        """Give the plan's numbers away, write and prove the journal, note it, and copy it to a second place.

        A journal knows files, not recordings: a kill after it must find the numbers noted.
        """
        if self.plan is not None:
            with self.run.catalog.write() as tx:
                note_planned(tx, journal.subject, self.plan.segments, self.plan.shift_days)
        JournalFolder.write(self, journal)
        with self.run.catalog.write() as tx:
            self._note_open(tx, journal)
        tell_key_backup(self.run)

    def end(self, name: str) -> None:
        """Note the end in the marks, then close the journal in the catalogue; may be called again."""
        JournalFolder.end(self, name)
        self._close(name)

    def settle(self, code: str) -> list[Journal]:
        """Bring the catalogue up to what the folder says of ``code``, as a killed run may have left it behind.

        Returns
        -------
        list of Journal
            Those that had ended and were not closed in the catalogue yet.
        """
        with self.run.catalog.read() as tx:
            known = {row.id: row.state for row in subjects.journals_of(tx, code)}
        closed: list[Journal] = []
        names = self.ids(code)
        for name in names:
            if known.get(name) == "closed":
                continue
            if name not in known:
                with self.run.catalog.write() as tx:
                    self._note_open(tx, self.read(name))
            if self.marks(name).ended:
                self._close(name)
                closed.append(self.read(name))
        if not known.keys() >= set(names):
            with self.run.catalog.write() as tx:
                note_numbers(tx, code, set(self.history(code).places.values()))
        return closed

    def unfinished(self) -> list[str]:
        """Return the newest journal that has not ended of every subject that has one. Needs no key."""
        newest: dict[str, str] = {}
        for path in sorted(self.folder.glob("*.age")):
            code = path.stem.split("-", 1)[0]
            if is_code(code) and not self.marks(path.stem).ended:
                newest[code] = path.stem
        return list(newest.values())

    def history(self, code: str) -> History:
        """Return what stands of ``code`` by all its journals, and where its studies came from."""
        places: dict[str, SegmentPart] = {}
        folders: dict[int, frozenset[Path]] = {}
        for name in self.ids(code):
            journal = self.read(name)
            for entry in self._done(journal):
                if journal.kind is JournalKind.APPLY:
                    places[entry.place] = (entry.segment, part_of(entry.kind))
                else:
                    places.pop(entry.place, None)
            for entry in journal.entries:
                if entry.tree is Tree.VIDEO:
                    folders[entry.segment] = folders.get(entry.segment, frozenset()) | {_study_folder(entry)}
        return History(places, folders)

    def _done(self, journal: Journal) -> list[Entry]:
        """Return the entries that were carried out, by the marks."""
        marks = self.marks(journal.id)
        return [e for i, e in enumerate(journal.entries) if i in marks.done and i not in marks.left]

    def _note_open(self, tx: Transaction, journal: Journal) -> None:
        """Note the journal; what stood, or will stand, under its names is from now on not cleared."""
        clearances.withdraw_clearances(tx, [(entry.tree.value, entry.target) for entry in journal.entries])
        # the catalogue of a recovered home knows nobody yet
        subjects.add_subject(tx, journal.subject)
        subjects.open_journal(
            tx,
            journal.id,
            subject=journal.subject,
            kind=journal.kind.value,
            sha256=self._digest(journal.id),
            undoes=journal.reverses,
        )

    def _digest(self, name: str) -> str:
        return hashlib.sha256(self.path(name).read_bytes()).hexdigest()

    def _close(self, name: str) -> None:
        """Note in one step that the journal is closed and what that means for segments and files."""
        with self.run.catalog.read() as tx:
            row = subjects.journal(tx, name)
        if row is not None and row.state == "closed":
            return
        journal = self.read(name)
        done = self._done(journal)
        parts = {(entry.segment, part_of(entry.kind)) for entry in done}
        with self.run.catalog.write() as tx:
            if row is None:
                self._note_open(tx, journal)
            if journal.kind is JournalKind.APPLY:
                note_published(tx, journal.subject, parts)
            else:
                _retire(tx, done)
                note_taken_back(tx, journal.subject, parts, set(self.history(journal.subject).places.values()))
            subjects.close_journal(tx, name)
            audit.append(
                tx,
                run_id=self.run.run_id,
                who=self.run.actor.who,
                host=self.run.actor.host,
                version=self.run.actor.version,
                act=f"deid {journal.kind.value}",
                subject=journal.subject,
                object=name,
                digest=self._digest(name),
                result=f"{len(done)} of {len(journal.entries)} files",
            )


def _study_folder(entry: Entry) -> Path:
    """Return the source folder of the study that a file of the tree ``video`` came from."""
    folder = entry.source.parent
    return folder.parent if f"/{DECIMATED}/" in entry.target else folder


def _retire(tx: Transaction, entries: Iterable[Entry]) -> None:
    rows = (files.file_by_path(tx, entry.tree.value, entry.target) for entry in entries)
    files.retire_files(tx, [row.id for row in rows if row is not None])


def journals_of(run: Run, keys: OpenedKeys, plan: DeidPlan | None = None) -> RecordedJournals:
    """Return the home's journals, sealed to every recipient and opened with the lab key."""
    return RecordedJournals(
        folder=run.home.journals,
        seal=lambda plain: seal(plain, keys.recipients),
        open_sealed=lambda sealed: open_sealed(sealed, [keys.identity]),
        run=run,
        plan=plan,
    )


@contextmanager
def told_truly(journals: RecordedJournals, code: str) -> Iterator[None]:
    """Let no error within say that nothing was changed once a journal has been begun."""
    before = journals.ids(code)
    cut_earlier = journals.open_id(code) is not None
    try:
        yield
    except EcogsafeError as error:
        if error.safe == NOTHING_CHANGED and (cut_earlier or journals.ids(code) != before):
            error.safe = "Every file is either as it was or done, and the journal knows which"
            error.next = error.next or "run the same command again to continue"
        raise


def tell_key_backup(run: Run) -> None:
    """Copy keys and journals to their second places and say where they stand."""
    copies = back_up_keys(run.home, run.catalog)
    for url, problem in copies.failed:
        run.tally.note(ExitStatus.PARTIAL)
        run.tell(Item(action="key-backup", status="failed", store=url, message=problem))
    if not copies.complete and not copies.failed:
        message = "the linking key has no second copy: set [key_backup] urls, or a file:// destination, in config.toml"
        run.tell(Item(action="key-backup", status="note", message=message))
