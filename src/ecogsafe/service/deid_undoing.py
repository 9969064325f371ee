"""``deid undo``: the newest apply taken back, byte for byte."""

from __future__ import annotations

from ecogsafe.catalog import clearances, copies
from ecogsafe.core.errors import ExitStatus, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.apply import continue_journal
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.journal import JournalKind
from ecogsafe.deid.undo import undo_apply
from ecogsafe.service.deid_applying import journals_of, part_of, tell_key_backup
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import Confirm, open_keys
from ecogsafe.service.running import Run
from ecogsafe.service.segment_records import note_taken_back


def undo(run: Run, code: str, journal_id: str | None, password: PasswordSource, confirm: Confirm) -> None:
    """Take the newest apply of ``code`` back; copies in stores are not touched, and are asked about."""
    if not is_code(code):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
    keys = open_keys(run.home, run.catalog, password)
    run.hold_subject(code, shared=False)
    with run.catalog.read() as tx:
        stored = copies.copies_of_subject(tx, code)
    if stored:
        confirm(
            f"{len(stored)} copies of {code} stand in stores and stay there. Take the local files back all the same?"
        )
    journals = journals_of(run, keys)
    open_id = journals.open_id(code)
    if open_id is not None and journals.read(open_id).kind is JournalKind.UNDO:
        run.tell(Item(action="undo", status="note", subject=code, message="an earlier undo was cut: it is finished"))
        outcome = continue_journal(open_id, journals=journals, events=run.tell, stop=run.stop.is_set)
    else:
        outcome = undo_apply(code, journals=journals, events=run.tell, only=journal_id, stop=run.stop.is_set)
        if open_id is not None:
            journals.end(open_id)
    run.tally.done += len(outcome.done)
    run.tally.bytes += outcome.bytes
    run.tally.skipped += len(outcome.not_done)
    if outcome.not_done:
        run.tally.note(ExitStatus.PARTIAL)
    with run.catalog.write() as tx:
        note_taken_back(tx, code, {(entry.segment, part_of(entry)) for entry in outcome.done})
        clearances.withdraw_clearances(tx, [(entry.tree.value, entry.target) for entry in outcome.done])
    tell_key_backup(run)
    run.message = f"{len(outcome.done)} files are back where they were, {len(outcome.not_done)} were left as they are"
