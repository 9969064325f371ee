"""Carries an undo journal out, from the start or from wherever an earlier run was cut (DESIGN 5.4).

In place the order is that of apply turned round: move out of OUT, fsync both folders, and only then old
bytes, so that nothing uncleaned is ever visible under OUT, not even after a power cut.
"""

from __future__ import annotations

from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, ExitStatus
from ecogsafe.deid import mover
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.export_place import check_export
from ecogsafe.deid.journal import Entry, Journal, Mode
from ecogsafe.deid.judge import State, judge
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.work import Numbered, Work, reason_of, remove_marker, set_marker, stuck

_ALTERED = "changed under OUT since apply"
_LOST = "no longer under OUT; if it was freed, ecogsafe download brings it back"
_NO_SOURCE = "its source is gone, so that this copy may be the only one"
_TAKEN = "its old name is taken by another file"
_WHY = {
    State.ALTERED: _ALTERED,
    State.LOST: _LOST,
    State.CHANGED: "its source changed since apply",
    State.MOVED: _NO_SOURCE,
}


def can_go_back(disk: Disk, journal: Journal, entry: Entry, *, is_begun: bool) -> tuple[bool, str]:
    """Return whether there is something to take back that may be, and why not where there is and may not.

    Parameters
    ----------
    is_begun
        Apply was about to change it where it lies: another time there may be all that came of it.
    """
    state = judge(disk, journal, entry)
    if state in (State.ALTERED, State.LOST):
        return False, _WHY[state]
    if journal.mode is Mode.IN_PLACE:
        if state is State.MOVED and disk.lstat(entry.source) is not None:
            return False, _TAKEN
        is_touched = state is State.TOUCHED and is_begun
        return is_touched or state in (State.MOVED, State.LINKED, State.PATCHED, State.MIXED), ""
    if state is State.MOVED:
        return journal.mode is Mode.ACROSS, "" if journal.mode is Mode.ACROSS else _NO_SOURCE
    if state is State.CHANGED and disk.lstat(journal.target(entry)) is not None:
        return False, _WHY[state]
    return state is State.COPIED, ""


def go_back(work: Work) -> Outcome:
    """Take back the entries of the undo journal.

    Raises
    ------
    UsageError
        The disk of EXPORT is not mounted; the journal stays open.
    InterruptedRunError
        Asked to stop; the journal stays open.
    NoSpaceError
        The disk is full; the journal stays open.
    SourceUnreadableError
        A file cannot be put back now; the journal stays open.
    OSError
        The disk cannot even be asked; the journal stays open.
    """
    journal = work.journal
    check_export(work.disk, journal, journal.entries, resumed=True)
    set_marker(work.disk, journal)
    if journal.reverses is not None:
        # from here on the undo is what is open; a cut apply must not go on after it
        work.journals.end(journal.reverses)
    step = _in_place if journal.mode is Mode.IN_PLACE else _by_copy
    behind = 0
    for group in reversed(work.groups()):
        work.check_stop()
        _remake_folders(work, group)
        step(work, group)
        behind += len(group)
        work.progress(behind)
    _restore_folders(work)
    remove_marker(work.disk, journal)
    work.journals.end(journal.id)
    return work.outcome


def _in_place(work: Work, group: list[Numbered]) -> None:
    disk, journal = work.disk, work.journal
    back: list[Numbered] = []
    left: list[int] = []
    for index, entry in group:
        target = journal.target(entry)
        state = judge(disk, journal, entry)
        try:
            if state is State.MOVED:
                mover.move(disk, target, entry.source, inode=entry.inode)
            elif state is State.LINKED:
                mover.finish_link(disk, keep=entry.source, drop=target)
            elif state in (State.ALTERED, State.CHANGED, State.LOST):
                mover.put_back(disk, entry)
                work.not_done(entry, _WHY[state], ExitStatus.PARTIAL)
                left.append(index)
                continue
            back.append((index, entry))
        except OSError as error:
            work.failed(entry, error)
            left.append(index)
    work.sync_folders(e.source.parent for _, e in back)
    work.sync_folders(folder for folder in _target_folders(journal, group) if disk.lstat(folder) is not None)
    for index, entry in list(back):
        try:
            mover.restore_source(disk, entry)
        except OSError as error:
            raise stuck(entry, error) from None
        except EcogsafeError as error:
            work.failed(entry, error)
            back.remove((index, entry))
            left.append(index)
    _note(work, back, left)


