"""Which old copies were laid out already: lines of JSON in the folder that `modernise` fills.

A copy counts only as long as every file that came of it is still there. Its path is not written down, only a
digest of path, size and time, or of store, key, size and ETag.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

#: `upload` passes over names that begin like this
_NAME = ".ecogsafe-modernised"


@dataclass(frozen=True, slots=True)
class LaidOut:
    """What came of one old copy."""

    paths: tuple[str, ...]
    left_behind: int


def identity_of(*facts: object) -> str:
    """Return what stands for an old copy."""
    return hashlib.sha256("\0".join(map(str, facts)).encode("utf-8", "surrogateescape")).hexdigest()


class ModerniseNotes:
    """The notes in ``folder``."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._path = folder / _NAME
        self._known = _read(self._path)

    def laid_out(self, identity: str) -> LaidOut | None:
        """Return what came of an old copy; None where it was never laid out, or not all of it is there any more."""
        known = self._known.get(identity)
        if known is None or not all(os.path.lexists(self._folder / path) for path in known.paths):
            return None
        return known

    def add(self, identity: str, paths: Iterable[str], left_behind: int) -> None:
        """Note, durably, that an old copy was laid out."""
        known = LaidOut(tuple(paths), left_behind)
        line = json.dumps({"copy": identity, "paths": known.paths, "left_behind": left_behind})
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(self._path, flags, 0o600), "ab") as out:
            # a kill may have cut the line before
            out.write(f"\n{line}\n".encode())
            out.flush()
            os.fsync(out.fileno())
        self._known[identity] = known


def _read(path: Path) -> dict[str, LaidOut]:
    found: dict[str, LaidOut] = {}
    try:
        lines = path.read_bytes().split(b"\n")
    except FileNotFoundError:
        return found
    for line in lines:
        try:
            row = json.loads(line)
            found[row["copy"]] = LaidOut(tuple(map(str, row["paths"])), int(row["left_behind"]))
        except (ValueError, KeyError, TypeError):
            continue
    return found
