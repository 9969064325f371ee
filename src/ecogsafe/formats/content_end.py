"""Where content ends that was unlocked: padding of the lock may or may not follow it, and nothing says which.

Two things are known: the last bytes, which may have the form of padding (PKCS #7), and what the content itself
tells of its end. Padding has the right form by chance once in 256 times, so the content counts more.
Not a byte is dropped that neither of the two calls padding.
"""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from typing import Protocol

from ecogsafe.formats.plain_content import Content, length_told

_GZIP_MAGIC = b"\x1f\x8b"
_TAR_BLOCK = 512
_INFLATED_AT_ONCE = 1 << 20
#: more than any padding: what stands behind the end of a gzip stream
_BEHIND_BYTES = 64


@dataclass(frozen=True, slots=True)
class Ending:
    """Where the content ends."""

    #: bytes at the end that are not content
    padding: int
    #: why it is damaged or cut; None where nothing speaks for that
    problem: str | None = None
    #: what a person should know although it is no failure
    note: str = ""


class EndJudge(Protocol):
    """Sees the unlocked bytes of one file in order, and then says where its content ends."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes; all of them, padding included, come before `end` is called."""
        ...

    def end(self, size: int, padding: int) -> Ending:
        """Return where the content ends.

        Parameters
        ----------
        size
            Bytes that were fed.
        padding
            How many of the last ones have the form of padding; 0 for none.
        """
        ...


def end_judge(content: Content, head: bytes) -> EndJudge:
    """Return what judges the end of content that begins with ``head``."""
    if content is Content.GZIP:
        return _GzipEnd()
    if content is Content.TAR:
        return _TarEnd()
    return _ToldEnd(length_told(content, head))


class _GzipEnd:
    """Inflates everything: each gzip member ends with a checksum and a length of its own."""

    def __init__(self) -> None:
        self._inflater = zlib.decompressobj(wbits=31)
        self._behind = b""
        self._behind_count = 0
        self._problem: str | None = None

    def feed(self, data: bytes) -> None:
        while data and self._problem is None:
            if self._inflater.eof:
                data = self._after_member(data)
                if not data:
                    return
            try:
                data = self._inflate(data)
            except zlib.error:
                self._problem = "is damaged: its compressed content does not have its checksum or its form"

    def _after_member(self, data: bytes) -> bytes:
        """Return what another gzip member begins with, nothing where none does."""
        behind = self._behind + data[: _BEHIND_BYTES - len(self._behind)]
        if self._behind_count < len(_GZIP_MAGIC) and behind.startswith(_GZIP_MAGIC):
            joined = self._behind + data
            self._behind, self._behind_count = b"", 0
            self._inflater = zlib.decompressobj(wbits=31)
            return joined
        self._behind = behind
        self._behind_count += len(data)
        return b""

    def _inflate(self, data: bytes) -> bytes:
        while data and not self._inflater.eof:
            self._inflater.decompress(data, _INFLATED_AT_ONCE)
            data = self._inflater.unconsumed_tail
        return self._inflater.unused_data if self._inflater.eof else b""

    def end(self, size: int, padding: int) -> Ending:
        if self._problem is not None:
            return Ending(0, self._problem)
        if not self._inflater.eof:
            return Ending(0, "is cut: its compressed content does not come to its end")
        behind = self._behind_count
        if behind == padding or not behind:
            return Ending(behind)
        if behind == len(self._behind) and not any(self._behind):
            return Ending(behind, note=f"{behind} zero bytes behind its end were left out")
        return Ending(0, "goes on behind the end of its compressed content")


class _TarEnd:
    """A tar file is whole blocks of 512 bytes, of which the last is zero."""

    def __init__(self) -> None:
        self._tail = b""

    def feed(self, data: bytes) -> None:
        self._tail = (self._tail + data[-2 * _TAR_BLOCK :])[-2 * _TAR_BLOCK :]

    def end(self, size: int, padding: int) -> Ending:
        behind = size % _TAR_BLOCK
        if behind not in (0, padding):
            return Ending(0, "is cut: a tar file is whole blocks of 512 bytes")
        if any(self._tail[len(self._tail) - behind - _TAR_BLOCK : len(self._tail) - behind]):
            return Ending(behind, "is cut: the mark at the end of a tar file is missing")
        return Ending(behind)


class _ToldEnd:
    """Content that tells its length in its first bytes, or nowhere."""

    def __init__(self, told: int | None) -> None:
        self._told = told

    def feed(self, data: bytes) -> None:
        """Nothing behind the first bytes tells anything."""

    def end(self, size: int, padding: int) -> Ending:
        if self._told is None:
            return Ending(padding)
        if size == self._told:
            # an even number of whole blocks, locked without padding: that its end looks like some is chance
            return Ending(0)
        content = size - padding
        if content == self._told:
            return Ending(padding)
        if content > self._told:
            return Ending(padding, note=f"{content - self._told} bytes behind the end that it tells were kept")
        missing = f"{self._told - content} bytes fewer than its header tells"
        if not padding:
            return Ending(0, f"is cut: it has {missing}")
        return Ending(padding, note=f"it has {missing}, and was locked like that")
