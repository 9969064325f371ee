"""The content of an object as something that can be read: in order to be sent again, or here and there to be searched.

One range of it is in memory at a time, and nothing of it reaches a disk.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Iterator, Sequence

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import SourceChangedError, VerificationError
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.stores.protocol import Buffer, ObjectInfo, Store
from ecogsafe.transfer.buffers import Slot
from ecogsafe.transfer.fetching import Fetcher
from ecogsafe.transfer.ranges import RANGE_BYTES, RangePlan


class StoredContent:
    """Fetches and opens ranges of one object; for one thread.

    Parameters
    ----------
    identities
        Keys that open a sealed object; None to take the bytes as they are.

    Raises
    ------
    VerificationError, NoMatchError
        It cannot be opened.
    StoreError
        As `Store.read`.
    """

    def __init__(self, store: Store, info: ObjectInfo, identities: Sequence[Identity] | None) -> None:
        self._info = info
        self._fetcher = Fetcher(store, identities, lambda _count: None)
        self._slot = Slot()
        plan, _, _ = self._fetcher.fetch_first(info, self._slot)
        self._plan: RangePlan = plan
        self._held = 0

    @property
    def size(self) -> int:
        """Bytes of the content."""
        return self._plan.content_size

    @property
    def ranges(self) -> int:
        """How many ranges there are."""
        return self._plan.count

    def range(self, number: int) -> memoryview:
        """Return range ``number``, which is valid until another one is asked for.

        Raises
        ------
        VerificationError
            The bytes are not what was sealed.
        StoreError
            As `Store.read`.
        """
        if number != self._held:
            self._held = -1
            if number == 0:
                # the header comes with it
                self._fetcher.fetch_first(self._info, self._slot)
            else:
                self._fetcher.fetch(self._info.key, self._plan.range(number), self._slot)
            self._held = number
        return self._slot.view

    def at(self, offset: int) -> memoryview:
        """Return the content from ``offset`` to the end of its range; nothing behind the end."""
        if offset >= self.size:
            return memoryview(b"")
        first = self._plan.first_bytes
        number = 0 if offset < first else 1 + (offset - first) // RANGE_BYTES
        return self.range(number)[offset - self._plan.range(number).start :]


class StoredReader(io.RawIOBase):
    """`StoredContent` as a file that is open for reading."""

    def __init__(self, content: StoredContent) -> None:
        super().__init__()
        self._content = content
        self._position = 0

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to ``offset`` and return where that is."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._content.size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        """Return the position."""
        return self._position

    def readinto(self, buffer: Buffer) -> int:  # type: ignore[override]
        """Fill ``buffer`` as far as one range goes; return how many bytes that were."""
        out = memoryview(buffer).cast("B")
        piece = self._content.at(self._position)[: len(out)]
        out[: len(piece)] = piece
        self._position += len(piece)
        return len(piece)


class StoredSource:
    """`StoredContent` as a source (`ecogsafe.transfer.source.Source`)."""

    rereadable = True

    def __init__(self, content: StoredContent, name: str) -> None:
        self.name = name
        self.size = content.size
        self.stat = SourceStat(size=content.size, mtime_ns=0, ctime_ns=0, inode=0, device=0)
        self._content = content

    def pieces(self) -> Iterator[bytes]:
        """Yield the content from the start.

        Raises
        ------
        SourceChangedError
            The object is not what was sealed: nothing made of it counts.
        """
        for number in range(self._content.ranges):
            try:
                piece = bytes(self._content.range(number))
            except VerificationError as error:
                raise not_it(self.name, error.problem) from error
            yield piece

    def check_unchanged(self) -> None:
        """Return: objects are never replaced, and `DigestWatch` has seen every byte."""

    def close(self) -> None:
        """Return: nothing is held."""


class DigestWatch:
    """Sees a file on its way and stops it where it is not the content that it should be."""

    def __init__(self, name: str, sha256: str) -> None:
        self._name = name
        self._expected = sha256
        self._digest = hashlib.sha256()

    def feed(self, offset: int, piece: bytes | memoryview) -> None:
        """Take the bytes at ``offset``; called in order."""
        self._digest.update(piece)

    def check(self) -> None:
        """Raise SourceChangedError unless these were the bytes."""
        if self._digest.hexdigest() != self._expected:
            raise not_it(self._name, "is not the content that was sent")


def not_it(name: str, problem: str) -> SourceChangedError:
    """Return the error of a source, called ``name``, that is not the content it should be."""
    return SourceChangedError(
        name, problem, safe="Nothing made of it counts", next="ecogsafe verify --deep tells which copies are good"
    )
