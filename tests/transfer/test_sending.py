"""One read, several places, plain and sealed; sources that may not be sent; files that fail alone."""

from __future__ import annotations

import hashlib
import os
from pathlib import PurePosixPath

import pytest

from ecogsafe.core.errors import SourceChangedError, SourceUnreadableError, StoreFullError, StoreRefusedError
from ecogsafe.core.events import Progress
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Fault
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.source import FileSource
from ecogsafe.transfer.work import Status

from .bench import PART, SMALL, Bench, Watched, opened, read

SIZES = [0, 1, SMALL, SMALL + 1, 5 * PART]


@pytest.mark.parametrize("size", SIZES)
def test_a_file_arrives_sealed_and_plain_from_one_read(bench: Bench, size: int) -> None:
    data = bench.data(size)
    relative = bench.write("0001", data)
    reads: list[int] = []

    class Counted(FileSource):
        def pieces(self):  # type: ignore[no-untyped-def]
            reads.append(1)
            return super().pieces()

    sealed, sealed_too, plain = (
        Watched(MemoryStore()),
        Watched(MemoryStore("memory://2")),
        Watched(MemoryStore("m://3")),
    )
    folder = bench.folder / "nas"
    folder.mkdir()
    nas = DirectoryStore(folder)
    places = [
        bench.place(sealed),
        bench.place(sealed_too, number=1),
        bench.place(plain, sealed=False, number=2),
        bench.place(nas, sealed=False, number=3),
    ]
    shipment = bench.shipment(relative, *places, open_source=lambda: Counted(bench.root, relative, name=str(relative)))
    outcomes = bench.send(shipment)
    assert [o.status for o in outcomes] == [Status.DONE] * 4
    assert {o.sha256 for o in outcomes} == {hashlib.sha256(data).hexdigest()}
    assert all(o.proven for o in outcomes)
    assert reads == [1]
    assert opened(sealed, f"{relative}.age") == data
    assert read(sealed, f"{relative}.age") == read(sealed_too, f"{relative}.age")
    assert read(plain, str(relative)) == read(nas, str(relative)) == data
    assert [(c.level, c.sealed) for c in bench.copies()].count(("checksum", True)) == 2
    assert len(bench.copies()) == 4
    assert bench.keys_resting() == 0
    assert bench.open_uploads() == []
    assert bench.rows("SELECT count(*) FROM leases") == [(0,)]
    assert {state for (state,) in bench.rows("SELECT state FROM intents")} == {"done"}
    assert sealed.count("put") == (1 if size <= SMALL else 0)


def test_the_audit_chain_tells_of_every_copy(bench: Bench) -> None:
    store = MemoryStore()
    for name, size in (("0001", 10), ("0002", 3 * PART)):
        bench.send(bench.shipment(bench.write(name, bench.data(size)), bench.place(store)))
    assert bench.rows("SELECT act, result FROM audit ORDER BY seq") == [("upload", "checksum")] * 2


def test_a_part_has_its_row_before_its_bytes_leave(bench: Bench) -> None:
    store = Watched(MemoryStore())
    seen: list[int] = []

    def look() -> None:
        seen.append(len(bench.rows("SELECT number FROM parts")))

    store.before["put_part"] = look
    relative = bench.write("0001", bench.data(6 * PART))
    assert [o.status for o in bench.send(bench.shipment(relative, bench.place(store)))] == [Status.DONE]
    assert len(seen) == len(store.parts) == 7
    assert all(rows >= sent for sent, rows in enumerate(sorted(seen), 1))


@pytest.mark.parametrize(("size", "method"), [(1000, "put"), (3 * PART, "finish_upload")])
def test_the_intent_is_durable_before_the_object_can_exist(bench: Bench, size: int, method: str) -> None:
    store = Watched(MemoryStore())
    seen: list[object] = []
    store.before[method] = lambda: seen.extend(bench.rows("SELECT state, key FROM intents"))
    relative = bench.write("0001", bench.data(size))
    bench.send(bench.shipment(relative, bench.place(store)))
    assert seen == [("open", f"{relative}.age")]


