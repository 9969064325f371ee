"""A sample for ``verify``: a share of the files and of the bytes, one of every kind, the oldest evidence first."""

from __future__ import annotations

import math
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

from ecogsafe.catalog.due import Candidate

#: of a time as text, what names its day
_DAY = len("2026-01-02")


@dataclass(frozen=True, slots=True, order=True)
class Chosen:
    """One copy of a sample; sorts by age, then as it was drawn."""

    day: str
    drawn: float
    copy_id: int
    #: bytes
    size: int


def kind_of(candidate: Candidate) -> tuple[str, str]:
    """Return the kind of a file: its tree and the end of its name."""
    return candidate.tree, PurePosixPath(candidate.path).suffix.lower()


def choose(candidates: Iterable[Candidate], percent: float, draw: random.Random) -> list[Chosen]:
    """Return at least ``percent`` of the copies and of their bytes, and at least one of every kind.

    Those whose evidence is of the oldest day come first; among evidence of one day ``draw`` decides.
    """
    drawn = [(Chosen(c.looked_at[:_DAY], draw.random(), c.copy_id, c.size), kind_of(c)) for c in candidates]
    drawn.sort()
    files_wanted = math.ceil(len(drawn) * percent / 100)
    bytes_wanted = math.ceil(sum(one.size for one, _ in drawn) * percent / 100)
    chosen: list[Chosen] = []
    size = 0
    left: list[tuple[Chosen, tuple[str, str]]] = []
    kinds: set[tuple[str, str]] = set()
    for one, kind in drawn:
        if len(chosen) < files_wanted or size < bytes_wanted:
            chosen.append(one)
            size += one.size
            kinds.add(kind)
        else:
            left.append((one, kind))
    return chosen + _one_of_each(left, kinds)


def _one_of_each(left: Sequence[tuple[Chosen, tuple[str, str]]], kinds: set[tuple[str, str]]) -> list[Chosen]:
    more: list[Chosen] = []
    for one, kind in left:
        if kind not in kinds:
            kinds.add(kind)
            more.append(one)
    return more
