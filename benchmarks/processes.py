"""What the kernel says of processes: session, memory, processor time, open files. Linux; elsewhere nothing is found."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_PROC = Path("/proc")
#: unlinked files that are memory, not disk
_MEMORY = ("/memfd:", "/dev/shm", "/dev/zero", "/SYSV")
#: what the last connection to a database of SQLite unlinks while it closes
_SQLITE = ("-shm (deleted)", "-wal (deleted)")
#: places in /proc/<pid>/stat after the name, which may hold spaces
_SESSION, _USER_TICKS, _SYSTEM_TICKS = 3, 11, 12


def _stat(pid: int) -> list[str]:
    try:
        return (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except OSError:
        return []


def session_members(session: int) -> list[int]:
    """Return the processes of a session."""
    try:
        pids = [int(place.name) for place in _PROC.iterdir() if place.name.isdecimal()]
    except OSError:
        return []
    return [pid for pid in pids if (told := _stat(pid)) and int(told[_SESSION]) == session]


def cpu_seconds(pid: int) -> float:
    """Return the processor time of a running process, user and system, seconds."""
    told = _stat(pid)
    if not told:
        return 0.0
    return (int(told[_USER_TICKS]) + int(told[_SYSTEM_TICKS])) / os.sysconf("SC_CLK_TCK")


def memory_bytes(pid: int) -> int:
    """Return the memory of a process; what it shares with others counts by its share (PSS)."""
    try:
        lines = (_PROC / str(pid) / "smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def unlinked_bytes(pid: int) -> int:
    """Return the size of files on disk that a process holds open without a name."""
    found: dict[tuple[int, int], int] = {}
    with suppress(OSError):
        for link in (_PROC / str(pid) / "fd").iterdir():
            with suppress(OSError):
                target = str(link.readlink())
                if target.endswith(" (deleted)") and not target.startswith(_MEMORY) and not target.endswith(_SQLITE):
                    status = link.stat()
                    found[status.st_dev, status.st_ino] = status.st_size
    return sum(found.values())


def folder_bytes(folder: Path) -> int:
    """Return the sizes of all files below ``folder``, some of which may vanish meanwhile."""
    total = 0
    for place, _, names in os.walk(folder):
        for name in names:
            with suppress(OSError):
                total += (Path(place) / name).lstat().st_size
    return total


def own_io() -> dict[str, int]:
    """Return what this process and its ended children have read and written so far, bytes.

    ``rchar`` and ``wchar`` are asked of the system by read and write, from the page cache too; ``read_bytes``
    came from the disk; ``write_bytes`` were made dirty in the page cache of a disk.
    """
    try:
        lines = (_PROC / "self" / "io").read_text().splitlines()
    except OSError:
        return {}
    return {name: int(value) for name, value in (line.split(": ") for line in lines)}
