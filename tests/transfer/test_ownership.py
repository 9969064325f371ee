"""Begins that were cut off, and runs that slept while another took their upload over."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from time import monotonic, sleep
from typing import Any

import pytest

from ecogsafe.catalog import uploads
from ecogsafe.core.errors import LockedError, NoSpaceError, SourceChangedError, StoreRefusedError
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Fault
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer import file_job
from ecogsafe.transfer.source import FileSource
from ecogsafe.transfer.work import Status

from .bench import Bench, Watched, opened
from .killing import LOST, PARTS, SIZE, die_at, finish


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_begin_that_was_cut_off_is_cleared_away(bench: Bench, when: str) -> None:
    folder = bench.folder / "nas"
    folder.mkdir()
    for number, inner in enumerate([MemoryStore(), DirectoryStore(folder)]):
        fault = Fault(error=LOST, when="before" if when == "before" else "after")
        store = Watched(inner, {"begin_upload": [fault]})
        data = bench.data(SIZE)
        shipment = bench.shipment(bench.write(f"000{number}", data), bench.place(store, number=number))
        assert [o.error for o in bench.send(shipment)] == [LOST]
        assert [row.upload_id for row in bench.open_uploads()] == [None]
        assert len(list(inner.list_uploads())) == (0 if when == "before" else 1)
        finish(bench, shipment)
        assert list(inner.list_uploads()) == []
        assert opened(inner, shipment.keys[True]) == data
    assert [entry.name for entry in (folder / "abcd1234" / "abcd1234_1").iterdir()] == ["abcd1234_1_0001.avi.age"]


def test_a_begin_that_a_kill_cut_between_its_files_is_cleared_away(bench: Bench) -> None:
    """In a folder an upload is two files: what a kill leaves of the first alone stayed there for good."""
    folder = bench.folder / "nas"
    folder.mkdir()
    inner = DirectoryStore(folder)
    shipment = bench.shipment(
        bench.write("0001", bench.data(SIZE)),
        bench.place(Watched(inner, {"begin_upload": [Fault(error=LOST, when="after")]})),
    )
    assert [o.error for o in bench.send(shipment)] == [LOST]
    next(folder.rglob("*.part")).unlink()
    finish(bench, shipment)
    assert [entry.name for entry in folder.rglob("*0001*")] == ["abcd1234_1_0001.avi.age"]
    assert list(folder.rglob(".ecogsafe-*")) == []


def test_an_upload_of_somebody_else_is_not_cleared_away(bench: Bench) -> None:
    inner = MemoryStore()
    store = Watched(inner, {"begin_upload": [Fault(error=LOST)]})
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))
    other = inner.begin_upload(f"{shipment.keys[True]}.other", token="t" * 32, size=1)
    with_parts = inner.begin_upload(shipment.keys[True], token="t" * 32, size=1)
    inner.put_part(shipment.keys[True], with_parts, 1, b"", offset=0, crc64=0)
    bench.send(shipment)
    finish(bench, shipment)
    assert {upload.upload_id for upload in inner.list_uploads()} == {other, with_parts}


def test_a_store_that_does_not_let_us_look_for_uploads_is_used_all_the_same(bench: Bench) -> None:
    no = StoreRefusedError("memory", "refuses access")
    store = Watched(MemoryStore(), {"begin_upload": [Fault(error=LOST)], "list_uploads": [Fault(error=no)]})
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))
    bench.send(shipment)
    finish(bench, shipment)


def test_a_begin_that_was_cut_off_is_cleared_away_even_if_the_file_changed(bench: Bench) -> None:
    store = Watched(MemoryStore(), {"begin_upload": [Fault(error=LOST, when="after")]})
    relative = bench.write("0001", bench.data(SIZE))
    bench.send(bench.shipment(relative, bench.place(store)))
    bench.write("0001", bench.data(SIZE + 1))
    finish(bench, bench.shipment(relative, bench.place(store)))
    assert list(store.inner.list_uploads()) == []


def until(fact: Callable[[], bool]) -> None:
    deadline = monotonic() + 10
    while not fact():
        assert monotonic() < deadline
        sleep(0.005)


def test_a_sleeper_that_lost_its_upload_does_not_complete_it(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))
    complete = file_job._complete

    def doze(*args: Any) -> Any:
        monkeypatch.setattr(file_job, "_complete", complete)
        die_at(bench, shipment, store, "finish_upload", 1)
        return complete(*args)

    monkeypatch.setattr(file_job, "_complete", doze)
    (outcome,) = bench.send(shipment)
    assert (outcome.status, type(outcome.error)) == (Status.FAILED, LockedError)
    assert list(store.inner.list()) == []
    finish(bench, shipment)
    assert store.sent_numbers() == list(range(1, PARTS + 1))


def test_a_sleeper_that_lost_its_upload_does_not_give_it_up(bench: Bench) -> None:
    """It sees its source change; the run that took over has its own view, and its own digests."""
    store = Watched(MemoryStore())
    data = bench.data(SIZE)
    relative = bench.write("0001", data)
    shipment = bench.shipment(relative, bench.place(store))

    class Sleepy(FileSource):
        def check_unchanged(self) -> None:
            # all but the last part have left by now: the other run needs none of them again once that is durable
            until(lambda: bench.rows("SELECT count(*) FROM acks")[0][0] >= PARTS - 1)
            die_at(bench, shipment, store, "finish_upload", 1)
            raise SourceChangedError(self.name, "changed while it was read")

    asleep = replace(shipment, open_source=lambda: Sleepy(bench.root, relative, name=str(relative)))
    assert [type(o.error) for o in bench.send(asleep)] == [SourceChangedError]
    assert store.count("abort_upload") == 0
    assert bench.keys_resting() == 1
    finish(bench, shipment)
    assert store.sent_numbers() == list(range(1, PARTS + 1))
    assert opened(store, shipment.keys[True]) == data


def test_no_part_leaves_before_the_name_of_its_upload_is_durable(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """Else a later run could not tell it from another machine's, and would have to begin anew."""
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))

    def full(*_: Any) -> None:
        raise NoSpaceError("the home", "its disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "set_upload_id", full)
        (outcome,) = bench.send(shipment)
    assert (outcome.status, type(outcome.error)) == (Status.FAILED, NoSpaceError)
    assert (store.count("begin_upload"), store.sent_numbers()) == (1, [])
    finish(bench, shipment)


def test_an_acknowledgement_that_was_not_noted_is_no_end(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))

    def full(*_: Any) -> None:
        raise NoSpaceError("the home", "its disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(uploads, "add_acks", full)
        (outcome,) = bench.send(shipment)
    assert (outcome.status, type(outcome.error)) == (Status.FAILED, NoSpaceError)
    assert list(store.inner.list()) == []
    sent = set(store.sent_numbers())
    finish(bench, shipment)
    # the store knew what had come
    assert sent and sorted(store.sent_numbers()) == list(range(1, PARTS + 1))
