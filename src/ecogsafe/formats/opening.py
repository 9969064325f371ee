"""Entries of an export as ``lstat`` sees them; files opened without following a link or waiting on a FIFO."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import BinaryIO

from ecogsafe.core.errors import SourceUnreadableError
from ecogsafe.formats.found import FoundFile
from ecogsafe.formats.kinds import kind_of_name

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def found_entry(path: Path, status: os.stat_result | None) -> FoundFile:
    """Return the entry ``path`` with its ``lstat``; zeros and not readable where even that was refused."""
    kind = kind_of_name(path.name)
    if status is None:
        nothing = dict.fromkeys(("device", "inode", "size", "mtime_ns", "ctime_ns", "atime_ns", "mode", "links"), 0)
        return FoundFile(path=path, kind=kind, readable=False, **nothing)
    return FoundFile(
        path=path,
        kind=kind,
        device=status.st_dev,
        inode=status.st_ino,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        atime_ns=status.st_atime_ns,
        mode=status.st_mode,
        links=status.st_nlink,
    )


def what_else(mode: int) -> str:
    """Return the word for an entry that is neither a file nor a folder."""
    for is_kind, word in (
        (stat.S_ISLNK, "symbolic link"),
        (stat.S_ISFIFO, "FIFO"),
        (stat.S_ISSOCK, "socket"),
    ):
        if is_kind(mode):
            return word
    return "device"


def open_regular(path: Path) -> BinaryIO:
    """Return ``path`` opened for reading.

    Raises
    ------
    SourceUnreadableError
        It cannot be opened, or has become a link, a FIFO or a device.
    """
    try:
        fd = os.open(path, _FLAGS)
    except OSError:
        # not chained: the system's error carries the path
        raise SourceUnreadableError("a source file", "it cannot be opened", next="check its permissions") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SourceUnreadableError("a source file", "it is not a regular file")
    return os.fdopen(fd, "rb")
