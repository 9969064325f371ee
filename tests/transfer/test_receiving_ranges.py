"""Large objects come in ranges, and a download that was interrupted goes on where it stopped."""

from __future__ import annotations

import base64
import errno
import fcntl
import hashlib
import json
import os
import random
import stat
import threading
from collections.abc import Generator, Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ecogsafe.core.errors import (
    InterruptedRunError,
    LabKeyError,
    NoSpaceError,
    StoreUnreachableError,
    VerificationError,
)
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SEALED_CHUNK_BYTES
from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer import fetching, landing, ranges, receivers
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.landing_names import clear_leftovers
from ecogsafe.transfer.received import Received
from ecogsafe.transfer.receivers import digest_object, receive_all
from ecogsafe.transfer.receiving import Reception

from .test_receiving import IDENTITY, KEY, TARGET, carry_out, files_in, into, put, receive, reception

__all__ = ["into"]
CODE = "abcd1234"
#: ranges of two chunks, so that few bytes are many ranges
RANGE_BYTES = 2 * CHUNK_BYTES


@pytest.fixture(autouse=True)
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", RANGE_BYTES)
    for module in (ranges, fetching, receivers):
        monkeypatch.setattr(module, "FIRST_REQUEST_BYTES", 2 * SEALED_CHUNK_BYTES + 4096)
    # `test_receiving_runs` has several ranges in one request
    monkeypatch.setattr(ranges, "_RANGES_AT_ONCE", 1)
    monkeypatch.setattr(fetching, "REQUEST_BYTES", 2 * SEALED_CHUNK_BYTES + 4096)


LARGE = random.Random(4).randbytes(3 * RANGE_BYTES + 70_000)
OTHER_SHA = hashlib.sha256(b"other").hexdigest()
LARGE_SHA = hashlib.sha256(LARGE).hexdigest()
SEALED = seal(LARGE, [IDENTITY.recipient])


class Watched(Faulty):
    """Keeps which ranges were asked for, and can break off after so many."""

    def __init__(self, inner: Store, breaks_after: int = 10**9) -> None:
        super().__init__(inner)
        self.ranges: list[tuple[int, int | None]] = []
        self.breaks_after = breaks_after

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        self.ranges.append((start, stop))
        if len(self.ranges) > self.breaks_after:
            raise StoreUnreachableError("memory", "no answer")
        yield from super().read(key, start, stop)


@pytest.fixture(params=["sealed", "plain"])
def large(request: pytest.FixtureRequest) -> Watched:
    made = MemoryStore()
    put(made, SEALED if request.param == "sealed" else LARGE)
    return Watched(made)


def is_sealed(store: Watched) -> bool:
    return bytes_of(store.inner) == SEALED


def bytes_of(store: Store) -> bytes:
    return b"".join(store.read(KEY))


def receive_large(into: Path, store: Watched, **more: Any) -> Received:
    more = {"expected": LARGE_SHA, "content_size": len(LARGE), "sealed": is_sealed(store)} | more
    connections = more.pop("connections", 3)
    return carry_out(reception(store, into, **more), connections)


PART = f"{TARGET.parent}/.{TARGET.name}.ecogsafe-part"
NOTES = f"{TARGET.parent}/.{TARGET.name}.ecogsafe-ranges"


def test_a_large_object_comes_in_ranges(large: Watched, into: Path) -> None:
    received = receive_large(into, large)
    assert (into / TARGET).read_bytes() == LARGE
    assert (received.sha256, received.size) == (LARGE_SHA, len(LARGE))
    info = large.head(KEY)
    assert info is not None
    assert received.crc64 == info.crc64
    assert len(large.ranges) == 4
    assert files_in(into) == [str(TARGET)]
    assert (into / TARGET).stat().st_mtime_ns == 10**18
    assert digest_object(reception(large, sealed=is_sealed(large))) == received


def test_a_broken_download_goes_on_where_it_stopped(large: Watched, into: Path) -> None:
    large.breaks_after = 2
    with pytest.raises(StoreUnreachableError):
        receive_large(into, large, connections=1)
    assert files_in(into) == sorted([PART, NOTES])
    assert stat.S_IMODE((into / PART).stat().st_mode) == 0o600
    first = [start for start, _ in large.ranges[:2]]
    large.ranges.clear()
    large.breaks_after = 100
    kept: list[int] = []
    receive_large(into, large, on_kept=kept.append)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(large.ranges) == 2
    assert not {start for start, _ in large.ranges} & set(first), "what was there already was fetched again"
    assert sum(kept) > 2 * RANGE_BYTES - CHUNK_BYTES
    assert files_in(into) == [str(TARGET)]
    assert stat.S_IMODE((into / TARGET).stat().st_mode) & 0o600 == 0o600


