"""Before anything begins: what each file of a plan will become, and whether the disks allow it.

Reads only. What cannot be handled is left behind with a reason, never passed on.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import BinaryIO

from ecogsafe.core.errors import ExitStatus, MalformedFileError, NoSpaceError, UsageError
from ecogsafe.deid.date_shift import shifted_file_time
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Entry, Mode, SourceFolder
from ecogsafe.deid.layout import Tree
from ecogsafe.deid.outcome import NotDone
from ecogsafe.deid.planned import DeidPlan, Move
from ecogsafe.formats.kinds import NATUS_KINDS, Kind
from ecogsafe.formats.regions import Patch

#: Returns what must change in a file that becomes ``<stem>``; raises MalformedFileError where it cannot tell.
Clean = Callable[[Kind, BinaryIO, str], Iterable[Patch]]

#: Room for names, folders and the journal beside the data itself.
_SPARE_BYTES = 16 << 20
_FOLDER_MODE = 0o750


@dataclass(slots=True)
class Prepared:
    """What can begin."""

    entries: list[Entry] = field(default_factory=list)
    not_done: list[NotDone] = field(default_factory=list)


def prepare(
    plan: DeidPlan,
    *,
    disk: Disk,
    clean: Clean,
    mode: Mode,
    settled_before_ns: int,
    now_ns: int,
    keep_native_content: bool,
) -> Prepared:
    """Return an entry for every file of ``plan`` that can be cleaned now, and why the others cannot.

    Parameters
    ----------
    settled_before_ns
        Files modified between this moment and ``now_ns`` are still being written.
    """
    result = Prepared()
    for item in plan.moves:
        problem = _look(disk, item, mode, settled_before_ns, now_ns)
        if problem is None:
            entry_or_problem = _entry(disk, item, clean, keep=keep_native_content, shift_days=plan.shift_days)
            if isinstance(entry_or_problem, Entry):
                result.entries.append(entry_or_problem)
                continue
            problem = entry_or_problem
        reason, status = problem
        result.not_done.append(
            NotDone(path=item.source.path, place=item.place, segment=item.segment, reason=reason, status=status)
        )
    return result


Problem = tuple[str, ExitStatus]
_CHANGED: Problem = ("changed since the plan", ExitStatus.SOURCE_CHANGED)


def _is_planned(item: Move, state: os.stat_result) -> bool:
    file = item.source
    return stat.S_ISREG(state.st_mode) and (
        (state.st_dev, state.st_ino, state.st_size, state.st_mtime_ns, state.st_ctime_ns)
        == (file.device, file.inode, file.size, file.mtime_ns, file.ctime_ns)
    )


def _look(disk: Disk, item: Move, mode: Mode, settled_before_ns: int, now_ns: int) -> Problem | None:
    state = disk.lstat(item.source.path)
    if state is None:
        return "vanished since the plan", ExitStatus.SOURCE_CHANGED
    if not _is_planned(item, state):
        return _CHANGED
    # a time far in the future is a wrong clock, not a copy still running
    if settled_before_ns < state.st_mtime_ns <= now_ns + (now_ns - settled_before_ns):
        return "was modified a moment ago, perhaps a copy still running", ExitStatus.SOURCE_CHANGED
    if mode is Mode.IN_PLACE and os.geteuid() not in (0, state.st_uid):
        reason = "belongs to another user, so that its times cannot be kept; --copy makes a copy of it"
        return reason, ExitStatus.PARTIAL
    return None


def _entry(disk: Disk, item: Move, clean: Clean, *, keep: bool, shift_days: int) -> Entry | Problem:
    try:
        fd = disk.open_to_read(item.source.path)
    except OSError as error:
        return f"cannot be opened ({os.strerror(error.errno or 0)})", ExitStatus.PARTIAL
    with os.fdopen(fd, "rb") as file:
        try:
            state = disk.state(fd)
            if not _is_planned(item, state):
                return _CHANGED
            patches = _patches(item, file, clean, keep=keep)
            if not _is_planned(item, disk.state(fd)):
                return _CHANGED
        except MalformedFileError as error:
            return error.problem, ExitStatus.NOT_UNDERSTOOD
        except OSError as error:
            return f"cannot be read ({os.strerror(error.errno or 0)})", ExitStatus.PARTIAL
    mode = stat.S_IMODE(state.st_mode)
    return Entry(
        source=item.source.path.absolute(),
        target=item.target,
        tree=item.tree,
        kind=item.kind,
        segment=item.segment,
        stem=item.stem,
        device=state.st_dev,
        inode=state.st_ino,
        size=state.st_size,
        mode=mode,
        # the world never reads a recording; its owner always can
        target_mode=(mode & 0o770) | 0o600,
        mtime_ns=state.st_mtime_ns,
        target_mtime_ns=shifted_file_time(state.st_mtime_ns, shift_days),
        # reading for the plan has moved it on already
        atime_ns=item.source.atime_ns,
        patches=patches,
    )


def _patches(item: Move, file: BinaryIO, clean: Clean, *, keep: bool) -> tuple[Patch, ...]:
    if item.source.size == 0 or (keep and item.kind in NATUS_KINDS):
        return ()
    patches = sorted(clean(item.kind, file, item.stem), key=lambda p: p.offset)
    overlap = any(a.stop > b.offset for a, b in pairwise(patches))
    if overlap or (patches and patches[-1].stop > item.source.size):
        raise MalformedFileError(item.place, "its cleaning contradicts itself")
    for patch in patches:
        file.seek(patch.offset)
        if file.read(len(patch.old)) != patch.old:
            raise MalformedFileError(item.place, "reads differently from one moment to the next")
    return tuple(patches)


def source_folders(disk: Disk, entries: Sequence[Entry]) -> tuple[SourceFolder, ...]:
    """Return the folders that ``entries`` leave, as they are before anything moves."""
    found = []
    for path in dict.fromkeys(entry.source.parent for entry in entries):
        state = disk.lstat(path)
        if state is not None:
            found.append(
                SourceFolder(
                    path=path,
                    mode=stat.S_IMODE(state.st_mode),
                    mtime_ns=state.st_mtime_ns,
                    atime_ns=state.st_atime_ns,
                    inode=state.st_ino,
                )
            )
    return tuple(found)


def missing_folders(disk: Disk, out: Path, entries: Sequence[Entry]) -> tuple[str, ...]:
    """Return the folders below OUT that must be made, outermost first.

    Raises
    ------
    UsageError
        A name on the way is a link or no folder.
    """
    missing: dict[str, None] = {}
    seen: set[Path] = set()
    for entry in entries:
        folder = Path(entry.place).parent
        for part in [*reversed(folder.parents[:-1]), folder]:
            if part in seen:
                continue
            seen.add(part)
            state = disk.lstat(out / part)
            if state is None:
                missing[str(part)] = None
            elif not stat.S_ISDIR(state.st_mode):
                raise UsageError(f"OUT/{part}", "is not a folder (links are not followed)", next="choose another OUT")
    return tuple(missing)


def make_folders(disk: Disk, out: Path, folders: Sequence[str]) -> None:
    """Make ``folders`` below OUT, outermost first, durable; those that exist already are left."""
    parents: dict[Path, None] = {}
    for name in folders:
        path = out / name
        if disk.lstat(path) is None:
            disk.make_folder(path, _FOLDER_MODE)
        parents[path.parent] = None
    for parent in parents:
        disk.sync_folder(parent)


def choose_mode(disk: Disk, plan: DeidPlan, out: Path, *, copy: bool) -> Mode:
    """Return how files get to OUT: by rename where all of them can, else by copies."""
    if copy:
        return Mode.COPY
    trees = {move.tree for move in plan.moves}
    there = {disk.mount_of(_nearest(disk, out, tree, plan.code)) for tree in trees}
    folders = {move.source.path.parent for move in plan.moves}
    here = {disk.mount_of(folder) for folder in folders if disk.lstat(folder) is not None}
    return Mode.IN_PLACE if len(here | there) <= 1 else Mode.ACROSS


def _nearest(disk: Disk, out: Path, tree: Tree, code: str) -> Path:
    folder = out / tree / (code if tree is Tree.VIDEO else f"{code}_edf" if tree is Tree.EDF else "")
    while folder != out and disk.lstat(folder) is None:
        folder = folder.parent
    return folder


def check_places(export: Path, out: Path) -> None:
    """Refuse an OUT that lies inside EXPORT, and an EXPORT inside what OUT holds.

    Raises
    ------
    UsageError
        One of them is inside the other.
    """
    inside, outside = export.resolve(), out.resolve()
    if outside.is_relative_to(inside):
        raise UsageError("OUT", "lies inside EXPORT", next="choose an OUT beside EXPORT")
    for tree in Tree:
        if inside.is_relative_to(outside / tree):
            raise UsageError("EXPORT", "lies inside OUT, among what is clean already", next="choose another OUT")


def check_room(disk: Disk, out: Path, entries: Sequence[Entry], mode: Mode) -> None:
    """Refuse a plan that OUT's file system has no room for.

    Raises
    ------
    NoSpaceError
        Too little room, with the numbers.
    """
    if mode is Mode.IN_PLACE:
        # a copy-on-write file system needs new blocks for what is patched
        needed = sum(len(p.new) for e in entries for p in e.patches) + _SPARE_BYTES
    else:
        needed = sum(e.size for e in entries) + _SPARE_BYTES
    free = disk.free_bytes(out)
    if free < needed:
        raise NoSpaceError(
            "OUT", f"the plan needs {needed / 1e9:.1f} GB, {free / 1e9:.1f} GB are free", next="make room and run again"
        )
