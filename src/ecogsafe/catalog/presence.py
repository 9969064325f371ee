"""Whether the process that owns a lease is still there, so that what a killed run held is free at once.

Each owner holds a lock (flock) on a file of its name. The kernel lets go of it when the process ends,
however it ends, and unlike a process number it means the same in every container that shares the folder.
"""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from types import TracebackType

from ecogsafe.core.clock import utc_now

_SUFFIX = ".owner"
#: far beyond the life of any lease
_STALE_S = 7 * 86_400


class Presence:
    """Shows that ``owner`` is at work, from its making until it is closed or its process ends.

    Raises
    ------
    OSError
        The folder cannot be written.
    """

    def __init__(self, folder: Path, owner: str) -> None:
        folder.mkdir(mode=0o700, exist_ok=True)
        _sweep(folder)
        self._path = folder / f"{owner}{_SUFFIX}"
        self._fd = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def close(self) -> None:
        """End it; to be called after the owner's leases were released. A second time changes nothing."""
        if self._fd >= 0:
            self._path.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = -1

    def __enter__(self) -> Presence:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _is_locked(path: Path) -> bool:
    fd = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(fd)
    return False


def is_gone(folder: Path, owner: str) -> bool:
    """Return whether the process of ``owner`` has certainly ended; false where nothing is known of it.

    An owner without a file may be at work on another host; its leases then run out by themselves.
    """
    try:
        return not _is_locked(folder / f"{owner}{_SUFFIX}")
    except OSError:
        return False


def _sweep(folder: Path) -> None:
    """Remove the files of processes that ended long ago."""
    oldest = utc_now().timestamp() - _STALE_S
    for path in folder.glob(f"*{_SUFFIX}"):
        try:
            if path.stat().st_mtime < oldest and not _is_locked(path):
                path.unlink()
        except FileNotFoundError:
            # Another process swept it first.
            continue
