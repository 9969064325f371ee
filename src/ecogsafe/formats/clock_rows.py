"""Rows of an .snc: which of them agree with each other, where the PC's clock was set, at what rate samples came."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from ecogsafe.core.errors import MalformedFileError

#: A row is off if it is more than this away from where the row before and the rate put it: one real recording
#: shows ±0.2 s (FORMATS 2.7) ...
_TOLERANCE_S = 1.0
#: ... and so much of the time since that row, for a clock that runs fast or slow.
_DRIFT = 0.002
_HOUR_S = 3600.0
#: A row alone at either end is left out if so many others agree with each other.
_ENOUGH = 3


@dataclass(frozen=True, slots=True)
class Row:
    """One row; times are whole numbers, so that nothing is lost."""

    stamp: int
    #: microseconds after the first row of the file
    us: int


@dataclass(frozen=True, slots=True)
class Jump:
    """Between two rows the PC's clock moved on otherwise than the samples did."""

    #: stamps of the rows before and after
    before: int
    after: int
    #: how much further the clock is than the samples say; negative where it was set back
    seconds: float

    @property
    def whole_hours(self) -> int:
        """Hours by which the clock was set, if the jump is just that (daylight saving, a wrong zone), else 0."""
        return whole_hours(self.seconds)


def whole_hours(seconds: float) -> int:
    """Return the hours that ``seconds`` are, if they are whole ones to within a second or so, else 0."""
    hours = round(seconds / _HOUR_S)
    return hours if abs(seconds - hours * _HOUR_S) <= 2 * _TOLERANCE_S else 0


def no_clock(problem: str) -> MalformedFileError:
    """Return the error for rows that make no clock."""
    return MalformedFileError("an .snc", problem, next="sync the video by eye, or export the study again")


def neighbour_rate(rows: Sequence[Row], nominal_hz: float | None) -> float:
    """Return the median of samples a second between neighbours, which a jump of the clock hardly moves.

    Raises
    ------
    MalformedFileError
        No two rows give one, and no nominal rate was given.
    """
    slopes = list(_slopes(rows, 1))
    if not slopes and nominal_hz is None:
        raise no_clock("its rows give no rate")
    return median(slopes) if slopes else float(nominal_hz or 0)


def median_rate(stretches: Sequence[Sequence[Row]], rough_hz: float) -> float:
    """Return the median of samples a second, each over half of its stretch, so that one row's error says little."""
    slopes = [slope for stretch in stretches for slope in _slopes(stretch, max(len(stretch) // 2, 1))]
    return median(slopes) if slopes else rough_hz


def _slopes(rows: Sequence[Row], lever: int) -> Iterator[float]:
    for row, later in zip(rows, rows[lever:], strict=False):
        if later.us > row.us and later.stamp > row.stamp:
            yield (later.stamp - row.stamp) / (later.us - row.us) * 1e6


def stretches_of(rows: Sequence[Row], rate_hz: float) -> tuple[list[list[Row]], list[Jump], list[int]]:
    """Return the stretches in which ``rows`` agree, the jumps between them, and the stamps of rows left out."""
    stretches = [[rows[0]]]
    off: list[int] = []
    for index, row in enumerate(rows[1:], 1):
        before = stretches[-1][-1]
        following = rows[index + 1] if index + 1 < len(rows) else None
        if _agree(before, row, rate_hz):
            stretches[-1].append(row)
        elif following is not None and _agree(before, following, rate_hz):
            off.append(row.stamp)
        else:
            stretches.append([row])
    stretches, conflicting = _in_order(stretches)
    off += conflicting
    for end in (0, -1):
        # no clock is set by the first row or for the last alone
        if len(stretches) > 1 and len(stretches[end]) == 1 and max(map(len, stretches)) >= _ENOUGH:
            off.append(stretches.pop(end)[0].stamp)
    jumps = [Jump(a[-1].stamp, b[0].stamp, _away_s(a[-1], b[0], rate_hz)) for a, b in pairwise(stretches)]
    return stretches, jumps, sorted(off)


def _in_order(stretches: list[list[Row]]) -> tuple[list[list[Row]], list[int]]:
    """Return the stretches whose stamps rise from one to the next, the longest first to stay, and the other stamps."""
    kept: list[int] = []
    for index in sorted(range(len(stretches)), key=lambda i: -len(stretches[i])):
        stretch = stretches[index]
        if all(
            stretches[k][-1].stamp < stretch[0].stamp if k < index else stretch[-1].stamp < stretches[k][0].stamp
            for k in kept
        ):
            kept.append(index)
    left_out = [row.stamp for index, stretch in enumerate(stretches) if index not in kept for row in stretch]
    return [stretches[index] for index in sorted(kept)], left_out


def _away_s(before: Row, row: Row, rate_hz: float) -> float:
    return (row.us - before.us) / 1e6 - (row.stamp - before.stamp) / rate_hz


def _agree(before: Row, row: Row, rate_hz: float) -> bool:
    passed = (row.us - before.us) / 1e6
    return (
        passed > 0 and row.stamp > before.stamp and abs(_away_s(before, row, rate_hz)) <= _TOLERANCE_S + _DRIFT * passed
    )


def residuals(stretch: Sequence[Row], rate_hz: float) -> list[float]:
    """Return how much later each row is than a constant rate through the middle of them says, in seconds."""
    behind = [row.us / 1e6 - (row.stamp - stretch[0].stamp) / rate_hz for row in stretch]
    middle = median(behind)
    return [b - middle for b in behind]


def around(keys: Sequence[float], stretch: Sequence[Row], value: float) -> tuple[Row, Row | None]:
    """Return the rows between which ``value`` lies; the nearest and None where it lies outside."""
    if value < keys[0] or len(stretch) == 1:
        return stretch[0], None
    if value > keys[-1]:
        return stretch[-1], None
    index = min(bisect_right(keys, value), len(stretch) - 1)
    return stretch[index - 1], stretch[index]
