"""When a run may send, and how fast: ``--between 18:00-06:00`` and ``--limit-rate 20M``. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta
from math import ceil
from zoneinfo import ZoneInfo

from ecogsafe.core.errors import UsageError

_RATE = re.compile(r"(\d{1,9}(?:\.\d{1,3})?)([kmg]?)(i?)(?:b(?:/s)?)?", re.IGNORECASE | re.ASCII)
_POWER = {"": 0, "k": 1, "m": 2, "g": 3}
#: slower, a part of the least size would take a day, bytes per second
SLOWEST_RATE = 1000
_WINDOW = re.compile(r"(\d{1,2}):(\d{2})\s*[-–]\s*(\d{1,2}):(\d{2})", re.ASCII)
_MINUTE = timedelta(minutes=1)
_DAY_S = 86_400.0
#: a window that a change of the clocks swallows opens on the day after
_LOOK_AHEAD = timedelta(days=3)


def parse_rate(text: str) -> int:
    """Return bytes per second: ``20M`` is 20,000,000, as networks count; ``20Mi`` is 20 × 1024 × 1024.

    Raises
    ------
    UsageError
        It is no rate, or one at which nothing would ever arrive.
    """
    found = _RATE.fullmatch(text.strip())
    if found is None or (found[3] and not found[2]):
        raise UsageError("--limit-rate", "is not a rate", next="write bytes per second: 500K, 20M, 1.5G")
    rate = int(float(found[1]) * (1024 if found[3] else 1000) ** _POWER[found[2].lower()])
    if rate < SLOWEST_RATE:
        raise UsageError("--limit-rate", "is less than 1K", next="write bytes per second: 500K, 20M, 1.5G")
    return rate


@dataclass(frozen=True, slots=True)
class DailyWindow:
    """The time of day in which something may be begun; it may go over midnight.

    Times are those of the wall clock in ``zone``: on the day the clocks change the window is an hour longer
    or shorter, and where the clocks leap over its start it opens at the first minute behind the leap.
    """

    start: time
    end: time
    #: None: that of this machine
    zone: ZoneInfo | None = None

    def is_open(self, now: datetime) -> bool:
        """Return whether ``now`` (aware) lies in the window; its start does, its end does not."""
        at = now.astimezone(self.zone).time()
        if self.start < self.end:
            return self.start <= at < self.end
        return at >= self.start or at < self.end

    def opens(self, now: datetime) -> datetime:
        """Return when the window is open next, ``now`` if it is, in its zone."""
        if self.is_open(now):
            return now.astimezone(self.zone)
        # in UTC, whose minutes follow each other
        minute = now.astimezone(UTC).replace(second=0, microsecond=0)
        while minute - now < _LOOK_AHEAD:
            minute += _MINUTE
            if self.is_open(minute):
                break
        return minute.astimezone(self.zone)

    def seconds_for(self, work_s: float, now: datetime) -> float:
        """Return after how many seconds from ``now`` (aware) it has been open for ``work_s`` seconds.

        An estimate: days on which the clocks change count as others do.
        """
        length = (_second_of_day(self.end) - _second_of_day(self.start)) % _DAY_S or _DAY_S
        since_start = (_second_of_day(now.astimezone(self.zone).time()) - _second_of_day(self.start)) % _DAY_S
        closed_s = 0.0 if since_start < length else _DAY_S - since_start
        first = length - since_start if since_start < length else length
        nights = 0 if work_s <= first else ceil((work_s - first) / length)
        return closed_s + work_s + nights * (_DAY_S - length)

    @property
    def text(self) -> str:
        """The way it is written."""
        return f"{self.start:%H:%M}-{self.end:%H:%M}"


def _second_of_day(at: time) -> float:
    return at.hour * 3600 + at.minute * 60 + at.second + at.microsecond / 1e6


def parse_window(text: str, zone: ZoneInfo | None = None) -> DailyWindow:
    """Return the window that ``text`` means, such as ``18:00-06:00``.

    Raises
    ------
    UsageError
        It is none, or has no length.
    """
    found = _WINDOW.fullmatch(text.strip())
    try:
        times = [time(int(found[n]), int(found[n + 1])) for n in (1, 3)] if found else []
    except ValueError:
        times = []
    if not times or times[0] == times[1]:
        raise UsageError("--between", "is not a time of day to another one", next="write it as 18:00-06:00")
    return DailyWindow(times[0], times[1], zone)
