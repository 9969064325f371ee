"""Small files by worker processes: real ones, on real folders; some of them are killed."""

from __future__ import annotations

import os
import signal
import threading
from collections import Counter
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import closing
from dataclasses import replace
from multiprocessing.connection import Pipe
from pathlib import Path
from unittest import mock

import pytest

from ecogsafe.core.errors import SourceChangedError
from ecogsafe.formats.regions import Region
from ecogsafe.formats.text_digest import digest_of
from ecogsafe.stores.open import open_store
from ecogsafe.stores.store_id import STORE_ID_KEY, create_store_id
from ecogsafe.transfer import hiring, pipeline, workers
from ecogsafe.transfer.file_order import Cleared, FileOrder
from ecogsafe.transfer.messages import Begin, End, Results, WasMade
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.single import local_packer
from ecogsafe.transfer.source import source_stat
from ecogsafe.transfer.store_order import StoreOrder
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status
from ecogsafe.transfer.worker_errors import WorkerGoneError

from .bench import IDENTITY, Bench, opened, read
from .test_batches import states

FILES = 60


@pytest.fixture(autouse=True)
def small_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "BATCH_FILES", 8)


def folder_place(bench: Bench, name: str, *, sealed: bool = True) -> Place:
    folder = bench.folder / name
    folder.mkdir(exist_ok=True)
    store = open_store(folder.as_uri())
    place = bench.place(store, sealed=sealed)
    store_id = create_store_id(store).store_id
    with bench.catalog.write() as tx:
        from ecogsafe.catalog import stores

        stores.remember_store(tx, store_id, store.url, "file")
    return replace(place, store_id=store_id, order=StoreOrder(folder.as_uri(), name))


def clips(bench: Bench, *places: Place, count: int = FILES, size: int = 500) -> list[Shipment]:
    made = []
    for n in range(1, count + 1):
        relative = bench.write(f"{n:04}", bench.data(size + n))
        shipment = bench.shipment(relative, *places)
        made.append(replace(shipment, order=FileOrder(bench.root, str(relative), str(relative))))
    return made


def send(bench: Bench, shipments: list[Shipment], *, count: int = 2) -> list[Outcome]:
    pool = PartPool()
    with bench.context(pool=pool) as context, closing(send_all(context, shipments, workers=count)) as ends:
        outcomes = list(ends)
        assert context.meter.now().files_done == len(
            {o.shipment.path for o in outcomes if o.status is not Status.PAUSED}
        )
    assert pool.used == 0
    return outcomes


def check_stored(bench: Bench, shipments: list[Shipment]) -> None:
    for shipment in shipments:
        data = (bench.out / shipment.path).read_bytes()
        for place in shipment.places:
            key = shipment.keys[place.sealed]
            assert (opened if place.sealed else read)(place.store, key) == data
    assert {c.level for c in bench.copies()} == {"checksum"}


def when(monkeypatch: pytest.MonkeyPatch, method: str, call: Callable[[workers._Worker], None]) -> list[int]:
    """Call ``call`` with the worker, once, when ``method`` of the parent's side of it is first called."""
    real = getattr(workers._Worker, method)
    pids: list[int] = []

    def once(self: workers._Worker, *given: object) -> object:
        if not pids:
            pids.append(self._process.pid)
            call(self)
        return real(self, *given)

    monkeypatch.setattr(workers._Worker, method, once)
    return pids


def test_workers_read_once_and_serve_every_place(bench: Bench) -> None:
    places = [folder_place(bench, "a"), folder_place(bench, "b"), folder_place(bench, "c", sealed=False)]
    shipments = clips(bench, *places)
    outcomes = send(bench, shipments)
    assert Counter((o.status, o.proven) for o in outcomes) == {(Status.DONE, True): 3 * FILES}
    check_stored(bench, shipments)
    for shipment in shipments:
        # one sealing of a file for all
        assert read(places[0].store, shipment.keys[True]) == read(places[1].store, shipment.keys[True])
    assert states(bench) == {"done": 3 * FILES}


def test_a_list_of_processes_shows_neither_names_nor_places(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[list[str], int]] = []

    def look(worker: workers._Worker) -> None:
        line = Path(f"/proc/{worker._process.pid}/cmdline").read_bytes().decode().split("\0")
        seen.append((line, os.getpgid(worker._process.pid)))

    when(monkeypatch, "_deliver", look)
    send(bench, clips(bench, folder_place(bench, "a")))
    ((line, group),) = seen
    assert line[1:4] == ["-P", "-m", "ecogsafe.transfer.worker"]
    assert line[4].isdigit()
    assert line[5:] == [""]
    # Ctrl-C at the terminal goes to the foreground group: it is for the parent to judge
    assert group != os.getpgrp()


