"""A plan drawn as text: what there is of each segment, on one time axis, so that one look shows what is missing.

Pure: from a plan to lines. Dates and numbers of segments only; nothing of it names anybody.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from ecogsafe.deid.pairing import readings
from ecogsafe.deid.planned import DeidPlan, Part, PartRecord, PlannedSegment
from ecogsafe.formats.kinds import CLIP_KINDS

#: First and last moment, UTC.
Interval = tuple[datetime, datetime]

#: Segment number, a sign for new ones, kind.
_LABEL = 14
_NARROWEST = 60
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
#: Less than this of a cell is rounding.
_ROUNDING = 1e-6
#: Recorders stop and start within a second; that is no overlap.
_OVERLAP_S = 1.0
_MISSING = "missing"


@dataclass(frozen=True, slots=True)
class _Signs:
    """What the cells of a drawing are made of."""

    full: str
    left: str
    right: str
    inside: str
    #: recorded at both ends of the cell, and not in between
    hole: str
    gap: str
    twice: str
    midnight: str


_BLOCKS = _Signs("█", "▌", "▐", "▎", "▒", "·", "▓", "┊")
_ASCII = _Signs("#", "=", "=", "=", "%", ".", "@", ":")


def timeline(
    plan: DeidPlan,
    *,
    width: int = 100,
    zone: ZoneInfo | None = None,
    clips: Mapping[int, Sequence[Interval]] | None = None,
    is_ascii: bool = False,
) -> tuple[str, ...]:
    """Return the lines that draw ``plan``, at most ``width`` characters each; none where there is no segment.

    Parameters
    ----------
    zone
        The site's time zone, by which EDF times are placed and days are marked; without it the wall clock of EDF
        files counts as UTC.
    clips
        For each segment number, when its video was recorded; where it is not known, the video is drawn as long as
        the study or the clip list it belongs to.
    is_ascii
        Use no sign beyond ASCII.
    """
    if not plan.segments:
        return ()
    signs = _ASCII if is_ascii else _BLOCKS
    rows = [(segment, _bars(plan, segment, zone, clips or {})) for segment in plan.segments]
    moments = [m for _, bars in rows for intervals in bars.values() for interval in intervals or () for m in interval]
    if not moments:
        return ("no segment has a known time",)
    axis = _Axis(min(moments), max(moments), max(width, _NARROWEST) - _LABEL, zone or UTC, plan.shift_days)
    return tuple(line.rstrip() for line in _lines(rows, axis, signs))


class _Axis:
    """Cells of equal length from the first moment to the last."""

    def __init__(self, first: datetime, last: datetime, cells: int, zone: tzinfo, shift_days: int) -> None:
        self.first, self.last, self.cells, self.zone = first, last, cells, zone
        self._shift = timedelta(days=shift_days)
        self._cell_s = max((last - first).total_seconds() / cells, 1e-3)

    def place(self, moment: datetime) -> float:
        """Return the cell of ``moment``, with the fraction of it that has passed."""
        return (moment - self.first).total_seconds() / self._cell_s

    def shown(self, moment: datetime) -> datetime:
        """Return ``moment`` by the clock of the zone, its date moved by the person's date shift."""
        return moment.astimezone(self.zone).replace(tzinfo=None) + self._shift

    def midnights(self) -> Iterator[tuple[int, datetime]]:
        """Yield the cell of each midnight of the zone within the axis, and the day that begins there."""
        day = self.first.astimezone(self.zone).date()
        while True:
            day += timedelta(days=1)
            midnight = datetime.combine(day, time(), tzinfo=self.zone)
            if midnight.astimezone(UTC) >= self.last:
                return
            yield min(int(self.place(midnight)), self.cells - 1), midnight


def _bars(
    plan: DeidPlan, segment: PlannedSegment, zone: ZoneInfo | None, clips: Mapping[int, Sequence[Interval]]
) -> dict[str, list[Interval] | None]:
    """Return what there is of each kind: when; an empty list where that is not known; None where it is missing."""
    bars: dict[str, list[Interval] | None] = {
        "EDF": _intervals(segment.parts.get(Part.RECORDING), zone),
        "study": _intervals(segment.parts.get(Part.STUDY), zone),
    }
    listed = segment.parts.get(Part.VTC_TEXT)
    has_clips = any(move.segment == segment.number and move.kind in CLIP_KINDS for move in plan.moves)
    if segment.number in clips:
        bars["video"] = list(clips[segment.number]) or None
    elif has_clips or listed is not None:
        lasting = listed if listed is not None and listed.end is not None else segment.parts.get(Part.STUDY) or listed
        bars["video"] = _intervals(lasting, zone)
    elif Part.STUDY in segment.moved:
        bars["video"] = None
    return bars


def _intervals(record: PartRecord | None, zone: ZoneInfo | None) -> list[Interval] | None:
    if record is None:
        return None
    if record.start is None:
        return []
    start = readings(record.start, zone)[0]
    end = readings(record.end, zone)[0] if record.end is not None else start
    return [(start, max(start, end))]


