"""The hidden file or folder of something unfinished, taken for one run alone: by a lock, or by having made it."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from ecogsafe.core.errors import LockedError

_FILE_MODE = 0o640
_HIDDEN_MODE = 0o600
_FLAGS = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
#: the file system has no locks; EBADF is what NFS says of those on folders
_NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EBADF})


class Taken(NamedTuple):
    """An unfinished file that nobody else has."""

    fd: int
    #: permissions that it gets with its name, as the system gives them to new files; None for what was left
    mode: int | None
    #: False where the file system has no locks: what is left there cannot be told from what is in use
    is_locked: bool


def lock(fd: int) -> bool:
    """Lock an open file or folder for this run alone, until it is closed; False where its file system cannot.

    Raises
    ------
    BlockingIOError
        Another run has it.
    """
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in _NO_LOCKS:
            raise
        return False
    return True


def take_part(part: Path, *, shown: str) -> Taken:
    """Open the hidden file ``part``, or make it, for this run alone.

    Parameters
    ----------
    shown
        What messages call it.

    Raises
    ------
    LockedError
        Another run has it, something else has its name, or, where there are no locks, it is there already.
    """
    is_new = True
    try:
        fd = os.open(part, _FLAGS | os.O_CREAT | os.O_EXCL, _FILE_MODE)
    except FileExistsError:
        is_new = False
        try:
            fd = os.open(part, _FLAGS)
        except FileNotFoundError:
            raise elsewhere(shown) from None
    try:
        return _taken(part, fd, shown, is_new=is_new)
    except BaseException:
        os.close(fd)
        raise


def open_again(part: Path, *, shown: str) -> int:
    """Open the hidden file ``part`` that this run made and closed.

    Raises
    ------
    LockedError
        Another run has it, or something else has its name.
    FileNotFoundError
        It is gone.
    """
    fd = os.open(part, _FLAGS)
    try:
        return _taken(part, fd, shown, is_new=True).fd
    except BaseException:
        os.close(fd)
        raise


def _taken(part: Path, fd: int, shown: str, *, is_new: bool) -> Taken:
    try:
        is_locked = lock(fd)
    except BlockingIOError:
        raise elsewhere(shown) from None
    if not is_locked and not is_new:
        raise left_without_locks(shown)
    # between open and lock another run may have finished: what is open here then has its final name
    here = os.fstat(fd)
    if not stat.S_ISREG(here.st_mode) or here.st_nlink != 1 or not has_name(here, part):
        raise elsewhere(shown)
    # a file system without permissions (FAT) keeps those of its mount
    with suppress(PermissionError):
        os.fchmod(fd, _HIDDEN_MODE)
    return Taken(fd, stat.S_IMODE(here.st_mode) if is_new else None, is_locked)


def has_name(status: os.stat_result, path: Path) -> bool:
    """Return whether what has this ``status`` is what ``path`` names."""
    try:
        return os.path.samestat(path.lstat(), status)
    except OSError:
        return False


def elsewhere(shown: str) -> LockedError:
    """Return the error for an unfinished file or folder that is not this run's."""
    return LockedError(
        shown,
        "is being received by another run, or something else has the name of its unfinished file",
        next="wait for that run to end, then run the same command again",
    )


def left_without_locks(shown: str) -> LockedError:
    """Return the error for an unfinished file or folder of which nobody can tell whether a run is at work on it."""
    return LockedError(
        shown,
        "is being received by another run, or a killed one left it unfinished: this folder's file system has no locks",
        next="wait for that run; if there is none, remove the hidden .ecogsafe-part beside it and run again",
    )
