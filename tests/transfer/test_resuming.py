"""Runs that ended early and runs after them: nothing sent twice, no nonce for two plaintexts."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from dataclasses import replace
from pathlib import PurePosixPath

import pytest

from ecogsafe.catalog.database import Catalog
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Fault
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.work import Status

from .bench import PART, Bench, Quiet, Watched, opened, read, with_capabilities
from .killing import LOST, PARTS, SIZE, die_at, finish


def _lose() -> None:
    raise LOST


def _stores(bench: Bench) -> dict[str, Store]:
    folder = bench.folder / "nas"
    folder.mkdir()
    return {"memory": MemoryStore(), "quiet": Quiet(), "folder": DirectoryStore(folder)} | {
        "no listing": with_capabilities(MemoryStore(), lists_parts=False)
    }


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("kind", ["memory", "quiet", "folder", "no listing"])
def test_what_was_acknowledged_is_not_sent_twice(bench: Bench, kind: str, *, sealed: bool) -> None:
    store = Watched(_stores(bench)[kind])
    data = bench.data(SIZE)
    shipment = bench.shipment(bench.write("0001", data), bench.place(store, sealed=sealed))
    total = PARTS if sealed else PARTS - 1
    for call in (4, 3):
        die_at(bench, shipment, store, "put_part", call)
    acknowledged = {number for (number,) in bench.rows("SELECT number FROM acks")}
    assert len(acknowledged) >= 5
    outcome = finish(bench, shipment)
    assert outcome.notes == [f"{len(acknowledged)} of {total} parts were already there"]
    sent = store.sent_numbers()
    assert all(sent.count(int(str(number))) == 1 for number in acknowledged)
    assert set(sent) == set(range(1, total + 1))
    body = opened(store, shipment.keys[True]) if sealed else read(store, shipment.keys[False])
    assert body == data
    bench.check_no_nonce_twice(store)


def test_the_bar_of_a_file_goes_on_where_its_parts_end(bench: Bench) -> None:
    """Not only that of the run."""
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store, sealed=False))
    die_at(bench, shipment, store, "put_part", 6)
    seen: list[tuple[int, int]] = []
    with bench.context() as context:

        def look() -> None:
            (file,) = context.meter.now().current_files
            seen.append((file.bytes_done, context.meter.now().bytes_done))

        store.before["put_part"] = look
        with closing(send_all(context, [shipment], senders=1)) as ends:
            assert [outcome.status for outcome in ends] == [Status.DONE]
    assert seen[0][0] == seen[0][1] >= 3 * PART


@pytest.mark.parametrize("at", [0, PART * 3, SIZE - 1])
@pytest.mark.parametrize("kind", ["memory", "quiet", "no listing"])
def test_a_source_that_changed_between_runs_starts_over_under_a_new_key(bench: Bench, kind: str, at: int) -> None:
    store = Watched(_stores(bench)[kind])
    data = bytearray(bench.data(SIZE))
    relative = bench.write("0001", bytes(data))
    shipment = bench.shipment(relative, bench.place(store))
    die_at(bench, shipment, store, "put_part", PARTS)
    data[at] ^= 1
    bench.write("0001", bytes(data))
    changed = bench.shipment(relative, bench.place(store))
    finish(bench, changed)
    assert opened(store, changed.keys[True]) == data
    assert list(store.inner.list_uploads()) == []
    bench.check_no_nonce_twice(store)
    # what had left under the old key did not leave again under it, whole parts before the change included
    if at < SIZE - PART:
        assert "starts again under a new key" in bench.told()
        assert len({upload_id for upload_id, _, _ in store.parts}) == 2


@pytest.mark.parametrize("at", [0, PART // 2, 2 * PART - 1])
def test_a_change_before_a_part_that_is_the_same_starts_over_too(bench: Bench, at: int) -> None:
    """A part's row proves the source from its start: the later parts are as they were, and are not sealed again."""
    store = Watched(MemoryStore())
    data = bytearray(bench.data(SIZE))
    relative = bench.write("0001", bytes(data))
    die_at(bench, bench.shipment(relative, bench.place(store)), store, "put_part", 7)
    rows = bench.rows("SELECT number, hex(prefix_sha256) FROM parts ORDER BY number")
    assert [number for number, _ in rows] == list(range(1, len(rows) + 1))
    assert len({digest for _, digest in rows}) == len(rows) >= 6
    data[at] ^= 1
    bench.write("0001", bytes(data))
    shipment = bench.shipment(relative, bench.place(store))
    sent = len(store.parts)
    finish(bench, shipment)
    assert opened(store, shipment.keys[True]) == data
    assert "starts again under a new key" in bench.told()
    before, after = ({upload_id for upload_id, _, _ in parts} for parts in (store.parts[:sent], store.parts[sent:]))
    assert not before & after
    bench.check_no_nonce_twice(store)


