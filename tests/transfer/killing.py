"""Runs that end early, and the run that must find nothing left to do after them."""

from __future__ import annotations

import pytest

from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.work import Outcome, Shipment, Status

from .bench import PART, Bench, Watched

LOST = StoreUnreachableError("memory", "no answer")
SIZE = 8 * PART
PARTS = 9


class Killed(BaseException):
    """Ends a run where it stands, as far as the catalogue and the stores can see."""


def die_at(bench: Bench, shipment: Shipment, store: Watched, method: str, call: int) -> None:
    """Let a run die in the given call of ``method``; it gives back no lease."""
    seen = {"calls": 0}

    def die() -> None:
        seen["calls"] += 1
        if seen["calls"] >= call:
            raise Killed

    store.before[method] = die
    with pytest.raises(Killed):
        bench.send(shipment, pool=PartPool(2 * PART))
    store.before.clear()


def finish(bench: Bench, shipment: Shipment) -> Outcome:
    (outcome,) = bench.send(shipment)
    assert outcome.status is Status.DONE
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])
    assert bench.rows("SELECT count(*) FROM leases") == [(0,)]
    return outcome
