"""Whether everything a download is going to bring fits on the disk, before the first byte comes."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecogsafe.core.errors import NoSpaceError
from ecogsafe.service.download_planning import Wanted
from ecogsafe.service.target_folder import nearest_standing
from ecogsafe.transfer.landing_names import allocated, part_path


@dataclass(frozen=True, slots=True)
class Room:
    """Bytes on the disk of DIR."""

    #: what is still to come, without what unfinished files hold already
    needed: int
    #: None where the file system does not tell
    free: int | None

    @property
    def short(self) -> int:
        """Bytes that are missing; 0 where it fits or nobody knows."""
        return 0 if self.free is None else max(self.needed - self.free, 0)


def split_by_presence(folder: Path, wanted: Iterable[Wanted]) -> tuple[list[Wanted], list[Wanted]]:
    """Return those under whose name something stands in ``folder``, and the others."""
    here: list[Wanted] = []
    missing: list[Wanted] = []
    for w in wanted:
        (here if os.path.lexists(folder / w.target) else missing).append(w)
    return here, missing


def room_for(folder: Path, missing: Iterable[Wanted]) -> Room:
    """Return what the files that are not in ``folder`` yet need, and what there is."""
    return room_for_sizes(folder, {w.target: w.content_size for w in missing})


def room_for_sizes(folder: Path, missing: Mapping[PurePosixPath, int]) -> Room:
    """Return what files that are not in ``folder`` yet, with their bytes by path, need, and what there is."""
    needed = sum(max(size - allocated(part_path(folder / path)), 0) for path, size in missing.items())
    disk = os.statvfs(nearest_standing(folder))
    return Room(needed, disk.f_bavail * disk.f_frsize if disk.f_blocks else None)


def check_room(folder: Path, missing: Iterable[Wanted]) -> None:
    """Raise NoSpaceError where the files do not fit together."""
    room = room_for(folder, missing)
    if room.short:
        raise NoSpaceError(
            "DIR",
            f"the files that are missing need {room.needed:,} bytes and {room.free:,} are free: {room.short:,} too few",
            safe="Nothing was fetched; the files already there are complete",
            next="make room, or choose another folder with -d or fewer files with -s and -f",
        )
