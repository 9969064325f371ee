"""Objects back to files: a name appears only when every byte is proven and durable."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ecogsafe.core.errors import (
    InterruptedRunError,
    LabKeyError,
    LockedError,
    NoSpaceError,
    SourceUnreadableError,
    StoreUnreachableError,
    VerificationError,
)
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer import landing, part_file
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.landing_names import folder_for
from ecogsafe.transfer.received import Received, digest_of_file
from ecogsafe.transfer.receivers import digest_object, receive_all
from ecogsafe.transfer.receiving import Reception

IDENTITY = generate_identity()
TARGET = PurePosixPath("abcd1234/abcd1234_1/abcd1234_1_0001.avi")
KEY = f"{TARGET}.age"
DATA = b"".join(n.to_bytes(4, "big") for n in range(60_000))
SHA = hashlib.sha256(DATA).hexdigest()


def put(store: Store, body: bytes, key: str = KEY) -> None:
    store.put(key, body, crc64=crc64nvme(body), token="t" * 32)


@pytest.fixture
def store() -> MemoryStore:
    made = MemoryStore()
    put(made, seal(DATA, [IDENTITY.recipient]))
    return made


@pytest.fixture
def into(tmp_path: Path) -> Path:
    folder = tmp_path / "back"
    folder.mkdir()
    return folder


def reception(
    store: Store,
    into: Path | None = None,
    *,
    sealed: bool = True,
    expected: str | None = SHA,
    **more: Any,
) -> Reception:
    info = store.head(KEY)
    assert info is not None
    landing = Landing(into, TARGET, mtime_ns=10**18) if into else None
    more = {"info": info, "content_size": len(DATA)} | more
    return Reception(
        store,
        more.pop("info"),
        identities=[IDENTITY] if sealed else None,
        landing=landing,
        expected_sha256=expected if into else None,
        **more,
    )


def carry_out(wanted: Reception, connections: int = 2) -> Received:
    (ended,) = receive_all([wanted], connections=connections, stop=wanted.stop)
    return ended.result()


def receive(into: Path, store: Store, **more: Any) -> Received:
    return carry_out(reception(store, into, **more))


def files_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if not path.is_dir())


def test_a_sealed_object_becomes_its_file(store: MemoryStore, into: Path) -> None:
    arrived: list[int] = []
    info = store.head(KEY)
    assert info is not None
    received = receive(into, store, on_bytes=arrived.append)
    assert (into / TARGET).read_bytes() == DATA
    assert (into / TARGET).stat().st_mtime_ns == 10**18
    assert (received.sha256, received.size, received.crc64) == (SHA, len(DATA), info.crc64)
    assert sum(arrived) == info.size
    assert files_in(into) == [str(TARGET)]
    assert digest_object(reception(store)) == received
    assert digest_of_file(into / TARGET) == SHA


def test_a_plain_object_becomes_its_file(into: Path) -> None:
    store = MemoryStore()
    put(store, DATA)
    assert receive(into, store, sealed=False).sha256 == SHA
    assert (into / TARGET).read_bytes() == DATA


def test_the_name_appears_last(store: MemoryStore, into: Path) -> None:
    seen: list[list[str]] = []

    class Slow(Faulty):
        def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
            for chunk in super().read(key, start, stop):
                seen.append(files_in(into))
                yield chunk

    receive(into, Slow(store))
    assert len(seen) > 2
    assert all(names == [f"{TARGET.parent}/.{TARGET.name}.ecogsafe-part"] for names in seen)
    assert files_in(into) == [str(TARGET)]


def _tampered(body: bytes) -> bytes:
    return body[:100_000] + bytes([body[100_000] ^ 1]) + body[100_001:]


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("tampered", _tampered(seal(DATA, [IDENTITY.recipient]))),
        ("cut inside a chunk", seal(DATA, [IDENTITY.recipient])[:150_000]),
        ("cut between chunks", seal(DATA, [IDENTITY.recipient])[: -(len(DATA) % 65536) - 16]),
        ("longer", seal(DATA, [IDENTITY.recipient]) + b"more"),
        ("another file of ours", seal(DATA[:-1], [IDENTITY.recipient])),
        ("not sealed", DATA),
        ("empty", b""),
    ],
)
def test_an_object_that_is_not_right_leaves_no_file(into: Path, name: str, body: bytes) -> None:
    store = MemoryStore()
    put(store, body)
    with pytest.raises(VerificationError):
        receive(into, store)
    assert files_in(into) == []


def test_an_object_for_somebody_else_does_not_open(into: Path) -> None:
    store = MemoryStore()
    put(store, seal(DATA, [generate_identity().recipient]))
    with pytest.raises((LabKeyError, VerificationError)):
        receive(into, store)
    assert files_in(into) == []


@pytest.mark.parametrize("lie", [{"size": 5}, {"crc64": 7}])
def test_an_object_that_is_not_what_the_store_announced(store: MemoryStore, into: Path, lie: dict[str, int]) -> None:
    info = store.head(KEY)
    assert info is not None
    with pytest.raises(VerificationError):
        receive(into, store, info=replace(info, **lie))
    assert files_in(into) == []


def test_a_broken_connection_leaves_no_file(store: MemoryStore, into: Path) -> None:
    lost = StoreUnreachableError("memory", "no answer")
    with pytest.raises(StoreUnreachableError):
        receive(into, Faulty(store, {"read": [Fault(error=lost, after=100_000)]}))
    assert files_in(into) == []


def test_stop_leaves_no_file(store: MemoryStore, into: Path) -> None:
    stop = threading.Event()
    stop.set()
    assert list(receive_all([reception(store, into, stop=stop)], connections=2, stop=stop)) == []
    assert files_in(into) == []
    with pytest.raises(InterruptedRunError):
        digest_object(reception(store, stop=stop))


def test_a_file_that_appears_meanwhile_is_never_replaced(store: MemoryStore, into: Path) -> None:
    class Slow(Faulty):
        def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
            (into / TARGET).write_bytes(b"theirs")
            yield from super().read(key, start, stop)

    with pytest.raises(FileExistsError):
        receive(into, Slow(store))
    assert (into / TARGET).read_bytes() == b"theirs"
    assert files_in(into) == [str(TARGET)]


def test_a_run_that_finishes_between_our_open_and_our_lock_keeps_its_file(
    store: MemoryStore, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is open under the temporary name has its final name by then; it must not be emptied."""
    lock = fcntl.flock
    temporary = into / TARGET.with_name(f".{TARGET.name}.ecogsafe-part")
    temporary.parent.mkdir(parents=True)
    temporary.write_bytes(b"complete")

    def other_run_finishes(descriptor: int, operation: int) -> None:
        temporary.rename(into / TARGET)
        lock(descriptor, operation)

    monkeypatch.setattr(part_file.fcntl, "flock", other_run_finishes)
    with pytest.raises(LockedError):
        receive(into, store)
    assert (into / TARGET).read_bytes() == b"complete"


