"""A store that went away while it was sent to: given up where the run has other places to fill, else tried for all."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from ecogsafe.core.errors import StoreFullError, StoreRefusedError, StoreUnreachableError
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.work import Shipment, Status
from tests.transfer.bench import Bench
from tests.transfer.test_batches import clips

FILES = 60


def to_both(bench: Bench, away: Any, well: Any) -> list[Shipment]:
    """Return files for two places, of which one is away."""
    first = bench.place(away)
    second = bench.place(well, number=1)
    return [replace(s, places=(*s.places, second)) for s in clips(bench, FILES, first)]


@pytest.mark.parametrize(
    ("error", "is_given_up"),
    [
        (StoreUnreachableError("s3://away", "no answer"), True),
        (StoreFullError("s3://away", "is full"), True),
        (StoreRefusedError("s3://away", "AccessDenied"), False),
    ],
    ids=["away", "full", "refused"],
)
def test_a_place_that_fails_for_some_files_in_a_row(bench: Bench, error: Any, is_given_up: bool) -> None:
    away, well = Faulty(MemoryStore("s3://away"), {"put": [Fault(error=error)] * FILES}), MemoryStore("s3://well")
    with bench.context() as context:
        context.give_up_after = 3
        with closing(send_all(context, to_both(bench, away, well), readers=1)) as ends:
            outcomes = list(ends)
    there = [o for o in outcomes if o.place.store is well]
    assert [o.status for o in there] == [Status.DONE] * FILES, "the other place lacks files"
    assert (len(context.lost) == 1) is is_given_up
    failed = [o for o in outcomes if o.place.store is away]
    assert (len(failed) < FILES) is is_given_up
