"""Uploads left open under a key that is taken: aborted, their file keys erased, others' left alone."""

from __future__ import annotations

import pytest

from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.stores.faulty import Fault
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.needless import abandon_needless, keys_left_open
from ecogsafe.transfer.work import Status

from .bench import Bench, Watched
from .killing import LOST, SIZE, die_at


def left_open(bench: Bench, store: Watched, method: str = "put_part", call: int = 3):  # type: ignore[no-untyped-def]
    """Let a run die in the middle, and return its shipment."""
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))
    die_at(bench, shipment, store, method, call)
    return shipment


def test_they_are_aborted_and_the_file_key_is_erased(bench: Bench) -> None:
    store = Watched(MemoryStore())
    shipment = left_open(bench, store)
    (place,) = shipment.places
    other = bench.shipment(bench.write("0002", bench.data(SIZE)), bench.place(store))
    die_at(bench, other, store, "put_part", 2)
    with bench.context() as context:
        assert keys_left_open(context, place) == {shipment.keys[True], other.keys[True]}
        abandon_needless(context, place, shipment.keys[True])
        assert keys_left_open(context, place) == {other.keys[True]}
    assert [upload.key for upload in store.inner.list_uploads()] == [other.keys[True]]
    assert bench.keys_resting() == 1
    assert bench.rows("SELECT count(*) FROM leases WHERE name LIKE 'upload:%'") == [(0,)]


def test_a_begin_that_was_lost_is_cleared_too(bench: Bench) -> None:
    store = Watched(MemoryStore(), {"begin_upload": [Fault(error=LOST, when="after")]})
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))
    bench.send(shipment)
    assert len(list(store.inner.list_uploads())) == 1
    with bench.context() as context:
        abandon_needless(context, shipment.places[0], shipment.keys[True])
    assert (bench.keys_resting(), bench.open_uploads(), list(store.inner.list_uploads())) == (0, [], [])


def test_what_a_living_run_works_on_is_left_alone(bench: Bench) -> None:
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))

    def another_run() -> None:
        store.before.clear()
        with bench.context(is_dead=lambda _owner: False) as context:
            abandon_needless(context, shipment.places[0], shipment.keys[True])

    store.before["put_part"] = another_run
    assert [outcome.status for outcome in bench.send(shipment)] == [Status.DONE]
    assert store.before == {}
    assert store.count("abort_upload") == 0


@pytest.mark.parametrize("method", ["abort_upload", "list_uploads"])
def test_what_the_store_does_not_abort_now_stays_known(bench: Bench, method: str) -> None:
    away = StoreUnreachableError("memory", "no answer")
    store = Watched(MemoryStore(), {method: [Fault(error=away)]})
    if method == "abort_upload":
        shipment = left_open(bench, store)
    else:
        store.before["begin_upload"] = lambda: None
        shipment = left_open(bench, store, "begin_upload", 1)
    with bench.context() as context:
        abandon_needless(context, shipment.places[0], shipment.keys[True])
    assert "could not be aborted yet" in bench.told()
    assert len(bench.open_uploads()) == 1
    with bench.context() as context:
        abandon_needless(context, shipment.places[0], shipment.keys[True])
    assert (bench.keys_resting(), bench.open_uploads(), list(store.inner.list_uploads())) == (0, [], [])
