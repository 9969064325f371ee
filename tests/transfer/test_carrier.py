"""A place that was left behind: how its requests end later concerns neither its file nor its second try."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.carrier import Carrier, Crew
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool, PooledPart
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Outcome, Status
from ecogsafe.transfer.worker_errors import WorkerGoneError

from .bench import PART, Bench, Watched, opened
from .test_stalls_and_bugs import STALL_S, Hanging


@pytest.mark.parametrize(
    ("error", "is_bug"),
    [
        (StoreUnreachableError("memory://1", "no answer for long"), False),
        (WorkerGoneError(), False),
        (ZeroDivisionError("the bug"), True),
    ],
)
def test_a_request_that_hung_and_fails_at_last_neither_costs_the_second_try_nor_the_others(
    bench: Bench, error: Exception, is_bug: bool
) -> None:
    """It fails while the file is still on its way to the other place."""
    hanging, good = Watched(MemoryStore("memory://1")), Watched(MemoryStore("memory://2"))
    failed = threading.Event()

    def hang_and_fail() -> None:
        time.sleep(3 * STALL_S)
        failed.set()
        raise error

    def go_on_slowly() -> None:
        # the last part leaves when the other one has failed
        time.sleep(0.05)
        assert len(good.parts) < 8 or failed.wait(20)

    hanging.before["put_part"] = hang_and_fail
    good.before["put_part"] = go_on_slowly
    data = bench.data(9 * PART)
    shipment = bench.shipment(bench.write("0001", data), bench.place(hanging), bench.place(good, number=1))
    outcomes: list[Outcome] = []
    met: list[BaseException] = []
    pool = PartPool(4 * PART, stall_s=STALL_S)
    with bench.context(pool=pool) as context, closing(send_all(context, [shipment], senders=2)) as ends:
        try:
            for outcome in ends:
                outcomes.append(outcome)
                hanging.before.clear()
        except ZeroDivisionError as raised:
            met.append(raised)
    assert [(o.place.store, o.status) for o in outcomes] == [(good, Status.DONE), (hanging, Status.DONE)]
    assert "was detached, and read again after the others" in outcomes[1].notes
    assert opened(hanging, shipment.keys[True]) == opened(good, shipment.keys[True]) == data
    assert (good.count("finish_upload"), pool.used) == (1, 0)
    assert bool(met) is is_bug
    assert "it is read here" not in bench.told()
    bench.check_no_nonce_twice(hanging, good)


def test_a_part_that_is_handed_over_at_the_moment_of_detaching_keeps_no_room(bench: Bench) -> None:
    """All threads of the store hang: nobody would let go of it for minutes, and the others need the room."""
    hanging = Hanging("memory://1")
    shipment = bench.shipment(bench.write("0001", bench.data(100)), bench.place(hanging))
    pool = PartPool(4 * PART)
    with bench.context(pool=pool) as context, Senders(1) as senders:
        (place,) = shipment.places
        hung = senders.submit(place.store_id, hanging.go.wait, 20)
        carrier = Carrier(Crew(context, shipment, senders), place)
        for _ in range(2):
            assert pool.acquire(PART, give_up=lambda: True)
        sent: list[object] = []
        early, late = (PooledPart(pool, b"x" * PART, [carrier]) for _ in range(2))
        carrier.carry(early, sent.append)
        carrier.detached = True
        carrier.carry(late, sent.append)
        assert pool.used == PART, "the part that came late keeps its room"
        hanging.go.set()
        assert hung.result()
    assert (pool.used, sent) == (0, [])
