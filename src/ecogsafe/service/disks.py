"""Which disks a device number stands for: what would be lost together with the folder that lies on it.

Two file systems can be one disk under two numbers: subvolumes of btrfs, partitions, a mount bound to another place.
So a device is known by its number, by what is mounted under it, and by the disks that the kernel says carry it.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator
from pathlib import Path

_MOUNTS = Path("/proc/self/mountinfo")
_BLOCKS = Path("/sys/dev/block")
#: field of a line of mountinfo (proc(5)) that is the device number; after a lone dash come type and source
_NUMBER = 2
_DEVICE = "device:"


def disks_of(device: int) -> frozenset[str]:
    """Return the names of everything that carries the device ``st_dev``; its own number is always one of them."""
    number = f"{os.major(device)}:{os.minor(device)}"
    source = _mounted_from(number)
    found = {f"{_DEVICE}{device:x}"}
    if source is not None and source.startswith("/dev/"):
        try:
            carrier = Path(source).stat().st_rdev
            number = f"{os.major(carrier)}:{os.minor(carrier)}"
        except OSError:
            found.add(f"source:{source}")
    found |= {f"disk:{name}" for name in _carriers(_BLOCKS / number)}
    return frozenset(found)


def same_disk(place: str, disks: Collection[str]) -> bool:
    """Return whether a store's place (`ecogsafe.stores.protocol.Store.place`) is on one of ``disks``."""
    if not place.startswith(_DEVICE):
        return False
    try:
        device = int(place.removeprefix(_DEVICE), 16)
    except ValueError:
        return place in disks
    return not disks_of(device).isdisjoint(disks)


def _mounted_from(number: str) -> str | None:
    """Return what is mounted under a device number; None where that is not told (macOS)."""
    try:
        lines = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError:
        return None
    for line in lines:
        before, _, after = line.partition(" - ")
        if before.split(" ")[_NUMBER] == number:
            return after.split(" ")[1]
    return None


def _carriers(block: Path) -> Iterator[str]:
    """Yield the disks below a block device: of a partition its disk, of a mapped or joined one its parts."""
    try:
        real = block.resolve(strict=True)
    except OSError:
        return
    parts = [real / "slaves" / name for name in _names(real / "slaves")]
    for part in parts:
        yield from _carriers(part)
    if not parts:
        yield real.parent.name if (real / "partition").exists() else real.name


def _names(folder: Path) -> list[str]:
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except OSError:
        return []
