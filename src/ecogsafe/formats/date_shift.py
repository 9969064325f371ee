"""Dates moved by whole days at equal length (DESIGN 5.3, FORMATS 6 row C): time of day and intervals stay.

What cannot be moved by rule, a date inside free text, is found by `text_dates` and blotted like an identifier.
"""

from __future__ import annotations

import re
from datetime import date, timedelta

from ecogsafe.core.errors import MalformedFileError

#: 100 ns of one day
FILETIME_DAY = 24 * 3600 * 10_000_000
SECONDS_DAY = 24 * 3600
_TIME_T = range(-(2**31), 2**31)
_FILETIME = range(1, 2**63)
#: EDF writes two digits of the year: 85-99 and 00-84 (FORMATS 4.1)
EDF_FIRST, EDF_LAST = date(1985, 1, 1), date(2084, 12, 31)

_MONTH = rb"(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]{0,6}\.?"
_DAY = rb"(?:0?[1-9]|[12]\d|3[01])(?:st|nd|rd|th)?"
_YEAR = rb"(?:19|20)\d\d"
#: Dates as people type them; two-digit years only between separators.
_TEXT_DATE = re.compile(
    rb"(?<![0-9A-Za-z])(?:"
    rb"%(y)s[-/.](?:0?[1-9]|1[0-2])[-/.](?:0?[1-9]|[12]\d|3[01])"
    rb"|(?:0?[1-9]|[12]\d|3[01])[-/.](?:0?[1-9]|[12]\d|3[01])[-/.](?:%(y)s|\d\d)"
    rb"|%(d)s[ -]%(m)s(?:[ -,]{1,2}(?:%(y)s|\d\d))?"
    rb"|%(m)s[ -]%(d)s(?:[ -,]{1,2}(?:%(y)s|\d\d))?"
    rb"|%(y)s(?:0[1-9]|1[0-2])(?:0[1-9]|[12]\d|3[01])"
    rb")(?![0-9A-Za-z])" % {b"y": _YEAR, b"d": _DAY, b"m": _MONTH},
    re.IGNORECASE,
)


def text_dates(data: bytes) -> list[tuple[int, int]]:
    """Return where ``data`` (8-bit text) holds dates."""
    return [match.span() for match in _TEXT_DATE.finditer(data)]


def shifted_edf_day(day: date, days: int) -> date:
    """Return ``day`` moved by ``days``.

    Raises
    ------
    MalformedFileError
        It leaves 1985 … 2084, the only years EDF can write.
    """
    moved = day + timedelta(days=days)
    if not EDF_FIRST <= moved <= EDF_LAST:
        raise MalformedFileError("an EDF file", "its shifted date is one that EDF cannot write (1985 to 2084)")
    return moved


def shifted_filetime(value: int, days: int) -> int:
    """Return a FILETIME moved by ``days``; zero means no time and stays.

    Raises
    ------
    MalformedFileError
        It leaves what a FILETIME can hold.
    """
    moved = value + days * FILETIME_DAY if value else 0
    if moved and moved not in _FILETIME:
        raise MalformedFileError("a Natus file", "a shifted time in it is none")
    return moved


def shifted_seconds(value: int, days: int) -> int:
    """Return a 32-bit time_t moved by ``days``; zero means no time and stays.

    Raises
    ------
    MalformedFileError
        It leaves 1901 … 2038.
    """
    moved = value + days * SECONDS_DAY if value else 0
    if moved not in _TIME_T:
        raise MalformedFileError("a Natus file", "its shifted creation time leaves 1901 to 2038")
    return moved


def shifted_digits(text: bytes, days: int) -> bytes:
    """Return a FILETIME in decimal digits moved by ``days``, as many digits as before; zeros where it does not fit."""
    moved = str(shifted_filetime(int(text), days)).encode("ascii")
    return moved.rjust(len(text), b"0") if len(moved) <= len(text) else b"0" * len(text)


def shifted_day_first(text: str, days: int) -> str:
    """Return ``dd/mm/yyyy …`` with its date moved by ``days``; the rest stays."""
    day, month, year = (int(part) for part in text[:10].split("/"))
    try:
        moved = date(year, month, day) + timedelta(days=days)
    except (ValueError, OverflowError) as error:
        raise MalformedFileError("a text output", "a row holds a date that is none") from error
    return f"{moved.day:02d}/{moved.month:02d}/{moved.year:04d}{text[10:]}"
