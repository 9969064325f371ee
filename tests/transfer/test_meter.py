"""What is told of a run: the rate of the last moments, and a time left that is right after a resume."""

from __future__ import annotations

import time
from datetime import timedelta
from zoneinfo import ZoneInfo

import pytest

from ecogsafe.core.clock import utc_now
from ecogsafe.core.events import Event, FileProgress, Item, Progress
from ecogsafe.core.pacing import DailyWindow
from ecogsafe.transfer.meter import RATE_OVER_S, Meter, SlidingRate

MB = 1_000_000


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def meter(clock: Clock, events: list[Event], *, bytes_total: int | None = 1000 * MB) -> Meter:
    return Meter(events.append, files_total=10, bytes_total=bytes_total, now=clock)


def test_the_rate_is_that_of_the_last_moments() -> None:
    clock, events = Clock(), list[Event]()
    told = meter(clock, events)
    for _ in range(100):
        clock.now += 1
        told.bytes_moved(MB)
    assert told.now().bytes_per_s == pytest.approx(MB, rel=0.1)
    for _ in range(30):
        clock.now += 1
        told.bytes_moved(5 * MB)
        told.now()
    assert told.now().bytes_per_s == pytest.approx(5 * MB, rel=0.1)
    assert told.now().seconds_left == pytest.approx((1000 - 250) / 5, rel=0.1)


def test_a_run_that_stands_still_has_no_rate_and_no_time_left() -> None:
    clock, events = Clock(), list[Event]()
    told = meter(clock, events)
    for _ in range(50):
        clock.now += 1
        told.bytes_moved(MB)
    for _ in range(int(RATE_OVER_S) + 2):
        clock.now += 1
        told.now()
    progress = told.now()
    assert progress.bytes_per_s == 0 and progress.seconds_left is None


def test_time_left_counts_the_hours_in_which_nothing_may_move() -> None:
    clock, events = Clock(), list[Event]()
    told = meter(clock, events, bytes_total=10 * MB + 3600 * MB)
    now = utc_now()
    told.window = DailyWindow(
        (now - timedelta(minutes=30)).time(), (now + timedelta(minutes=30)).time(), ZoneInfo("UTC")
    )
    clock.now += 10
    told.bytes_moved(10 * MB)
    assert told.now().seconds_left == pytest.approx(24 * 3600, rel=0.1)


def test_parts_of_an_earlier_run_do_not_make_it_look_fast() -> None:
    clock, events = Clock(), list[Event]()
    told = meter(clock, events)
    told.bytes_moved(900 * MB, over_the_wire=False)
    clock.now += 10
    told.bytes_moved(10 * MB)
    progress = told.now()
    assert progress.bytes_done == 910 * MB
    assert progress.bytes_per_s == pytest.approx(MB, rel=0.1)
    assert progress.seconds_left == pytest.approx(90, rel=0.1)


def test_files_there_before_are_counted_apart() -> None:
    told = meter(Clock(), [])
    for _ in range(3):
        told.was_present(2 * MB)
    progress = told.now()
    assert (progress.files_present, progress.bytes_present, progress.files_done, progress.bytes_done) == (
        3,
        6 * MB,
        0,
        0,
    )


def test_files_under_way_are_told_with_how_far_they_are() -> None:
    told = meter(Clock(), [])
    told.file_begins("a/1.avi", 100)
    told.file_begins("a/2.avi", 200)
    told.bytes_moved(50, current="a/2.avi")
    told.bytes_moved(500, current="small.txt")
    told.file_done("a/1.avi")
    assert told.now().current_files == (FileProgress(path="a/2.avi", bytes_done=50, bytes_total=200),)
    assert told.now().current == "small.txt"


def test_waiting_is_told_and_has_no_time_left() -> None:
    clock, events = Clock(), list[Event]()
    told = meter(clock, events)
    clock.now += 5
    told.bytes_moved(MB)
    events.clear()
    told.wait_for("waiting until 18:00")
    note, progress = events
    assert isinstance(note, Item) and note.message == "waiting until 18:00"
    assert isinstance(progress, Progress) and progress.waiting and progress.seconds_left is None
    told.wait_for("")
    assert told.now().waiting == "" and told.now().seconds_left is not None


def test_it_is_told_while_nothing_moves() -> None:
    events: list[Event] = []
    with Meter(events.append, files_total=2, bytes_total=None) as told:
        told.bytes_moved(3)
        told.asked_again()
        began = time.monotonic()
        while not events and time.monotonic() - began < 10:
            time.sleep(0.01)
    progress = events[0]
    assert isinstance(progress, Progress) and (progress.bytes_done, progress.retries) == (3, 1)


def test_two_looks_at_one_moment() -> None:
    rate = SlidingRate(7.0)
    assert rate.per_s(0, 7.0) == 0
    assert rate.per_s(100, 8.0) == 100
    assert rate.per_s(100, 8.0) == 100
