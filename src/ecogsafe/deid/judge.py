"""Where a file of a journal is now, asked of the disk alone: names, inode, size, region bytes (DESIGN 5.4).

The device number is not asked: it changes when a disk is mounted again.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Entry, Journal, JournalKind, Mode
from ecogsafe.formats.regions import Patch

#: Some file systems keep times to two seconds only (FAT); what we set may come back rounded.
TIME_GRAIN_NS = 2_000_000_000


class State(StrEnum):
    """What the disk says of one entry."""

    #: at its source, as it was
    ORIGINAL = "original"
    #: at its source with all old bytes, but its time is another: changed by others, or ours, cut as it began to write
    TOUCHED = "touched"
    #: at its source, some regions old and some new
    MIXED = "mixed"
    #: at its source, every region new
    PATCHED = "patched"
    #: under OUT as apply leaves it
    MOVED = "moved"
    #: one file under both names: a move by link and unlink was cut
    LINKED = "linked"
    #: a clean copy under OUT, the source as it was
    COPIED = "copied"
    #: under OUT, but no longer as apply left it
    ALTERED = "altered"
    #: at its source something else than the journal describes
    CHANGED = "changed"
    #: neither here nor there
    LOST = "lost"


class Bytes(StrEnum):
    """What the regions of a file hold."""

    OLD = "old"
    NEW = "new"
    MIXED = "mixed"
    FOREIGN = "foreign"


def compare(current: bytes, patch: Patch) -> Bytes:
    """Return which of its two values a region holds; after a power cut it can hold both, sector by sector."""
    if current == patch.new:
        return Bytes.NEW
    if current == patch.old:
        return Bytes.OLD
    if len(current) != len(patch.old):
        return Bytes.FOREIGN
    both = all(c in (o, n) for c, o, n in zip(current, patch.old, patch.new, strict=True))
    return Bytes.MIXED if both else Bytes.FOREIGN


def regions_of(disk: Disk, path: Path, patches: Sequence[Patch]) -> Bytes | None:
    """Return what the regions of ``path`` hold together; None where nothing is to be patched."""
    if not patches:
        return None
    fd = disk.open_to_read(path)
    try:
        seen = {compare(disk.read_at(fd, p.offset, len(p.old)), p) for p in patches}
    finally:
        os.close(fd)
    if Bytes.FOREIGN in seen:
        return Bytes.FOREIGN
    return seen.pop() if len(seen) == 1 else Bytes.MIXED


def judge(disk: Disk, journal: Journal, entry: Entry) -> State:
    """Return where ``entry`` is and what became of it.

    Raises
    ------
    OSError
        The disk cannot be asked; nothing may be concluded then.
    """
    target = journal.target(entry)
    if journal.mode is Mode.IN_PLACE:
        return _judge_in_place(disk, entry, target)
    # an undo that carries a file back across file systems makes a new source
    any_inode = journal.kind is JournalKind.UNDO and journal.mode is Mode.ACROSS
    return _judge_copied(disk, entry, target, any_inode=any_inode)


def is_left_by_apply(disk: Disk, entry: Entry, path: Path, state: os.stat_result) -> bool:
    """Return whether the file ``path`` has the size, time and region bytes that apply gives it."""
    if not stat.S_ISREG(state.st_mode) or state.st_size != entry.size:
        return False
    if abs(state.st_mtime_ns - entry.target_mtime_ns) > TIME_GRAIN_NS:
        return False
    return regions_of(disk, path, entry.patches) in (None, Bytes.NEW)


def _judge_in_place(disk: Disk, entry: Entry, target: Path) -> State:
    here, there = disk.lstat(entry.source), disk.lstat(target)

    def ours(state: os.stat_result | None) -> bool:
        return state is not None and stat.S_ISREG(state.st_mode) and state.st_ino == entry.inode

    if there is not None and ours(there):
        if not is_left_by_apply(disk, entry, target, there):
            return State.ALTERED
        return State.LINKED if ours(here) else State.MOVED
    if here is None:
        return State.LOST
    if not ours(here) or here.st_size != entry.size:
        return State.CHANGED
    return _judge_source(disk, entry, here)


def _judge_source(disk: Disk, entry: Entry, here: os.stat_result) -> State:
    held = regions_of(disk, entry.source, entry.patches)
    if held is Bytes.FOREIGN:
        return State.CHANGED
    if held is Bytes.NEW:
        return State.PATCHED
    if held is Bytes.MIXED:
        return State.MIXED
    if has_shifted_time(entry, here) or _has_new_mode_only(entry, here):
        # with old bytes after a power cut: the inode had reached the disk, they had not
        return State.PATCHED if held is None else State.MIXED
    return State.ORIGINAL if here.st_mtime_ns == entry.mtime_ns else State.TOUCHED


def has_shifted_time(entry: Entry, state: os.stat_result) -> bool:
    """Return whether a file has the time that only apply can have given it: that of a date shift."""
    is_shifted = abs(entry.target_mtime_ns - entry.mtime_ns) > TIME_GRAIN_NS
    return is_shifted and abs(state.st_mtime_ns - entry.target_mtime_ns) <= TIME_GRAIN_NS


def _has_new_mode_only(entry: Entry, state: os.stat_result) -> bool:
    """Return whether a file has the mode that apply gives it, and its old time."""
    mode = stat.S_IMODE(state.st_mode)
    return state.st_mtime_ns == entry.mtime_ns and mode == entry.target_mode != entry.mode


def _judge_copied(disk: Disk, entry: Entry, target: Path, *, any_inode: bool) -> State:
    here, there = disk.lstat(entry.source), disk.lstat(target)
    intact = (
        here is not None
        and stat.S_ISREG(here.st_mode)
        and (here.st_ino == entry.inode or any_inode)
        and here.st_size == entry.size
        and abs(here.st_mtime_ns - entry.mtime_ns) <= (TIME_GRAIN_NS if any_inode else 0)
        and regions_of(disk, entry.source, entry.patches) in (None, Bytes.OLD)
    )
    if there is not None:
        if not is_left_by_apply(disk, entry, target, there):
            return State.ALTERED
        if here is None:
            return State.MOVED
        return State.COPIED if intact else State.CHANGED
    if here is None:
        return State.LOST
    return State.ORIGINAL if intact else State.CHANGED
