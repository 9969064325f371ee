"""Snapshots of a large catalogue: sent in parts and read back without ever being in memory whole."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import tracemalloc
from collections.abc import Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import zstandard

from ecogsafe.catalog.snapshots import snapshot_to
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    NoSpaceError,
    StoreRefusedError,
    StoreUnreachableError,
    VerificationError,
)
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service import catalog_backup, snapshot_copies, snapshot_sending, snapshots
from ecogsafe.service.snapshot_copies import Snapshot, snapshots_in, take
from ecogsafe.service.snapshot_sending import Destination, send_sealed
from ecogsafe.service.snapshot_zipping import zip_snapshot
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo, Store, UploadedPart
from ecogsafe.stores.retrying import Retrying
from tests.service.small_lab import Ended, SmallLab, StoresInMemory, bytes_in, own_objects

ONE, TWO = "s3://recordings", "s3://second"
KEY = "_ecogsafe/catalog/20260102T030405Z-0a1b2c3d.sqlite.age"
MIB = 2**20
PART = 2500


@pytest.fixture
def small_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the catalogue of a test have several parts, whose borders lie within chunks."""
    monkeypatch.setattr(snapshot_sending, "SINGLE_REQUEST_LIMIT", 3000)
    monkeypatch.setattr(snapshot_sending, "part_size_for", lambda _size, least: PART)


@pytest.fixture
def lab(small_lab: SmallLab) -> SmallLab:
    small_lab.home.config.write_text("".join(f'[[destination]]\nname = "{u[5:]}"\nurl = "{u}"\n' for u in (ONE, TWO)))
    return small_lab


def back_up(lab: SmallLab) -> Ended:
    return lab.run("catalog backup", catalog_backup.back_up)


def only_snapshot(store: Store) -> bytes:
    (key,) = own_objects(store, "catalog/")
    return bytes_in(store, key)


def refusing(method: str, nth: int, error: EcogsafeError | None = None) -> dict[str, list[Fault | None]]:
    return {method: [*[None] * (nth - 1), Fault(error=error or StoreRefusedError(TWO, "denies it"))]}


@pytest.mark.usefixtures("small_parts")
def test_one_sealing_reaches_every_place_in_parts_and_stock_age_opens_it(
    lab: SmallLab, in_memory: StoresInMemory, tmp_path: Path
) -> None:
    one, two = Faulty(MemoryStore(ONE)), Faulty(MemoryStore(TWO))
    in_memory.add(ONE, one)
    in_memory.add(TWO, two)
    ended = back_up(lab)
    assert ended.status is ExitStatus.DONE
    for store in (one, two):
        assert store.count("begin_upload") == store.count("finish_upload") == 1 and store.count("put_part") >= 3
        # the id of the store alone
        assert store.count("put") == 1 and not list(store.list_uploads())
    sealed = only_snapshot(one)
    assert sealed == only_snapshot(two)
    assert [i.bytes for i in ended.items(action="snapshot", status="done")] == [len(sealed)] * 2
    identity = tmp_path / "identity.txt"
    identity.write_text(f"{lab.identity().to_text()}\n")
    age = shutil.which("age")
    assert age is not None, "age is not installed: apt install age (`make test` sees to it)"
    opened, zipped = tmp_path / "opened.sqlite", tmp_path / "opened.sqlite.zst"
    subprocess.run([age, "-d", "-i", identity, "-o", zipped], input=sealed, capture_output=True, check=True)
    subprocess.run(["zstd", "-dq", zipped], check=True)
    assert zipped.stat().st_size < opened.stat().st_size / 2, "a store keeps every snapshot, and should not keep air"
    with closing(sqlite3.connect(opened)) as db:
        assert db.execute("PRAGMA integrity_check").fetchone() == ("ok",)
    assert not list(lab.home.root.glob(".*snapshot*"))
    target = lab.home.root / ".taken.sqlite"
    taken, spoiled = take(one, snapshots_in(one), lab.identity(), target, print)
    taken.catalog.close()
    assert not spoiled