def test_no_key_rests_beside_an_unfinished_file(large: Watched, into: Path) -> None:
    large.breaks_after = 2
    with pytest.raises(StoreUnreachableError):
        receive_large(into, large)
    first = json.loads((into / NOTES).read_text().splitlines()[0])
    assert set(first) == {"version", "object", "prefix", "mode"}
    assert SEALED.startswith(base64.b64decode(first["prefix"]))


def _unfinished(into: Path, store: Watched, ranges: int = 2) -> None:
    """Leave a file with ``ranges`` ranges."""
    store.breaks_after = ranges
    with pytest.raises(StoreUnreachableError):
        receive_large(into, store, connections=1)
    store.breaks_after = 100
    store.ranges.clear()


@pytest.mark.parametrize("how", ["damaged", "shortened", "holes"])
def test_what_an_earlier_run_left_is_never_believed(large: Watched, into: Path, how: str) -> None:
    """Other bytes than were noted show in the digest; then all of it comes again, once."""
    _unfinished(into, large)
    with (into / PART).open("r+b") as file:
        if how == "damaged":
            file.seek(RANGE_BYTES + 5)
            file.write(b"x")
        else:
            file.truncate(100)
            if how == "holes":
                file.truncate(len(LARGE))
    receive_large(into, large)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(large.ranges) >= 4
    assert files_in(into) == [str(TARGET)]


@pytest.mark.parametrize(
    "notes", [b"", b"nonsense\n", b'{"version": 1}\n', b"[]\n", bytes(50), b"\xff\xfe", None, b"range 99"]
)
def test_notes_that_say_nothing_useful(large: Watched, into: Path, notes: bytes | None) -> None:
    _unfinished(into, large)
    if notes is None:
        (into / NOTES).unlink()
    elif notes == b"range 99":
        (into / NOTES).open("ab").write(b"[99, 1]\n")
    else:
        (into / NOTES).write_bytes(notes)
    receive_large(into, large)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(large.ranges) == 4
    assert files_in(into) == [str(TARGET)]


@pytest.mark.parametrize("cut", range(1, 12, 3))
def test_notes_cut_by_a_kill(large: Watched, into: Path, cut: int) -> None:
    """The range of the cut line comes again, the one before does not; and a second kill leaves good notes."""
    _unfinished(into, large)
    with (into / NOTES).open("r+b") as file:
        file.truncate((into / NOTES).stat().st_size - cut)
    _unfinished(into, large, 1)
    receive_large(into, large)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(large.ranges) <= 2


def test_another_object_under_the_key_begins_anew(large: Watched, into: Path) -> None:
    _unfinished(into, large)
    other = random.Random(5).randbytes(len(LARGE))
    store = MemoryStore()
    put(store, seal(other, [IDENTITY.recipient]) if is_sealed(large) else other)
    again = Watched(store)
    received = carry_out(
        reception(again, into, sealed=is_sealed(large), expected=None, content_size=len(other)), connections=3
    )
    assert received.sha256 == hashlib.sha256(other).hexdigest()
    assert (into / TARGET).read_bytes() == other
    assert len(again.ranges) == 4


@pytest.mark.parametrize("at", [40, 500, RANGE_BYTES + 100_000, -1])
def test_a_flipped_byte_anywhere_leaves_nothing(into: Path, at: int) -> None:
    body = bytearray(SEALED)
    body[at] ^= 1
    store = MemoryStore()
    put(store, bytes(body))
    with pytest.raises((VerificationError, LabKeyError)):
        receive(into, store, expected=None, content_size=len(LARGE))
    assert files_in(into) == []


def test_a_range_that_came_wrong_once_is_fetched_again(into: Path) -> None:
    class Flipping(Watched):
        def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
            is_first = (start, stop) not in self.ranges
            for data in super().read(key, start, stop):
                yield bytes([data[0] ^ is_first]) + data[1:]

    store = MemoryStore()
    put(store, SEALED)
    flipping = Flipping(store)
    carry_out(reception(flipping, into, expected=LARGE_SHA, content_size=len(LARGE)), connections=3)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(flipping.ranges) == 8


def test_a_large_object_that_is_not_what_was_sent(large: Watched, into: Path) -> None:
    with pytest.raises(VerificationError, match=r"digest"):
        receive_large(into, large, expected=OTHER_SHA)
    assert files_in(into) == []
    # also when part of it was there: twice wrong is wrong
    _unfinished(into, large)
    with pytest.raises(VerificationError, match=r"digest"):
        receive_large(into, large, expected=OTHER_SHA)
    assert files_in(into) == []


def test_ctrl_c_keeps_the_ranges_in_flight(large: Watched, into: Path) -> None:
    stop = threading.Event()

    def arrived(_count: int) -> None:
        if len(large.ranges) == 2:
            stop.set()

    wanted = reception(
        large,
        into,
        expected=LARGE_SHA,
        content_size=len(LARGE),
        sealed=is_sealed(large),
        stop=stop,
        on_bytes=arrived,
    )
    with pytest.raises(InterruptedRunError):
        carry_out(wanted, connections=1)
    assert files_in(into) == sorted([PART, NOTES])
    large.ranges.clear()
    receive_large(into, large)
    assert len(large.ranges) == 2