@pytest.mark.parametrize("lost", [1, 3])
def test_a_catalogue_that_lost_a_part_in_between_never_seals_again(bench: Bench, lost: int) -> None:
    """That part would go out as if new, and shares a chunk with the next one, which has left."""
    store = Watched(MemoryStore())
    data = bytearray(bench.data(SIZE))
    relative = bench.write("0001", bytes(data))
    die_at(bench, bench.shipment(relative, bench.place(store)), store, "put_part", 6)
    # the store does not know the part either, so nothing else gives it away
    with closing(sqlite3.connect(bench.catalog_path)) as connection, connection:
        connection.execute("DELETE FROM parts WHERE number = ?", (lost,))
        connection.execute("DELETE FROM acks WHERE number = ?", (lost,))
    (upload,) = store.inner.list_uploads()
    store.inner._uploads[upload.upload_id].parts.pop(lost, None)  # type: ignore[attr-defined]
    data[lost * PART - 10] ^= 1
    bench.write("0001", bytes(data))
    shipment = bench.shipment(relative, bench.place(store))
    finish(bench, shipment)
    assert "lost what it knew of a part" in bench.told()
    assert opened(store, shipment.keys[True]) == data
    bench.check_no_nonce_twice(store)


def test_a_source_of_another_size_starts_over(bench: Bench) -> None:
    store = Watched(MemoryStore())
    relative = bench.write("0001", bench.data(SIZE))
    die_at(bench, bench.shipment(relative, bench.place(store)), store, "put_part", 5)
    for size in (SIZE + 1, 1000):
        data = bench.data(size)
        bench.write("0001", data)
        shipment = bench.shipment(relative, bench.place(store))
        if size > 1000:
            die_at(bench, shipment, store, "put_part", 3)
            continue
        finish(bench, shipment)
        assert opened(store, shipment.keys[True]) == data
    assert "another size" in bench.told()
    assert list(store.inner.list_uploads()) == []
    bench.check_no_nonce_twice(store)


def test_another_resume_key_can_only_start_over(bench: Bench) -> None:
    store = Watched(MemoryStore())
    shipment = bench.shipment(bench.write("0001", bench.data(SIZE)), bench.place(store))
    die_at(bench, shipment, store, "put_part", 5)
    bench.resume_key = bytes(32)
    finish(bench, shipment)
    assert "resume.key is another one" in bench.told()
    assert list(store.inner.list_uploads()) == []
    bench.check_no_nonce_twice(store)


@pytest.mark.parametrize("later", ["killed again", "completed"])
def test_an_older_catalogue_that_was_put_back_never_seals_again(bench: Bench, later: str) -> None:
    """It has no rows for parts that left since: the store knows better, and the source has changed."""
    store = Watched(MemoryStore())
    data = bytearray(bench.data(SIZE))
    relative = bench.write("0001", bytes(data))
    shipment = bench.shipment(relative, bench.place(store))
    die_at(bench, shipment, store, "put_part", 3)
    old = bench.folder / "old.sqlite"
    bench.catalog.close()
    shutil.copy(bench.catalog_path, old)
    bench.catalog = Catalog.open(bench.catalog_path)
    if later == "killed again":
        die_at(bench, shipment, store, "put_part", 5)
    else:
        finish(bench, shipment)
    sealing_of = dict(bench.rows("SELECT upload_id, sealing_id FROM uploads"))
    bench.catalog.close()
    for leftover in bench.folder.glob("catalog.sqlite*"):
        leftover.unlink()
    shutil.copy(old, bench.catalog_path)
    bench.catalog = Catalog.open(bench.catalog_path)
    data[SIZE - 10] ^= 1
    bench.write("0001", bytes(data))
    outcomes = bench.send(bench.shipment(relative, bench.place(store)))
    expected = Status.DONE if later == "killed again" else Status.DIFFERENT
    assert [o.status for o in outcomes] == [expected]
    assert "more of it than the catalogue knows" in bench.told()
    sealing_of |= dict(bench.rows("SELECT upload_id, sealing_id FROM uploads"))
    bodies: dict[tuple[object, int], bytes] = {}
    for upload_id, number, body in store.parts:
        assert bodies.setdefault((sealing_of[upload_id], number), body) == body
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])


