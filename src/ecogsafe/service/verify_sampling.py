"""A sample for ``verify``: a share of the files and of the bytes, one of every kind, the oldest evidence first."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from typing import NamedTuple

from ecogsafe.catalog.due import Candidate

#: of a time as text, what names its day
_DAY = len("2026-01-02")


class Chosen(NamedTuple):
    """One copy of a sample; sorts by age, then as it was drawn."""

    day: str
    drawn: float
    copy_id: int
    #: bytes
    size: int
    #: tree, and the end of the name
    kind: tuple[str, str]


def choose(candidates: Sequence[Candidate], percent: float, draw: random.Random) -> list[Chosen]:
    """Return at least ``percent`` of the copies and of their bytes, and at least one of every kind.

    Those whose evidence is of the oldest day come first; among evidence of one day ``draw`` decides.
    """
    drawn = [
        Chosen(at[:_DAY], draw.random(), copy_id, size, (tree, path.rpartition(".")[2].lower()))
        for copy_id, at, size, _, tree, path in candidates
    ]
    drawn.sort()
    files_wanted = math.ceil(len(drawn) * percent / 100)
    bytes_wanted = math.ceil(sum(one.size for one in drawn) * percent / 100)
    count = size = 0
    while count < len(drawn) and (count < files_wanted or size < bytes_wanted):
        size += drawn[count].size
        count += 1
    chosen = drawn[:count]
    kinds = {one.kind for one in chosen}
    for one in drawn[count:]:
        if one.kind not in kinds:
            kinds.add(one.kind)
            chosen.append(one)
    return chosen
