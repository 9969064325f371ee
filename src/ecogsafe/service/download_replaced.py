"""Bad copies beside which `verify --repair` put a good one: the good one is fetched, under the name of the bad one."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.files import FileRow
from ecogsafe.service.presence import base_of


@dataclass(frozen=True, slots=True)
class Replaced:
    """Which keys of one store are not fetched, and whose names others take."""

    #: bad, and a good copy of the same content stands there
    left_out: frozenset[str]
    #: the key whose name a good copy takes, by its own key
    named_as: dict[str, str]


def replaced_in(pairs: Iterable[tuple[CopyRow, FileRow]]) -> Replaced:
    """Return what is replaced among the copies of one store."""
    by_content: dict[tuple[int, bool], list[CopyRow]] = {}
    for copy, file in pairs:
        by_content.setdefault((file.id, copy.sealed), []).append(copy)
    left_out: set[str] = set()
    named_as: dict[str, str] = {}
    for alike in by_content.values():
        good = [copy for copy in alike if copy.bad_at is None]
        if len(alike) < 2 or not good or len(good) == len(alike):
            continue
        numbered = sorted(alike, key=lambda copy: base_of(copy.key)[1])
        newest = max(good, key=lambda copy: base_of(copy.key)[1])
        left_out |= {copy.key for copy in alike if copy.bad_at is not None}
        named_as[newest.key] = numbered[0].key
    return Replaced(frozenset(left_out), named_as)
