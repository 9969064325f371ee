"""Objects that are there by name but not by evidence: of others, of killed runs, and what a dry run makes of them."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import copies, files, stores, uploads
from ecogsafe.core.errors import EcogsafeError, ExitStatus, StoreUnreachableError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.presence import version_of
from ecogsafe.service.recover import recover
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.store_id import STORE_ID_KEY
from ecogsafe.transfer.source import FileSource
from tests.service.recordings_sent import CODE, FIRST, PARAMETERS, SECOND, change, send
from tests.service.small_lab import (
    PASSWORD,
    URL,
    SmallLab,
    StoresInMemory,
    bytes_in,
    overwrite,
)

# objects of others


def other_machine(small: SmallLab) -> SmallLab:
    """The same lab on another computer: its keys, its files, and a catalogue that knows of no copy."""
    other = SmallLab(small.folder / "other machine")
    other.folder.mkdir()
    recover(other.home, str(small.home.recovery_sheet), lambda: PASSWORD, lambda _e: None)
    return other


def test_a_second_machine_adopts_equal_plain_objects(recordings: SmallLab, store: MemoryStore) -> None:
    other = other_machine(recordings)
    for number in (1, 2):
        other.write(
            f"edf/{CODE}_edf/{CODE}_{number}.edf",
            (recordings.out / "edf" / f"{CODE}_edf/{CODE}_{number}.edf").read_bytes(),
        )
    other.clear(CODE)
    ended = send(other)
    assert ended.status is ExitStatus.DONE
    assert ended.keys("present") == [FIRST, SECOND]
    assert other.copy(FIRST).level == "checksum"
    assert other.verify().status is ExitStatus.DONE
    # and from then on without reading
    assert send(other).keys("present") == [FIRST, SECOND]
    # what the other adopted it adopts again after both sides changed
    changed = change(other, "new")
    overwrite(store, FIRST, changed)
    assert FIRST in send(other).keys("present")


def test_a_second_machine_cannot_tell_sealed_objects(small_lab: SmallLab, store: MemoryStore) -> None:
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    send(small_lab, encrypt=True)
    other = other_machine(small_lab)
    other.edf(number=1)
    ended = send(other, encrypt=True)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [f"{FIRST}.age"]
    # a store that has the plain form does not hinder the sealed one
    assert send(other, encrypt=True, new_version=True).keys("done") == [f"{version_of(FIRST, 2)}.age"]


def test_an_unknown_plain_object_of_the_same_size_is_different(small_lab: SmallLab, store: MemoryStore) -> None:
    path = small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    data = bytes(len(path.read_bytes()))
    store.put(FIRST, data, crc64=crc64nvme(data), token="0" * 32)
    ended = send(small_lab)
    assert ended.keys("skipped") == [FIRST]
    assert ended.keys("done") == [SECOND]


# killed runs


@PARAMETERS
def test_what_a_killed_run_stored_is_adopted(
    small_lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch, encrypt: bool
) -> None:
    """The object stands, its intent is durable, and nobody noted the copy."""
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    inner = MemoryStore(URL)
    in_memory.add(URL, inner)

    def killed(*_a: object, **_k: object) -> None:
        raise EcogsafeError("x", "killed")

    with monkeypatch.context() as patched:
        patched.setattr("ecogsafe.catalog.copies.record_copies", killed)
        send(small_lab, encrypt=encrypt)
    with small_lab.reading() as tx:
        assert len(uploads.open_intents(tx)) == 2
    key = f"{FIRST}.age" if encrypt else FIRST
    before = bytes_in(inner, key)
    ended = send(small_lab, encrypt=encrypt)
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("present")) == 2
    assert bytes_in(inner, key) == before
    assert small_lab.copy(key).level == "checksum"
    with small_lab.reading() as tx:
        assert uploads.open_intents(tx) == []


def test_a_changed_source_is_not_what_the_killed_run_stored(
    small_lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory.add(URL)
    small_lab.edf(number=1)
    small_lab.edf(number=2)

    def killed(*_a: object, **_k: object) -> None:
        raise EcogsafeError("x", "killed")

    with monkeypatch.context() as patched:
        patched.setattr("ecogsafe.catalog.copies.record_copies", killed)
        send(small_lab, encrypt=True)
    change(small_lab)
    ended = send(small_lab, encrypt=True)
    assert ended.keys("skipped") == [f"{FIRST}.age"]
    assert ended.keys("present") == [f"{SECOND}.age"]


# the second look itself


def test_one_file_that_cannot_be_compared_does_not_stop_the_others(
    recordings: SmallLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    recordings.edf(number=3)
    recordings.clear(CODE)
    os.utime(recordings.out / "edf" / FIRST)
    real = FileSource.pieces

    def pieces(self: FileSource) -> Any:
        for piece in real(self):
            if self.name.endswith("_1.edf"):
                os.utime(recordings.out / "edf" / FIRST)
            yield piece

    monkeypatch.setattr(FileSource, "pieces", pieces)
    ended = send(recordings)
    assert ended.status is ExitStatus.SOURCE_CHANGED
    assert ended.keys("done") == [f"{CODE}_edf/{CODE}_3.edf"]


def test_ctrl_c_while_comparing(recordings: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(recordings.out / "edf" / FIRST)
    stop = threading.Event()
    real = FileSource.pieces

    def pieces(self: FileSource) -> Any:
        stop.set()
        return real(self)

    monkeypatch.setattr(FileSource, "pieces", pieces)
    assert send(recordings, stop=stop).status is ExitStatus.INTERRUPTED


def test_a_store_that_goes_away_while_comparing(
    recordings: SmallLab, in_memory: StoresInMemory, store: MemoryStore
) -> None:
    os.utime(recordings.out / "edf" / FIRST)
    overwrite(store, FIRST, bytes_in(store, FIRST))
    gone = Fault(error=StoreUnreachableError(URL, "no answer"))
    in_memory.add(URL, Faulty(store, {"head": [None, gone]}))
    assert send(recordings).status is ExitStatus.STORE


# dry run


def test_a_dry_run_changes_nothing(recordings: SmallLab, in_memory: StoresInMemory, tmp_path: Path) -> None:
    recordings.edf(number=3)
    recordings.clear(CODE)
    os.utime(recordings.out / "edf" / FIRST)
    fresh = Faulty(MemoryStore("s3://fresh"))
    in_memory.add("s3://fresh", fresh)
    ended = recordings.upload("e", "s3://fresh", dry_run=True)
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("planned")) == 3
    assert fresh.count("put") == 0
    assert fresh.inner.head(STORE_ID_KEY) is None
    with recordings.reading() as tx:
        before = files.file_by_path(tx, "edf", FIRST)
    ended = send(recordings, dry_run=True)
    assert ended.keys("planned") == [f"{CODE}_edf/{CODE}_3.edf"]
    assert ended.keys("present") == [FIRST, SECOND]
    with recordings.reading() as tx:
        assert files.file_by_path(tx, "edf", FIRST) == before


def test_a_dry_run_adopts_nothing(recordings: SmallLab) -> None:
    other = other_machine(recordings)
    shutil.copytree(recordings.out, other.out)
    other.clear(CODE)
    ended = send(other, dry_run=True)
    assert ended.keys("present") == [FIRST, SECOND]
    with other.reading() as tx:
        assert uploads.open_intents(tx) == []
        assert [copies.copy_by_key(tx, s.store_id, FIRST) for s in stores.all_stores(tx)] == [None]
