"""How an object is cut into parts. Pure arithmetic."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024
#: smallest part we send, bytes; S3 itself asks for 5 MiB
SMALLEST_PART = 8 * MIB
#: of a file: what a part costs beside its bytes is worth as much as sealing 4 MiB (``docs/performance.md``)
USUAL_PART = 16 * MIB
#: S3 allows 10,000 parts; the reserve leaves room for growth of other limits
MOST_PARTS = 9_000
#: up to this object size one request is cheaper than parts; DESIGN 4 asks for parts above 64 MiB
SINGLE_REQUEST_LIMIT = 32 * MIB


def part_size_for(object_size: int, *, least: int = USUAL_PART) -> int:
    """Return the part size for an object of ``object_size`` bytes, whole MiB: all parts but the last are of one size.

    As many parts of at least ``least`` as there are in the object, 9,000 at most, share it evenly: what is left over
    is no part of its own, whose request would cost as much as sealing 4 MiB. A file of 64 MiB is four parts once
    it is sealed, not four and a crumb.
    """
    count = min(max(1, object_size // least), MOST_PARTS)
    return max(least, -(-object_size // (count * MIB)) * MIB)


@dataclass(frozen=True, slots=True)
class PartRange:
    """One part: its number from 1 and its place in the object, end excluded."""

    number: int
    start: int
    stop: int

    @property
    def length(self) -> int:
        """Bytes of the part."""
        return self.stop - self.start


def part_ranges(object_size: int, part_size: int) -> list[PartRange]:
    """Return the parts of an object in order; an empty object is one empty part."""
    if object_size == 0:
        return [PartRange(1, 0, 0)]
    starts = range(0, object_size, part_size)
    return [PartRange(n, start, min(start + part_size, object_size)) for n, start in enumerate(starts, 1)]
