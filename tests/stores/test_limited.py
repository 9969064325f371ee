"""All stores of a run together move so many bytes a second, evenly."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.core.private import Secret
from ecogsafe.stores.bodies import PacedBody, body_crc64, body_size, buffers, leaving
from ecogsafe.stores.check import got, put
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.limited import Limited, Rate
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.open import open_store
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Backoff, Retrying
from ecogsafe.stores.s3_connect import connect
from tests.servers.scripted import ScriptedServer


class Clock:
    """Time that passes only when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.pauses: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds


@pytest.fixture
def clock() -> Clock:
    return Clock()


def rate(clock: Clock, bytes_per_s: float = 100_000) -> Rate:
    return Rate(bytes_per_s, now=clock, sleep=clock.sleep)


@given(st.lists(st.integers(1, 100_000), min_size=2, max_size=30), st.integers(1000, 10**8))
def test_no_time_span_gets_more_than_its_share_but_for_one_payment(sizes: list[int], bytes_per_s: int) -> None:
    clock = Clock()
    limit = rate(clock, bytes_per_s)
    went: list[tuple[float, int]] = []
    for size in sizes:
        limit.pay(size)
        went.append((clock.now, size))
    for first in range(len(went)):
        for last in range(first, len(went)):
            seconds = went[last][0] - went[first][0]
            paid = sum(size for _, size in went[first:last])
            assert paid <= seconds * bytes_per_s * 1.0001 + 1


def test_what_was_not_used_is_not_saved_up(clock: Clock) -> None:
    limit = rate(clock)
    clock.now += 3600
    for _ in range(11):
        limit.pay(10_000)
    assert sum(clock.pauses) == pytest.approx(1.0)


def test_a_part_leaves_evenly_not_in_one_burst(clock: Clock, tmp_path: Path) -> None:
    for inner in (DirectoryStore(tmp_path), MemoryStore()):
        clock.pauses.clear()
        store = Limited(inner, rate(clock))
        put(store, "a/b", b"x" * 250_000)
        assert sum(clock.pauses) == pytest.approx(2.5, abs=0.1)
        assert max(clock.pauses) < 0.1
        assert got(store, "a/b") == b"x" * 250_000


def test_reading_is_limited_too(clock: Clock) -> None:
    inner = MemoryStore()
    put(inner, "a", b"x" * 250_000)
    assert len(got(Limited(inner, rate(clock)), "a")) == 250_000
    assert sum(clock.pauses) == pytest.approx(2.5, abs=0.1)


def test_a_body_over_the_wire_is_paced(clock: Clock) -> None:
    with ScriptedServer() as server:
        inner = connect(
            "lab-video",
            "eeg",
            endpoint_url=server.url,
            access_key="k",
            secret_key=Secret(b"hidden"),
            region="us-west-2",
        )
        store = Limited(inner, rate(clock))
        body = [b"a" * 100_000, memoryview(b"b" * 150_000)]
        part = store.put_part("k", "u", 1, body, offset=0, crc64=body_crc64(body))
        assert part.size == 250_000 and server.asked[-1].body == b"".join(body)
        assert sum(clock.pauses) == pytest.approx(2.5, abs=0.1) and max(clock.pauses) < 0.1
        store.close()


def test_stores_and_threads_share_one_line() -> None:
    limit = Rate(400_000)
    stores: list[Store] = [Limited(MemoryStore(), limit), Limited(MemoryStore(), limit)]
    import time

    began = time.monotonic()
    threads = [threading.Thread(target=put, args=(store, f"k{n}", b"x" * 50_000)) for n in range(2) for store in stores]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.35 < time.monotonic() - began < 5


def test_what_is_sent_again_is_paid_for_again_and_what_never_left_is_not(clock: Clock) -> None:
    broken = StoreUnreachableError("s", "no answer")
    faulty = Faulty(MemoryStore(), {"put_part": [Fault(error=broken), Fault(error=broken)]})
    store = Retrying(Limited(faulty, rate(clock)), backoff=Backoff(attempts=4), pause=lambda _seconds: None)
    upload = store.begin_upload("k", token="t" * 32, size=100_000)
    body = b"x" * 100_000
    store.put_part("k", upload, 1, body, offset=0, crc64=body_crc64(body))
    assert sum(clock.pauses) == pytest.approx(1.0, abs=0.1)


def test_looking_at_a_paced_body_costs_nothing() -> None:
    asked: list[int] = []
    body = PacedBody(buffers([b"abc", b"defgh"]), pay=asked.append, piece=2)
    assert body_size(body) == 8 and body_crc64(body) == body_crc64(b"abcdefgh") and body.unpaid == 8
    assert not asked
    assert [bytes(piece) for piece in leaving(body, 100)] == [b"ab", b"c", b"de", b"fg", b"h"]
    assert asked == [2, 1, 2, 2, 1] and body.unpaid == 0


def test_a_store_is_opened_on_a_line(tmp_path: Path) -> None:
    limit = Rate(1e6)
    store = open_store(tmp_path.as_uri(), rate=limit)
    assert isinstance(store.inner, Limited)
    assert not isinstance(open_store(tmp_path.as_uri()).inner, Limited)