def test_a_disk_that_does_not_go_past_its_cache(large: Watched, into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither where opening that way is refused, nor where writing is."""
    real = os.pwrite

    def pwrite(fd: int, data: Any, offset: int) -> int:
        if fcntl.fcntl(fd, fcntl.F_GETFL) & getattr(os, "O_DIRECT", 0):
            raise OSError(errno.EINVAL, "not this way")
        return real(fd, data, offset)

    monkeypatch.setattr(landing.os, "pwrite", pwrite)
    receive_large(into, large)
    assert (into / TARGET).read_bytes() == LARGE


def test_a_full_disk_at_the_reservation_leaves_no_file(
    large: Watched, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_fd: int, _size: int) -> None:
        raise OSError(errno.ENOSPC, "full")

    monkeypatch.setattr(landing, "reserve", full)
    with pytest.raises(NoSpaceError):
        receive_large(into, large)
    assert files_in(into) == []


def test_leftovers_of_a_file_that_is_here(large: Watched, into: Path) -> None:
    _unfinished(into, large)
    (into / TARGET).write_bytes(LARGE)
    held = os.open(into / PART, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    clear_leftovers(into / TARGET)
    assert len(files_in(into)) == 3, "another run is receiving it"
    os.close(held)
    clear_leftovers(into / TARGET)
    assert files_in(into) == [str(TARGET)]
    (into / NOTES).write_bytes(b"")
    clear_leftovers(into / TARGET)
    assert files_in(into) == [str(TARGET)]


def test_many_objects_at_once_keep_to_the_memory(into: Path) -> None:
    """Small and large ones together, more of them than there are threads; each comes out right."""
    store = MemoryStore()
    contents = {f"{CODE}/{n}.avi": random.Random(n).randbytes(size) for n, size in enumerate([0, 1, 70_000] * 5)}
    contents |= {f"{CODE}/{n}.avi": LARGE[n:] for n in (100, 101)}
    for name, data in contents.items():
        put(store, seal(data, [IDENTITY.recipient]), f"{name}.age")
    wanted = (
        Reception(
            store, info, identities=[IDENTITY], landing=Landing(into, PurePosixPath(info.key[:-4]), mtime_ns=None)
        )
        for info in store.list()
    )
    ended = list(receive_all(wanted, connections=3))
    assert {e.info.key[:-4]: e.result().sha256 for e in ended} == {
        name: hashlib.sha256(data).hexdigest() for name, data in contents.items()
    }
    assert {name: (into / name).read_bytes() for name in files_in(into)} == contents


def test_a_bug_of_ours_is_raised_and_ends_the_threads(large: Watched, into: Path) -> None:
    def receptions() -> Iterator[Reception]:
        yield reception(large, into, sealed=is_sealed(large), expected=LARGE_SHA, content_size=len(LARGE))
        raise RuntimeError("a bug")

    before = threading.active_count()
    with pytest.raises(RuntimeError, match="a bug"):
        list(receive_all(receptions(), connections=2))
    assert threading.active_count() == before


def test_who_goes_away_leaves_no_thread_behind(into: Path) -> None:
    store = MemoryStore()
    for number in range(6):
        put(store, seal(LARGE, [IDENTITY.recipient]), f"{CODE}/{number}.avi.age")
    before = threading.active_count()
    wanted = (
        Reception(
            store, info, identities=[IDENTITY], landing=Landing(into, PurePosixPath(info.key[:-4]), mtime_ns=None)
        )
        for info in store.list()
    )
    ending = receive_all(wanted, connections=2)
    next(ending)
    assert isinstance(ending, Generator)
    ending.close()
    assert threading.active_count() == before


@pytest.mark.parametrize("how", ["the listener goes away", "a bug"])
def test_what_is_unfinished_is_locked_no_longer_than_the_run(large: Watched, into: Path, how: str) -> None:
    large.breaks_after = 2
    asked = [reception(large, into, sealed=is_sealed(large), expected=LARGE_SHA, content_size=len(LARGE))]

    if how == "a bug":
        large.breaks_after = 100

        def receptions() -> Iterator[Reception]:
            yield asked[0]
            raise RuntimeError("a bug")

        with pytest.raises(RuntimeError):
            list(receive_all(receptions(), connections=1))
    else:
        ending = receive_all(iter(asked), connections=1)
        next(ending)
        ending.close()  # type: ignore[attr-defined]
    large.breaks_after = 100
    receive_large(into, large)
    assert (into / TARGET).read_bytes() == LARGE
