"""What a figure was measured on, and how runs are summed up."""

from __future__ import annotations

import os
import platform
import statistics
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path


def describe(*packages: str) -> str:
    """Return processor, memory, system and the versions of ``packages`` in one line."""
    cpu = next(
        (line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")), "unknown"
    )
    memory = next((int(line.split()[1]) // 2**20 for line in _lines("/proc/meminfo") if line.startswith("MemTotal")), 0)
    named = ", ".join(f"{name} {version(name)}" for name in packages)
    system = f"{platform.system()} {platform.release()}, Python {platform.python_version()}"
    return f"{os.cpu_count()} x {cpu}, {memory} GiB, {system}; {named}"


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def disk_of(folder: Path) -> str:
    """Return file system and kind of the disk ``folder`` lies on; no path."""
    place = folder.resolve()
    mounts = [line.split() for line in _lines("/proc/mounts")]
    holding = [m for m in mounts if len(m) > 2 and place.is_relative_to(m[1])]
    if not holding:
        return "an unknown file system"
    return max(holding, key=lambda mount: len(mount[1]))[2]


def spread(values: Sequence[float]) -> str:
    """Return ``median (lowest-highest)``."""
    return f"{statistics.median(values):.2f} ({min(values):.2f}-{max(values):.2f})"


def read_bytes() -> int:
    """Return the bytes this process has asked the system to read so far (Linux; 0 elsewhere)."""
    return next((int(line.split()[1]) for line in _lines("/proc/self/io") if line.startswith("rchar")), 0)