@pytest.mark.usefixtures("small_parts")
@pytest.mark.parametrize(("method", "nth"), [("begin_upload", 1), ("put_part", 2), ("finish_upload", 1)])
def test_a_place_that_fails_drops_out_and_the_others_have_it(
    lab: SmallLab, in_memory: StoresInMemory, method: str, nth: int
) -> None:
    one, two = MemoryStore(ONE), Faulty(MemoryStore(TWO), refusing(method, nth))
    in_memory.add(ONE, one)
    in_memory.add(TWO, two)
    ended = back_up(lab)
    assert ended.status is ExitStatus.PARTIAL and ended.counts["snapshots_failed"] == 1
    (failed,) = ended.items(action="snapshot", status="failed")
    assert failed.store == TWO and "denies it" in failed.message and "unfinished" not in failed.message
    assert ended.run is not None and "1 of 2 places" in ended.run.message
    assert only_snapshot(one) and own_objects(two, "catalog/") == []
    assert not list(two.list_uploads()), "the parts of a given-up snapshot stay and are paid for"
    # nothing more is sent to a place that failed
    assert two.count("put_part") <= nth or method == "finish_upload"


@pytest.mark.usefixtures("small_parts")
def test_parts_that_could_not_be_given_up_are_told(lab: SmallLab, in_memory: StoresInMemory) -> None:
    away = StoreUnreachableError(TWO, "is away")
    two = Faulty(MemoryStore(TWO), refusing("put_part", 2, away) | refusing("abort_upload", 1, away))
    in_memory.add(TWO, two)
    ended = back_up(lab)
    (failed,) = ended.items(action="snapshot", status="failed")
    assert f"ecogsafe inventory {TWO} --abort-orphans" in failed.message
    assert len(list(two.list_uploads("_ecogsafe/catalog/"))) == 1


@pytest.mark.usefixtures("small_parts")
def test_what_is_sent_again_is_the_same(lab: SmallLab, in_memory: StoresInMemory) -> None:
    """A part whose answer was lost is repeated from memory: sealed once more it would be other bytes."""
    lost = Fault(error=StoreUnreachableError(ONE, "is away"), when="after")
    inner = Faulty(MemoryStore(ONE), {"put_part": [None, lost, lost], "finish_upload": [lost]})
    in_memory.add(ONE, Retrying(inner, pause=lambda _s: None))
    assert back_up(lab).status is ExitStatus.DONE
    one = inner.inner
    assert only_snapshot(one) == only_snapshot(in_memory.by_url[TWO])
    assert not list(one.list_uploads())


class Untrue(MemoryStore):
    """Keeps other bytes than it was sent, and says so."""

    def finish_upload(self, key: str, upload_id: str, parts: Sequence[UploadedPart], **options: Any) -> ObjectInfo:
        info = MemoryStore.finish_upload(self, key, upload_id, parts, **options)
        return replace(info, crc64=options["crc64"] ^ 1)

    def put(self, key: str, body: Any, **options: Any) -> ObjectInfo:
        info = MemoryStore.put(self, key, body, **options)
        return replace(info, crc64=options["crc64"] ^ 1)


@pytest.mark.parametrize("size", [1, 300_000])
@pytest.mark.usefixtures("small_parts")
def test_another_checksum_of_the_store_is_no_snapshot(tmp_path: Path, size: int) -> None:
    plain, identity = tmp_path / "plain", X25519Identity.new()
    plain.write_bytes(os.urandom(size))
    good, bad = Destination(MemoryStore(ONE)), Destination(Untrue(TWO))
    sent = send_sealed(plain, KEY, [identity.recipient], [good, bad])
    assert good.error is None and sent == len(bytes_in(good.store, KEY))
    assert isinstance(bad.error, VerificationError)


@pytest.mark.usefixtures("small_parts")
def test_nothing_is_sealed_for_nobody(tmp_path: Path) -> None:
    plain = tmp_path / "plain"
    plain.write_bytes(bytes(500_000))
    stores = [Faulty(MemoryStore(url), refusing("put_part", nth)) for url, nth in ((ONE, 1), (TWO, 2))]
    send_sealed(plain, KEY, [X25519Identity.new().recipient], [Destination(store) for store in stores])
    assert [store.count("put_part") for store in stores] == [1, 2]


