"""A snapshot made small before it is sealed: SQLite in one zstd frame, as ``zstd -d`` opens it.

A catalogue shrinks to a fraction of itself, and a store keeps every snapshot. Earlier ones stand there as they were:
what a snapshot is, its first bytes tell.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from itertools import chain
from pathlib import Path

import zstandard

from ecogsafe.core.errors import NoSpaceError, VerificationError
from ecogsafe.formats.plain_content import Content
from ecogsafe.transfer.unzipping import unzipped

#: a higher one takes three times as long for a tenth less
_LEVEL = 3
#: https://www.rfc-editor.org/rfc/rfc8878#section-3.1.1
_MAGIC = b"\x28\xb5\x2f\xfd"
#: magic and header, at most
_FRAME_HEADER_BYTES = 4 + 14


def zip_snapshot(path: Path, target: Path) -> None:
    """Write the snapshot ``path``, compressed, to the new file ``target``, mode 0600.

    Raises
    ------
    NoSpaceError
        It could not be written.
    """
    try:
        made = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with path.open("rb") as plain, os.fdopen(made, "wb") as zipped:
            compressor = zstandard.ZstdCompressor(level=_LEVEL, write_checksum=True)
            compressor.copy_stream(plain, zipped, size=path.stat().st_size)
    except OSError as error:
        reason = "could not be written"
        raise NoSpaceError("snapshot", reason, next="check the room and permissions of its folder") from error


def unzipped_snapshot(pieces: Iterable[bytes], *, item: str) -> Iterator[bytes]:
    """Yield the database of a snapshot that comes in ``pieces``, compressed or not.

    Raises
    ------
    VerificationError
        While iterated: there is nothing, or what was compressed is damaged or cut.
    """
    waiting = iter(pieces)
    head = b""
    while len(head) < _FRAME_HEADER_BYTES and (piece := next(waiting, b"")):
        head += piece
    if not head:
        raise _damaged(item, "is empty")
    whole = chain([head], waiting)
    if not head.startswith(_MAGIC):
        yield from whole
        return
    try:
        size = zstandard.frame_content_size(head)
    except zstandard.ZstdError as error:
        raise _damaged(item, "is damaged: its compressed content does not have its form") from error
    there = 0
    for piece in unzipped(whole, Content.ZSTD, item=item):
        there += len(piece)
        yield piece
    # the size of the first frame, -1 where it was not told; a frame that is cut ends without a word
    if there < size:
        raise _damaged(item, "is cut: its compressed content does not come to its end")


def _damaged(item: str, problem: str) -> VerificationError:
    return VerificationError(item, problem, safe="The home is as it was", next="name another store with --from")
