"""Where a download puts its files: folders that are no links, hidden names of what is unfinished, leftovers."""

from __future__ import annotations

import os
import stat
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ecogsafe.core.durable import fsync_directory
from ecogsafe.core.errors import SourceUnreadableError
from ecogsafe.transfer.part_file import has_name, lock

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
    """Remove what an interrupted run left of a file that is here and right; what another run holds stays.

    So does what the disk does not let go: the file is here and right all the same.
    """
    part = part_path(target)
    with suppress(OSError):
        try:
            fd = os.open(part, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            notes_path(target).unlink(missing_ok=True)
            return
        try:
            here = os.fstat(fd)
            if lock(fd) and stat.S_ISREG(here.st_mode) and _is_only(here, target) and has_name(here, part):
                part.unlink()
                notes_path(target).unlink(missing_ok=True)
        finally:
            os.close(fd)


def _is_only(here: os.stat_result, target: Path) -> bool:
    """Return whether what is ``here`` is nobody's file: it has no other name, or that of ``target``.

    Where a file gets its name by a link, a kill may leave both.
    """
    return here.st_nlink == 1 or (here.st_nlink == 2 and has_name(here, target))
