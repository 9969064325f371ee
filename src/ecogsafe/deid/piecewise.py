"""Searching bytes that come in pieces: a match over the edge of two is found once, with what stands beside it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from copy import copy

from ecogsafe.deid.hits import Hit, outermost
from ecogsafe.deid.matching import CONTEXT_BYTES, Matcher
from ecogsafe.formats.regions import Region


class FreeText:
    """The stretches in which what only resembles a name counts too; ``FreeText.everywhere()`` is all."""

    def __init__(self, regions: Iterable[Region]) -> None:
        self._regions = tuple(regions)
        self._starts = [region.offset for region in self._regions]
        self._by = 0
        self._everywhere = False

    @classmethod
    def everywhere(cls) -> FreeText:
        """Return what holds every stretch."""
        free = cls(())
        free._everywhere = True
        return free

    def shifted(self, by: int) -> FreeText:
        """Return the same stretches, asked for by places from ``by`` bytes further on."""
        other = copy(self)
        other._by += by
        return other

    def holds(self, start: int, stop: int) -> bool:
        """Return whether ``[start, stop)`` lies in one of the stretches."""
        index = bisect_right(self._starts, start + self._by) - 1
        return self._everywhere or (index >= 0 and stop + self._by <= self._regions[index].stop)


def search_pieces(pieces: Iterable[bytes], searches: Sequence[Matcher], *, free: FreeText) -> Iterator[Hit]:
    """Yield every match in the bytes that ``pieces`` make together, placed from their start.

    A match counts once all of it and what stands on both sides of it has come; so what is held overlaps the next
    piece by the longest match and its surroundings.
    """
    behind = max((m.longest for m in searches), default=0) + CONTEXT_BYTES
    held = b""
    # from the first byte; matches that end up to `judged` have been told
    held_at = judged = end = 0
    for piece, is_last in _with_last(pieces):
        held += piece
        end += len(piece)
        limit = end if is_last else max(end - CONTEXT_BYTES, judged)
        for matcher in searches:
            for hit in _candidates(matcher, held, held_at, free):
                if judged < hit.stop <= limit:
                    yield hit
        judged = limit
        # even, so that the two bytes of a UTF-16 unit keep their places
        keep_from = max(judged - behind, held_at) // 2 * 2
        held = held[keep_from - held_at :]
        held_at = keep_from


def told(hits: Iterable[Hit]) -> list[Hit]:
    """Return ``hits`` in order without those within another, and the spared ones that touch no other."""
    every = list(hits)
    kept = outermost(h for h in every if not h.spared)
    spared = outermost(h for h in every if h.spared)
    alone = [s for s in spared if not any(k.start < s.stop and s.start < k.stop for k in kept)]
    return sorted((*kept, *alone), key=lambda h: h.start)


def _candidates(matcher: Matcher, held: bytes, held_at: int, free: FreeText) -> Iterator[Hit]:
    for hit in matcher.candidates(held):
        yield hit.moved(held_at)
    if matcher.near:
        for hit in matcher.near_candidates(held):
            moved = hit.moved(held_at)
            if free.holds(moved.start, moved.stop):
                yield moved


def _with_last(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bool]]:
    before: bytes | None = None
    for piece in pieces:
        if before is not None:
            yield before, False
        before = piece
    if before is not None:
        yield before, True
