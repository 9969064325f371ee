"""Snapshots: consistent, stripped of work under way, without a byte of a wrapped key."""

from __future__ import annotations

import os
import stat
import threading
from pathlib import Path

import pytest

from ecogsafe.catalog import audit, copies, files, leases, meta, sealings, snapshots, uploads
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.failures import damaged
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.catalog.snapshots import copy_database, snapshot_to
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.catalog.uploads import IntentRow, UploadRow
from ecogsafe.core.errors import DamagedCatalogueError, NoSpaceError, UsageError

from .conftest import CODES, STORE_IDS

KEY = b"planted-wrapped-key-"
AT = "2026-01-01T00:00:00.000000Z"


@pytest.fixture
def busy(catalog: Catalog, file_ids: list[int]) -> Catalog:
    """A catalogue in the middle of work."""
    with catalog.write() as tx:
        for n in range(50):
            row = SealingRow(
                f"s{n}",
                file_ids[n % 3],
                SourceStat(1, 2, 3, 4, 5),
                True,
                b"planted-header" * 20,
                b"n" * 16,
                KEY + bytes([n]) * 100,
                2**23,
                2**24,
                AT,
            )
            sealings.add_sealing(tx, row)
            sealings.add_part(tx, PartRow(f"s{n}", 1, b"planted-digest-".ljust(32, b"."), 8, 2**64 - 1))
            uploads.add_upload(tx, UploadRow(f"t{n}", f"s{n}", STORE_IDS[0], f"k{n}", "planted-id", "open", "o", 1, AT))
            uploads.add_ack(tx, f"t{n}", 1, "planted-etag", 1)
            intent = IntentRow(f"t{n}", STORE_IDS[0], f"k{n}", 9, 2**63, file_ids[0], "0" * 64, True, AT)
            uploads.add_intents(tx, [intent])
            uploads.settle_intent(tx, f"t{n}", "done" if n % 2 else "open")
        for n in range(20):
            sealings.finish_sealing(tx, f"s{n}")
        leases.acquire(tx, "run", "planted-owner", 60, shared=False)
        copies.record_copy(
            tx, CopyRow(0, file_ids[0], STORE_IDS[0], "k", True, 9, 1, None, None, None, "t", "stored", AT)
        )
        audit.append(tx, run_id="r", who="w", host="h", version="v", act="upload")
    return catalog


def test_a_snapshot_holds_the_record_and_no_work_under_way(busy: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "out"
    folder.mkdir()
    target = folder / "snapshot.sqlite"
    snapshot_to(busy, target)
    assert list(folder.iterdir()) == [target]
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    data = target.read_bytes()
    assert KEY not in data
    assert b"planted" not in data
    with busy.read() as tx:
        assert len(sealings.open_sealings(tx)) == 30
        fence = leases.holders(tx, "run")[0].fence
    with Catalog.open(target) as restored, restored.write() as tx:
        assert sealings.open_sealings(tx) == []
        assert uploads.open_uploads(tx) == []
        assert uploads.open_intents(tx) == []
        assert [i.state for i in uploads.intents_for(tx, STORE_IDS[0], "k1")] == ["done"]
        assert len(files.files_of(tx, CODES[0])) == 2
        assert len(copies.copies_in_store(tx, STORE_IDS[0])) == 1
        assert audit.check(tx) == []
        assert leases.acquire(tx, "run", "b", 60, shared=False).fence > fence


def test_an_erased_key_leaves_the_catalogue_itself(busy: Catalog) -> None:
    with busy.write() as tx:
        for n in range(50):
            sealings.abandon_sealing(tx, f"s{n}")
    busy.close()
    assert busy.path is not None
    assert KEY not in busy.path.read_bytes()
    assert not list(busy.path.parent.glob("*-wal"))


def test_a_whole_copy_keeps_everything(busy: Catalog, tmp_path: Path) -> None:
    target = tmp_path / "whole.sqlite"
    target.write_bytes(b"older")
    with pytest.raises(UsageError):
        copy_database(busy, target)
    copy_database(busy, target, replace=True)
    assert stat.S_IMODE(target.stat().st_mode) == 0o600
    assert KEY in target.read_bytes()


def test_a_snapshot_never_replaces(busy: Catalog, tmp_path: Path) -> None:
    target = tmp_path / "snapshot.sqlite"
    target.write_bytes(b"older")
    with pytest.raises(UsageError, match="never replaced"):
        snapshot_to(busy, target)
    assert target.read_bytes() == b"older"
    assert not [p for p in tmp_path.iterdir() if p.name.endswith(".tmp")]


def test_a_snapshot_that_cannot_be_written_says_so(busy: Catalog, tmp_path: Path) -> None:
    with pytest.raises(NoSpaceError) as caught:
        snapshot_to(busy, tmp_path / "missing" / "snapshot.sqlite")
    assert str(tmp_path) not in str(caught.value)


def test_a_damaged_catalogue_gives_no_snapshot(busy: Catalog, tmp_path: Path) -> None:
    busy.close()
    assert busy.path is not None
    data = bytearray(busy.path.read_bytes())
    data[4096 * 4 : 4096 * 12] = os.urandom(4096 * 8)
    busy.path.write_bytes(data)
    with pytest.raises(DamagedCatalogueError):
        snapshot_to(busy, tmp_path / "snapshot.sqlite")
    assert not [p for p in tmp_path.iterdir() if p.name.startswith((".", "snapshot"))]


def test_a_snapshot_is_one_state_while_another_thread_writes(catalog: Catalog, tmp_path: Path) -> None:
    stop = threading.Event()

    def write() -> None:
        n = 0
        while not stop.is_set():
            n += 1
            with catalog.write() as tx:
                meta.set(tx, "left", f"{n}")
                meta.set(tx, "right", f"{n}")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        for n in range(3):
            snapshot_to(catalog, tmp_path / f"snapshot{n}")
    finally:
        stop.set()
        writer.join()
    for n in range(3):
        with Catalog.open(tmp_path / f"snapshot{n}") as copy, copy.read() as tx:
            assert meta.get(tx, "left") == meta.get(tx, "right")


def test_what_is_made_of_a_copy_does_not_count_where_the_copy_is_damaged(
    busy: Catalog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[bytes] = []

    def find_damage(path: Path) -> None:
        raise damaged()

    monkeypatch.setattr(snapshots, "check_whole", find_damage)
    with pytest.raises(DamagedCatalogueError):
        snapshot_to(busy, tmp_path / "snapshot.sqlite", meanwhile=lambda copy: made.append(copy.read_bytes()[:6]))
    assert made == [b"SQLite"]
    assert not [p for p in tmp_path.iterdir() if p.name.startswith((".", "snapshot"))]
