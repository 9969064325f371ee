"""Small files by the batch in one process: what one of them meets, the others do not."""

from __future__ import annotations

from collections import Counter
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import PurePosixPath

import pytest
from sqlalchemy import event

from ecogsafe.catalog import uploads
from ecogsafe.core.errors import NoSpaceError, SourceChangedError, StoreRefusedError, StoreUnreachableError
from ecogsafe.stores.faulty import Fault
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Body, ObjectInfo
from ecogsafe.transfer import file_job, packing, pipeline
from ecogsafe.transfer.batch import Batch
from ecogsafe.transfer.packing import LocalPacked
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.single import ShippedFile, local_packer
from ecogsafe.transfer.source import FileSource
from ecogsafe.transfer.work import Place, Shipment, Status

from .bench import SMALL, Bench, Watched, opened
from .test_stalls_and_bugs import Hanging

LOST = StoreUnreachableError("memory", "no answer")


@pytest.fixture(autouse=True)
def few_lots(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make lots of ten files of what would be sent in smaller ones."""
    monkeypatch.setattr(pipeline, "BATCH_FILES", 10)


def clips(bench: Bench, count: int, *places: Place, size: int = 700) -> list[Shipment]:
    return [bench.shipment(bench.write(f"{n:04}", bench.data(size + n)), *places) for n in range(1, count + 1)]


def states(bench: Bench) -> Counter[str]:
    return Counter(state for (state,) in bench.rows("SELECT state FROM intents"))


def test_statements_and_commits_are_counted_by_the_lot_not_by_the_file(bench: Bench) -> None:
    store = MemoryStore()
    shipments = clips(bench, 80, bench.place(store))
    seen: Counter[str] = Counter()
    engine = bench.catalog._writer
    event.listen(engine, "before_cursor_execute", lambda *given: seen.update(["statements"]))
    event.listen(engine, "commit", lambda connection: seen.update(["commits"]))
    assert {o.status for o in bench.send(*shipments)} == {Status.DONE}
    # 8 lots, each announced and recorded
    assert seen["commits"] <= 16
    assert seen["statements"] <= 8 * 24
    assert bench.rows("SELECT count(*) FROM audit") == [(80,)]


def test_answers_that_are_lost_are_asked_for_one_by_one(bench: Bench) -> None:
    after, before = Fault(error=LOST, when="after"), Fault(error=LOST)
    store = Watched(MemoryStore(), {"put": [None, after, None, before, after, None, None, after]})
    shipments = clips(bench, 20, bench.place(store))
    outcomes = bench.send(*shipments)
    assert Counter(o.status for o in outcomes) == {Status.DONE: 19, Status.FAILED: 1}
    assert len(bench.copies()) == 19
    # the one that never arrived may still be on its way: nobody says that it will not come
    assert states(bench) == {"done": 19, "open": 1}
    (failed,) = [o.shipment for o in outcomes if o.status is Status.FAILED]
    assert [o.status for o in bench.send(failed)] == [Status.DONE]
    # now its key is taken, and a late request would be refused
    assert states(bench) == {"done": 20, "void": 1}


def test_one_key_that_is_refused_is_one_file_that_failed(bench: Bench) -> None:
    refused = StoreRefusedError("memory", "refuses access")

    class Picky(MemoryStore):
        def put(self, key: str, body: Body, **more: object) -> ObjectInfo:
            if "_0007." in key:
                raise refused
            return super().put(key, body, **more)  # type: ignore[arg-type]

    outcomes = bench.send(*clips(bench, 30, bench.place(Picky())))
    assert [(o.shipment.path[-8:-4], o.error) for o in outcomes if o.status is not Status.DONE] == [("0007", refused)]
    assert states(bench) == {"done": 29, "void": 1}


def test_files_that_cannot_be_read_and_files_that_change_fail_alone(bench: Bench) -> None:
    store = Watched(MemoryStore())
    shipments = clips(bench, 30, bench.place(store))
    (bench.out / shipments[3].path).unlink()

    class Changing(FileSource):
        def pieces(self):  # type: ignore[no-untyped-def]
            yield from super().pieces()
            file = bench.out / path
            file.write_bytes(file.read_bytes() + b"more")

    path = shipments[5].path
    shipments[5] = replace(shipments[5], open_source=lambda: Changing(bench.root, PurePosixPath(path), name=path))
    outcomes = bench.send(*shipments)
    failed = {o.shipment.path: type(o.error).__name__ for o in outcomes if o.status is Status.FAILED}
    assert failed == {shipments[3].path: "SourceUnreadableError", shipments[5].path: SourceChangedError.__name__}
    assert sum(o.status is Status.DONE for o in outcomes) == 28
    # nothing was announced for them
    assert states(bench) == {"done": 28}


def test_a_file_that_has_grown_leaves_its_lot_and_goes_in_parts(bench: Bench) -> None:
    store = Watched(MemoryStore())
    shipments = clips(bench, 20, bench.place(store))
    data = bench.data(3 * SMALL)
    (bench.out / shipments[4].path).write_bytes(data)
    outcomes = bench.send(*shipments)
    assert {o.status for o in outcomes} == {Status.DONE}
    assert len(outcomes) == 20
    assert store.count("finish_upload") == 1
    assert opened(store.inner, shipments[4].keys[True]) == data


def test_what_was_left_unfinished_in_parts_is_finished_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Watched(MemoryStore(), {"finish_upload": [Fault(error=StoreRefusedError("memory", "refuses access"))]})
    shipments = clips(bench, 20, bench.place(store))
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", 0)
    assert [o.status for o in bench.send(shipments[2])] == [Status.FAILED]
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", SMALL)
    outcomes = bench.send(*shipments)
    assert {o.status for o in outcomes} == {Status.DONE}
    assert [o.notes for o in outcomes if o.notes] == [["1 of 1 parts were already there"]]
    assert bench.open_uploads() == []


def test_a_place_that_stalls_gets_its_files_of_the_lot_again(bench: Bench) -> None:
    hanging, good = Hanging("memory://1", after=5), Watched(MemoryStore("memory://2"))
    # the last clips go to the one that hangs alone: it is waited for
    both = [bench.place(hanging), bench.place(good, number=1)]
    shipments = clips(bench, 20, *both)
    alone = bench.shipment(bench.write("0099", bench.data(10)), both[0])
    with bench.context(pool=PartPool(stall_s=0.2)) as context, closing(send_all(context, [*shipments, alone])) as ends:
        first = [next(ends) for _ in range(20)]
        assert {id(o.place.store) for o in first} >= {id(good)}
        hanging.go.set()
        rest = list(ends)
        assert context.meter.now().files_done == 21
    assert Counter(o.status for o in (*first, *rest)) == {Status.DONE: 41}
    assert "stalled: the other destinations go on" in bench.told()
    for shipment in shipments:
        data = (bench.out / shipment.path).read_bytes()
        assert opened(hanging, shipment.keys[True]) == opened(good, shipment.keys[True]) == data
    assert set(states(bench)) <= {"done", "void", "different"}
    assert context.pool.used == 0


def test_one_small_file_that_hangs_is_the_only_one_of_its_lot_that_is_sent_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the store has of the others is noted as it comes, not when the last one has come."""
    monkeypatch.setattr(packing, "TELL_EVERY_S", 60.0)
    hanging, good = Hanging("memory://1", after=9), Watched(MemoryStore("memory://2"))
    shipments = clips(bench, 10, bench.place(hanging), bench.place(good, number=1))
    pool = PartPool(stall_s=0.3)
    with bench.context(pool=pool) as context, Senders(16) as senders:
        batch = Batch(context, local_packer(context, shipments, senders), senders, shipments)
        ended = batch.run([ShippedFile(s) for s in shipments], most=SMALL)
        hanging.go.set()
    at_hanging = Counter(o.status for o in ended.outcomes if o.place.store is hanging)
    assert at_hanging == {Status.DONE: 9, Status.DETACHED: 1}
    assert "this one gets the file again later" in bench.told()
    assert pool.used == 0


def test_what_a_store_answered_is_told_though_all_of_its_threads_hang(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only what it did not answer is sent to it again."""
    monkeypatch.setattr(packing, "TELL_EVERY_S", 0.2)
    hanging, good = Hanging("memory://1", after=5), Watched(MemoryStore("memory://2"))
    shipments = clips(bench, 10, bench.place(hanging), bench.place(good, number=1))
    pool = PartPool(stall_s=1.0)
    with bench.context(pool=pool) as context, Senders(1) as senders:
        batch = Batch(context, local_packer(context, shipments, senders), senders, shipments)
        ended = batch.run([ShippedFile(s) for s in shipments], most=SMALL)
        hanging.go.set()
    at_hanging = Counter(o.status for o in ended.outcomes if o.place.store is hanging)
    assert at_hanging == {Status.DONE: 5, Status.DETACHED: 5}
    assert pool.used == 0


def test_stop_in_the_middle_of_a_lot_sends_what_is_in_flight(bench: Bench) -> None:
    store = Watched(MemoryStore())
    shipments = clips(bench, 80, bench.place(store))
    with bench.context() as context:
        store.before["put"] = lambda: context.stop.set() if len(store.bodies) == 3 else None
        outcomes = list(send_all(context, shipments, readers=1, senders=1))
        assert context.pool.used == 0
    assert Counter(o.status for o in outcomes) == {Status.DONE: 4, Status.PAUSED: 6}
    # what never left can never come
    assert states(bench) == {"done": 4, "void": 6}
    again = bench.send(*[s for s in shipments if s.path not in {o.shipment.path for o in outcomes if o.proven}])
    assert {o.status for o in again} == {Status.DONE}
    assert len(bench.copies()) == 80


def test_a_catalogue_on_a_full_disk_ends_the_run_without_reading_the_rest(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is read and sealed then is so for nothing: it is let go of, and every file is told of."""
    store = Watched(MemoryStore())
    shipments = clips(bench, 80, bench.place(store))
    let_go: list[object] = []
    read_files: list[str] = []

    def forget(packed: LocalPacked) -> None:
        let_go.append(packed)

    def full(*_given: object) -> None:
        raise NoSpaceError("catalogue", "its disk is full")

    class Counted(FileSource):
        def pieces(self):  # type: ignore[no-untyped-def]
            read_files.append(self.name)
            return super().pieces()

    for n, shipment in enumerate(shipments):
        path = shipment.path
        open_it = partial(Counted, bench.root, PurePosixPath(path), name=path)
        shipments[n] = replace(shipment, open_source=open_it)
    monkeypatch.setattr(LocalPacked, "forget", forget)
    monkeypatch.setattr(uploads, "add_intents", full)
    pool = PartPool()
    with bench.context(pool=pool) as context, closing(send_all(context, shipments, readers=2)) as ends:
        outcomes = list(ends)
    assert Counter((o.status, type(o.error)) for o in outcomes) == {(Status.FAILED, NoSpaceError): 80}
    assert len({o.shipment.path for o in outcomes}) == 80
    # two lots were in hand when the first one was told of
    assert (len(read_files), len(let_go)) == (20, 2)
    assert (store.bodies, pool.used) == ([], 0)


def test_no_file_key_serves_twice(bench: Bench) -> None:
    """The same content, sent again after a failure, is another ciphertext from its first byte on."""
    store = Watched(MemoryStore(), {"put": [Fault(error=LOST)] * 10})
    shipments = clips(bench, 10, bench.place(store))
    assert {o.status for o in bench.send(*shipments)} == {Status.FAILED}
    assert {o.status for o in bench.send(*shipments)} == {Status.DONE}
    # the payload nonce and what follows, behind the header
    assert len({body[-600:] for body in store.bodies}) == 20
