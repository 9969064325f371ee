"""Opening, checking, transactions, threads, processes and kills."""

from __future__ import annotations

import os
import signal
import sqlite3
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from sqlalchemy import insert

from ecogsafe.catalog import database, meta
from ecogsafe.catalog.database import Catalog, database_time
from ecogsafe.catalog.schema import meta as meta_table
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    DamagedCatalogueError,
    EcogsafeError,
    LockedError,
    NoSpaceError,
    NotInitialisedError,
    UsageError,
)


def _names(catalog: Catalog, like: str) -> list[str]:
    with catalog.read() as tx:
        rows = tx.execute(meta_table.select().where(meta_table.c.name.like(like)).order_by(meta_table.c.name))
        return [row.name for row in rows]


def test_a_missing_catalogue_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotInitialisedError, match="ecogsafe init"):
        Catalog.open(tmp_path / "catalog.sqlite")
    assert list(tmp_path.iterdir()) == []


def test_an_empty_file_is_no_catalogue_yet(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    path.touch()
    with pytest.raises(NotInitialisedError):
        Catalog.open(path)
    Catalog.open(path, create=True).close()
    Catalog.open(path).close()


def test_a_new_catalogue_is_private_and_carries_its_id(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        with catalog.write() as tx:
            meta.set(tx, "a", "1")
            meta.set(tx, "a", "2")
        for name in tmp_path.iterdir():
            assert stat.S_IMODE(name.stat().st_mode) == 0o600
        with catalog.read() as tx:
            assert meta.get(tx, "a") == "2"
            assert meta.get(tx, "b") is None
            assert len(meta.get(tx, "catalogue_id") or "") == 32
            assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
            assert tx.exec_driver_sql("PRAGMA synchronous").scalar() == 2
            assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
            assert tx.exec_driver_sql("PRAGMA secure_delete").scalar() == 1
    assert [p.name for p in tmp_path.iterdir()] == ["catalog.sqlite"]
    assert path.read_bytes()[68:72] == b"eCoG"


def test_a_url_opens_the_same_file(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(f"sqlite:///{path}", create=True) as catalog:
        assert catalog.path == path


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "nosuchdatabase://x/y", "://"])
def test_a_url_that_cannot_be_used_is_refused(url: str) -> None:
    with pytest.raises(UsageError, match="ECOGSAFE_CATALOG"):
        Catalog.open(url, create=True)


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError) as caught:
        Catalog.open(tmp_path / "file" / "catalog.sqlite", create=True)
    assert str(tmp_path) not in str(caught.value)


def test_another_program_s_database_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    other = sqlite3.connect(path)
    other.execute("CREATE TABLE theirs (x)")
    other.close()
    before = path.read_bytes()
    with pytest.raises(UsageError, match="something else"):
        Catalog.open(path, create=True)
    assert path.read_bytes() == before


