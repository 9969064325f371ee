"""Dates of birth: what a written one may mean, and all the ways in which one is written.

A date such as ``03/04/1970`` has two readings; both are kept, because missing one would let it pass.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import UTC, date, datetime

_MONTHS = (
    "january",
    "february",
    "march",
    "april",
    "may",
    "june",
    "july",
    "august",
    "september",
    "october",
    "november",
    "december",
)
#: Day 0 of OLE automation dates (FORMATS 2.2).
_OLE_DAY_0 = date(1899, 12, 30)
#: FILETIME counts 100 ns from here (FORMATS 2.12).
_FILETIME_0 = datetime(1601, 1, 1, tzinfo=UTC)

#: Years in which a living patient, or a relative, may be born; other numbers are no dates.
_YEARS = range(1850, 2101)

_YEAR_FIRST = re.compile(r"(\d{4})(?:[-/._ ](\d{1,2})[-/._ ](\d{1,2})|(\d\d)(\d\d))")
_NUMBERS = re.compile(r"(\d{1,2})[-/._ ](\d{1,2})[-/._ ](\d{4})")
_DAY_MONTH = re.compile(r"(\d{1,2})[-/._ ]*([a-z]{3,9})[-/._, ]*(\d{4})")
_MONTH_DAY = re.compile(r"([a-z]{3,9})[-/._ ]*(\d{1,2})[-/._, ]+(\d{4})")


def _date(year: int, month: int, day: int) -> Iterator[date]:
    try:
        if year in _YEARS:
            yield date(year, month, day)
    except ValueError:
        return


def _month(name: str) -> int:
    """Return 1-12, or 0 for a word that is no month."""
    return next((n for n, full in enumerate(_MONTHS, 1) if full == name or full[:3] == name), 0)


def _readings(text: str) -> Iterator[date]:
    if m := _YEAR_FIRST.fullmatch(text):
        yield from _date(int(m[1]), int(m[2] or m[4]), int(m[3] or m[5]))
    elif m := _NUMBERS.fullmatch(text):
        yield from _date(int(m[3]), int(m[2]), int(m[1]))
        yield from _date(int(m[3]), int(m[1]), int(m[2]))
    elif m := _DAY_MONTH.fullmatch(text):
        yield from _date(int(m[3]), _month(m[2]), int(m[1]))
    elif m := _MONTH_DAY.fullmatch(text):
        yield from _date(int(m[3]), _month(m[1]), int(m[2]))


def possible_dates(text: str) -> tuple[date, ...]:
    """Return the days that ``text`` may mean: none where it is not a date, two where its order is unclear."""
    return tuple(dict.fromkeys(_readings(text.strip().lower())))


def tidy_date(text: str) -> str:
    """Return ``text`` as ``1970-02-02`` where it means one day, else as it was written."""
    days = possible_dates(text)
    return days[0].isoformat() if len(days) == 1 else text.strip()


def ole_day(day: date) -> int:
    """Return the OLE automation day number of ``day``; 1970-02-02 gives 25601."""
    return (day - _OLE_DAY_0).days


def filetime(day: date) -> int:
    """Return the FILETIME of the midnight (UTC) at which ``day`` begins."""
    return (datetime(day.year, day.month, day.day, tzinfo=UTC) - _FILETIME_0).days * 86_400 * 10_000_000


def spellings(day: date, *, short_years: bool) -> Iterator[str]:
    """Yield the usual ways to write ``day``, lower-case; two-digit years only with ``short_years``.

    The same text can come more than once.
    """
    months = (_MONTHS[day.month - 1], _MONTHS[day.month - 1][:3])
    years = (f"{day.year:04d}", f"{day.year % 100:02d}") if short_years else (f"{day.year:04d}",)
    both_d = (f"{day.day:02d}", str(day.day))
    both_m = (f"{day.month:02d}", str(day.month))
    for year in years:
        for d, m in zip(both_d, both_m, strict=True):
            for sep in "-/._ ":
                yield f"{d}{sep}{m}{sep}{year}"
                yield f"{m}{sep}{d}{sep}{year}"
        for name in months:
            for d in both_d:
                for sep in ("-", "/", ".", "_", " ", ""):
                    yield f"{d}{sep}{name}{sep}{year}"
                yield f"{name} {d}, {year}"
                yield f"{name} {d} {year}"
                yield f"{name}-{d}-{year}"
    full = years[0]
    for sep in "-/._ ":
        yield f"{full}{sep}{both_m[0]}{sep}{both_d[0]}"
    yield f"{full}{both_m[0]}{both_d[0]}"
    yield f"{both_d[0]}{both_m[0]}{full}"
    yield f"{both_m[0]}{both_d[0]}{full}"