def test_two_runs_do_not_write_one_file(store: MemoryStore, into: Path) -> None:
    class Slow(Faulty):
        def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
            with pytest.raises(LockedError):
                receive(into, store)
            yield from super().read(key, start, stop)

    receive(into, Slow(store))
    assert (into / TARGET).read_bytes() == DATA


@pytest.mark.parametrize("left", ["file", "hard link", "link", "pipe"])
def test_what_stands_under_the_temporary_name(store: MemoryStore, into: Path, left: str) -> None:
    """What a killed run left is used again; anything else is somebody's and not touched."""
    temporary = into / TARGET.with_name(f".{TARGET.name}.ecogsafe-part")
    temporary.parent.mkdir(parents=True)
    precious = into / "precious"
    precious.write_bytes(b"precious")
    if left == "file":
        temporary.write_bytes(bytes(len(DATA) + 1000))
        receive(into, store)
        assert (into / TARGET).read_bytes() == DATA
    else:
        if left == "hard link":
            os.link(precious, temporary)
        elif left == "link":
            temporary.symlink_to(precious)
        else:
            os.mkfifo(temporary)
        with pytest.raises((LockedError, OSError)):
            receive(into, store)
        assert not (into / TARGET).exists()
    assert precious.read_bytes() == b"precious"


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
@pytest.mark.parametrize("call", ["fsync", "utime"])
def test_a_disk_that_fills_up_leaves_no_file(
    store: MemoryStore, into: Path, monkeypatch: pytest.MonkeyPatch, call: str, number: int
) -> None:
    def full(*args: object, **more: object) -> None:
        raise OSError(number, "full")

    folder_for(into, TARGET)
    monkeypatch.setattr(landing.os, call, full)
    with pytest.raises(NoSpaceError):
        receive(into, store)
    monkeypatch.undo()
    assert files_in(into) == []


def test_a_disk_that_is_too_small_is_not_begun_on(store: MemoryStore, into: Path) -> None:
    with pytest.raises(NoSpaceError):
        receive(into, store, content_size=2**62)
    assert files_in(into) == []


@pytest.mark.parametrize("what", ["link to a folder", "dangling link", "file"])
def test_nothing_is_written_through_what_is_not_a_folder(store: MemoryStore, into: Path, what: str) -> None:
    elsewhere = into.parent / "elsewhere"
    elsewhere.mkdir()
    way = into / TARGET.parts[0]
    if what == "file":
        way.write_bytes(b"")
    else:
        way.symlink_to(elsewhere if what == "link to a folder" else into.parent / "nothing")
    with pytest.raises(SourceUnreadableError):
        receive(into, store)
    assert files_in(elsewhere) == []


@pytest.mark.parametrize("name", ["../outside/x", "/outside/x", "a/../../x"])
def test_nothing_is_written_outside(into: Path, name: str) -> None:
    with pytest.raises(SourceUnreadableError):
        folder_for(into, PurePosixPath(name))
    assert not (into.parent / "outside").exists()


def test_only_regular_files_have_a_digest(into: Path) -> None:
    (into / "file").write_bytes(DATA)
    (into / "link").symlink_to(into / "file")
    os.mkfifo(into / "pipe")
    assert digest_of_file(into / "file") == SHA
    for name in ("link", "pipe"):
        with pytest.raises(OSError, match=r"."):
            digest_of_file(into / name)