def test_uploads_of_an_abandoned_sealing_are_aborted_by_a_later_run(bench: Bench) -> None:
    """The source changed, and the store could not be asked to abort: the key is gone at once, the upload later."""
    store = Watched(MemoryStore(), {"abort_upload": [Fault(error=LOST), Fault(error=LOST)]})
    relative = bench.write("0001", bench.data(SIZE))
    die_at(bench, bench.shipment(relative, bench.place(store)), store, "put_part", 8)
    bench.write("0001", bench.data(SIZE))
    shipment = bench.shipment(relative, bench.place(store))
    (outcome,) = bench.send(shipment)
    assert outcome.status is Status.DONE
    assert "could not be aborted yet" in bench.told()
    assert bench.keys_resting() == 0
    (left,) = bench.open_uploads()
    assert [u.upload_id for u in store.inner.list_uploads()] == [left.upload_id]
    # whatever next goes to that key finds it: here the same file, which is refused as it stands there
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    assert (bench.open_uploads(), list(store.inner.list_uploads())) == ([], [])


def test_two_places_are_continued_each_from_where_it_was(bench: Bench) -> None:
    one, two = Watched(MemoryStore()), Watched(MemoryStore("memory://2"), {"put_part": [None, Fault(error=LOST)]})
    data = bench.data(SIZE)
    shipment = bench.shipment(bench.write("0001", data), bench.place(one), bench.place(two, number=1))
    outcomes = bench.send(shipment, pool=PartPool(2 * PART))
    assert sorted(o.status for o in outcomes) == [Status.DONE, Status.FAILED]
    assert bench.keys_resting() == 1
    assert len(bench.open_uploads()) == 1
    finish(bench, replace(shipment, places=shipment.places[1:]))
    assert read(one, shipment.keys[True]) == read(two, shipment.keys[True])
    assert opened(two, shipment.keys[True]) == data
    assert one.sent_numbers() == list(range(1, PARTS + 1))
    bench.check_no_nonce_twice(one, two)


def test_a_place_that_joins_later_gets_the_same_object(bench: Bench) -> None:
    one, two = Watched(MemoryStore()), Watched(MemoryStore("memory://2"))
    relative = bench.write("0001", bench.data(SIZE))
    die_at(bench, bench.shipment(relative, bench.place(one)), one, "put_part", 4)
    shipment = bench.shipment(relative, bench.place(one), bench.place(two, number=1))
    assert [o.status for o in bench.send(shipment)] == [Status.DONE] * 2
    assert read(one, shipment.keys[True]) == read(two, shipment.keys[True])
    bench.check_no_nonce_twice(one, two)
    assert bench.keys_resting() == 0


def test_one_place_alone_leaves_the_other_to_be_continued(bench: Bench) -> None:
    one, two = Watched(MemoryStore()), Watched(MemoryStore("memory://2"))
    relative = bench.write("0001", bench.data(SIZE))
    both = bench.shipment(relative, bench.place(one), bench.place(two, number=1))
    die_at(bench, both, two, "put_part", 5)
    assert [o.status for o in bench.send(replace(both, places=both.places[:1]))] == [Status.DONE]
    sent = len(two.parts)
    assert sent >= 4
    (outcome,) = bench.send(replace(both, places=both.places[1:]))
    assert outcome.status is Status.DONE
    assert "parts were already there" in outcome.notes[0]
    assert read(one, both.keys[True]) == read(two, both.keys[True])
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])


def test_a_store_that_does_not_answer_keeps_its_upload_for_later(bench: Bench) -> None:
    one, two = Watched(MemoryStore()), Watched(MemoryStore("memory://2"))
    data = bench.data(SIZE)
    shipment = bench.shipment(bench.write("0001", data), bench.place(one), bench.place(two, number=1))
    die_at(bench, shipment, two, "put_part", 6)
    two.before["list_parts"] = _lose
    outcomes = bench.send(shipment)
    assert {id(o.place.store): o.status for o in outcomes} == {id(one): Status.DONE, id(two): Status.FAILED}
    two.before.clear()
    sent = len(two.parts)
    finish(bench, replace(shipment, places=shipment.places[1:]))
    assert len(two.parts) - sent < PARTS
    assert opened(two, shipment.keys[True]) == data
    bench.check_no_nonce_twice(one, two)


def test_another_storage_class_starts_over(bench: Bench) -> None:
    store = Watched(MemoryStore())
    relative = bench.write("0001", bench.data(SIZE))
    die_at(bench, bench.shipment(relative, bench.place(store)), store, "put_part", 5)
    shipment = bench.shipment(relative, bench.place(store, storage_class="GLACIER_IR"))
    finish(bench, shipment)
    assert [c.storage_class for c in bench.copies()] == ["GLACIER_IR"]
    assert list(store.inner.list_uploads()) == []
    bench.check_no_nonce_twice(store)


