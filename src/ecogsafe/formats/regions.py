"""Stretches of a file that hold text, and equal-length replacements of bytes in them."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import BinaryIO

#: Returns the ``(start, stop)`` spans of identifiers in a byte string; spans may overlap and need no order.
Find = Callable[[bytes], Iterable[tuple[int, int]]]

#: What takes the place of each byte of an identifier inside text.
FILLER = ord("x")

#: Long stretches are worked on in windows of so many bytes ...
WINDOW_BYTES = 1 << 18
#: ... and each search sees so many bytes on both sides of its window; no identifier is longer.
MARGIN_BYTES = 1 << 12
# Changed bytes closer together than this go into one patch: a patch costs more than the bytes between.
_JOIN_BYTES = 16


@dataclass(frozen=True, slots=True)
class Region:
    """A stretch of text bytes: ``offset`` and ``length`` in bytes from the start of the file."""

    offset: int
    length: int

    def __post_init__(self) -> None:
        if self.offset < 0 or self.length < 1:
            raise ValueError("a region starts at or after 0 and holds at least one byte")

    @property
    def stop(self) -> int:
        """Offset of the first byte after the region."""
        return self.offset + self.length


@dataclass(frozen=True, slots=True)
class Patch:
    """Bytes to be replaced at ``offset``: ``old`` as they stand in the file, ``new`` of the same length."""

    offset: int
    old: bytes
    new: bytes

    def __post_init__(self) -> None:
        if self.offset < 0 or not self.old or len(self.old) != len(self.new):
            raise ValueError("a patch replaces at least one byte by as many bytes")

    @property
    def stop(self) -> int:
        """Offset of the first byte after the patch."""
        return self.offset + len(self.old)

    def __repr__(self) -> str:
        # `old` is private: it is what the patch takes out
        return f"Patch(offset={self.offset}, length={len(self.old)})"


def read_at(file: BinaryIO, offset: int, length: int) -> bytes:
    """Return up to ``length`` bytes of ``file`` from ``offset``; fewer only at its end.

    A file of this machine opened for reading is read with ``pread``: a buffered read would fetch the
    samples around an annotation too. The position of ``file`` means nothing before and after.
    """
    raw = file.raw if isinstance(file, io.BufferedReader) else file
    pieces: list[bytes] = []
    if isinstance(raw, io.FileIO):
        descriptor = raw.fileno()
        while length > 0 and (piece := os.pread(descriptor, length, offset)):
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
    else:
        file.seek(offset)
        while length > 0 and (piece := file.read(length)):
            pieces.append(piece)
            length -= len(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def file_size(file: BinaryIO) -> int:
    """Return the size of ``file`` in bytes."""
    return file.seek(0, os.SEEK_END)


def difference(offset: int, old: bytes, new: bytes) -> Iterator[Patch]:
    """Yield the patches that turn ``old``, which stands at ``offset``, into ``new``."""
    if old == new:
        return
    start = stop = -1
    for i, (before, after) in enumerate(zip(old, new, strict=True)):
        if before == after:
            continue
        if start < 0:
            start = i
        elif i - stop > _JOIN_BYTES:
            yield Patch(offset + start, old[start:stop], new[start:stop])
            start = i
        stop = i + 1
    yield Patch(offset + start, old[start:stop], new[start:stop])


def blot(data: bytes, find: Find, editable: bytes | None = None) -> bytes:
    """Return ``data`` with every byte of every span that ``find`` reports replaced by ``x``.

    The search is repeated on its own result until nothing more changes: a match may have hidden an
    overlapping one, and a second cleaning has to find nothing left to do.

    Parameters
    ----------
    editable
        One byte for each byte of ``data``; a zero protects that byte. Without it every byte may change.
    """
    while True:
        changed = bytearray(data)
        for start, stop in find(data):
            for i in range(max(start, 0), min(stop, len(data))):
                if editable is None or editable[i]:
                    changed[i] = FILLER
        if changed == data:
            return data
        data = bytes(changed)


def blot_stretch(file: BinaryIO, offset: int, length: int, find: Find) -> Iterator[Patch]:
    """Yield patches that replace what ``find`` reports in a stretch of free text, however long, by ``x``."""
    end = offset + length
    for start in range(offset, end, WINDOW_BYTES):
        stop = min(start + WINDOW_BYTES, end)
        low, high = max(start - MARGIN_BYTES, offset), min(stop + MARGIN_BYTES, end)
        old = read_at(file, low, high - low)
        inner = slice(start - low, stop - low)
        yield from difference(start, old[inner], blot(old, find)[inner])


def zero_stretch(file: BinaryIO, offset: int, length: int) -> Iterator[Patch]:
    """Yield patches that make every byte of a stretch zero."""
    end = offset + length
    for start in range(offset, end, WINDOW_BYTES):
        old = read_at(file, start, min(WINDOW_BYTES, end - start))
        first = len(old) - len(old.lstrip(b"\0"))
        if old := old.strip(b"\0"):
            yield Patch(start + first, old, bytes(len(old)))
