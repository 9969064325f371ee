"""A store that went away while it was sent to: given up where the run has other places to fill, else tried for all."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from typing import Any

import pytest

from ecogsafe.core.errors import StoreForbiddenError, StoreFullError, StoreRefusedError, StoreUnreachableError
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
        (StoreForbiddenError("s3://away", "refuses access (AccessDenied)"), True),
        (StoreRefusedError("s3://away", "does not take names this long"), False),
    ],
    ids=["away", "full", "forbidden", "refused"],
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


@pytest.mark.parametrize("give_up_after", [None, 3])
def test_a_place_that_forbids_is_given_up_also_where_it_is_the_only_one(
    bench: Bench, give_up_after: int | None
) -> None:
    no = StoreForbiddenError("s3://away", "refuses access (AccessDenied)")
    away = Faulty(MemoryStore("s3://away"), {"put": [Fault(error=no)] * FILES})
    with bench.context() as context:
        context.give_up_after = give_up_after
        with closing(send_all(context, clips(bench, FILES, bench.place(away)), readers=1)) as ends:
            outcomes = list(ends)
    assert list(context.lost.values()) == [no]
    assert sum(o.status is Status.FAILED for o in outcomes) == 3, "each of many files was told of"


def test_files_that_are_forbidden_now_and_then_do_not_end_a_place(bench: Bench) -> None:
    no = Fault(error=StoreForbiddenError("s3://away", "refuses access (AccessDenied)"))
    away = Faulty(MemoryStore("s3://away"), {"put": [no, None, no, no, None] * FILES})
    files = clips(bench, 20, bench.place(away))
    with bench.context() as context, closing(send_all(context, files, readers=1, senders=1)) as ends:
        outcomes = list(ends)
    assert context.lost == {}
    assert len(outcomes) == 20 and {o.status for o in outcomes} == {Status.DONE, Status.FAILED}