def _lines(
    rows: Sequence[tuple[PlannedSegment, dict[str, list[Interval] | None]]], axis: _Axis, signs: _Signs
) -> Iterator[str]:
    local = "local time" if axis.zone is not UTC else "UTC"
    yield f"{_moment(axis.shown(axis.first))} - {_moment(axis.shown(axis.last))} ({local})"
    marks = list(axis.midnights())
    if marks:
        yield " " * _LABEL + _day_names([(cell, axis.shown(day)) for cell, day in marks], axis.cells)
    for segment, bars in rows:
        label = f"{segment.number:>5}{'*' if segment.is_new else ' '}"
        for kind, intervals in bars.items():
            yield f"{label} {kind:<6} " + _row(intervals, marks, axis, signs)
            label = " " * len(label)
    each = [_union([i for intervals in bars.values() for i in intervals or ()]) for _, bars in rows]
    yield f"{'all':>5}{'':9}" + _whole(each, axis, signs)
    yield from _legend(signs, axis, marks=bool(marks), new=any(segment.is_new for segment, _ in rows))


def _row(
    intervals: Sequence[Interval] | None, marks: Sequence[tuple[int, datetime]], axis: _Axis, signs: _Signs
) -> str:
    if intervals is None or not intervals:
        return _MISSING if intervals is None else "there, time not known"
    cells = [" "] * axis.cells
    for cell, _ in marks:
        cells[cell] = signs.midnight
    covered = _covered(_union(list(intervals)), axis)
    for cell, pieces in covered.items():
        cells[cell] = _sign(pieces, signs)
    return "".join(cells)


def _sign(pieces: Sequence[tuple[float, float]], signs: _Signs) -> str:
    begins, ends = pieces[0][0] <= _ROUNDING, pieces[-1][1] >= 1 - _ROUNDING
    if begins and ends:
        return signs.full if len(pieces) == 1 else signs.hole
    return signs.left if begins else signs.right if ends else signs.inside


def _whole(each: Sequence[Sequence[Interval]], axis: _Axis, signs: _Signs) -> str:
    """Return the row of all segments together: gaps, and where two were recorded at once."""
    cells = [signs.gap] * axis.cells
    together = _covered(_union([interval for intervals in each for interval in intervals]), axis)
    for cell, pieces in together.items():
        is_full = len(pieces) == 1 and pieces[0][0] <= _ROUNDING and pieces[0][1] >= 1 - _ROUNDING
        cells[cell] = signs.full if is_full else signs.hole
    for cell in _covered(list(_overlaps(each)), axis):
        cells[cell] = signs.twice
    return "".join(cells)


def _overlaps(each: Sequence[Sequence[Interval]]) -> Iterator[Interval]:
    for index, intervals in enumerate(each):
        for others in each[index + 1 :]:
            for start, end in intervals:
                for other_start, other_end in others:
                    low, high = max(start, other_start), min(end, other_end)
                    if (high - low).total_seconds() > _OVERLAP_S:
                        yield low, high


def _union(intervals: list[Interval]) -> list[Interval]:
    """Return ``intervals`` in order, those that touch made one."""
    joined: list[Interval] = []
    for start, end in sorted(intervals):
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(joined[-1][1], end))
        else:
            joined.append((start, end))
    return joined


def _covered(intervals: Sequence[Interval], axis: _Axis) -> dict[int, list[tuple[float, float]]]:
    """Return, for each cell that something of ``intervals`` lies in, which fractions of it."""
    found: dict[int, list[tuple[float, float]]] = {}
    for start, end in intervals:
        low, high = axis.place(start), axis.place(end)
        first = min(int(low + _ROUNDING), axis.cells - 1)
        # a moment has its cell as well
        last = max(first, min(int(high - _ROUNDING), axis.cells - 1))
        for cell in range(first, last + 1):
            found.setdefault(cell, []).append((max(low - cell, 0.0), min(high - cell, 1.0)))
    return found


def _day_names(marks: Sequence[tuple[int, datetime]], cells: int) -> str:
    line = ""
    for cell, day in marks:
        name = f"{day.day} {_MONTHS[day.month - 1]}"
        if (not line or cell > len(line)) and cell + len(name) <= cells:
            line = line.ljust(cell) + name
    return line


def _moment(local: datetime) -> str:
    return f"{local.day} {_MONTHS[local.month - 1]} {local.year} {local:%H:%M}"


def _legend(signs: _Signs, axis: _Axis, *, marks: bool, new: bool) -> Iterator[str]:
    words = [
        f"{signs.full} recorded",
        f"{signs.hole} in part",
        f"{signs.gap} gap",
        f"{signs.twice} two segments at once",
    ]
    if marks:
        words.append(f"{signs.midnight} midnight")
    if new:
        words.append("* new")
    line = words[0]
    for word in words[1:]:
        if len(line) + 2 + len(word) > axis.cells + _LABEL:
            yield line
            line = word
        else:
            line += f"  {word}"
    yield line