@pytest.mark.parametrize("where", ["header", "pages"])
def test_a_damaged_catalogue_names_rebuild(tmp_path: Path, where: str) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog, catalog.write() as tx:
        tx.execute(insert(meta_table), [{"name": f"n{i}", "value": "v" * 500} for i in range(100)])
    data = bytearray(path.read_bytes())
    if where == "header":
        data[:16] = b"not a database!!"
    else:
        data[len(data) // 2 :] = os.urandom(len(data) - len(data) // 2)
    path.write_bytes(data)
    with pytest.raises(DamagedCatalogueError, match="ecogsafe catalog rebuild --from URL"):
        Catalog.open(path)


def test_a_large_catalogue_is_checked_once_a_day(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database, "_SMALL_BYTES", 0)
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog, catalog.write() as tx:
        tx.execute(insert(meta_table), [{"name": f"z{i:03}", "value": "v" * 900} for i in range(200)])
    Catalog.open(path).close()
    with Catalog.open(path) as catalog, catalog.read() as tx:
        checked = meta.get(tx, "checked_at")
    assert checked is not None
    data = bytearray(path.read_bytes())
    last = data.rfind(b"z150")
    data[last - last % 4096 : last - last % 4096 + 100] = bytes(100)
    path.write_bytes(data)
    Catalog.open(path).close()
    with Catalog.open(path) as catalog, catalog.write() as tx:
        meta.set(tx, "checked_at", "2020-01-01T00:00:00.000000Z")
    # `status` leaves it to the next run: somebody waits for the answer
    Catalog.open(path, only_look=True).close()
    with pytest.raises(DamagedCatalogueError):
        Catalog.open(path)


def test_an_exception_takes_everything_back(catalog: Catalog) -> None:
    with pytest.raises(ZeroDivisionError), catalog.write() as tx:
        meta.set(tx, "a", "1")
        raise ZeroDivisionError
    assert _names(catalog, "a") == []


def test_a_write_within_a_write_is_a_part_of_it(catalog: Catalog) -> None:
    with catalog.write() as tx:
        meta.set(tx, "x1", "")
        with pytest.raises(ZeroDivisionError), catalog.write() as inner:
            meta.set(inner, "x2", "")
            raise ZeroDivisionError
        with catalog.write() as inner:
            meta.set(inner, "x3", "")
    assert _names(catalog, "x%") == ["x1", "x3"]
    with pytest.raises(ZeroDivisionError), catalog.write() as tx:
        with catalog.write() as inner:
            meta.set(inner, "x4", "")
        raise ZeroDivisionError
    assert _names(catalog, "x%") == ["x1", "x3"]


def test_a_write_within_a_read_is_a_bug(catalog: Catalog) -> None:
    with catalog.read(), pytest.raises(RuntimeError), catalog.write():
        pass
    with catalog.write() as tx:
        meta.set(tx, "a", "")


def test_a_reader_sees_one_state_while_another_writes(catalog: Catalog) -> None:
    def write() -> None:
        with catalog.write() as tx:
            meta.set(tx, "a", "1")

    with catalog.read() as tx:
        assert meta.get(tx, "a") is None
        writer = threading.Thread(target=write)
        writer.start()
        writer.join(10)
        assert meta.get(tx, "a") is None
    assert _names(catalog, "a") == ["a"]


def test_a_reader_cannot_write(catalog: Catalog) -> None:
    with pytest.raises(UsageError, match="writing"), catalog.read() as tx:
        meta.set(tx, "a", "1")


def test_threads_queue_and_lose_nothing(catalog: Catalog) -> None:
    def add() -> None:
        for _ in range(10):
            with catalog.write() as tx:
                meta.set(tx, "count", str(int(meta.get(tx, "count") or "0") + 1))
            with catalog.read() as tx:
                meta.get(tx, "count")

    threads = [threading.Thread(target=add) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with catalog.read() as tx:
        assert meta.get(tx, "count") == "80"


_COUNT = """
import sys
from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
with Catalog.open(sys.argv[1], create=True) as catalog:
    for _ in range(25):
        with catalog.write() as tx:
            meta.set(tx, "count", str(int(meta.get(tx, "count") or "0") + 1))
"""


def test_two_processes_make_it_and_write_at_once(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    children = [subprocess.Popen([sys.executable, "-c", _COUNT, str(path)]) for _ in range(2)]
    assert [child.wait(60) for child in children] == [0, 0]
    with Catalog.open(path) as catalog, catalog.read() as tx:
        assert meta.get(tx, "count") == "50"


_DIE = """
import os, sys
from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
catalog = Catalog.open(sys.argv[1])
for n in range(1000):
    with catalog.write() as tx:
        meta.set(tx, "left", str(n))
        if n == 3:
            # Enough rows for pages to be spilled to the log before the commit.
            for i in range(3000):
                meta.set(tx, f"lost{i}", "v" * 200)
            print("go", flush=True)
            sys.stdin.read()
        meta.set(tx, "right", str(n))
"""


def test_a_kill_between_two_statements_leaves_all_or_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    Catalog.open(path, create=True).close()
    child = subprocess.Popen(
        [sys.executable, "-c", _DIE, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    with child:
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    with Catalog.open(path) as catalog:
        with catalog.read() as tx:
            assert (meta.get(tx, "left"), meta.get(tx, "right")) == ("2", "2")
            assert tx.exec_driver_sql("PRAGMA integrity_check").scalar() == "ok"
        assert _names(catalog, "lost%") == []
        with catalog.write() as tx:
            meta.set(tx, "left", "9")


def test_another_writer_locks_it_out_in_time(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    Catalog.open(path, create=True).close()
    with Catalog.open(path, busy_timeout_s=0.05) as one, Catalog.open(path, busy_timeout_s=0.05) as two:
        with one.write() as tx:
            meta.set(tx, "a", "1")
            with pytest.raises(LockedError), two.write():
                pass
        with two.write() as tx:
            meta.set(tx, "a", "2")


def test_a_full_disk_is_no_space(catalog: Catalog) -> None:
    with catalog.write() as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count={pages + 2}")
    with pytest.raises(NoSpaceError), catalog.write() as tx:
        meta.set(tx, "a", "v" * 100_000)
    assert _names(catalog, "a") == []
    with catalog.write() as tx:
        meta.set(tx, "b", "1")


def test_a_contradiction_is_ours_and_shows_no_values(catalog: Catalog) -> None:
    with pytest.raises(EcogsafeError) as caught, catalog.write() as tx:
        tx.execute(insert(meta_table), [{"name": "a", "value": "Quill"}, {"name": "a", "value": "Quill"}])
    assert "Quill" not in str(caught.value)
    assert "Quill" not in str(caught.value.__cause__)


def test_on_a_network_file_system_the_journal_is_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as local:
        assert not local.on_network_fs
    monkeypatch.setattr(database, "is_on_network", lambda folder: True)
    with Catalog.open(path) as catalog:
        assert catalog.on_network_fs
        with catalog.write() as tx:
            meta.set(tx, "a", "1")
        with catalog.read() as tx:
            assert meta.get(tx, "a") == "1"
            assert tx.exec_driver_sql("PRAGMA journal_mode").scalar() == "delete"


def test_a_catalogue_open_in_wal_elsewhere_is_not_used_over_the_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.sqlite"
    with Catalog.open(path, create=True) as local, local.read() as tx:
        meta.get(tx, "a")
        monkeypatch.setattr(database, "is_on_network", lambda folder: True)
        with pytest.raises(LockedError):
            Catalog.open(path, busy_timeout_s=0.05)


def test_the_database_s_clock_is_utc(catalog: Catalog) -> None:
    with catalog.read() as tx:
        assert abs((database_time(tx) - utc_now()).total_seconds()) < 60
