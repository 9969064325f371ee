"""Which bytes of an object make which bytes of its file, in ranges that can be fetched and opened alone.

Arithmetic only. All ranges are 0-based bytes, end excluded. A range of a sealed object is whole age chunks
(`ecogsafe.crypt.sealed_layout`); the first is a little shorter in the file where the header is long, so that
header and first range come with one request.
"""

from __future__ import annotations

from dataclasses import dataclass

from ecogsafe.crypt.errors import SEALED_DATA, PayloadError
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SEALED_CHUNK_BYTES, plain_size_of

#: content of a full range
RANGE_BYTES = 128 * CHUNK_BYTES
#: the first request: a full range and the header of a few recipients
FIRST_REQUEST_BYTES = 128 * SEALED_CHUNK_BYTES + 4096
#: the most that one thread asks for at once, where there is enough to do for the others: so many full ranges
_RANGES_AT_ONCE = 16
REQUEST_BYTES = (_RANGES_AT_ONCE - 1) * 128 * SEALED_CHUNK_BYTES + FIRST_REQUEST_BYTES


@dataclass(frozen=True, slots=True)
class Range:
    """One range: bytes ``[start, stop)`` of the file from bytes ``[object_start, object_stop)`` of the object."""

    #: from 0
    number: int
    start: int
    stop: int
    object_start: int
    object_stop: int
    is_last: bool

    @property
    def size(self) -> int:
        """Bytes of the file."""
        return self.stop - self.start

    @property
    def first_chunk(self) -> int:
        """The age chunk that it begins with, where the object is sealed."""
        return self.start // CHUNK_BYTES


@dataclass(frozen=True, slots=True)
class RangePlan:
    """How one object is cut; `plan_ranges` makes it."""

    object_size: int
    #: where the first chunk begins; None for an object that is taken as it is
    payload_offset: int | None
    content_size: int
    #: bytes of the file in the first range
    first_bytes: int

    @property
    def count(self) -> int:
        """How many ranges there are, at least one."""
        return 1 + -(-(self.content_size - self.first_bytes) // RANGE_BYTES)

    def count_before(self, position: int) -> int:
        """Return how many ranges end before byte ``position`` of the object, or there."""
        if position >= self.object_size:
            return self.count
        whole = (position - self.range(0).object_stop) // (self.range(1).object_stop - self.range(1).object_start)
        return min(1 + whole, self.count - 1)

    def after(self, number: int) -> int:
        """Return the range behind those that are asked for at once from ``number`` on."""
        return min(number + _RANGES_AT_ONCE, self.count)

    def _object_offset(self, position: int) -> int:
        """Return where the object holds byte ``position`` of the file, which begins a chunk."""
        if self.payload_offset is None:
            return position
        return self.payload_offset + position // CHUNK_BYTES * SEALED_CHUNK_BYTES

    def range(self, number: int) -> Range:
        """Return range ``number``; the first begins at byte 0 of the object, header included.

        Raises
        ------
        ValueError
            There is no such range.
        """
        if not 0 <= number < self.count:
            raise ValueError(f"there is no range {number}")
        is_last = number == self.count - 1
        start = self.first_bytes + (number - 1) * RANGE_BYTES if number else 0
        stop = self.content_size if is_last else self.first_bytes + number * RANGE_BYTES
        return Range(
            number,
            start,
            stop,
            self._object_offset(start) if number else 0,
            self.object_size if is_last else self._object_offset(stop),
            is_last,
        )


def plan_ranges(object_size: int, payload_offset: int | None) -> RangePlan:
    """Return how an object is cut.

    Parameters
    ----------
    payload_offset
        Length of its header and nonce; None for an object that is taken as it is.

    Raises
    ------
    PayloadError
        No sealed object has this size.
    """
    if payload_offset is None:
        return RangePlan(object_size, None, object_size, min(object_size, RANGE_BYTES))
    content_size = plain_size_of(object_size - payload_offset) if object_size >= payload_offset else None
    if content_size is None:
        raise PayloadError(SEALED_DATA, "is cut: no sealed file has this size")
    if object_size <= FIRST_REQUEST_BYTES:
        return RangePlan(object_size, payload_offset, content_size, content_size)
    # a header has at most 1 MiB, so a range of chunks always comes with it
    chunks = (FIRST_REQUEST_BYTES - payload_offset) // SEALED_CHUNK_BYTES
    return RangePlan(object_size, payload_offset, content_size, chunks * CHUNK_BYTES)
