"""Many small files get their names together, in an order that survives a power failure; each has its own result."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ecogsafe.core.errors import StoreUnreachableError, VerificationError
from ecogsafe.crypt.age_file import seal
from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer import ending, landing, receivers
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.pace import Pace
from ecogsafe.transfer.receivers import receive_all
from ecogsafe.transfer.receiving import Reception

from .test_receiving import IDENTITY, files_in, into, put

__all__ = ["into"]
FOLDERS = ("abcd1234", "bcde2345")
CONTENTS = {f"{folder}/{n:03}.avi": bytes([n]) * (n + 1) for folder in FOLDERS for n in range(20)}


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    for name, data in CONTENTS.items():
        put(made, seal(data, [IDENTITY.recipient]), f"{name}.age")
    return made


def receptions(store: Any, into: Path, **more: Any) -> Iterator[Reception]:
    for info in store.list():
        name = info.key.removesuffix(".age")
        yield Reception(
            store,
            info,
            identities=[IDENTITY],
            landing=Landing(into, PurePosixPath(name), mtime_ns=10**18),
            expected_sha256=hashlib.sha256(more.get(name, CONTENTS[name])).hexdigest(),
        )


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was done to the disk, in its order."""
    done: list[str] = []
    fsync, rename, folder = os.fsync, landing.rename_noreplace, ending.fsync_directory

    def synced(fd: int) -> None:
        if Path(os.readlink(f"/proc/self/fd/{fd}")).is_file():
            done.append("file")
        fsync(fd)

    def named(source: Path, target: Path) -> None:
        done.append("name")
        rename(source, target)

    def folder_synced(path: Path) -> None:
        done.append(f"folder {path.name}")
        folder(path)

    monkeypatch.setattr(landing.os, "fsync", synced)
    monkeypatch.setattr(landing, "rename_noreplace", named)
    monkeypatch.setattr(ending, "fsync_directory", folder_synced)
    return done


def test_files_are_on_the_disk_before_their_names_and_names_before_anybody_is_told(
    store: MemoryStore, into: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "_TOGETHER_S", 1e9)
    told = 0
    for ended in receive_all(receptions(store, into), connections=1):
        assert ended.result().size
        assert (into / ended.info.key.removesuffix(".age")).exists()
        told += 1
    assert told == len(CONTENTS) == 40
    assert steps == [*["file"] * 40, *["name"] * 40, *(f"folder {name}" for name in FOLDERS)]
    assert {name: (into / name).read_bytes() for name in files_in(into)} == CONTENTS


def test_they_do_not_wait_for_more_than_so_many(
    store: MemoryStore, into: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "_TOGETHER", 16)
    monkeypatch.setattr(receivers, "_TOGETHER_S", 1e9)
    list(receive_all(receptions(store, into), connections=1))
    assert steps.index("name") == 16
    assert steps.count("file") == steps.count("name") == 40


def test_they_do_not_wait_long(
    store: MemoryStore, into: Path, steps: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "_TOGETHER_S", -1.0)
    list(receive_all(receptions(store, into), connections=1))
    assert steps[:3] == ["file", "name", f"folder {FOLDERS[0]}"]


def test_each_has_its_own_result(store: MemoryStore, into: Path) -> None:
    """One is not what was sent, the name of one is taken meanwhile: the others stand."""
    wrong, taken = sorted(CONTENTS)[3], sorted(CONTENTS)[30]
    (into / taken).parent.mkdir()
    (into / taken).write_bytes(b"theirs")
    failed = {}
    for ended in receive_all(receptions(store, into, **{wrong: b"another"}), connections=3):
        try:
            ended.result()
        except (VerificationError, FileExistsError) as error:
            failed[ended.info.key.removesuffix(".age")] = type(error)
    assert failed == {wrong: VerificationError, taken: FileExistsError}
    there = {name: (into / name).read_bytes() for name in files_in(into)}
    assert there.pop(taken) == b"theirs"
    assert there == {name: data for name, data in CONTENTS.items() if name not in failed}


def test_a_folder_that_does_not_reach_the_disk_fails_its_files_only(
    store: MemoryStore, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def failing(path: Path) -> None:
        if path.name == FOLDERS[1]:
            raise OSError(5, "input/output error")

    monkeypatch.setattr(ending, "fsync_directory", failing)
    failed = {e.info.key.split("/")[0] for e in receive_all(receptions(store, into), connections=2) if e.error}
    assert failed == {FOLDERS[1]}


@pytest.mark.parametrize("connections", [1, 4])
def test_those_that_came_are_named_also_when_the_run_stops(
    store: MemoryStore, into: Path, connections: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after some, and a store that goes away after some: what came whole is there."""
    monkeypatch.setattr(receivers, "_TOGETHER_S", 1e9)
    stop = threading.Event()
    came: list[str] = []

    class Ending(Faulty):
        def read(self, key: str, start: int = 0, stop_at: int | None = None, **more: Any) -> Iterator[Any]:
            came.append(key)
            if len(came) == 10:
                stop.set()
            if len(came) % 7 == 0:
                raise StoreUnreachableError("memory", "no answer")
            return super().read(key, start, stop_at)

    ended = list(receive_all(receptions(Ending(store), into), connections=connections, stop=stop))
    right = {e.info.key.removesuffix(".age") for e in ended if e.error is None}
    assert len(right) >= 8
    assert set(files_in(into)) == right


def test_those_that_came_are_named_before_a_run_waits_for_the_night(
    store: MemoryStore, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(receivers, "_TOGETHER_S", 1e9)
    monkeypatch.setattr(receivers, "LOOK_EVERY_S", 0.01)

    class Window(Pace):
        asked = ended = waited = 0

        def may_begin(self) -> bool:
            self.asked += 1
            if self.asked <= 10 or self.ended >= 10:
                return True
            self.waited += 1
            return self.waited > 500

    window = Window()
    for ended in receive_all(receptions(store, into), connections=1, pace=window):
        assert ended.error is None
        window.ended += 1
    assert window.ended == len(CONTENTS)
    assert window.waited <= 500, "files that had come whole had no name while the window was closed"
