"""Rates and windows of the day, also on the days the clocks change."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsafe.core.errors import UsageError
from ecogsafe.core.pacing import DailyWindow, parse_rate, parse_window

SEATTLE = ZoneInfo("America/Los_Angeles")
NIGHT = parse_window("18:00-06:00", SEATTLE)


@pytest.mark.parametrize(
    ("text", "rate"),
    [
        ("20M", 20_000_000),
        ("1.5G", 1_500_000_000),
        ("500k", 500_000),
        ("20Mi", 20 << 20),
        ("64KiB/s", 64 << 10),
        ("2500", 2500),
        (" 3MB ", 3_000_000),
    ],
)
def test_rates(text: str, rate: int) -> None:
    assert parse_rate(text) == rate


@pytest.mark.parametrize("text", ["", "fast", "-1M", "0", "10", "5i", "1e9", "20 M", "M", "٣M"])
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(UsageError):
        parse_rate(text)


@pytest.mark.parametrize("text", ["", "18-6", "18:00", "25:00-06:00", "18:60-06:00", "06:00-06:00", "18:00 to 6:00"])
def test_what_is_no_window(text: str) -> None:
    with pytest.raises(UsageError):
        parse_window(text)


def local(text: str, zone: ZoneInfo = SEATTLE, fold: int = 0) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=zone, fold=fold)


@pytest.mark.parametrize(
    ("at", "is_open"),
    [
        ("2026-07-01 17:59:59", False),
        ("2026-07-01 18:00:00", True),
        ("2026-07-02 00:00:00", True),
        ("2026-07-02 05:59:59", True),
        ("2026-07-02 06:00:00", False),
    ],
)
def test_a_window_over_midnight(at: str, is_open: bool) -> None:
    assert NIGHT.is_open(local(at).astimezone(UTC)) is is_open


def test_a_window_within_a_day() -> None:
    noon = parse_window("9:30-17:00", SEATTLE)
    assert [noon.is_open(local(f"2026-07-01 {at}")) for at in ("09:29", "09:30", "16:59", "17:00", "03:00")] == [
        False,
        True,
        True,
        False,
        False,
    ]


def test_when_it_opens() -> None:
    assert NIGHT.opens(local("2026-07-01 12:00:30")) == local("2026-07-01 18:00")
    assert NIGHT.opens(local("2026-07-01 19:00:30")) == local("2026-07-01 19:00:30")


@pytest.mark.parametrize(("day", "hours"), [("2026-03-07", 11), ("2026-10-31", 13), ("2026-06-01", 12)])
def test_the_night_is_shorter_and_longer_when_the_clocks_change(day: str, hours: int) -> None:
    begin = local(f"{day} 18:00").astimezone(UTC)
    assert not NIGHT.is_open(begin - timedelta(seconds=1))
    open_minutes = 0
    while NIGHT.is_open(begin + timedelta(minutes=open_minutes)):
        open_minutes += 1
    assert open_minutes == hours * 60


def test_a_start_that_the_clocks_leap_over() -> None:
    """On 8 March 2026 two o'clock is followed by three o'clock."""
    early = parse_window("02:30-04:00", SEATTLE)
    assert early.opens(local("2026-03-08 01:00")) == local("2026-03-08 03:00")
    swallowed = parse_window("02:10-02:50", SEATTLE)
    assert swallowed.opens(local("2026-03-08 01:00")) == local("2026-03-09 02:10")


def test_an_hour_that_comes_twice_opens_twice() -> None:
    early = parse_window("01:15-01:45", SEATTLE)
    first, second = local("2026-11-01 01:15"), local("2026-11-01 01:15", fold=1)
    assert early.opens(local("2026-11-01 00:00")) == first
    assert early.opens(first.astimezone(UTC) + timedelta(minutes=31)).astimezone(UTC) == second.astimezone(UTC)


@given(
    st.times(),
    st.times(),
    st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2030, 1, 1)),
    st.sampled_from([SEATTLE, ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe"), UTC]),
)
def test_it_is_open_when_it_opens_and_never_before(start: time, end: time, naive: datetime, zone: ZoneInfo) -> None:
    start, end = start.replace(second=0, microsecond=0), end.replace(second=0, microsecond=0)
    if start == end:
        return
    window = DailyWindow(start, end, zone)
    now = naive.replace(tzinfo=UTC)
    opens = window.opens(now)
    assert window.is_open(opens) and now <= opens
    if opens > now:
        assert not window.is_open(now)
        assert not window.is_open(max(now, opens.astimezone(UTC) - timedelta(minutes=1)))


@pytest.mark.parametrize(
    ("now", "work_h", "hours"),
    [
        ("2026-07-01 20:00", 3, 3),
        ("2026-07-01 20:00", 10, 10),
        ("2026-07-01 20:00", 11, 11 + 12),
        ("2026-07-01 20:00", 22, 22 + 12),
        ("2026-07-01 20:00", 23, 23 + 24),
        ("2026-07-01 12:00", 1, 6 + 1),
        ("2026-07-02 06:00", 13, 12 + 13 + 12),
    ],
)
def test_what_is_left_counts_the_hours_in_which_it_is_closed(now: str, work_h: int, hours: int) -> None:
    window = parse_window("18:00-06:00", SEATTLE)
    assert window.seconds_for(work_h * 3600, local(now)) == pytest.approx(hours * 3600)


def test_without_a_zone_it_is_the_time_of_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    import time as clock

    monkeypatch.setenv("TZ", "Asia/Tokyo")
    clock.tzset()
    try:
        window = parse_window("18:00-06:00")
        assert window.is_open(datetime(2026, 7, 1, 9, 0, tzinfo=UTC))
        assert not window.is_open(datetime(2026, 7, 1, 8, 59, tzinfo=UTC))
        assert window.text == "18:00-06:00"
    finally:
        monkeypatch.undo()
        clock.tzset()
