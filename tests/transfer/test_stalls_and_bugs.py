"""Destinations that hang, and failures that nobody expected: the run goes on, ends, and tells."""

from __future__ import annotations

import threading
import time
from contextlib import closing

import pytest

from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.stores.faulty import Fault
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.work import Outcome, Status

from .bench import PART, Bench, Watched, opened, read

STALL_S = 0.2


class Hanging(Watched):
    """Its requests hang until ``go`` is set; ``after`` of them work first."""

    def __init__(self, url: str, *, after: int = 0) -> None:
        super().__init__(MemoryStore(url))
        self.go = threading.Event()
        self._free = after
        self.before = {"put_part": self._hang, "put": self._hang}

    def _hang(self) -> None:
        if self._free > 0:
            self._free -= 1
            return
        assert self.go.wait(20)


@pytest.fixture
def pool() -> PartPool:
    return PartPool(4 * PART, stall_s=STALL_S)


@pytest.mark.parametrize("sealed_too", [True, False], ids=["one lane", "two lanes"])
@pytest.mark.parametrize("size", [20 * PART, 3 * PART, 1000])
def test_a_destination_that_hangs_is_left_behind_and_served_later(
    bench: Bench, pool: PartPool, size: int, *, sealed_too: bool
) -> None:
    """Whether the file fills the pool, fits into it, or goes in one request."""
    hanging, good = Hanging("memory://1", after=1 if size > 1000 else 0), Watched(MemoryStore("memory://2"))
    data = bench.data(size)
    places = [bench.place(hanging), bench.place(good, sealed=sealed_too, number=1)]
    shipment = bench.shipment(bench.write("0001", data), *places)
    with bench.context(pool=pool) as context, closing(send_all(context, [shipment])) as ends:
        first = next(ends)
        assert (first.place.store, first.status) == (good, Status.DONE)
        # the good one is complete while the other still hangs
        assert read(good, shipment.keys[sealed_too])
        hanging.go.set()
        second = next(ends)
        assert (second.place.store, second.status) == (hanging, Status.DONE)
        assert "was detached, and read again after the others" in second.notes
        assert next(ends, None) is None
        assert context.meter.now().files_done == 1
    assert pool.used == 0
    assert opened(hanging, shipment.keys[True]) == data
    assert "stalled" in bench.told()
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])
    assert list(hanging.inner.list_uploads()) == []
    bench.check_no_nonce_twice(hanging, good)


def test_a_single_destination_is_never_detached(bench: Bench, pool: PartPool) -> None:
    hanging = Hanging("memory://1", after=2)
    shipment = bench.shipment(bench.write("0001", bench.data(9 * PART)), bench.place(hanging))
    timer = threading.Timer(4 * STALL_S, hanging.go.set)
    timer.start()
    assert [o.status for o in bench.send(shipment, pool=pool)] == [Status.DONE]
    timer.join()
    assert "stalled" not in bench.told()
    assert hanging.sent_numbers() == list(range(1, 11))


def test_when_all_hang_nobody_is_detached(bench: Bench, pool: PartPool) -> None:
    stores = [Hanging("memory://1"), Hanging("memory://2")]
    places = [bench.place(store, number=n) for n, store in enumerate(stores)]
    shipment = bench.shipment(bench.write("0001", bench.data(9 * PART)), *places)
    timers = [threading.Timer(4 * STALL_S, store.go.set) for store in stores]
    for timer in timers:
        timer.start()
    assert [o.status for o in bench.send(shipment, pool=pool)] == [Status.DONE] * 2
    for timer in timers:
        timer.join()
    assert all(store.sent_numbers() == list(range(1, 11)) for store in stores)


def test_the_last_that_goes_on_is_kept_when_the_other_fails(bench: Bench, pool: PartPool) -> None:
    hanging = Hanging("memory://1", after=3)
    lost = StoreUnreachableError("memory", "no answer")
    failing = Watched(MemoryStore("memory://2"), {"put_part": [Fault(error=lost)]})
    shipment = bench.shipment(
        bench.write("0001", bench.data(9 * PART)), bench.place(hanging), bench.place(failing, number=1)
    )
    timer = threading.Timer(4 * STALL_S, hanging.go.set)
    timer.start()
    outcomes = bench.send(shipment, pool=pool)
    timer.join()
    assert {id(o.place.store): o.status for o in outcomes} == {id(hanging): Status.DONE, id(failing): Status.FAILED}


def test_a_file_that_waits_behind_another_ones_stall_goes_on(bench: Bench, pool: PartPool) -> None:
    """The pool is full of the first file's parts, all read: who waits for room sees to it that they go."""
    hanging, good = Hanging("memory://1"), Watched(MemoryStore("memory://2"))
    both = [bench.place(hanging), bench.place(good, number=1)]
    first = bench.shipment(bench.write("0001", bench.data(3 * PART)), *both)
    second = bench.shipment(bench.write("0002", bench.data(6 * PART)), both[1])
    with bench.context(pool=pool) as context, closing(send_all(context, [first, second])) as ends:
        done = {(o.shipment.path[-5], o.place.store is good, o.status) for o in (next(ends), next(ends))}
        assert done == {("1", True, Status.DONE), ("2", True, Status.DONE)}
        hanging.go.set()
        assert [o.status for o in ends] == [Status.DONE]


def test_stop_ends_a_wait_for_the_pool(bench: Bench) -> None:
    hanging = Hanging("memory://1")
    shipment = bench.shipment(bench.write("0001", bench.data(9 * PART)), bench.place(hanging))
    with bench.context(pool=PartPool(2 * PART)) as context:
        timer = threading.Timer(0.2, context.stop.set)
        freed = threading.Timer(0.6, hanging.go.set)
        timer.start()
        freed.start()
        outcomes = list(send_all(context, [shipment]))
        freed.join()
    assert [o.status for o in outcomes] == [Status.PAUSED]
    assert len(hanging.parts) < 10
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    bench.check_no_nonce_twice(hanging)


