"""A store is known by its id: a mount that vanished or changed is noticed before a byte is written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from ecogsafe.catalog import stores, summaries
from ecogsafe.core.errors import ExitStatus, StoreRefusedError, StoreUnreachableError
from ecogsafe.service.connections import connected, one_url
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.store_id import STORE_ID_KEY
from tests.service.small_lab import CODES, SmallLab, StoresInMemory, lose


def id_file(folder: Path) -> Path:
    return folder / STORE_ID_KEY


def files_in(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


@pytest.fixture
def used(small_lab: SmallLab) -> SmallLab:
    """Two clips in a folder store."""
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    assert small_lab.upload("v").status is ExitStatus.DONE
    return small_lab


def test_a_new_place_gets_an_id_and_keeps_it(used: SmallLab) -> None:
    before = id_file(used.folder / "store").read_bytes()
    assert used.upload("v").status is ExitStatus.DONE
    assert id_file(used.folder / "store").read_bytes() == before


@pytest.mark.parametrize("how", ["unmounted", "no id", "another id", "damaged id", "gone"])
def test_a_place_that_is_no_longer_the_same(used: SmallLab, how: str) -> None:
    store = used.folder / "store"
    if how == "unmounted":
        shutil.move(store, used.folder / "the disk")
        store.mkdir()
    elif how == "no id":
        id_file(store).unlink()
    elif how == "another id":
        record = json.loads(id_file(store).read_text())
        id_file(store).write_text(json.dumps({**record, "store_id": "0" * 32}))
    elif how == "damaged id":
        id_file(store).write_text("{")
    else:
        shutil.move(store, used.folder / "the disk")
    before = files_in(store) if store.exists() else None
    used.avi(index=3)
    for ended in (used.upload("v", store.as_uri()), used.verify(), used.download(store.as_uri())):
        assert ended.status is ExitStatus.STORE, ended.error
        assert ended.error is not None
    assert (files_in(store) if store.exists() else None) == before
    # a copy that could not be looked at is not called bad
    with used.reading() as tx:
        assert summaries.bad_copies(tx) == []


def test_one_store_by_two_urls(used: SmallLab) -> None:
    """A link to the folder: the same id, so what is there is there."""
    link = used.folder / "mnt"
    link.symlink_to(used.folder / "store")
    ended = used.upload("v", link.as_uri())
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("present")) == 2
    assert len(used.upload("v").keys("present")) == 2
    with used.reading() as tx:
        assert len(stores.all_stores(tx)) == 1
    for url in (link.as_uri(), (used.folder / "store").as_uri(), None):
        ended = used.verify(url=url)
        assert ended.status is ExitStatus.DONE, url
        assert len(ended.keys("done")) == 2


def test_the_first_url_is_remembered_after_the_second(used: SmallLab) -> None:
    """The store was met at another place since; its old mount point, now empty, is not a new store."""
    link = used.folder / "mnt"
    link.symlink_to(used.folder / "store")
    used.upload("v", link.as_uri())
    shutil.move(used.folder / "store", used.folder / "the disk")
    (used.folder / "store").mkdir()
    used.avi(index=3)
    ended = used.upload("v", (used.folder / "store").as_uri())
    assert ended.status is ExitStatus.STORE
    assert files_in(used.folder / "store") == []


def test_a_store_that_moved_is_the_same_store(used: SmallLab) -> None:
    moved = (used.folder / "store").rename(used.folder / "new mount")
    assert len(used.upload("v", moved.as_uri()).keys("present")) == 2
    assert used.verify().status is ExitStatus.DONE


def test_a_known_store_at_the_place_of_one_that_moved(used: SmallLab) -> None:
    """Two disks changed their mount points: each is known by its id."""
    other = used.folder_store("other")
    used.upload("v", other)
    (used.folder / "store").rename(used.folder / "third")
    used.upload("v", used.folder_store("third"))
    (used.folder / "other").rename(used.folder / "store")
    ended = used.upload("v", used.folder_store("store"))
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("present")) == 2


def test_reading_writes_nothing(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    """A bucket somebody gave us to read: no id, and no right to write one."""
    inner = MemoryStore("s3://theirs")
    store = Faulty(inner, {"put": [Fault(error=StoreRefusedError("s3://theirs", "AccessDenied"))]})
    in_memory.add("s3://theirs", store)
    with small_lab.catalog() as catalog:
        with connected(catalog, "s3://theirs", to_write=False) as connection:
            assert connection.store_id == ""
        assert store.count("put") == 0
        with pytest.raises(StoreRefusedError), connected(catalog, "s3://theirs"):
            pass


def test_unreachable(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    gone = Fault(error=StoreUnreachableError("s3://x", "no answer"))
    in_memory.add("s3://x", Faulty(MemoryStore("s3://x"), {"head": [gone]}))
    assert small_lab.upload("v", "s3://x").status is ExitStatus.STORE


def test_an_id_that_vanishes_from_a_bucket(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    store = in_memory.add("s3://x")
    small_lab.avi(index=1)
    small_lab.avi(index=2)
    small_lab.upload("v", "s3://x")
    lose(store, STORE_ID_KEY)
    small_lab.avi(code=CODES[1])
    ended = small_lab.upload("v", "s3://x")
    assert ended.status is ExitStatus.STORE
    assert not [i for i in store.list() if i.key.startswith(CODES[1])]


@pytest.mark.parametrize(
    ("written", "one"),
    [
        ("s3://bucket/p/", "s3://bucket/p"),
        ("file:///a b", "file:///a%20b"),
        ("file:///a/", "file:///a"),
        ("azure://container/p/", "azure://container/p"),
        ("azure://c/p", "azure://c/p"),
        ("nonsense", "nonsense"),
    ],
)
def test_one_way_to_write_a_url(written: str, one: str) -> None:
    assert one_url(written) == one
