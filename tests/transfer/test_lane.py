"""A part on its way from whoever made it to the senders: whatever goes wrong in between, nothing of it is kept."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from contextlib import closing
from typing import Any

import pytest

from ecogsafe.catalog import sealings
from ecogsafe.core.errors import NoSpaceError
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.carrier import Carrier, Crew
from ecogsafe.transfer.cutter_link import CutterLink, HeldPart
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool, PooledPart
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Outcome, Shipment, Status

from .bench import PART, Bench
from .test_cutters import SIZE, clips
from .test_workers import folder_place


class _Failed(Future[None]):
    """A commit that failed, of which whoever hands parts on hears before the senders do."""

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> None:
        if threading.current_thread().name != "sender":
            raise NoSpaceError("the disk of the catalogue", "is full")


def refuse_rows(monkeypatch: pytest.MonkeyPatch, *, at_once: bool) -> None:
    """The row of a part cannot be noted: it is not even taken, or its commit fails."""
    real = Ledger.submit_row
    count = 0

    def submit_row(self: Ledger, write: Callable[..., None], row: Any) -> Future[None]:
        nonlocal count
        count += write is sealings.add_parts
        if at_once and count == 3:
            raise NoSpaceError("the disk of the catalogue", "is full")
        return _Failed() if not at_once and count == 1 else real(self, write, row)

    monkeypatch.setattr(Ledger, "submit_row", submit_row)


def watch_parts(monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], Counter[int]]:
    """Return what parts were made elsewhere, and how often each was let go."""
    made: list[int] = []
    gone: Counter[int] = Counter()
    init, let_go = HeldPart.__init__, HeldPart.let_go

    def begin(self: HeldPart, cutter: CutterLink, number: int, size: int) -> None:
        made.append(number)
        init(self, cutter, number, size)

    def end(self: HeldPart, *, may_be_read: bool) -> None:
        gone[self.number] += 1
        let_go(self, may_be_read=may_be_read)

    monkeypatch.setattr(HeldPart, "__init__", begin)
    monkeypatch.setattr(HeldPart, "let_go", end)
    return made, gone


def send(bench: Bench, shipments: Sequence[Shipment], pool: PartPool) -> list[Outcome]:
    with bench.context(pool=pool) as context, closing(send_all(context, shipments, cutters=1)) as ends:
        return list(ends)


@pytest.mark.parametrize("at_once", [True, False])
def test_a_part_whose_row_cannot_be_noted_is_let_go_where_it_was_made(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, at_once: bool
) -> None:
    """A process that keeps it would have less memory for every file that follows."""
    made, gone = watch_parts(monkeypatch)
    refuse_rows(monkeypatch, at_once=at_once)
    shipments = clips(bench, folder_place(bench, "a"), folder_place(bench, "b", sealed=False), count=2)
    pool = PartPool()
    outcomes = send(bench, shipments, pool)
    assert {o.status for o in outcomes} >= {Status.FAILED}
    assert len(made) > 3
    assert gone == Counter(made), "parts that nobody let go, or twice"
    assert pool.used == 0


def test_a_part_that_no_thread_takes_is_let_go_and_nobody_waits_for_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system gives no thread for the second of two places: the first one has the part all the same."""
    made, gone = watch_parts(monkeypatch)
    place, other = folder_place(bench, "a"), folder_place(bench, "b")
    real = Senders.send

    def send_or_not(self: Senders, store_id: str, call: Callable[..., int], *given: Any) -> None:
        if store_id == other.store_id:
            raise RuntimeError("can't start new thread")
        real(self, store_id, call, *given)

    monkeypatch.setattr(Senders, "send", send_or_not)
    pool = PartPool()
    with pytest.raises(RuntimeError, match="new thread"):
        send(bench, clips(bench, place, other, count=2), pool)
    assert made
    assert gone == Counter(made)
    assert pool.used == 0


def test_of_those_who_wait_for_a_part_that_no_thread_takes_none_keeps_it(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same with parts that are made here: those behind the one that failed never get to see it."""
    places = [bench.place(MemoryStore(f"memory://{n}"), number=n) for n in (1, 2, 3)]
    real = Senders.send

    def send_or_not(self: Senders, store_id: str, call: Callable[..., int], *given: Any) -> None:
        if store_id == places[1].store_id:
            raise RuntimeError("can't start new thread")
        real(self, store_id, call, *given)

    monkeypatch.setattr(Senders, "send", send_or_not)
    pool = PartPool()
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), *places)
    with pytest.raises(RuntimeError, match="new thread"):
        send(bench, [shipment], pool)
    assert pool.used == 0


def test_what_a_thread_may_still_take_is_not_written_over(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """It stood in the line before the system refused another thread: one that is there may take it at any moment."""
    shipment = bench.shipment(bench.write("0001", bench.data(100)), bench.place(MemoryStore()))
    pool = PartPool()
    reused: list[memoryview] = []
    monkeypatch.setattr(pool, "reuse", reused.append)
    monkeypatch.setattr(Senders, "send", lambda *_: (_ for _ in ()).throw(RuntimeError("can't start new thread")))
    with bench.context(pool=pool) as context, Senders(1) as senders:
        carrier = Carrier(Crew(context, shipment, senders), shipment.places[0])
        assert pool.acquire(PART, give_up=lambda: True)
        pooled = PooledPart(pool, pool.memory(PART), [carrier])
        with pytest.raises(RuntimeError, match="new thread"):
            carrier.carry(pooled, lambda _: None)
    assert (carrier.is_busy, pool.used, reused) == (False, 0, [])
