"""What the search reports: an identifier seen in a byte string."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace


@dataclass(frozen=True, slots=True)
class Hit:
    """One identifier seen in a byte string, at ``[start, stop)``."""

    start: int
    stop: int
    kind: str
    encoding: str
    masked: str
    #: the code of the other subject it belongs to; None: the subject of the file
    owner: str | None = None
    #: an ordinary word one letter away from a name: told, and left where it stands
    spared: bool = False

    def moved(self, by: int) -> Hit:
        """Return the hit as seen in a longer byte string, ``by`` bytes further on."""
        return replace(self, start=self.start + by, stop=self.stop + by)


def outermost(hits: Iterable[Hit]) -> list[Hit]:
    """Return ``hits`` in order without those that lie within another."""
    kept: list[Hit] = []
    reached = -1
    for hit in sorted(hits, key=lambda h: (h.start, -h.stop, h.owner or "", h.kind)):
        if hit.stop > reached:
            kept.append(hit)
            reached = hit.stop
    return kept


def merged_spans(hits: Iterable[Hit]) -> list[tuple[int, int]]:
    """Return the spans of ``hits``, merged where they touch, in order; spared ones are left out."""
    spans: list[tuple[int, int]] = []
    for hit in sorted((h for h in hits if not h.spared), key=lambda h: h.start):
        if spans and hit.start <= spans[-1][1]:
            spans[-1] = (spans[-1][0], max(spans[-1][1], hit.stop))
        else:
            spans.append((hit.start, hit.stop))
    return spans