@pytest.mark.parametrize("moment", ["pack", "send", "_deliver"])
@pytest.mark.parametrize("count", [1, 2])
def test_a_worker_that_is_killed_costs_nothing_but_time(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, moment: str, count: int
) -> None:
    """While it packs, before it may send, and while it sends; with another worker left, and with none."""

    def kill(worker: workers._Worker) -> None:
        worker._process.send_signal(signal.SIGKILL)
        worker._process.wait()

    pids = when(monkeypatch, moment, kill)
    shipments = clips(bench, folder_place(bench, "a"))
    outcomes = send(bench, shipments, count=count)
    assert len(pids) == 1
    assert Counter((o.status, o.shipment.path) for o in outcomes) == {(Status.DONE, s.path): 1 for s in shipments}
    check_stored(bench, shipments)
    # what the dead one had announced and never sent can no longer come: its keys are taken
    assert set(states(bench)) <= {"done", "void"}
    assert states(bench)["done"] == FILES


def test_a_worker_that_cannot_open_the_stores_is_done_without(bench: Bench) -> None:
    place = folder_place(bench, "a")
    (bench.folder / "a" / STORE_ID_KEY).write_bytes(
        (bench.folder / "a" / STORE_ID_KEY).read_bytes().replace(place.store_id.encode(), b"0" * 32)
    )
    shipments = clips(bench, place)
    assert {o.status for o in send(bench, shipments)} == {Status.DONE}
    check_stored(bench, shipments)


def test_files_that_fail_in_a_worker_fail_alone_and_say_why(bench: Bench) -> None:
    place = folder_place(bench, "a")
    shipments = clips(bench, place)
    (bench.out / shipments[3].path).unlink()
    (bench.out / shipments[4].path).unlink()
    (bench.out / shipments[4].path).symlink_to(bench.out / shipments[5].path)
    # somebody else was first
    (bench.folder / "a" / shipments[6].keys[True]).parent.mkdir(parents=True, exist_ok=True)
    (bench.folder / "a" / shipments[6].keys[True]).write_bytes(b"theirs")
    outcomes = send(bench, shipments)
    others = {o.shipment.path: o for o in outcomes if o.status is not Status.DONE}
    assert set(others) == {shipments[n].path for n in (3, 4, 6)}
    assert "no longer there" in str(others[shipments[3].path].error)
    assert "symbolic link" in str(others[shipments[4].path].error)
    assert others[shipments[6].path].status is Status.DIFFERENT
    assert (bench.folder / "a" / shipments[6].keys[True]).read_bytes() == b"theirs"
    assert states(bench) == {"done": FILES - 3, "different": 1}


def test_text_that_is_not_the_cleared_one_is_not_sent_by_a_worker(bench: Bench) -> None:
    """The gate's watch goes with the order: what goes plain goes as it was cleared, or not at all."""
    shipments = clips(bench, folder_place(bench, "a", sealed=False))
    for n, shipment in enumerate(shipments):
        path = bench.out / shipment.path
        regions = (Region(0, 40), Region(100, 200))
        with path.open("rb") as file:
            cleared = Cleared(regions, digest_of(file, regions), source_stat(path.stat()))
        if n == 7:
            cleared = replace(cleared, text_sha256="0" * 64)
        if n == 9:
            path.write_bytes(bench.data(path.stat().st_size))
        order = FileOrder(bench.root, shipment.path, shipment.path, cleared)
        shipments[n] = replace(shipment, order=order, open_source=order.open, text_watch=order.watch)
    outcomes = send(bench, shipments)
    failed = {o.shipment.path: o.error for o in outcomes if o.status is not Status.DONE}
    assert set(failed) == {shipments[7].path, shipments[9].path}
    assert {error.problem for error in failed.values() if error} == {"changed after it was cleared"}
    assert {type(error) for error in failed.values()} == {SourceChangedError}
    assert len(list(shipments[0].places[0].store.list())) == FILES - 2
    assert states(bench) == {"done": FILES - 2}