@pytest.mark.usefixtures("small_parts")
def test_a_bug_leaves_no_upload_open(tmp_path: Path) -> None:
    class Broken(MemoryStore):
        def put_part(self, *_a: Any, **_o: Any) -> UploadedPart:
            raise RuntimeError

    plain = tmp_path / "plain"
    plain.write_bytes(bytes(500_000))
    stores = [MemoryStore(ONE), Broken(TWO)]
    with pytest.raises(RuntimeError):
        send_sealed(plain, KEY, [X25519Identity.new().recipient], [Destination(store) for store in stores])
    assert [list(store.list_uploads()) for store in stores] == [[], []]


@pytest.mark.parametrize("step", ["snapshots.snapshot_to", "snapshot_zipping.zstandard.ZstdCompressor"])
def test_a_full_home_is_told_for_every_place(
    lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_a: object, **_o: object) -> None:
        raise NoSpaceError("snapshot", "could not be written") if "snapshot_to" in step else OSError(28, "No space")

    monkeypatch.setattr(f"ecogsafe.service.{step}", full)
    ended = back_up(lab)
    assert ended.run is not None and "0 of 2 places" in ended.run.message
    assert own_objects(in_memory.by_url[ONE], "catalog/") == []
    assert not list(lab.home.root.glob(".*snapshot*"))


