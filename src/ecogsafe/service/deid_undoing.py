"""``deid undo``: the newest apply taken back, byte for byte."""

from __future__ import annotations

from ecogsafe.catalog import copies
from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.apply import continue_journal
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.journal import JournalKind
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.undo import undo_apply
from ecogsafe.service.deid_clearing import note_subject
from ecogsafe.service.deid_journals import RecordedJournals, journals_of, tell_key_backup, told_truly
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import Confirm, open_keys
from ecogsafe.service.running import Run


def undo(run: Run, code: str, journal_id: str | None, password: PasswordSource, confirm: Confirm) -> None:
    """Take the newest apply of ``code`` back; copies in stores are not touched, and are asked about.

    An undo that was cut is finished, and nothing more is taken back then.
    """
    if not is_code(code):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
    keys = open_keys(run.home, run.catalog, password)
    person = keys.file.read().person(code)
    if person is not None:
        # in a recovered home the catalogue does not know its subjects yet
        note_subject(run, person)
    run.hold_subject(code, shared=False)
    journals = journals_of(run, keys)
    noted_late = [journal for journal in journals.settle(code) if journal.kind is JournalKind.UNDO]
    with told_truly(journals, code):
        outcome = _finish_cut_undo(run, journals, code)
        if outcome is None and noted_late:
            run.message = "an earlier undo had only not been noted in the catalogue; now it is"
            tell_key_backup(run)
            return
        if outcome is None:
            _ask_about_copies(run, code, confirm)
            outcome = undo_apply(code, journals=journals, events=run.tell, only=journal_id, stop=run.stop.is_set)
        run.tally.done += len(outcome.done)
        run.tally.bytes += outcome.bytes
        run.tally.skipped += len(outcome.not_done)
        if outcome.not_done:
            run.tally.note(ExitStatus.PARTIAL)
        tell_key_backup(run)
    run.message = f"{len(outcome.done)} files are back where they were, {len(outcome.not_done)} were left as they are"


def _finish_cut_undo(run: Run, journals: RecordedJournals, code: str) -> Outcome | None:
    name = journals.open_id(code)
    if name is None or journals.read(name).kind is not JournalKind.UNDO:
        return None
    run.tell(Item(action="undo", status="note", subject=code, message="an earlier undo was cut: it is finished"))
    return continue_journal(name, journals=journals, events=run.tell, stop=run.stop.is_set)


def _ask_about_copies(run: Run, code: str, confirm: Confirm) -> None:
    with run.catalog.read() as tx:
        stored = copies.copies_of_subject(tx, code)
    if stored:
        confirm(
            f"{len(stored)} copies of {code} stand in stores and stay there. Take the local files back all the same?"
        )
