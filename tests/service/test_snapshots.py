"""Sealed snapshots of the catalogue: in every store of a run, and never in the way of it."""

from __future__ import annotations

import os
import sqlite3
import time
from pathlib import Path

import pytest
import zstandard

from ecogsafe.catalog import copies, meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.failures import damaged
from ecogsafe.core.errors import DamagedCatalogueError, ExitStatus, NoSpaceError, StoreRefusedError
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.service import snapshots
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from tests.service.small_lab import CODES, SmallLab, StoresInMemory, bytes_in, own_objects

URL = "s3://recordings"


@pytest.fixture
def two_clips(small_lab: SmallLab) -> SmallLab:
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    return small_lab


def opened(small: SmallLab, store: Store, key: str) -> Path:
    path = small.folder / Path(key).name.removesuffix(".zst.age")
    path.write_bytes(zstandard.decompress(open_sealed(bytes_in(store, key), [small.identity()])))
    return path


def test_at_the_end_of_a_run(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    store = in_memory.add(URL)
    two_clips.upload("v", URL)
    two_clips.upload("v", URL)
    keys = own_objects(store, "catalog/")
    assert len(keys) == 2
    path = opened(two_clips, store, keys[0])
    with Catalog.open(path) as catalog, catalog.read() as tx:
        store_id = two_clips.copy(f"{CODES[0]}/{CODES[0]}_1/{CODES[0]}_1_0001.avi.age").store_id
        assert len(copies.copies_in_store(tx, store_id)) == 2
        assert meta.get(tx, "catalogue_id")
    assert not list(two_clips.home.root.glob(".snapshot*"))
    assert not list(two_clips.home.root.glob("..snapshot*"))


def test_nothing_of_work_under_way_leaves(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    store = in_memory.add(URL)
    two_clips.upload("v", URL)
    path = opened(two_clips, store, own_objects(store, "catalog/")[0])
    with sqlite3.connect(path) as db:
        for table in ("leases", "uploads", "parts", "acks", "sealings"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,), table
        assert db.execute("SELECT count(*) FROM intents WHERE state = 'open'").fetchone() == (0,)
    db.close()
    assert two_clips.home.resume_key() not in path.read_bytes()


def test_a_store_that_refuses_it(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    inner = MemoryStore(URL)
    refuse = Fault(error=StoreRefusedError(URL, "AccessDenied"))
    # the id, two clips, then the snapshot
    in_memory.add(URL, Faulty(inner, {"put": [None, None, None, refuse]}))
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.counts["snapshots_failed"] == 1
    assert len(ended.keys("done")) == 2
    assert own_objects(inner, "catalog/") == []


def test_a_full_home(two_clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    in_memory.add(URL)

    def full(*_a: object, **_o: object) -> None:
        raise NoSpaceError("snapshot", "could not be written")

    monkeypatch.setattr(snapshots, "snapshot_to", full)
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.PARTIAL
    assert len(ended.keys("done")) == 2


def test_a_copy_that_is_damaged_is_not_sent(
    two_clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = in_memory.add(URL)

    def find_damage(path: Path) -> None:
        raise damaged()

    monkeypatch.setattr("ecogsafe.catalog.snapshots.check_whole", find_damage)
    assert isinstance(two_clips.upload("v", URL).error, DamagedCatalogueError)
    assert own_objects(store, "catalog/") == []
    assert not list(two_clips.home.root.glob(".*snapshot*"))


def test_a_catalogue_on_a_server_is_kept_there(
    two_clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = in_memory.add(URL)
    real = snapshots.Snapshots.finish

    def finish(self: snapshots.Snapshots) -> None:
        path, self._run.catalog.path = self._run.catalog.path, None
        real(self)
        self._run.catalog.path = path

    monkeypatch.setattr(snapshots.Snapshots, "finish", finish)
    ended = two_clips.upload("v", URL)
    assert ended.status is ExitStatus.DONE
    assert own_objects(store, "catalog/") == []
    assert ended.items(action="snapshot", status="note")


def test_within_a_long_run(two_clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch) -> None:
    store = in_memory.add(URL)
    monkeypatch.setattr(snapshots, "EVERY_S", 0.0)
    two_clips.upload("v", URL)
    # after each of two files, and at the end
    assert len(own_objects(store, "catalog/")) == 3
    monkeypatch.setattr(snapshots, "EVERY_S", 900.0)
    two_clips.avi(index=3)
    two_clips.upload("v", URL)
    assert len(own_objects(store, "catalog/")) == 4


def test_what_a_killed_run_left_is_swept_when_it_is_old(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    in_memory.add(URL)
    old, fresh = ([two_clips.home.root / f".snapshot-{n}.sqlite{end}" for end in ("", ".zst")] for n in ("0a", "0b"))
    for path in (*old, *fresh):
        path.write_bytes(b"x")
    for path in old:
        os.utime(path, (time.time() - 2 * 86_400,) * 2)
    two_clips.upload("v", URL)
    assert not any(path.exists() for path in old)
    assert all(path.exists() for path in fresh)


def test_nothing_is_put_in_a_dry_run(two_clips: SmallLab, in_memory: StoresInMemory) -> None:
    store = in_memory.add(URL)
    two_clips.upload("v", URL, dry_run=True)
    assert own_objects(store, "") == []


# every destination of the config


def configure(lab: SmallLab, *names: str) -> None:
    """Name folder stores as destinations."""
    places = "".join(f'[[destination]]\nname = "{n}"\nurl = "{lab.folder_store(n)}"\nmode = "0640"\n' for n in names)
    lab.home.config.write_text(places)


def stored_in(lab: SmallLab, name: str) -> int:
    """Return how many snapshots a folder store holds."""
    folder = lab.folder / name / "_ecogsafe" / "catalog"
    return len(list(folder.iterdir())) if folder.exists() else 0


def test_a_snapshot_goes_to_places_that_the_run_did_not_work_with(two_clips: SmallLab) -> None:
    configure(two_clips, "one", "two", "never met")
    two_clips.upload("v", two_clips.folder_store("one"))
    # a folder that nobody has sent anything to may be a bare mount point: it gets no id by the way
    assert [stored_in(two_clips, n) for n in ("one", "two", "never met")] == [1, 0, 0]
    two_clips.upload("v", two_clips.folder_store("two"))
    assert [stored_in(two_clips, n) for n in ("one", "two", "never met")] == [2, 1, 0]
    assert two_clips.verify().status is ExitStatus.DONE
    assert two_clips.download(two_clips.folder_store("one")).status is ExitStatus.DONE
    assert [stored_in(two_clips, n) for n in ("one", "two", "never met")] == [4, 3, 0]
    assert list((two_clips.folder / "never met").iterdir()) == []


def test_a_place_that_is_away_does_not_spoil_a_run_that_works_elsewhere(two_clips: SmallLab) -> None:
    configure(two_clips, "one", "two")
    for name in ("one", "two"):
        two_clips.upload("v", two_clips.folder_store(name))
    (two_clips.folder / "two").rename(two_clips.folder / "unplugged")
    ended = two_clips.upload("v", (two_clips.folder / "one").as_uri())
    assert ended.status is ExitStatus.DONE, ended.errors()
    (note,) = ended.items(action="snapshot", status="note")
    assert "no snapshot" in note.message
    assert not (two_clips.folder / "two").exists()