def test_what_is_compressed_in_the_home_is_for_its_owner_alone(
    lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[list[tuple[str, int]]] = []
    real = send_sealed

    def look(path: Path, *given: Any) -> int:
        there = [p for p in lab.home.root.iterdir() if "snapshot" in p.name]
        seen.append([("".join(p.suffixes[-2:]), p.stat().st_mode & 0o777) for p in there])
        return real(path, *given)

    monkeypatch.setattr(snapshots, "send_sealed", look)
    assert back_up(lab).status is ExitStatus.DONE
    assert seen == [[(".sqlite.zst", 0o600)]], "the uncompressed one takes room while the other is sent"


def put(store: Store, name: str, data: bytes, lab: SmallLab) -> None:
    sealed = seal(data, [lab.identity().recipient])
    store.put(f"{snapshots.PREFIX}{name}", sealed, crc64=crc64nvme(sealed), token="e" * 32)


def database(lab: SmallLab) -> bytes:
    with lab.catalog() as catalog:
        path = lab.folder / "copied.sqlite"
        snapshot_to(catalog, path)
    data = path.read_bytes()
    path.unlink()
    return data


@pytest.mark.parametrize("is_zipped", [False, True])
def test_those_that_were_stored_as_they_are_still_open(
    lab: SmallLab, in_memory: StoresInMemory, *, is_zipped: bool
) -> None:
    """Whatever the name says, and beside newer ones: earlier versions did not compress."""
    store = in_memory.add(ONE)
    data = database(lab)
    put(store, "20250102T030405Z-00000000.sqlite.age", zstandard.compress(data) if is_zipped else data, lab)
    put(store, "20250102T030406Z-00000000.sqlite.zst.age", b"no database", lab)
    taken, spoiled = take(store, snapshots_in(store), lab.identity(), lab.home.root / ".taken.sqlite", print)
    taken.catalog.close()
    assert spoiled and taken.snapshot.name == "20250102T030405Z-00000000.sqlite.age"
    assert (lab.home.root / ".taken.sqlite").stat().st_size == len(data)


@pytest.mark.parametrize("how", ["cut", "changed", "goes on", "only begun", "empty"])
def test_of_one_whose_compression_is_damaged_the_one_before_is_taken(
    lab: SmallLab, in_memory: StoresInMemory, how: str
) -> None:
    store = in_memory.add(ONE)
    data = database(lab)
    zipped = zstandard.ZstdCompressor(write_checksum=True).compress(data)
    middle = len(zipped) // 2
    changed = zipped[:middle] + bytes((zipped[middle] ^ 1,)) + zipped[middle + 1 :]
    wrong = {
        "cut": zipped[:middle],
        "changed": changed,
        "goes on": zipped + b"and on",
        "only begun": zipped[:4],
        "empty": b"",
    }[how]
    put(store, "20250102T030405Z-00000000.sqlite.zst.age", zipped, lab)
    put(store, "20250102T030406Z-00000000.sqlite.zst.age", wrong, lab)
    taken, spoiled = take(store, snapshots_in(store), lab.identity(), lab.home.root / ".taken.sqlite", print)
    taken.catalog.close()
    assert spoiled and taken.snapshot.name.startswith("20250102T030405Z"), "it stops whoever lost the catalogue"


class Forgetting(MemoryStore):
    """Keeps the checksum of what it is sent, and none of it."""

    largest = 0

    def put_part(self, key: str, upload_id: str, number: int, body: Any, *, offset: int, crc64: int) -> UploadedPart:
        assert crc64nvme(body) == crc64
        self.largest = max(self.largest, len(body))
        return UploadedPart(number=number, size=len(body), etag="e", crc64=crc64)

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        assert sum(part.size for part in parts) == size
        return ObjectInfo(key=key, size=size, crc64=crc64)


@pytest.mark.parametrize("is_zipped", [False, True])
def test_neither_way_takes_memory_that_grows_with_the_catalogue(tmp_path: Path, *, is_zipped: bool) -> None:
    plain, identity = tmp_path / "plain", X25519Identity.new()
    plain.write_bytes(bytes(40 * MIB))
    sink, kept = Forgetting(ONE), MemoryStore(TWO)
    tracemalloc.start()
    try:
        send_sealed(plain, KEY, [identity.recipient], [Destination(sink)])
        there = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert 8 * MIB <= sink.largest < 10 * MIB and there < 16 * MIB, f"sending took {there / MIB:.0f} MiB"
    zipped = tmp_path / "zipped"
    tracemalloc.start()
    try:
        zip_snapshot(plain, zipped)
        small = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    # zeros, which a few bytes stand for: what comes back is still taken piece by piece
    assert zipped.stat().st_size < MIB and small < 16 * MIB, f"compressing took {small / MIB:.0f} MiB"
    send_sealed(zipped if is_zipped else plain, KEY, [identity.recipient], [Destination(kept)])
    tracemalloc.start()
    try:
        with pytest.raises(VerificationError, match="none of its 1 snapshots"):
            take(kept, snapshots_in(kept), identity, tmp_path / ".taken.sqlite", lambda _event: None)
        back = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert (tmp_path / ".taken.sqlite").stat().st_size == 40 * MIB and back < 16 * MIB, f"{back / MIB:.0f} MiB"


@pytest.mark.usefixtures("small_parts")
def test_of_one_that_ends_early_no_file_is_left(tmp_path: Path) -> None:
    plain, identity, target = tmp_path / "plain", X25519Identity.new(), tmp_path / "home" / ".taken.sqlite"
    target.parent.mkdir()
    plain.write_bytes(os.urandom(300_000))
    whole, short = MemoryStore(ONE), MemoryStore(TWO)
    send_sealed(plain, KEY, [identity.recipient], [Destination(whole)])
    data = bytes_in(whole, KEY)[:-1]
    short.put(KEY, data, crc64=crc64nvme(data), token="e" * 32)
    with pytest.raises(VerificationError):
        take(short, snapshots_in(short), identity, target, lambda _event: None)
    assert list(target.parent.iterdir()) == []


def test_a_home_without_room_for_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_a: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(snapshot_copies, "write_pieces_atomically", full)
    candidates = [Snapshot(KEY, datetime.now(UTC), 0.0)]
    with pytest.raises(NoSpaceError, match="no room"):
        take(MemoryStore(ONE), candidates, X25519Identity.new(), tmp_path / ".taken", lambda _event: None)
