"""Where a download puts its files: folders that are no links, hidden names of what is unfinished, leftovers."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path, PurePosixPath

from ecogsafe.core.durable import fsync_directory
from ecogsafe.core.errors import SourceUnreadableError

_PART_SUFFIX = ".ecogsafe-part"
_NOTES_SUFFIX = ".ecogsafe-ranges"
#: the unit of ``st_blocks``, bytes
_BLOCK_BYTES = 512


def part_path(target: Path) -> Path:
    """Return where ``target`` is received."""
    return target.with_name(f".{target.name}{_PART_SUFFIX}")


def notes_path(target: Path) -> Path:
    """Return where it is noted what of ``target`` is durable."""
    return target.with_name(f".{target.name}{_NOTES_SUFFIX}")


def folder_for(root: Path, relative: PurePosixPath) -> Path:
    """Make the folders of ``relative`` below ``root`` and return the last; no component may be a link.

    Raises
    ------
    SourceUnreadableError
        Something that is not a folder, or a link, is in the way.
    """
    if relative.is_absolute() or ".." in relative.parts:
        raise SourceUnreadableError("DIR", "a name would lie outside it", safe="Nothing was written there")
    folder = root
    for part in relative.parts[:-1]:
        folder = folder / part
        try:
            folder.mkdir(mode=0o750)
            fsync_directory(folder.parent)
        except FileExistsError:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise SourceUnreadableError(
                    str(relative),
                    "a link or file stands where a folder should be",
                    safe="Nothing was written there",
                ) from None
    return folder


def allocated(path: Path) -> int:
    """Return the bytes that a file takes on the disk; 0 for none."""
    try:
        return path.lstat().st_blocks * _BLOCK_BYTES
    except (FileNotFoundError, NotADirectoryError):
        return 0


def clear_leftovers(target: Path) -> None:
    """Remove what an interrupted run left of a file that is here and right; what another run holds stays."""
    part = part_path(target)
    try:
        fd = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        notes_path(target).unlink(missing_ok=True)
        return
    except OSError:
        return
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        here = os.fstat(fd)
        if stat.S_ISREG(here.st_mode) and here.st_nlink == 1 and os.path.samestat(part.lstat(), here):
            part.unlink()
            notes_path(target).unlink(missing_ok=True)
    except (BlockingIOError, FileNotFoundError):
        return
    finally:
        os.close(fd)
