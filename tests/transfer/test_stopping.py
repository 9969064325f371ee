"""Ctrl-C while a store is being asked again: the file is paused, whatever was asked; it did not fail."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace

import pytest

from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.retrying import Backoff, Retrying
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.work import Outcome, Shipment, Status

from .bench import PART, Bench, Watched
from .killing import LOST, die_at

SMALL_FILE, LARGE_FILE = 100, 5 * PART


def send_and_stop(bench: Bench, shipment: Shipment, method: str) -> list[Outcome]:
    """Send, have the first call of ``method`` fail, and stop the run in the pause before it is repeated."""
    (place,) = shipment.places
    with bench.context() as context:
        store = Retrying(
            Faulty(place.store, {method: [Fault(error=LOST)]}),
            stop=context.stop,
            backoff=Backoff(first_s=20),
            on_wait=lambda _wait: context.stop.set(),
        )
        with closing(send_all(context, [replace(shipment, places=(replace(place, store=store),))])) as ends:
            outcomes = list(ends)
        assert context.stop.is_set(), "the store was never asked again"
        assert context.pool.used == 0
    return outcomes


@pytest.mark.parametrize(
    ("size", "method"),
    [
        (SMALL_FILE, "put"),
        (SMALL_FILE, "head"),
        (LARGE_FILE, "begin_upload"),
        (LARGE_FILE, "put_part"),
        (LARGE_FILE, "list_parts"),
        (LARGE_FILE, "finish_upload"),
        (LARGE_FILE, "head"),
    ],
)
def test_the_file_is_paused_and_goes_on_in_the_next_run(bench: Bench, size: int, method: str) -> None:
    store = Watched(MemoryStore())
    data = bench.data(size)
    shipment = bench.shipment(bench.write("0001", data), bench.place(store))
    if method == "list_parts":
        die_at(bench, shipment, store, "put_part", 3)
    if method == "head":
        # the answer is asked for, as somebody else was first
        store.inner.put(shipment.keys[True], b"theirs", crc64=crc64nvme(b"theirs"), token="f" * 32)
    outcomes = send_and_stop(bench, shipment, method)
    assert [(o.status, o.error) for o in outcomes] == [(Status.PAUSED, None)]
    if method == "put":
        # what was tried may still come to stand
        assert bench.rows("SELECT state FROM intents") == [("open",)]
    last = Status.DIFFERENT if method == "head" else Status.DONE
    assert [o.status for o in bench.send(shipment)] == [last]
    bench.check_no_nonce_twice(store)
