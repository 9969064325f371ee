"""Threads for each store: as many as are worth it, none for bytes while the window of the day is closed."""

from __future__ import annotations

import threading
import time
from datetime import UTC, datetime

import pytest

from ecogsafe.core.pacing import parse_window
from ecogsafe.transfer.concurrency import FIRST
from ecogsafe.transfer.pace import Pace
from ecogsafe.transfer.senders import Senders


class Wall:
    """A clock of the wall that a test sets."""

    def __init__(self, hour: int) -> None:
        self.at = datetime(2026, 7, 1, hour, 59, 30, tzinfo=UTC)

    def __call__(self) -> datetime:
        return self.at

    def to(self, hour: int) -> None:
        self.at = self.at.replace(hour=hour)


def pace_at(wall: Wall, *, stop: threading.Event | None = None, told: list[str] | None = None) -> Pace:
    from zoneinfo import ZoneInfo

    window = parse_window("18:00-06:00", ZoneInfo("UTC"))
    on_change = told.append if told is not None else None
    return Pace(window, stop=stop, on_change=on_change, now=wall, look_every_s=0.01)


class Counter:
    def __init__(self) -> None:
        self.now = self.most = self.done = 0
        self.lock = threading.Lock()
        self.go = threading.Event()

    def send(self) -> int:
        with self.lock:
            self.now += 1
            self.most = max(self.most, self.now)
        self.go.wait(10)
        with self.lock:
            self.now -= 1
            self.done += 1
        return 100


def until(what: object) -> None:
    assert callable(what)
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < 10
        time.sleep(0.005)


@pytest.mark.parametrize(("most", "at_once"), [(1, 1), (3, 3), (64, FIRST)])
def test_a_store_gets_no_more_at_once_than_is_found_good(most: int, at_once: int) -> None:
    counter = Counter()
    with Senders(most) as senders:
        for _ in range(30):
            senders.send("a", counter.send)
        until(lambda: counter.now == at_once)
        time.sleep(0.05)
        assert counter.now == at_once
        counter.go.set()
    assert (counter.done, counter.most) == (30, at_once)


def test_many_at_once_are_not_sent_one_by_one_because_a_thread_was_idle() -> None:
    counter = Counter()
    with Senders(16) as senders:
        senders.submit("a", int).result(5)
        line = senders._line("a")
        until(lambda: line._idle == 1)
        for _ in range(16):
            senders.send("a", counter.send)
        until(lambda: counter.now == FIRST)
        counter.go.set()
    assert (counter.done, counter.most) == (16, FIRST)


def test_a_store_in_trouble_gets_half_as_many() -> None:
    counter = Counter()
    with Senders(16) as senders:
        for _ in range(8):
            senders.send("a", counter.send)
        until(lambda: counter.now == 8)
        senders.troubled("a")
        assert senders.limits() == {"a": (4, 1)}
        counter.go.set()
        until(lambda: counter.done == 8)
        counter.go.clear()
        counter.most = 0
        for _ in range(20):
            senders.send("a", counter.send)
        until(lambda: counter.now == 4)
        time.sleep(0.05)
        assert counter.most == 4
        counter.go.set()
    assert counter.done == 28


def test_bytes_wait_for_the_window_and_what_finishes_a_file_does_not() -> None:
    wall, told, counter = Wall(12), list[str](), Counter()
    counter.go.set()
    with Senders(4, pace_at(wall, told=told)) as senders:
        for _ in range(20):
            senders.send("a", counter.send)
        assert senders.submit("a", lambda: 7).result(timeout=5) == 7
        time.sleep(0.1)
        assert counter.done == 0 and told == ["waiting until 18:00"]
        wall.to(18)
        until(lambda: counter.done == 20)
    assert told == ["waiting until 18:00", ""]


def test_what_is_under_way_when_the_window_closes_is_finished() -> None:
    wall, counter = Wall(5), Counter()
    with Senders(4, pace_at(wall)) as senders:
        for _ in range(10):
            senders.send("a", counter.send)
        until(lambda: counter.now == 4)
        wall.to(6)
        time.sleep(0.03)
        counter.go.set()
        until(lambda: counter.done == 4)
        time.sleep(0.1)
        assert counter.done == 4
        wall.to(20)
        until(lambda: counter.done == 10)


def test_ctrl_c_ends_the_waiting_at_once() -> None:
    stop = threading.Event()
    pace = pace_at(Wall(12), stop=stop)
    waiting = threading.Thread(target=pace.wait)
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive()
    stop.set()
    waiting.join(5)
    assert not waiting.is_alive()


def test_who_waits_for_the_window_has_not_stalled() -> None:
    wall = Wall(12)
    pace = pace_at(wall)
    assert time.monotonic() - pace.closed_at < 1
    wall.to(18)
    time.sleep(0.02)
    closed_at = pace.closed_at
    time.sleep(0.05)
    assert pace.closed_at == closed_at
    assert Pace().closed_at == float("-inf")
