"""The digest of a file's text regions: what a clearance is bound to (DESIGN 5.5).

Definition, version 1: SHA-256 over, for each region in file order, its offset and its length as two
unsigned 64-bit little-endian integers, then its bytes. The scanner computes it from the regions alone,
the upload from its one read of the whole file; both use `TextDigest`.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterable
from typing import BinaryIO

from ecogsafe.core.errors import MalformedFileError, SourceChangedError
from ecogsafe.formats.regions import Region, read_at

_REGION = struct.Struct("<QQ")
_READ_BYTES = 1 << 20


class TextDigest:
    """Computes the digest from the bytes of a file, fed in order; what is no text is passed over.

    Parameters
    ----------
    regions
        The text regions, ascending, none overlapping another.

    Raises
    ------
    MalformedFileError
        The regions overlap or are out of order: the file's structure contradicts itself.
    """

    def __init__(self, regions: Iterable[Region]) -> None:
        self.regions = list(regions)
        stop = 0
        for region in self.regions:
            if region.offset < stop:
                raise MalformedFileError("a file", "its text regions overlap")
            stop = region.stop
        self._sha = hashlib.sha256()
        self._next = 0
        #: bytes of region number `_next` already digested
        self._done = 0
        self._position = 0

    @property
    def position(self) -> int:
        """Offset of the next byte to be fed; only bytes of regions need to be."""
        return self._position

    def feed(self, offset: int, chunk: bytes | bytearray | memoryview) -> None:
        """Take in the bytes ``chunk`` that stand at ``offset`` of the file.

        Raises
        ------
        ValueError
            Bytes were fed twice, or bytes of a region were left out.
        """
        if offset < self._position:
            raise ValueError("bytes were fed twice")
        end = offset + len(chunk)
        with memoryview(chunk) as given, given.cast("B") as view:
            while self._next < len(self.regions):
                region = self.regions[self._next]
                start = region.offset + self._done
                if start >= end:
                    break
                if start < offset:
                    raise ValueError("bytes of a text region were left out")
                if not self._done:
                    self._sha.update(_REGION.pack(region.offset, region.length))
                stop = min(region.stop, end)
                self._sha.update(view[start - offset : stop - offset])
                self._done = stop - region.offset
                if stop < region.stop:
                    break
                self._next += 1
                self._done = 0
        self._position = end

    def hexdigest(self) -> str:
        """Return the digest as 64 lower-case hexadecimal digits.

        Raises
        ------
        SourceChangedError
            Not all of the regions were fed: the file became shorter.
        """
        if self._next < len(self.regions):
            raise SourceChangedError("a file", "became shorter while it was read")
        return self._sha.hexdigest()


def digest_of(file: BinaryIO, regions: Iterable[Region]) -> str:
    """Return the digest of the text ``regions`` of ``file``; reads nothing else.

    Raises
    ------
    MalformedFileError
        As `TextDigest`.
    SourceChangedError
        The file ends before its regions do.
    """
    digest = TextDigest(regions)
    for region in digest.regions:
        for offset in range(region.offset, region.stop, _READ_BYTES):
            wanted = min(_READ_BYTES, region.stop - offset)
            piece = read_at(file, offset, wanted)
            if len(piece) < wanted:
                raise SourceChangedError("a file", "became shorter while it was read")
            digest.feed(offset, piece)
    return digest.hexdigest()
