"""`undo_apply`: the newest apply of a subject taken back, under a journal of its own (DESIGN 5.4)."""

from __future__ import annotations

from ecogsafe import __version__
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import ExitStatus, LockedError, SourceUnreadableError, UsageError
from ecogsafe.core.events import EventSink
from ecogsafe.deid import mover
from ecogsafe.deid.apply import continue_journal, never
from ecogsafe.deid.backward import can_go_back
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.export_place import check_export
from ecogsafe.deid.journal import Entry, Journal, JournalKind, Mode
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.judge import State, judge
from ecogsafe.deid.outcome import NotDone, Outcome
from ecogsafe.deid.prepare import check_room
from ecogsafe.deid.work import Stop, reason_of


def newest_standing(code: str, *, journals: JournalFolder, disk: Disk | None = None) -> Journal | None:
    """Return the newest apply of the subject of which anything is left to take back, None if there is none.

    Files that were freed still count: an older apply is not taken back from under a newer one.
    """
    disk = disk or Disk()
    for name in reversed(journals.ids(code)):
        journal = journals.read(name)
        if journal.kind is JournalKind.UNDO:
            continue
        if not journals.marks(name).ended or any(_stands(disk, journal, e) for e in _ours(journals, journal)):
            return journal
    return None


def _ours(journals: JournalFolder, journal: Journal) -> list[Entry]:
    """Return the entries that apply carried out and that no undo has taken back yet."""
    left = journals.marks(journal.id).left
    back: set[str] = set()
    names = journals.ids(journal.subject)
    for name in names[names.index(journal.id) + 1 :]:
        done = journals.marks(name).done
        later = journals.read(name)
        if later.reverses == journal.id:
            back.update(e.place for i, e in enumerate(later.entries) if i in done)
    return [e for i, e in enumerate(journal.entries) if i not in left and e.place not in back]


def _stands(disk: Disk, journal: Journal, entry: Entry) -> bool:
    return judge(disk, journal, entry) not in (State.ORIGINAL, State.TOUCHED, State.CHANGED)


def undo_apply(
    code: str,
    *,
    journals: JournalFolder,
    events: EventSink,
    only: str | None = None,
    disk: Disk | None = None,
    stop: Stop = never,
) -> Outcome:
    """Take back the newest apply of the subject, finished or cut; the caller holds the exclusive lock.

    Parameters
    ----------
    only
        Id of the journal that is meant; another one than the newest is refused.

    Returns
    -------
    Outcome
        ``done``: files that are back; ``not_done``: files that are no longer what apply left, or gone.

    Raises
    ------
    UsageError
        There is nothing to take back, ``only`` is not the newest, or the disk of EXPORT is not mounted.
    LockedError
        An earlier undo was cut: continue it first (`continue_journal`).
    InterruptedRunError, NoSpaceError, SourceUnreadableError
        Cut on the way; the undo's journal stays open.
    """
    disk = disk or Disk()
    open_id = journals.open_id(code)
    if open_id is not None and journals.read(open_id).kind is JournalKind.UNDO:
        raise LockedError(code, "an earlier undo was cut and must be continued first")
    try:
        journal = newest_standing(code, journals=journals, disk=disk)
        if journal is None:
            raise UsageError(code, "there is no apply to take back", next="ecogsafe subjects list shows the codes")
        if only is not None and only != journal.id:
            raise UsageError(code, "only the newest apply can be taken back", next=f"--journal {journal.id}")
        plan, not_done = _begin(disk, journals, journal)
    except OSError as error:
        raise SourceUnreadableError(code, f"could not be looked at ({reason_of(error)})") from None
    for left in not_done:
        events(left.event("undo", code, journal.out_root))
    if not plan.entries and journals.marks(journal.id).ended:
        return Outcome(not_done=not_done)
    journals.write(plan)
    outcome = continue_journal(plan.id, journals=journals, events=events, disk=disk, stop=stop)
    outcome.not_done = [*not_done, *outcome.not_done]
    return outcome


def _begin(disk: Disk, journals: JournalFolder, journal: Journal) -> tuple[Journal, list[NotDone]]:
    """Return the undo's journal, not written yet, and what it must leave."""
    entries: list[Entry] = []
    not_done: list[NotDone] = []
    marked = journals.marks(journal.id).begun
    begun = {entry.place for index, entry in enumerate(journal.entries) if index in marked}
    for entry in _ours(journals, journal):
        if journal.mode is not Mode.IN_PLACE:
            mover.drop_part(disk, entry, journal.target(entry).parent)
        wanted, problem = can_go_back(disk, journal, entry, is_begun=entry.place in begun)
        if wanted:
            entries.append(entry)
        elif problem:
            not_done.append(
                NotDone(
                    path=journal.target(entry),
                    place=entry.place,
                    segment=entry.segment,
                    reason=problem,
                    status=ExitStatus.PARTIAL,
                )
            )
    check_export(disk, journal, entries)
    if journal.mode is Mode.ACROSS:
        gone = [e for e in entries if judge(disk, journal, e) is State.MOVED]
        folder = journal.export_root
        while disk.lstat(folder) is None:
            folder = folder.parent
        check_room(disk, folder, gone, Mode.ACROSS)
    plan = Journal(
        id=journals.new_id(journal.subject),
        subject=journal.subject,
        kind=JournalKind.UNDO,
        mode=journal.mode,
        tool=__version__,
        created=utc_stamp(),
        export_root=journal.export_root,
        export_inode=journal.export_inode,
        out_root=journal.out_root,
        entries=tuple(entries),
        folders_created=journal.folders_created,
        source_folders=journal.source_folders,
        reverses=journal.id,
    )
    return plan, not_done
