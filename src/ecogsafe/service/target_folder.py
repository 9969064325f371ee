"""DIR of `download` and `restore`: made when something comes, where the folder above it stands."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from ecogsafe.core.durable import fsync_directory
from ecogsafe.core.errors import UsageError


def check_target(folder: Path) -> None:
    """Raise UsageError unless ``folder`` is a folder, or can become one below a folder that stands.

    More than the last part of a path is never made: a mistyped path, or a disk that is not mounted, would be
    filled in silence.
    """
    if _is_folder(folder):
        return
    if os.path.lexists(folder):
        raise UsageError("DIR", "is not a folder", next="choose another one with -d")
    if not _is_folder(folder.absolute().parent):
        raise UsageError(
            "DIR",
            "there is no such folder, and none above it to make it in",
            next="make it (mkdir -p) and run the same command again",
        )


def make_target(folder: Path) -> None:
    """Make ``folder`` if it is not there; nobody but its owner and group may look into it.

    Raises
    ------
    UsageError
        It cannot be made.
    """
    if _is_folder(folder):
        return
    try:
        with suppress(FileExistsError):
            folder.mkdir(mode=0o750)
        fsync_directory(folder.absolute().parent)
    except OSError as error:
        raise UsageError(
            "DIR",
            f"cannot be made ({os.strerror(error.errno or 0)})",
            safe="Nothing was fetched",
            next="check the permissions of the folder above it, or choose another one with -d",
        ) from error


def nearest_standing(folder: Path) -> Path:
    """Return ``folder``, or the folder above it where it is still to be made: both are on one disk."""
    return folder if _is_folder(folder) else folder.absolute().parent


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except OSError:
        return False
