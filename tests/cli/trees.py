"""What lies in a folder, so that two moments can be compared."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

#: mode, modification time in ns, digest
State = dict[str, tuple[int, int, str]]


def tree_state(folder: Path) -> State:
    """Return mode, time and digest of everything below ``folder`` by its name.

    A folder has no time here: it changes with everything that is moved out of it and back.
    """
    state: State = {}
    for path in folder.rglob("*"):
        status = path.lstat()
        is_file = stat.S_ISREG(status.st_mode)
        digest = hashlib.sha256(path.read_bytes()).hexdigest() if is_file else ""
        name = os.fsencode(path.relative_to(folder)).decode("utf-8", "surrogateescape")
        state[name] = (stat.S_IMODE(status.st_mode), status.st_mtime_ns if is_file else 0, digest)
    return state


def digests(folder: Path) -> dict[str, str]:
    """Return the digest of each file below ``folder``."""
    return {name: digest for name, (_, _, digest) in tree_state(folder).items() if digest}
