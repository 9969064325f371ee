"""Several ranges of an object in one request, while every thread has an object of its own."""

from __future__ import annotations

import hashlib
import random
import threading
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any

import pytest

from ecogsafe.core.errors import (
    InterruptedRunError,
    ObjectReplacedError,
    StoreUnreachableError,
)
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SEALED_CHUNK_BYTES
from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer import fetching, ranges, receivers
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.received import Received
from ecogsafe.transfer.receivers import receive_all
from ecogsafe.transfer.receiving import Reception

from .test_receiving import IDENTITY, KEY, TARGET, carry_out, files_in, into, put, reception

__all__ = ["into"]
RANGE_BYTES = 2 * CHUNK_BYTES
FIRST = 2 * SEALED_CHUNK_BYTES + 4096
#: ranges in one request
AT_ONCE = 3
LARGE = random.Random(4).randbytes(7 * RANGE_BYTES + 70_000)
LARGE_SHA = hashlib.sha256(LARGE).hexdigest()
SEALED = seal(LARGE, [IDENTITY.recipient])


@pytest.fixture(autouse=True)
def short_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranges, "RANGE_BYTES", RANGE_BYTES)
    monkeypatch.setattr(ranges, "_RANGES_AT_ONCE", AT_ONCE)
    for module in (ranges, fetching, receivers):
        monkeypatch.setattr(module, "FIRST_REQUEST_BYTES", FIRST)
    monkeypatch.setattr(fetching, "REQUEST_BYTES", FIRST + (AT_ONCE - 1) * 2 * SEALED_CHUNK_BYTES)


class Line(Faulty):
    """Gives small pieces, notes the requests, and breaks where it is told to."""

    def __init__(self, inner: Store) -> None:
        super().__init__(inner)
        self.asked: list[tuple[int, int | None]] = []
        #: bytes of the object after which there is no answer any more
        self.breaks_at = 10**9
        #: bytes that come wrong, the first time
        self.wrong: list[int] = []

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[bytes]:
        self.asked.append((start, stop))
        position = start
        whole = b"".join(bytes(piece) for piece in super().read(key, start, stop, **more))
        for at in range(0, len(whole), 50_000):
            piece = bytearray(whole[at : at + 50_000])
            if position + len(piece) > self.breaks_at:
                raise StoreUnreachableError("memory", "no answer")
            for byte in [b for b in self.wrong if position <= b < position + len(piece)]:
                self.wrong.remove(byte)
                piece[byte - position] ^= 1
            position += len(piece)
            yield bytes(piece)


@pytest.fixture(params=["sealed", "plain"])
def line(request: pytest.FixtureRequest) -> Line:
    made = MemoryStore()
    put(made, SEALED if request.param == "sealed" else LARGE)
    return Line(made)


def is_sealed(line: Line) -> bool:
    info = line.inner.head(KEY)
    return info is not None and info.size == len(SEALED)


def receive(into: Path, line: Line, **more: Any) -> Received:
    more = {"expected": LARGE_SHA, "content_size": len(LARGE), "sealed": is_sealed(line)} | more
    connections = more.pop("connections", 1)
    return carry_out(reception(line, into, **more), connections)


def test_one_thread_alone_asks_for_many_ranges_at_once(line: Line, into: Path) -> None:
    received = receive(into, line)
    info = line.head(KEY)
    assert info is not None
    assert (into / TARGET).read_bytes() == LARGE
    assert (received.sha256, received.size, received.crc64) == (LARGE_SHA, len(LARGE), info.crc64)
    assert len(line.asked) == 3
    assert files_in(into) == [str(TARGET)]


def test_a_broken_line_keeps_what_came_and_the_rest_is_asked_for_at_once(line: Line, into: Path) -> None:
    line.breaks_at = 2 * RANGE_BYTES + 100_000
    with pytest.raises(StoreUnreachableError):
        receive(into, line)
    assert len(files_in(into)) == 2
    line.breaks_at = 10**9
    line.asked.clear()
    kept: list[int] = []
    receive(into, line, on_kept=kept.append)
    assert (into / TARGET).read_bytes() == LARGE
    assert sum(kept) >= 2 * RANGE_BYTES - CHUNK_BYTES
    assert line.asked[0][0] >= sum(kept)
    assert len(line.asked) == 2