def test_stop_sends_only_what_is_in_flight(bench: Bench) -> None:
    """Not what waits for a thread: a full pool may be many minutes of a slow line."""
    hanging = Hanging("memory://1", after=1)
    shipment = bench.shipment(bench.write("0001", bench.data(9 * PART)), bench.place(hanging))
    with bench.context() as context:
        threading.Timer(0.3, context.stop.set).start()
        threading.Timer(0.5, hanging.go.set).start()
        outcomes = list(send_all(context, [shipment], senders=2))
        assert context.pool.used == 0
    assert [o.status for o in outcomes] == [Status.PAUSED]
    assert len(hanging.parts) == 3
    assert [o.notes for o in bench.send(shipment)] == [["3 of 10 parts were already there"]]


def test_stop_while_somebody_is_detached_pauses_him(bench: Bench, pool: PartPool) -> None:
    hanging, good = Hanging("memory://1"), MemoryStore("memory://2")
    shipment = bench.shipment(
        bench.write("0001", bench.data(9 * PART)), bench.place(hanging), bench.place(good, number=1)
    )
    with bench.context(pool=pool) as context, closing(send_all(context, [shipment])) as ends:
        assert next(ends).status is Status.DONE
        context.stop.set()
        hanging.go.set()
        assert [o.status for o in ends] == [Status.PAUSED]
    assert [o.status for o in bench.send(shipment)] == [Status.DONE] * 2
    bench.check_no_nonce_twice(hanging)


@pytest.mark.parametrize("method", ["begin_upload", "put_part", "finish_upload", "put"])
def test_a_bug_in_one_file_lets_the_others_end_and_is_told(bench: Bench, method: str) -> None:
    store = Watched(MemoryStore())
    large, small = 6 * PART, 100
    names = {"0001": large, "0002": small, "0003": large, "0004": small}
    shipments = [
        bench.shipment(bench.write(name, bench.data(size)), bench.place(store)) for name, size in names.items()
    ]
    struck = threading.Lock()

    def bug() -> None:
        if struck.acquire(blocking=False):
            raise ZeroDivisionError("the bug")

    store.before[method] = bug
    pool = PartPool(2 * PART)
    outcomes: list[Outcome] = []
    with bench.context(pool=pool) as context, pytest.raises(ZeroDivisionError, match="the bug"):
        for outcome in send_all(context, shipments):
            outcomes.append(outcome)
    assert sorted(o.status for o in outcomes) == [Status.DONE] * 3 + [Status.FAILED]
    assert pool.used == 0
    assert {o.status for o in bench.send(*[o.shipment for o in outcomes if o.status is Status.FAILED])} == {Status.DONE}
    bench.check_no_nonce_twice(store)


def test_a_bug_of_a_place_that_was_left_behind_is_told_too(bench: Bench, pool: PartPool) -> None:
    hanging, good = Hanging("memory://1"), MemoryStore("memory://2")

    def hang_and_break() -> None:
        assert hanging.go.wait(20)
        hanging.before.clear()
        raise ZeroDivisionError("the bug")

    hanging.before["put_part"] = hang_and_break
    shipment = bench.shipment(
        bench.write("0001", bench.data(9 * PART)), bench.place(hanging), bench.place(good, number=1)
    )
    with bench.context(pool=pool) as context, closing(send_all(context, [shipment], senders=1)) as ends:
        assert next(ends).status is Status.DONE
        hanging.go.set()
        assert next(ends).status is Status.DONE
        with pytest.raises(ZeroDivisionError):
            next(ends)
    assert opened(hanging, shipment.keys[True]) == opened(good, shipment.keys[True])


def test_a_lane_that_raises_while_senders_hold_parts_leaves_nothing_behind(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    from ecogsafe.transfer.cutting import SealedForm

    hanging = Hanging("memory://1", after=1)
    seal = SealedForm.make

    def make(self, offset, plain, out):  # type: ignore[no-untyped-def]
        if offset > 2 * PART:
            threading.Timer(0.2, hanging.go.set).start()
            raise ZeroDivisionError("the bug")
        seal(self, offset, plain, out)

    monkeypatch.setattr(SealedForm, "make", make)
    shipment = bench.shipment(bench.write("0001", bench.data(9 * PART)), bench.place(hanging))
    pool = PartPool()
    with bench.context(pool=pool) as context, pytest.raises(ZeroDivisionError):
        list(send_all(context, [shipment]))
    assert pool.used == 0
    assert hanging.sent_numbers() == [1, 2]
    assert bench.rows("SELECT count(*) FROM leases") == [(0,)]
    monkeypatch.undo()


def test_who_stops_iterating_stops_the_run(bench: Bench) -> None:
    store = Watched(MemoryStore())
    shipments = [bench.shipment(bench.write(f"{n:04}", bench.data(100)), bench.place(store)) for n in range(60)]
    with bench.context() as context:
        with closing(send_all(context, shipments, readers=1)) as ends:
            next(ends)
        assert context.stop.is_set()
    assert len(store.bodies) < 60


def test_a_sink_that_breaks_is_a_bug_and_no_hang(bench: Bench) -> None:
    store = MemoryStore()
    shipment = bench.shipment(bench.write("0001", bench.data(6 * PART)), bench.place(store))
    began = time.monotonic()
    with bench.context() as context:

        def broken(event: object) -> None:
            raise BrokenPipeError

        context.meter._emit = broken
        with pytest.raises(BrokenPipeError):
            list(send_all(context, [shipment]))
    assert time.monotonic() - began < 5
