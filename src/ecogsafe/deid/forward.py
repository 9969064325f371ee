"""Carries an apply journal out, from the start or from wherever an earlier run was cut (DESIGN 5.4).

In place: note which files are to be changed, patch at the old place, fsync, move into OUT without replacing,
fsync both folders, mark. Across file systems: clean copy, fsync, read back, move in, mark; sources go when their
whole segment stands. Each entry begins with a look at the disk, so that repeating a step does no harm.
"""

from __future__ import annotations

import errno

from ecogsafe.core.errors import EcogsafeError, ExitStatus
from ecogsafe.deid import mover
from ecogsafe.deid.journal import Entry, Mode
from ecogsafe.deid.judge import State, judge
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.prepare import make_folders
from ecogsafe.deid.work import Numbered, Work, remove_marker, set_marker

_LEFT = "given up by an earlier run"
_NOT_OURS = {
    State.TOUCHED: "changed since the plan",
    State.CHANGED: "changed since the plan",
    State.LOST: "vanished since the plan",
}


def go_forward(work: Work) -> Outcome:
    """Carry the journal out to its end.

    Raises
    ------
    InterruptedRunError
        Asked to stop; the journal stays open.
    NoSpaceError
        The disk is full; the journal stays open.
    SourceUnreadableError
        A file can be neither finished nor put back; the journal stays open.
    OSError
        The disk cannot even be asked; the journal stays open.
    """
    journal = work.journal
    set_marker(work.disk, journal)
    make_folders(work.disk, journal.out_root, journal.folders_created)
    step = _in_place if journal.mode is Mode.IN_PLACE else _by_copy
    behind = 0
    for group in work.groups():
        work.check_stop()
        step(work, group)
        behind += len(group)
        work.progress(behind)
    # a cut in between leaves an open journal, which the next run ends; the other way round a marker would stay
    remove_marker(work.disk, journal)
    work.journals.end(journal.id)
    return work.outcome


def _in_place(work: Work, group: list[Numbered]) -> None:
    disk, journal = work.disk, work.journal
    here: list[tuple[int, Entry, State]] = []
    ready: list[Numbered] = []
    moved: list[Numbered] = []
    before: list[Numbered] = []
    left: list[int] = []
    for index, entry in group:
        if index in work.marks.left:
            work.not_done(entry, _LEFT, ExitStatus.SOURCE_CHANGED)
            continue
        state = judge(disk, journal, entry)
        if state in (State.MOVED, State.ALTERED):
            before.append((index, entry))
        elif state is State.LINKED:
            mover.finish_link(disk, keep=journal.target(entry), drop=entry.source)
            moved.append((index, entry))
        elif state in (State.ORIGINAL, State.MIXED, State.PATCHED):
            here.append((index, entry, state))
        elif state is State.TOUCHED and index in work.marks.begun:
            # the kernel changes the time first: a run that is killed as it writes leaves old bytes under a new time
            here.append((index, entry, state))
        else:
            work.give_up(entry, mover.changed(entry, _NOT_OURS[state]))
            left.append(index)
    work.journals.mark(journal.id, begun=[i for i, _, _ in here if i not in work.marks.begun])
    for index, entry, state in here:
        try:
            mover.patch_source(disk, entry, untouched=state is State.ORIGINAL)
            ready.append((index, entry))
        except (OSError, EcogsafeError) as error:
            work.give_up(entry, error)
            left.append(index)
    for index, entry in ready:
        try:
            mover.move(disk, entry.source, journal.target(entry), inode=entry.inode)
            moved.append((index, entry))
        except OSError as error:
            work.give_up(entry, error)
            left.append(index)
    _settle(work, moved, before, left)


def _settle(work: Work, moved: list[Numbered], before: list[Numbered], left: list[int]) -> None:
    """Make the moves of a segment durable, then note them, then tell."""
    # a run that was cut after the rename may have left it undurable, so those of before count too
    both = [entry for _, entry in (*moved, *before)]
    work.sync_folders(work.journal.target(e).parent for e in both)
    work.sync_folders(e.source.parent for e in both if work.disk.lstat(e.source.parent) is not None)
    noted = work.marks.done
    work.journals.mark(work.journal.id, done=[i for i, _ in (*moved, *before) if i not in noted], left=left)
    for _, entry in before:
        work.done(entry, before=True)
    for _, entry in moved:
        work.done(entry)


def _by_copy(work: Work, group: list[Numbered]) -> None:
    disk, journal = work.disk, work.journal
    standing: list[Numbered] = []
    before: list[Numbered] = []
    left: list[int] = []
    for index, entry in group:
        target = journal.target(entry)
        if index in work.marks.left:
            work.not_done(entry, _LEFT, ExitStatus.SOURCE_CHANGED)
            left.append(index)
            continue
        state = judge(disk, journal, entry)
        try:
            if state is State.ORIGINAL:
                mover.copy_in(disk, entry, target)
                standing.append((index, entry))
            elif state is State.COPIED and (index in work.marks.done or mover.is_copy_of(disk, entry, target)):
                standing.append((index, entry))
            elif state is State.MOVED:
                before.append((index, entry))
            elif state in (State.COPIED, State.ALTERED):
                raise FileExistsError(errno.EEXIST, "")
            else:
                raise mover.changed(entry, _NOT_OURS[state])
        except (OSError, EcogsafeError) as error:
            work.failed(entry, error)
            left.append(index)
    work.sync_folders(journal.target(e).parent for _, e in standing)
    new_left = [i for i in left if i not in work.marks.left]
    done = [i for i, _ in standing if i not in work.marks.done]
    work.journals.mark(journal.id, done=done, left=new_left)
    if journal.mode is Mode.ACROSS:
        _remove_sources(work, [e for _, e in standing], whole=not left)
    for _, entry in before:
        work.done(entry, before=True)
    for _, entry in standing:
        work.done(entry)


def _remove_sources(work: Work, standing: list[Entry], *, whole: bool) -> None:
    """Remove the sources of a segment whose clean copies all stand; a source that changed since is kept."""
    if not whole:
        for entry in standing:
            work.not_done(entry, "copied; the source stays because its segment is not whole", ExitStatus.PARTIAL)
        return
    removed = []
    for entry in standing:
        if judge(work.disk, work.journal, entry) is not State.COPIED:
            work.not_done(entry, "copied; the source changed since and stays", ExitStatus.SOURCE_CHANGED)
            continue
        try:
            work.disk.unlink(entry.source)
            removed.append(entry)
        except OSError as error:
            work.failed(entry, error)
    work.sync_folders(e.source.parent for e in removed)