def test_a_tiny_pool_holds_the_line_and_nobody_waits_for_ever(bench: Bench) -> None:
    """Parts larger than the pool, several files, several places, two lanes each."""
    pool = PartPool(PART // 2)
    sealed, plain = MemoryStore(), MemoryStore("memory://2")
    places = [bench.place(sealed), bench.place(plain, sealed=False, number=1)]
    files = {name: bench.data(size) for name, size in [("0001", 7 * PART), ("0002", 900), ("0003", 4 * PART)]}
    shipments = [bench.shipment(bench.write(name, data), *places) for name, data in files.items()]
    outcomes = bench.send(*shipments, pool=pool)
    assert [o.status for o in outcomes] == [Status.DONE] * 6
    # one file at a time, one part of each lane
    assert pool.peak <= 2 * PART
    for shipment, data in zip(shipments, files.values(), strict=True):
        assert opened(sealed, shipment.keys[True]) == data
        assert read(plain, shipment.keys[False]) == data


def test_one_file_that_fails_does_not_keep_the_others(bench: Bench) -> None:
    full = StoreFullError("memory", "no space left")
    store = Watched(MemoryStore(), {"put_part": [None, Fault(error=full)], "put": [Fault(error=full)]})
    names = [("0001", 4 * PART), ("0002", 100), ("0003", 3 * PART), ("0004", 50)]
    shipments = [bench.shipment(bench.write(name, bench.data(size)), bench.place(store)) for name, size in names]
    outcomes = bench.send(*shipments)
    assert sorted(o.status for o in outcomes) == [Status.DONE, Status.DONE, Status.FAILED, Status.FAILED]
    assert {type(o.error) for o in outcomes if o.error} == {StoreFullError}


def test_one_place_that_fails_does_not_keep_the_others(bench: Bench) -> None:
    refused = StoreRefusedError("memory", "refuses access")
    bad = Watched(MemoryStore(), {"begin_upload": [Fault(error=refused)], "put": [Fault(error=refused)]})
    good = MemoryStore("memory://2")
    for name, size in (("0001", 4 * PART), ("0002", 100)):
        relative = bench.write(name, bench.data(size))
        outcomes = bench.send(bench.shipment(relative, bench.place(bad), bench.place(good, number=1)))
        assert [o.error for o in outcomes if o.place.store is bad] == [refused]
        assert [o.status for o in outcomes if o.place.store is good] == [Status.DONE]
    assert bench.keys_resting() == 0
    assert bench.open_uploads() == []


def test_when_nobody_can_take_a_file_its_digest_is_not_invented(bench: Bench) -> None:
    """All places failed early: only a part of the file was read, which says nothing of the whole."""
    full = StoreFullError("memory", "no space left")
    store = Watched(MemoryStore(), {"put_part": [Fault(error=full) for _ in range(60)]})
    relative = bench.write("0001", bench.data(50 * PART))
    outcomes = bench.send(bench.shipment(relative, bench.place(store)), pool=PartPool(2 * PART))
    assert [o.status for o in outcomes] == [Status.FAILED]
    assert len(store.parts) < 50
    assert bench.rows("SELECT sha256 FROM files") == [(None,)]


def test_links_pipes_and_vanished_files_are_not_sent(bench: Bench) -> None:
    store = Watched(MemoryStore())
    secret = bench.folder / "elsewhere"
    secret.write_bytes(b"not below DIR")
    whole = bench.write("0001", b"x")
    folder = (bench.out / whole).parent
    for name in ("0002", "0003", "0004"):
        bench.write(name, b"y")
    link, pipe, gone = (whole.with_name(f"abcd1234_1_{name}.avi") for name in ("0002", "0003", "0004"))
    shipments = [bench.shipment(relative, bench.place(store)) for relative in (link, pipe, gone)]
    for relative in (link, pipe, gone):
        (bench.out / relative).unlink()
    (bench.out / link).symlink_to(secret)
    os.mkfifo(bench.out / pipe)
    outcomes = bench.send(*shipments)
    assert [o.status for o in outcomes] == [Status.FAILED] * 3
    problems = {o.shipment.path[-8:-4]: o.error.problem for o in outcomes if isinstance(o.error, SourceUnreadableError)}
    assert "symbolic link" in problems["0002"]
    assert "not a regular file" in problems["0003"]
    assert "no longer there" in problems["0004"]
    (folder.parent / "link").symlink_to(bench.folder)
    with pytest.raises(SourceUnreadableError):
        FileSource(bench.root, PurePosixPath("abcd1234/link/elsewhere"), name="x")
    assert store.calls == []


@pytest.mark.parametrize("how", ["gone", "another"])
def test_a_folder_that_was_swapped_is_a_change_though_the_file_is_untouched(bench: Bench, how: str) -> None:
    relative = bench.write("0001", b"whole")
    with FileSource(bench.root, relative, name="x") as source:
        assert b"".join(source.pieces()) == b"whole"
        source.check_unchanged()
        folder = (bench.out / relative).parent
        folder.rename(folder.with_name("elsewhere"))
        if how == "another":
            bench.write("0001", b"other")
        with pytest.raises(SourceChangedError):
            source.check_unchanged()


@pytest.mark.parametrize("size", [1000, 5 * PART])
@pytest.mark.parametrize("how", ["grows", "is rewritten", "is swapped", "shrinks"])
def test_a_source_that_changes_while_it_is_read_is_not_stored(bench: Bench, size: int, how: str) -> None:
    store = Watched(MemoryStore())
    relative = bench.write("0001", bench.data(size))
    path = bench.out / relative

    class Changing(FileSource):
        def pieces(self):  # type: ignore[no-untyped-def]
            for number, piece in enumerate(super().pieces()):
                yield piece[: len(piece) // 2]
                if number == 0:
                    if how == "grows":
                        path.write_bytes(path.read_bytes() + b"more")
                    elif how == "is rewritten":
                        path.write_bytes(bench.data(size))
                    elif how == "shrinks":
                        os.truncate(path, size // 4)
                    elif how == "is swapped":
                        path.with_name("new").write_bytes(path.read_bytes())
                        path.with_name("new").replace(path)
                yield piece[len(piece) // 2 :]

    shipment = bench.shipment(
        relative, bench.place(store), open_source=lambda: Changing(bench.root, relative, name=str(relative))
    )
    outcomes = bench.send(shipment)
    assert [(o.status, type(o.error)) for o in outcomes] == [(Status.FAILED, SourceChangedError)]
    assert list(store.inner.list()) == []
    assert list(store.inner.list_uploads()) == []
    assert bench.keys_resting() == 0
    assert bench.rows("SELECT count(*) FROM copies") == [(0,)]
    assert bench.rows("SELECT count(*) FROM parts") == [(0,)]
    # what stands there now goes up whole, under another key
    shipment = bench.shipment(relative, bench.place(store))
    assert [o.status for o in bench.send(shipment)] == [Status.DONE]
    assert opened(store.inner, shipment.keys[True]) == path.read_bytes()


def test_text_that_is_not_the_cleared_one_stops_the_file_before_it_is_complete(bench: Bench) -> None:
    class Watch:
        def __init__(self) -> None:
            self.fed = 0

        def feed(self, offset: int, piece: bytes) -> None:
            assert offset == self.fed
            self.fed += len(piece)

        def check(self) -> None:
            raise SourceChangedError("x", f"its text changed after {self.fed} bytes")

    from dataclasses import replace

    store = Watched(MemoryStore())
    for name, size in (("0001", 100), ("0002", 4 * PART)):
        shipment = bench.shipment(bench.write(name, bench.data(size)), bench.place(store, sealed=False))
        outcomes = bench.send(replace(shipment, text_watch=Watch))
        assert [o.error.problem for o in outcomes if o.error] == [f"its text changed after {size} bytes"]
    assert list(store.inner.list()) == []
    assert bench.open_uploads() == []
    assert store.bodies == []


def test_progress_counts_files_and_bytes(bench: Bench) -> None:
    store = MemoryStore()
    sizes = [100, 3 * PART, 20]
    shipments = [
        bench.shipment(bench.write(f"000{n}", bench.data(size)), bench.place(store)) for n, size in enumerate(sizes)
    ]
    with bench.context() as context:
        from ecogsafe.transfer.pipeline import send_all

        context.meter.files_total, context.meter.bytes_total = 3, sum(sizes)
        assert len(list(send_all(context, shipments))) == 3
        now: Progress = context.meter.now()
    assert (now.files_done, now.files_total) == (3, 3)
    assert now.bytes_done == now.bytes_total == sum(sizes)
    assert now.bytes_per_s > 0
    assert now.seconds_left == 0
