"""Which snapshots of the catalogue should stay: the last thirty, and the first of each month. Pure.

ecogsafe removes nothing from a store. Whoever administers one may remove what `beyond` returns; a rule of the store
that goes by age alone would one day take the last snapshot of a lab that is at rest.
"""

from __future__ import annotations

from collections.abc import Iterable

from ecogsafe.service.snapshot_copies import Snapshot

LAST = 30


def beyond(snapshots: Iterable[Snapshot]) -> list[Snapshot]:
    """Return the ``snapshots`` that are neither among the last `LAST` nor the first of a month (UTC), oldest first.

    Once they are gone, the rule finds nothing more among the same: what it keeps it keeps.
    """
    ordered = sorted(snapshots, key=lambda s: (s.at, s.stored_at, s.key))
    firsts: dict[tuple[int, int], Snapshot] = {}
    for each in ordered:
        firsts.setdefault((each.at.year, each.at.month), each)
    kept = {each.key for each in [*ordered[-LAST:], *firsts.values()]}
    return [each for each in ordered if each.key not in kept]