def test_a_byte_that_came_wrong_within_a_run_costs_one_more_request_each(into: Path) -> None:
    made = MemoryStore()
    put(made, SEALED)
    line = Line(made)
    line.wrong = [RANGE_BYTES + 5_000]
    receive(into, line)
    assert (into / TARGET).read_bytes() == LARGE
    assert len(line.asked) == 5, "the two ranges behind it came singly"


@pytest.mark.parametrize("at", ["in the first range", "in a later one"])
def test_what_came_wrong_is_not_in_the_digest(into: Path, at: str) -> None:
    """Content is digested as it is opened: what stood before the bad chunk must not count twice."""
    made = MemoryStore()
    put(made, SEALED)
    line = Line(made)
    # behind the first chunk of a range, so that some of it was opened and digested
    within = SEALED_CHUNK_BYTES + 5_000
    line.wrong = [within] if at == "in the first range" else [2 * 2 * SEALED_CHUNK_BYTES + within]
    received = receive(into, line, expected=None)
    assert (into / TARGET).read_bytes() == LARGE
    assert received.sha256 == LARGE_SHA


@pytest.mark.parametrize("hot", [500, SEALED_CHUNK_BYTES - 1, SEALED_CHUNK_BYTES, 10**9])
def test_the_digest_is_the_same_however_much_is_opened_at_once(
    line: Line, into: Path, hot: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetching, "_HOT_BYTES", hot)
    received = receive(into, line, expected=None)
    info = line.head(KEY)
    assert info is not None
    assert (received.sha256, received.crc64) == (LARGE_SHA, info.crc64)


def test_ctrl_c_within_a_run_keeps_what_came(line: Line, into: Path) -> None:
    stop = threading.Event()
    came: list[int] = []

    def arrived(count: int) -> None:
        came.append(count)
        if sum(came) > 2 * RANGE_BYTES:
            stop.set()

    with pytest.raises(InterruptedRunError):
        receive(into, line, stop=stop, on_bytes=arrived)
    assert sum(came) < 4 * RANGE_BYTES, "the request was ended"
    assert len(files_in(into)) == 2
    line.asked.clear()
    receive(into, line)
    assert (into / TARGET).read_bytes() == LARGE
    assert line.asked[0][0] > RANGE_BYTES


@pytest.mark.parametrize("connections", [1, 3])
def test_an_object_that_is_replaced_meanwhile_is_noticed(line: Line, into: Path, connections: int) -> None:
    """Between two requests another object, as long, takes the place of the one that was begun."""
    other = random.Random(5).randbytes(len(LARGE))
    body = seal(other, [IDENTITY.recipient]) if is_sealed(line) else other
    came: list[int] = []

    def arrived(count: int) -> None:
        if not came:
            line.inner.put(KEY, body, crc64=crc64nvme(body), token="u" * 32, if_absent=False)
        came.append(count)

    with pytest.raises(ObjectReplacedError, match="another object"):
        receive(into, line, on_bytes=arrived, connections=connections)
    assert files_in(into) == [], "what came of the first one is of no use"


@pytest.mark.parametrize("connections", [1, 2, 3, 7])
def test_objects_of_all_sizes_on_few_and_many_threads(into: Path, connections: int) -> None:
    store = MemoryStore()
    code = "abcd1234"
    contents = {f"{code}/{n}.avi": LARGE[n * 1000 :] for n in range(4)}
    contents |= {f"{code}/{n + 10}.avi": LARGE[:n] for n in (0, 1, RANGE_BYTES, 2 * RANGE_BYTES + 1)}
    for name, data in contents.items():
        put(store, seal(data, [IDENTITY.recipient]), f"{name}.age")
    line = Line(store)
    wanted = (
        Reception(line, info, identities=[IDENTITY], landing=Landing(into, PurePosixPath(info.key[:-4]), mtime_ns=None))
        for info in store.list()
    )
    ended = list(receive_all(wanted, connections=connections))
    assert {e.info.key[:-4]: e.result().sha256 for e in ended} == {
        name: hashlib.sha256(data).hexdigest() for name, data in contents.items()
    }
    assert {name: (into / name).read_bytes() for name in files_in(into)} == contents