def test_stop_ends_the_workers_and_nothing_is_lost(bench: Bench) -> None:
    shipments = clips(bench, folder_place(bench, "a"), count=300)
    with bench.context() as context, closing(send_all(context, shipments, workers=2)) as ends:
        outcomes = [next(ends)]
        context.stop.set()
        outcomes += ends
        assert context.pool.used == 0
    counted = Counter(o.status for o in outcomes)
    assert set(counted) <= {Status.DONE, Status.PAUSED}
    assert counted[Status.DONE] < 300
    stored = {info.key for info in shipments[0].places[0].store.list()}
    assert stored == {o.shipment.keys[True] for o in outcomes if o.status is Status.DONE}
    assert set(states(bench)) <= {"done", "void"}
    again = [s for s in shipments if s.keys[True] not in stored]
    assert {o.status for o in send(bench, again)} == {Status.DONE}
    check_stored(bench, shipments)


def test_a_bug_in_a_worker_is_told_without_its_message(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A message may name something private; where it happened does not."""
    place = folder_place(bench, "a")
    shipments = clips(bench, place)
    order = FileOrder(bench.root, 17, shipments[2].path)  # type: ignore[arg-type]
    shipments[2] = replace(shipments[2], order=order)
    outcomes: list[Outcome] = []
    with bench.context() as context, pytest.raises(Exception, match=r"AttributeError at .*folder_reading") as caught:
        for outcome in send_all(context, shipments, workers=2):
            outcomes.append(outcome)
    assert "17" not in str(caught.value).replace("py:17", "")
    assert Counter(o.status for o in outcomes) == {Status.DONE: FILES - 1, Status.FAILED: 1}


def test_words_of_a_worker_that_are_read_after_its_end_was_noticed_harm_nothing(bench: Bench) -> None:
    """Whoever finds the line broken says so at once; what still stood in it comes afterwards."""
    place = folder_place(bench, "a")
    assert place.order is not None
    begin = Begin([IDENTITY.recipient], {place.store_id: place.order}, 2)
    worker = workers._Worker(begin, {bench.root}, lambda _store, _message: None)
    heard: list[object] = []
    threading_errors: list[object] = []
    try:
        with mock.patch("threading.excepthook", threading_errors.append):
            worker._making[1] = made = Future()
            worker._sending[2] = workers._Sending({0, 1}, heard.extend)
            worker._gone()
            with pytest.raises(WorkerGoneError):
                made.result(0)
            ours, theirs = Pipe()
            worker._connection, kept = ours, worker._connection
            for late in (WasMade(1, []), Results(2, [(0, None)]), Results(2, [(1, None)])):
                theirs.send(late)
            theirs.close()
            reader = threading.Thread(target=worker._read)
            reader.start()
            reader.join(10)
            worker._connection = kept
        assert threading_errors == []
        assert [(position, type(result)) for position, result in heard] == [(0, WorkerGoneError), (1, WorkerGoneError)]
    finally:
        worker._connection.send(End())
        worker.close()


@pytest.mark.parametrize("is_stopped", [True, False])
def test_ctrl_c_reaches_workers_that_only_have_what_nobody_waits_for(
    bench: Bench, monkeypatch: pytest.MonkeyPatch, is_stopped: bool
) -> None:
    """A place that was left behind is asked again and again: at the end of a stopped run that ends at once."""
    place = folder_place(bench, "a")
    assert place.order is not None
    begin = Begin([IDENTITY.recipient], {place.store_id: place.order}, 2)
    said: list[str] = []
    order = workers._Worker.order

    def listened(self: workers._Worker, message: object) -> None:
        said.append(type(message).__name__)
        order(self, message)  # type: ignore[arg-type]

    monkeypatch.setattr(workers._Worker, "order", listened)
    with bench.context() as context, Senders() as senders:
        packer = local_packer(context, clips(bench, place, count=2), senders)
        hired = workers.Workers(
            begin, {bench.root}, 2, instead=packer, stop=context.stop, tell=lambda _store, _message: None
        )
        with hired:
            assert hired.count == 2
            if is_stopped:
                context.stop.set()
    assert said == ["Begin"] * 2 + ["Stop"] * (2 * is_stopped) + ["End"] * 2


def test_few_files_and_places_of_this_process_alone_need_no_worker(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workers, "Workers", None)
    place = folder_place(bench, "a")
    with bench.context() as context:
        assert {o.status for o in send_all(context, clips(bench, place))} == {Status.DONE}
    here = replace(folder_place(bench, "b"), order=None)
    monkeypatch.setattr(hiring, "LEAST_FOR_WORKERS", 10)
    with bench.context() as context:
        assert {o.status for o in send_all(context, clips(bench, here))} == {Status.DONE}
