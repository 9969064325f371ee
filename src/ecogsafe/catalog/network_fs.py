"""Whether a folder lies on a network file system, where SQLite's shared memory does not work.

References
----------
https://www.sqlite.org/wal.html (section "Sometimes queries return SQLITE_BUSY", and "All processes using a
database must be on the same host computer"); the table of mounts: proc(5), /proc/mounts.
"""

from __future__ import annotations

import re
from pathlib import Path

_NETWORK = {
    "nfs",
    "nfs4",
    "cifs",
    "smb2",
    "smb3",
    "smbfs",
    "afs",
    "ceph",
    "lustre",
    "beegfs",
    "gpfs",
    "9p",
    "virtiofs",
    "fuse.sshfs",
    "fuse.glusterfs",
    "fuse.ceph",
    "fuse.rclone",
    "fuse.s3fs",
}
_OCTAL = re.compile(r"\\([0-7]{3})")
_MOUNTS = Path("/proc/mounts")


def file_system_of(folder: Path, mounts: str) -> str | None:
    """Return the type of the file system that holds ``folder``, by ``mounts`` (the text of /proc/mounts)."""
    best: tuple[int, str] | None = None
    for line in mounts.splitlines():
        words = line.split(" ")
        if len(words) < 3:
            continue
        place = Path(_OCTAL.sub(lambda m: chr(int(m.group(1), 8)), words[1]))
        # A later mount hides an earlier one at the same place, hence >=.
        if folder.is_relative_to(place) and (best is None or len(place.parts) >= best[0]):
            best = (len(place.parts), words[2])
    return None if best is None else best[1]


def is_on_network(folder: Path) -> bool:
    """Return whether ``folder`` lies on a network file system; false where this system does not tell."""
    try:
        mounts = _MOUNTS.read_text(encoding="utf-8", errors="surrogateescape")
    except OSError:
        return False
    return file_system_of(folder.resolve(), mounts) in _NETWORK