def _note(work: Work, back: list[Numbered], left: list[int]) -> None:
    known = work.marks.done
    work.journals.mark(work.journal.id, done=[i for i, _ in back if i not in known], left=left)
    for index, entry in back:
        work.done(entry, before=index in known)


def _target_folders(journal: Journal, group: list[Numbered]) -> list[Path]:
    return [journal.target(entry).parent for _, entry in group]


def _by_copy(work: Work, group: list[Numbered]) -> None:
    disk, journal = work.disk, work.journal
    back: list[Numbered] = []
    left: list[int] = []
    for index, entry in group:
        try:
            problem = _take_copy_back(work, entry)
            if problem:
                work.not_done(entry, problem, ExitStatus.PARTIAL)
                left.append(index)
            else:
                back.append((index, entry))
        except (OSError, EcogsafeError) as error:
            work.failed(entry, error)
            left.append(index)
    folders = [*_target_folders(journal, group), *(e.source.parent for _, e in back)]
    work.sync_folders(folder for folder in folders if disk.lstat(folder) is not None)
    _note(work, back, left)


def _take_copy_back(work: Work, entry: Entry) -> str:
    """Remove the copy under OUT once its source is proved to stand; return why not, if not."""
    disk, journal = work.disk, work.journal
    target = journal.target(entry)
    state = judge(disk, journal, entry)
    if state in (State.ORIGINAL, State.TOUCHED):
        return ""
    if state is State.MOVED and journal.mode is Mode.ACROSS:
        mover.copy_back(disk, entry, target)
        disk.sync_folder(entry.source.parent)
        state = judge(disk, journal, entry)
    if state is not State.COPIED:
        return _WHY[state]
    if not mover.is_copy_of(disk, entry, target):
        return _ALTERED
    disk.unlink(target)
    return ""


def _remake_folders(work: Work, group: list[Numbered]) -> None:
    """Make source folders again that were removed since, with the mode they had."""
    modes = {folder.path: folder.mode for folder in work.journal.source_folders}
    for path in dict.fromkeys(entry.source.parent for _, entry in group):
        missing = []
        while work.disk.lstat(path) is None and path != path.parent:
            missing.append(path)
            path = path.parent  # noqa: PLW2901 - climbs to the nearest folder that exists
        for folder in reversed(missing):
            work.disk.make_folder(folder, modes.get(folder, 0o750))
            work.disk.sync_folder(folder.parent)


def _restore_folders(work: Work) -> None:
    """Give source folders their times back, and take away what apply made under OUT and is empty now."""
    journal = work.journal
    deepest_first = sorted(journal.source_folders, key=lambda f: len(f.path.parts), reverse=True)
    for folder in deepest_first:
        if work.disk.lstat(folder.path) is None:
            continue
        try:
            work.disk.restore_folder(folder.path, mode=folder.mode, atime_ns=folder.atime_ns, mtime_ns=folder.mtime_ns)
        except OSError as error:
            work.note(f"a folder of EXPORT keeps its new time ({reason_of(error)})")
    for name in reversed(journal.folders_created):
        path = journal.out_root / name
        try:
            if work.disk.lstat(path) is not None and work.disk.remove_folder(path):
                work.disk.sync_folder(path.parent)
        except OSError as error:
            work.note(f"OUT/{name} stays, empty ({reason_of(error)})")
