"""``--shift-dates``: the number of days for a person, and what it does to file times and to a plan (DESIGN 5.3).

The number is drawn once, before anything of the person is published, and lives in the linking key only.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from ecogsafe.core.errors import MalformedFileError, UsageError
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.planned import DeidPlan, Part, PartRecord
from ecogsafe.formats.date_shift import EDF_FIRST, EDF_LAST
from ecogsafe.formats.kinds import HEADER_KINDS
from ecogsafe.formats.natus import read_generic_header

#: A shift is at least a year and about ten years at most. It goes into the past wherever the dates allow: what is
#: recorded in years to come must fit as well, and Natus times end in 2038.
LEAST_DAYS, MOST_DAYS = 365, 3652
#: With fewer numbers to choose from, the number could be guessed.
FEWEST_CHOICES = 365
_EPOCH_DAY = date(1970, 1, 1).toordinal()
_DAY_S, _DAY_NS = 86_400, 86_400 * 1_000_000_000
#: Days that a signed 32-bit number of seconds since 1970 can name, whatever the time of day.
_TIME_T_DAYS = (-(2**31) // _DAY_S + 1, (2**31 - 1) // _DAY_S - 1)
#: A day to spare: the first sample may lie past the midnight of its header.
_EDF_DAYS = (EDF_FIRST.toordinal() - _EPOCH_DAY + 1, EDF_LAST.toordinal() - _EPOCH_DAY - 1)
#: Times that every file system can keep (FAT begins with 1980).
_FILE_TIME_DAYS = (date(1980, 1, 2).toordinal() - _EPOCH_DAY, _TIME_T_DAYS[1])
#: A note that would tell the true date to whoever knows when the clocks change.
_TELLS_THE_DATE = frozenset({"clock-change"})


def possible_shifts(*, edf: Iterable[int] = (), time_t: Iterable[int] = (), files: Iterable[int] = ()) -> list[int]:
    """Return the shifts, in days, that leave every date within what its place can hold: those into the past if enough.

    Parameters
    ----------
    edf, time_t, files
        Dates of EDF and BDF files, creation times of Natus files, file times: days since 1970-01-01. A file time
        that not every file system can keep even now limits nothing.
    """
    bounds = [(_EDF_DAYS, day) for day in edf]
    bounds += [(_TIME_T_DAYS, day) for day in time_t]
    bounds += [(_FILE_TIME_DAYS, day) for day in files if _FILE_TIME_DAYS[0] <= day <= _FILE_TIME_DAYS[1]]
    lowest = max((low - day for (low, _), day in bounds), default=-MOST_DAYS)
    highest = min((high - day for (_, high), day in bounds), default=MOST_DAYS)
    past = list(range(max(lowest, -MOST_DAYS), min(highest, -LEAST_DAYS) + 1))
    return past if len(past) >= FEWEST_CHOICES else list(range(max(lowest, LEAST_DAYS), min(highest, MOST_DAYS) + 1))


def choose_shift(plan: DeidPlan, *, disk: Disk | None = None, below: Callable[[int], int] = secrets.randbelow) -> int:
    """Return a random shift, in days, that every date of ``plan`` allows; each that is possible is as likely.

    Parameters
    ----------
    below
        Draws a number from 0 up to, and without, its argument.

    Raises
    ------
    UsageError
        The dates leave too few numbers to choose from.
    """
    starts = [s.parts[Part.RECORDING].start for s in plan.segments if Part.RECORDING in s.parts]
    possible = possible_shifts(
        edf=[start.date().toordinal() - _EPOCH_DAY for start in starts if start is not None],
        time_t=_creation_days(plan, disk or Disk()),
        files=[move.source.mtime_ns // _DAY_NS for move in plan.moves],
    )
    if len(possible) < FEWEST_CHOICES:
        raise UsageError(
            "--shift-dates",
            "the dates of the export lie too far apart to be shifted together (EDF ends at 1985, Natus at 2038)",
            next="move the recording with the wrong date out of EXPORT, or leave --shift-dates out",
        )
    return possible[below(len(possible))]


def _creation_days(plan: DeidPlan, disk: Disk) -> Iterator[int]:
    """Yield the day in the header of every Natus file; one that cannot be read does not move anyway."""
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    for move in plan.moves:
        if move.kind not in HEADER_KINDS or not move.source.size:
            continue
        try:
            with os.fdopen(disk.open_to_read(move.source.path), "rb") as file:
                created = read_generic_header(file).created
        except (OSError, MalformedFileError):
            continue
        if created != epoch:
            yield (created - epoch).days


def shifted_file_time(mtime_ns: int, days: int) -> int:
    """Return a file time, in ns since 1970, moved by ``days``; kept within what every file system can hold."""
    if not days:
        return mtime_ns
    low, high = _FILE_TIME_DAYS
    return min(max(mtime_ns + days * _DAY_NS, low * _DAY_NS), (high + 1) * _DAY_NS)


def shifted_moment(moment: datetime | None, days: int) -> datetime | None:
    """Return ``moment`` moved by ``days``, with the time of day of its own clock."""
    return None if moment is None else moment + timedelta(days=days)


def shifted_record(record: PartRecord, days: int) -> PartRecord:
    """Return what is known of a part, its times moved by ``days``."""
    return replace(record, start=shifted_moment(record.start, days), end=shifted_moment(record.end, days))


def shifted_plan(plan: DeidPlan, days: int) -> DeidPlan:
    """Return ``plan`` for a person whose dates are moved by ``days``: what is told and kept of it is shifted.

    The plan itself goes on by true times; a note that would tell the true date is left out.
    """
    if not days:
        return plan
    notes = tuple(note for note in plan.notes if note.topic not in _TELLS_THE_DATE)
    return replace(plan, notes=notes, shift_days=days)