@pytest.mark.parametrize("method", ["begin_upload", "put_part", "finish_upload"])
def test_a_run_killed_anywhere_is_finished_by_the_next(bench: Bench, method: str) -> None:
    stores = [Watched(MemoryStore(f"memory://{n}")) for n in range(2)]
    data = bench.data(SIZE)
    places = [bench.place(stores[0]), bench.place(stores[1], sealed=False, number=1)]
    relative: PurePosixPath = bench.write("0001", data)
    shipment = bench.shipment(relative, *places)
    die_at(bench, shipment, stores[1], method, 1)
    outcomes = bench.send(shipment)
    assert {o.status for o in outcomes} == {Status.DONE}
    assert opened(stores[0], shipment.keys[True]) == read(stores[1], shipment.keys[False]) == data
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])
    assert [list(s.inner.list_uploads()) for s in stores] == [[], []]
    bench.check_no_nonce_twice(*stores)


def test_stop_leaves_an_upload_that_is_continued(bench: Bench) -> None:
    store = Watched(MemoryStore())
    data = [bench.data(SIZE), bench.data(SIZE), bench.data(100)]
    shipments = [bench.shipment(bench.write(f"000{n}", d), bench.place(store)) for n, d in enumerate(data)]
    with bench.context(pool=PartPool(2 * PART)) as context:
        from ecogsafe.transfer.pipeline import send_all

        def interrupt() -> None:
            if len(store.parts) == 3:
                context.stop.set()

        store.before["put_part"] = interrupt
        outcomes = list(send_all(context, shipments, readers=1))
    assert {o.status for o in outcomes} <= {Status.PAUSED, Status.DONE}
    assert Status.PAUSED in {o.status for o in outcomes}
    assert context.pool.used == 0
    acknowledged = bench.rows("SELECT token, number FROM acks")
    assert len(acknowledged) >= 3
    sent = len(store.parts)
    store.before.clear()
    assert {o.status for o in bench.send(*shipments)} == {Status.DONE}
    assert len(store.parts) - sent <= 2 * PARTS - len(acknowledged)
    for shipment, expected in zip(shipments, data, strict=True):
        assert opened(store, shipment.keys[True]) == expected
    bench.check_no_nonce_twice(store)


def test_a_part_that_seals_to_other_bytes_than_before_starts_over(bench: Bench) -> None:
    """Its plaintext is the same, so key, nonce or row are not what they were."""
    store = Watched(MemoryStore(), {"put_part": [None, Fault(error=LOST)]})
    data = bench.data(SIZE)
    shipment = bench.shipment(bench.write("0001", data), bench.place(store))
    bench.send(shipment, pool=PartPool(2 * PART))
    # two parts are on their way at once, so either may be the one whose reply was lost
    ((number,), *_) = bench.rows("SELECT number FROM parts WHERE number NOT IN (SELECT number FROM acks)")
    with closing(sqlite3.connect(bench.catalog_path)) as connection, connection:
        connection.execute("UPDATE parts SET crc64 = 7 WHERE number = ?", (number,))
    sent = len(store.parts)
    (earlier,) = {upload_id for upload_id, _, _ in store.parts}
    finish(bench, shipment)
    assert opened(store, shipment.keys[True]) == data
    assert "starts again under a new key" in bench.told()
    assert (earlier, number) not in {(upload_id, n) for upload_id, n, _ in store.parts[sent:]}
    bench.check_no_nonce_twice(store)


def test_a_place_whose_upload_is_gone_gets_an_object_of_its_own(bench: Bench) -> None:
    """It bears nothing out, so it takes no part in the earlier sealing; the other place goes on with that."""
    one, two = Watched(MemoryStore()), Watched(MemoryStore("memory://2"))
    data = bench.data(SIZE)
    shipment = bench.shipment(bench.write("0001", data), bench.place(one), bench.place(two, number=1))
    die_at(bench, shipment, two, "put_part", 6)
    for upload in list(two.inner.list_uploads()):
        two.inner.abort_upload(upload.key, upload.upload_id)
    acknowledged = bench.rows("SELECT number FROM acks a JOIN uploads u USING (token) WHERE u.store_id LIKE '00%'")
    assert [o.status for o in bench.send(shipment)] == [Status.DONE] * 2
    assert all(one.sent_numbers().count(number) == 1 for (number,) in acknowledged)
    assert opened(one, shipment.keys[True]) == opened(two, shipment.keys[True]) == data
    assert read(one, shipment.keys[True]) != read(two, shipment.keys[True])
    assert (bench.keys_resting(), bench.open_uploads()) == (0, [])
    bench.check_no_nonce_twice(one, two)
