"""What of an unfinished file is durable: a small file of JSON lines beside it, so that a killed download goes on.

The first line says which object the bytes are of and how it is cut; each further one, ``[number, crc64]`` or
``[number, crc64, content]``, a range that was durable in the unfinished file before the line was written. Header
and nonce of a sealed object are kept as they are in the store; no key is. A line that was cut by a kill is passed over.
"""

from __future__ import annotations

import base64
import errno
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from ecogsafe.stores.protocol import ObjectInfo

_VERSION = 1
#: of a header and 100,000 ranges (800 GB); what is longer is not ours
_MAX_BYTES = 8 << 20


class Noted(NamedTuple):
    """One range as it is noted."""

    number: int
    #: CRC64NVME of the object's bytes; 0 where nobody needs it
    crc64: int
    #: and of the file's, where nothing else would tell whether they are still those
    content: int | None = None


@dataclass(frozen=True, slots=True)
class Landed:
    """What the notes say."""

    #: what the sealed object begins with; empty for an object taken as it is
    prefix: bytes
    #: permissions that the file gets with its name
    mode: int
    #: CRC64NVME of the object's bytes by range
    ranges: Mapping[int, int]
    #: CRC64NVME of the file's bytes by range, where it was noted
    contents: Mapping[int, int]


def identity_of(info: ObjectInfo) -> dict[str, str | int | None]:
    """Return what changes when the object under the key is another one."""
    modified = info.last_modified.isoformat() if info.last_modified else None
    return {"key": info.key, "size": info.size, "etag": info.etag, "modified": None if info.etag else modified}


class LandingNotes:
    """The notes at ``path``; one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._fd = -1

    def read(self, info: ObjectInfo) -> Landed | None:
        """Return what is durable of ``info``; None without notes, or with those of another object."""
        try:
            fd = os.open(self._path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        with os.fdopen(fd, "rb") as file:
            lines = file.read(_MAX_BYTES).split(b"\n")
        try:
            first = json.loads(lines[0])
            if first["version"] != _VERSION or first["object"] != identity_of(info):
                return None
            found = _ranges(lines[1:-1])
            return Landed(
                base64.b64decode(first["prefix"]),
                int(first["mode"]),
                {noted.number: noted.crc64 for noted in found},
                {noted.number: noted.content for noted in found if noted.content is not None},
            )
        except (ValueError, KeyError, TypeError):
            return None

    def begin(self, info: ObjectInfo, prefix: bytes, mode: int) -> None:
        """Write new notes that tell of no range yet."""
        self.forget()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
        self._fd = os.open(self._path, flags, 0o600)
        first = {"version": _VERSION, "object": identity_of(info), "prefix": base64.b64encode(prefix).decode()}
        self._append([json.dumps(first | {"mode": mode})])

    def go_on(self) -> None:
        """Open the notes that were read, to add to them."""
        self._fd = os.open(self._path, os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        # a kill may have cut the last line
        self._append([""])

    def add(self, ranges: Iterable[Noted]) -> None:
        """Add ranges that are durable."""
        self._append(json.dumps(each if each.content is not None else each[:2]) for each in ranges)

    def _append(self, lines: Iterable[str]) -> None:
        data = "".join(f"{line}\n" for line in lines).encode()
        if os.write(self._fd, data) != len(data):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        os.fdatasync(self._fd) if hasattr(os, "fdatasync") else os.fsync(self._fd)

    def close(self) -> None:
        """Close the file; it stays."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def forget(self) -> None:
        """Remove the notes."""
        self.close()
        self._path.unlink(missing_ok=True)


def _ranges(lines: Iterable[bytes]) -> list[Noted]:
    # what a kill cut has no bracket at its end; what follows was written after
    return [_noted(json.loads(line)) for line in lines if line.endswith(b"]")]


def _noted(value: Any) -> Noted:
    number, crc64, *content = map(int, value)
    if number < 0 or len(content) > 1:
        raise ValueError("no range")
    return Noted(number, crc64, *content)
