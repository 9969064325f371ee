"""The tar stream of a volume, laid out before a byte is read: normalised POSIX pax, the manifest last.

Where every header and every byte of data will stand follows from names, sizes and times alone. Only the
content of ``MANIFEST.sha256`` waits for the digests; its length is known.

References
----------
POSIX.1-2017, pax: ustar and pax interchange formats.
"""

from __future__ import annotations

import tarfile
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ecogsafe.core.errors import EcogsafeError

BLOCK_BYTES = 512
#: a tar file ends with two zero blocks and is filled up to whole records of 20 blocks
RECORD_BYTES = 20 * BLOCK_BYTES
MANIFEST = "MANIFEST.sha256"
#: permissions of every member; owner and group are 0 and nameless
MODE = 0o640
_SHA256_DIGITS = 64


@dataclass(frozen=True, slots=True)
class Entry:
    """One file as the tar stream names it."""

    #: its path below a tree of OUT, as in an object key: ``/`` between components, no leading one
    path: str
    #: bytes
    size: int
    #: whole seconds since 1970
    mtime: int


@dataclass(frozen=True, slots=True)
class Placed:
    """An entry and its place in the tar stream; all offsets are 0-based bytes."""

    entry: Entry
    #: where its header begins, a pax extended header included
    start: int
    #: where its data begin
    data_offset: int

    @property
    def data_stop(self) -> int:
        """Where its data end."""
        return self.data_offset + self.entry.size

    @property
    def stop(self) -> int:
        """Where the next header begins."""
        return self.data_offset + _padded(self.entry.size)


@dataclass(frozen=True, slots=True)
class TarPlan:
    """The layout of a whole tar stream; `plan_tar` makes it."""

    members: tuple[Placed, ...]
    manifest: Placed
    #: bytes, the end of the last record
    size: int

    def index_at(self, offset: int) -> int:
        """Return which member the byte ``offset`` belongs to; their number stands for the manifest and what follows."""
        if offset >= self.manifest.start:
            return len(self.members)
        return bisect_right(self.members, offset, key=lambda placed: placed.start) - 1

    def placed(self, index: int) -> Placed:
        """Return member ``index``; their number stands for the manifest."""
        return self.members[index] if index < len(self.members) else self.manifest


def _padded(size: int) -> int:
    return -(-size // BLOCK_BYTES) * BLOCK_BYTES


def header_of(entry: Entry) -> bytes:
    """Return the header blocks of ``entry``; a pax extended header comes first where ustar is too narrow.

    Raises
    ------
    EcogsafeError
        The name is none that a manifest can hold: a bug in the caller, who sends only names of our form.
    """
    if not entry.path.isprintable() or "\\" in entry.path or entry.path.startswith("/"):
        raise EcogsafeError("archive", "a path that is not of our form was kept out of it")
    info = tarfile.TarInfo(entry.path)
    info.size = entry.size
    info.mtime = entry.mtime
    info.mode = MODE
    info.uid = info.gid = 0
    info.uname = info.gname = ""
    info.type = tarfile.REGTYPE
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")


def plan_tar(entries: Iterable[Entry]) -> TarPlan:
    """Return the layout of a tar stream with these members, in this order, and the manifest behind them.

    Raises
    ------
    EcogsafeError
        Two members have one name, or one has the manifest's: a bug in the caller.
    """
    members: list[Placed] = []
    position = 0
    newest = 0
    manifest_size = 0
    names = {MANIFEST}
    for entry in entries:
        if entry.path in names:
            raise EcogsafeError("archive", "two files would have the same name in it")
        names.add(entry.path)
        placed = Placed(entry, position, position + len(header_of(entry)))
        members.append(placed)
        position = placed.stop
        newest = max(newest, entry.mtime)
        manifest_size += _SHA256_DIGITS + 2 + len(entry.path.encode()) + 1
    last = Entry(MANIFEST, manifest_size, newest)
    manifest = Placed(last, position, position + len(header_of(last)))
    size = -(-(manifest.stop + 2 * BLOCK_BYTES) // RECORD_BYTES) * RECORD_BYTES
    return TarPlan(tuple(members), manifest, size)


def manifest_content(plan: TarPlan, digests: Sequence[str]) -> bytes:
    """Return the bytes of ``MANIFEST.sha256``: a line for each member, as ``sha256sum -c`` reads them.

    Parameters
    ----------
    digests
        SHA-256 of each member in the order of the plan, 64 lower-case hexadecimal digits.
    """
    lines = [f"{digest}  {placed.entry.path}\n" for placed, digest in zip(plan.members, digests, strict=True)]
    return "".join(lines).encode()
