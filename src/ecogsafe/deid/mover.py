"""The steps that change one file: patch in place, put back, move, copy clean. Each may be repeated.

Every step looks at the open file before it writes: only bytes of a recorded region that hold the recorded
old or new value are ever written.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, SourceChangedError, VerificationError
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Entry
from ecogsafe.deid.judge import Bytes, compare, has_shifted_time, regions_of
from ecogsafe.formats.regions import Patch

_CHUNK = 8 << 20


def changed(entry: Entry, problem: str) -> SourceChangedError:
    """Return the error for a file that is not what the journal describes."""
    return SourceChangedError(
        entry.place,
        problem,
        safe="It was left alone",
        next="let the copy finish, then run ecogsafe deid apply again",
    )


def patch_source(disk: Disk, entry: Entry, *, untouched: bool) -> None:
    """Clean ``entry`` where it lies: new bytes, mode and time, then fsync.

    Parameters
    ----------
    untouched
        No earlier run has begun on it: its time must still be the recorded one.

    Raises
    ------
    SourceChangedError
        It is not the file of the journal, or grows meanwhile.
    OSError
        The disk refused. After either error `put_back` takes back what was written.
    """
    fd = disk.open_to_patch(entry.source)
    try:
        state = disk.state(fd)
        _check(entry, state)
        if untouched and state.st_mtime_ns != entry.mtime_ns:
            raise changed(entry, "changed since the plan")
        if state.st_nlink != 1:
            raise changed(entry, "has got another hard link since the plan")
        _write_regions(disk, fd, entry, forward=True)
        if disk.state(fd).st_size != entry.size:
            raise changed(entry, "grows while it is patched")
        disk.set_mode(fd, entry.target_mode)
        disk.set_times(fd, atime_ns=entry.target_atime_ns, mtime_ns=entry.target_mtime_ns)
        disk.sync(fd)
    finally:
        os.close(fd)


def restore_source(disk: Disk, entry: Entry) -> None:
    """Give ``entry``, at its source, its old bytes, mode and times; then fsync.

    Raises
    ------
    SourceChangedError
        It is not the file of the journal; nothing was written.
    OSError
        The disk refused; repeat it.
    """
    fd = disk.open_to_patch(entry.source)
    try:
        state = disk.state(fd)
        if not stat.S_ISREG(state.st_mode) or state.st_ino != entry.inode:
            raise changed(entry, "is another file now")
        grown = state.st_size != entry.size
        _write_regions(disk, fd, entry, forward=False)
        disk.set_mode(fd, entry.mode)
        if not grown:
            disk.set_times(fd, atime_ns=entry.atime_ns, mtime_ns=entry.mtime_ns)
        disk.sync(fd)
    finally:
        os.close(fd)


def put_back(disk: Disk, entry: Entry) -> None:
    """Restore ``entry`` at its source if we have begun to change it; a file that others changed is left alone.

    Raises
    ------
    OSError
        The disk refused; repeat it.
    """
    state = disk.lstat(entry.source)
    if state is None or not stat.S_ISREG(state.st_mode) or state.st_ino != entry.inode:
        return
    held = regions_of(disk, entry.source, entry.patches)
    as_it_was = (state.st_size, state.st_mtime_ns) == (entry.size, entry.mtime_ns)
    new_mode_only = as_it_was and stat.S_IMODE(state.st_mode) != entry.mode
    new_time_only = state.st_size == entry.size and held is not Bytes.FOREIGN and has_shifted_time(entry, state)
    if held in (Bytes.NEW, Bytes.MIXED) or new_mode_only or new_time_only:
        restore_source(disk, entry)


def _check(entry: Entry, state: os.stat_result) -> None:
    if not stat.S_ISREG(state.st_mode) or state.st_ino != entry.inode or state.st_size != entry.size:
        raise changed(entry, "is another file now")


def _write_regions(disk: Disk, fd: int, entry: Entry, *, forward: bool) -> None:
    """Write the wanted value of each region that does not hold it yet; all are looked at before one is written."""
    wanted = Bytes.NEW if forward else Bytes.OLD
    pending: list[Patch] = []
    for patch in entry.patches:
        held = compare(disk.read_at(fd, patch.offset, len(patch.old)), patch)
        if held is Bytes.FOREIGN:
            raise changed(entry, "holds other bytes than the journal recorded")
        if held is not wanted:
            pending.append(patch)
    for patch in pending:
        disk.write_at(fd, patch.new if forward else patch.old, patch.offset)


def move(disk: Disk, source: Path, target: Path, *, inode: int) -> None:
    """Rename without replacing; after an error the disk is asked what really happened.

    The folders are not durable yet.

    Raises
    ------
    FileExistsError
        ``target`` exists and is not ours.
    OSError
        The file has not moved.
    """
    try:
        disk.rename(source, target)
    except OSError:
        here, there = disk.lstat(source), disk.lstat(target)
        if there is None or there.st_ino != inode:
            raise
        if here is not None and here.st_ino == inode:
            finish_link(disk, keep=target, drop=source)


def finish_link(disk: Disk, *, keep: Path, drop: Path) -> None:
    """Remove the name ``drop`` of a file that also has the name ``keep``."""
    kept, dropped = disk.lstat(keep), disk.lstat(drop)
    if kept is None or dropped is None or (kept.st_dev, kept.st_ino) != (dropped.st_dev, dropped.st_ino):
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
    disk.unlink(drop)


def part_name(entry: Entry) -> str:
    """Return the hidden name of a copy in the making."""
    return f".ecogsafe-{entry.kind}-{Path(entry.target).name}.part"


def drop_part(disk: Disk, entry: Entry, folder: Path) -> None:
    """Remove what an earlier run left of a copy in the making."""
    part = folder / part_name(entry)
    state = disk.lstat(part)
    if state is not None and stat.S_ISREG(state.st_mode):
        disk.unlink(part)
        # the journal that would look for it again may be over before the name is gone for good
        disk.sync_folder(folder)


def copy_in(disk: Disk, entry: Entry, target: Path) -> None:
    """Make a clean copy of the source under OUT; what is to be cleaned is never written there.

    Raises
    ------
    SourceChangedError
        The source is not as the journal has it.
    VerificationError
        What was read back is not what was written.
    OSError
        The disk refused, or ``target`` exists; no part of a copy is left.
    """
    _copy(disk, entry, entry.source, target, forward=True)


def copy_back(disk: Disk, entry: Entry, target: Path) -> None:
    """Make the source again from the copy under OUT, old bytes, mode and times; errors as `copy_in`."""
    _copy(disk, entry, target, entry.source, forward=False)


def _copy(disk: Disk, entry: Entry, origin: Path, result: Path, *, forward: bool) -> None:
    drop_part(disk, entry, result.parent)
    part = result.parent / part_name(entry)
    inside = disk.open_to_read(origin)
    try:
        state = disk.state(inside)
        time_ns = entry.mtime_ns if forward else state.st_mtime_ns
        if not stat.S_ISREG(state.st_mode) or state.st_size != entry.size or state.st_mtime_ns != time_ns:
            raise changed(entry, "changed since the plan")
        if forward and state.st_ino != entry.inode:
            raise changed(entry, "is another file now")
        try:
            written = _write_copy(disk, entry, inside, part, forward=forward)
            after = disk.state(inside)
            if (after.st_size, after.st_mtime_ns) != (state.st_size, state.st_mtime_ns):
                raise changed(entry, "changed while it was read")
            # a descriptor of its own: reading back must not move the time of access that was just set
            back = disk.open_to_read(part)
            try:
                if _digest(disk, back) != written:
                    raise VerificationError(
                        entry.place, "reads back otherwise than it was written", safe="The source is untouched"
                    )
                inode = disk.state(back).st_ino
            finally:
                os.close(back)
            move(disk, part, result, inode=inode)
        except (OSError, EcogsafeError):
            drop_part(disk, entry, result.parent)
            raise
    finally:
        os.close(inside)


def _write_copy(disk: Disk, entry: Entry, inside: int, part: Path, *, forward: bool) -> bytes:
    """Write the exchanged contents to the new file ``part``, durably; return their SHA-256."""
    digest = hashlib.sha256()
    position = 0
    outside = disk.create(part)
    try:
        for chunk in _patched(disk, entry, inside, forward=forward):
            digest.update(chunk)
            disk.write_at(outside, chunk, position)
            position += len(chunk)
        disk.set_mode(outside, entry.target_mode if forward else entry.mode)
        atime_ns = entry.target_atime_ns if forward else entry.atime_ns
        mtime_ns = entry.target_mtime_ns if forward else entry.mtime_ns
        disk.set_times(outside, atime_ns=atime_ns, mtime_ns=mtime_ns)
        disk.sync(outside)
        disk.drop_cache(outside)
    finally:
        os.close(outside)
    return digest.digest()


def _patched(disk: Disk, entry: Entry, fd: int, *, forward: bool) -> Iterator[bytes]:
    """Yield the contents with every region exchanged; a region that holds something else is an error."""
    position, first = 0, 0
    patches: Sequence[Patch] = entry.patches
    while position < entry.size:
        chunk = bytearray(disk.read_at(fd, position, min(_CHUNK, entry.size - position)))
        if not chunk:
            raise changed(entry, "became shorter while it was read")
        stop = position + len(chunk)
        while first < len(patches) and patches[first].offset < stop:
            patch = patches[first]
            old, new = (patch.old, patch.new) if forward else (patch.new, patch.old)
            start, end = max(patch.offset, position), min(patch.stop, stop)
            here, within = slice(start - position, end - position), slice(start - patch.offset, end - patch.offset)
            if chunk[here] != old[within]:
                raise changed(entry, "holds other bytes than the journal recorded")
            chunk[here] = new[within]
            if patch.stop > stop:
                break
            first += 1
        position = stop
        yield bytes(chunk)


def _digest(disk: Disk, fd: int) -> bytes:
    digest = hashlib.sha256()
    position = 0
    while chunk := disk.read_at(fd, position, _CHUNK):
        digest.update(chunk)
        position += len(chunk)
    return digest.digest()


def is_copy_of(disk: Disk, entry: Entry, target: Path) -> bool:
    """Return whether ``target`` is byte for byte the cleaned source; reads both files wholly."""
    inside, outside = disk.open_to_read(entry.source), disk.open_to_read(target)
    try:
        if disk.state(inside).st_size != entry.size or disk.state(outside).st_size != entry.size:
            return False
        digest = hashlib.sha256()
        try:
            for chunk in _patched(disk, entry, inside, forward=True):
                digest.update(chunk)
        except SourceChangedError:
            return False
        return _digest(disk, outside) == digest.digest()
    finally:
        os.close(inside)
        os.close(outside)
