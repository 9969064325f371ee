"""Whether the place that files came from is still the place: undo never builds a tree on a bare mount point.

A disk that was unmounted leaves its mount point behind, an empty folder of another file system. What is put there is
hidden as soon as the disk comes back, and fills the wrong disk until then.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from pathlib import Path

from ecogsafe.core.errors import UsageError
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Entry, Journal, Mode

_NOT_THERE = "the disk that the files came from is not mounted where it was, or its folders are others now"


def folder_inode(disk: Disk, folder: Path) -> int | None:
    """Return the inode of ``folder``, None where there is none; links on the way are followed."""
    state = _state(disk, folder)
    return state.st_ino if state is not None and stat.S_ISDIR(state.st_mode) else None


def check_export(disk: Disk, journal: Journal, entries: Iterable[Entry], *, resumed: bool = False) -> None:
    """Refuse to put ``entries`` back where the folders they came from are not the ones they left.

    A folder that is still there must be the same one. A folder that was removed since is made again only on the
    file system that it was on; its device number may have changed with a reboot, then a folder above it that is
    known by its inode shows that the place is right.

    Parameters
    ----------
    resumed
        An earlier run of the same undo may have made folders again, which are then others and right.

    Raises
    ------
    UsageError
        They are not; nothing was made there.
    """
    known = {folder.path: folder.inode for folder in journal.source_folders if folder.inode is not None}
    if journal.export_inode is not None:
        known[journal.export_root] = journal.export_inode
    devices = _device_of_out(disk, journal) if journal.mode is Mode.IN_PLACE else frozenset()
    for folder, device in {e.source.parent: e.device for e in entries if disk.lstat(e.source) is None}.items():
        place, state = _nearest(disk, folder)
        same_disk = state.st_dev in {device, *devices}
        same_folder = place in known and state.st_ino == known[place]
        if not same_folder and not (same_disk and (resumed or place not in known)):
            raise UsageError(
                journal.subject,
                _NOT_THERE,
                safe="Every file is either below OUT or back where it was, and the journal holds every old byte",
                next="mount the disk of EXPORT where it was (a folder that was put in its place is moved away first), "
                f"then run ecogsafe deid undo {journal.subject} again",
            )


def _nearest(disk: Disk, folder: Path) -> tuple[Path, os.stat_result]:
    """Return the nearest folder that exists, from ``folder`` upwards."""
    while True:
        state = _state(disk, folder)
        if state is not None:
            return folder, state
        folder = folder.parent


def _state(disk: Disk, folder: Path) -> os.stat_result | None:
    return disk.lstat(folder.resolve())


def _device_of_out(disk: Disk, journal: Journal) -> frozenset[int]:
    state = _state(disk, journal.out_root)
    return frozenset() if state is None else frozenset({state.st_dev})
