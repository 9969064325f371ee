"""The map between samples and PC time that the rows of an .snc give (FORMATS 2.7, 2.12, 3).

A row says: this sample stamp was taken at this moment of the PC's clock (UTC). Between rows the map is linear, before
the first and after the last it goes on with the rate of the recording, the median over its rows, so that no nominal
rate need be known (999.94 Hz drifts from 1000 Hz by 5 s a day). Stamps count samples, not milliseconds.

PC clocks are set: at a *jump* the rows before and after it make *stretches* of their own, and a moment that both claim
(the clock was set back) is told as doubtful. A row that fits neither its neighbours nor a new stretch is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.clock_rows import (
    Jump,
    Row,
    around,
    median_rate,
    neighbour_rate,
    no_clock,
    residuals,
    stretches_of,
    whole_hours,
)
from ecogsafe.formats.natus_times import ClipTimes, SyncPoint

__all__ = ["ClipPlace", "ClockReport", "Jump", "SampleClock", "StudyClock", "clip_offset_hours", "whole_hours"]

_MICROSECOND = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class ClockReport:
    """How well the rows agree with each other."""

    rows: int
    #: sample stamps of the rows that were left out: stamps that do not rise, or one time that fits nowhere
    left_out: tuple[int, ...]
    jumps: tuple[Jump, ...]
    rate_hz: float
    #: the largest distance of a row from a constant rate, within its stretch
    worst_residual_s: float

    @property
    def is_sound(self) -> bool:
        """Whether every row was used and no clock was set."""
        return not self.left_out and not self.jumps


@dataclass(frozen=True, slots=True)
class ClipPlace:
    """Where in the recording a moment of the PC's clock lies, such as the first frame of a clip."""

    #: sample stamp, nearest
    sample: int
    #: time since the first sample of the recording, as a player of the recording counts it
    seconds_in_recording: float
    #: what the lab subtracted from a clip's start: PC time since the first row, minus `seconds_in_recording`
    correction_s: float
    #: before the first row or after the last: the rate of the recording was taken
    is_extrapolated: bool
    #: within a jump, or claimed by two stretches: an hour set back happens twice
    is_doubtful: bool


@dataclass(frozen=True, slots=True)
class SampleClock:
    """Sample stamps ↔ moments of the PC's clock.

    Notes
    -----
    Moments are aware (UTC) and kept to the microsecond; a stamp may have a fraction.
    """

    origin: datetime
    report: ClockReport
    _stretches: tuple[tuple[Row, ...], ...]

    @classmethod
    def of(cls, points: Iterable[SyncPoint], *, nominal_rate_hz: float | None = None) -> SampleClock:
        """Return the clock that ``points`` give, rows of an .snc or of its text output, in the order of the file.

        Parameters
        ----------
        nominal_rate_hz
            Needed, and used, only where a single row gives no rate.

        Raises
        ------
        MalformedFileError
            No row, or one row and no nominal rate, or no two rows of which stamp and time both rise.
        """
        given = list(points)
        if not given:
            raise no_clock("it holds no row")
        origin = given[0].utc
        # a row said twice says nothing more
        rows = list(dict.fromkeys(Row(p.stamp, (p.utc - origin) // _MICROSECOND) for p in given))
        rough = neighbour_rate(rows, nominal_rate_hz)
        stretches, jumps, left_out = stretches_of(rows, rough)
        rate = median_rate(stretches, rough)
        worst = max(abs(r) for stretch in stretches for r in residuals(stretch, rate))
        report = ClockReport(len(given), tuple(left_out), tuple(jumps), rate, worst)
        return cls(origin, report, tuple(map(tuple, stretches)))

    @property
    def rate_hz(self) -> float:
        """Samples a second of the PC's clock, median over the rows."""
        return self.report.rate_hz

    @property
    def first(self) -> SyncPoint:
        """The first row in use."""
        row = self._stretches[0][0]
        return SyncPoint(row.stamp, self._moment(row.us))

    @property
    def last(self) -> SyncPoint:
        """The last row in use."""
        row = self._stretches[-1][-1]
        return SyncPoint(row.stamp, self._moment(row.us))

    def residuals_s(self) -> tuple[tuple[int, float], ...]:
        """Return, for each row in use, its stamp and how much later it is than a constant rate says, in seconds.

        The constant rate is `rate_hz`, through the middle (the median) of the rows of the stretch.
        """
        return tuple(
            (row.stamp, residual)
            for stretch in self._stretches
            for row, residual in zip(stretch, residuals(stretch, self.rate_hz), strict=True)
        )

    def utc_at(self, stamp: float) -> datetime:
        """Return the moment at which sample ``stamp`` was taken."""
        stretch = self._stretches[0]
        for other in self._stretches[1:]:
            # between two stretches the one before goes on
            stretch = other if other[0].stamp <= stamp else stretch
        low, high = around([row.stamp for row in stretch], stretch, stamp)
        if high is None:
            return self._moment(low.us + (stamp - low.stamp) / self.rate_hz * 1e6)
        return self._moment(low.us + (stamp - low.stamp) * (high.us - low.us) / (high.stamp - low.stamp))

    def stamp_at(self, utc: datetime) -> float:
        """Return the sample stamp at the moment ``utc``; where two are right, the earlier."""
        return self._place(utc)[0]

    def video_correction(
        self, clip_start: datetime, *, first_stamp: int | None = None, rate_hz: float | None = None
    ) -> ClipPlace:
        """Return where in the recording the clip that begins at ``clip_start`` (UTC) begins.

        Parameters
        ----------
        first_stamp
            Stamp of the first sample of the recording; default the first row's.
        rate_hz
            The rate at which a player of the recording runs (that of the EDF header); default the true rate.
        """
        stamp, is_extrapolated, is_doubtful = self._place(clip_start)
        start = self.first.stamp if first_stamp is None else first_stamp
        seconds = (stamp - start) / (rate_hz or self.rate_hz)
        on_pc = (clip_start - self.first.utc) / timedelta(seconds=1)
        return ClipPlace(round(stamp), seconds, on_pc - seconds, is_extrapolated, is_doubtful)

    def _moment(self, us: float) -> datetime:
        return self.origin + timedelta(microseconds=round(us))

    def _place(self, utc: datetime) -> tuple[float, bool, bool]:
        """Return the stamp at ``utc``, whether it is extrapolated, and whether it is doubtful."""
        us = (utc - self.origin) / _MICROSECOND
        holding = [s for s in self._stretches if s[0].us <= us <= s[-1].us]
        # the nearest in time: before the first, after the last, or within a jump
        nearest = min(self._stretches, key=lambda s: max(s[0].us - us, us - s[-1].us))
        stretch = holding[0] if holding else nearest
        low, high = around([row.us for row in stretch], stretch, us)
        if high is None:
            stamp = low.stamp + (us - low.us) / 1e6 * self.rate_hz
        else:
            stamp = low.stamp + (us - low.us) * (high.stamp - low.stamp) / (high.us - low.us)
        for a, b in pairwise(self._stretches):
            if not holding and a[-1].us < us < b[0].us:
                # a pause, or the clock was put on: no sample lies beyond those beside it
                return min(max(stamp, a[-1].stamp), b[0].stamp), False, True
        return stamp, not holding, len(holding) > 1


@dataclass(frozen=True, slots=True)
class StudyClock:
    """What the rows of an .snc say of a study's clock, and whether its clips keep the same time."""

    report: ClockReport
    #: from the first row to the last, by the PC's clock, seconds
    lasting_s: float
    clips: int
    #: as `clip_offset_hours`
    clip_offset_hours: int | None

    @classmethod
    def of(cls, points: Sequence[SyncPoint], clips: Sequence[ClipTimes]) -> StudyClock | None:
        """Return the clock of a study; None where its rows make none."""
        try:
            clock = SampleClock.of(points)
        except MalformedFileError:
            return None
        lasting_s = (clock.last.utc - clock.first.utc).total_seconds()
        return cls(clock.report, lasting_s, len(clips), clip_offset_hours(clock, clips))


def clip_offset_hours(clock: SampleClock, clips: Sequence[ClipTimes]) -> int | None:
    """Return by how many whole hours the clips' clock is ahead of the rows', from where the clips lie (FORMATS 2.12).

    Returns
    -------
    int or None
        The smallest shift from -14 to 14 after which most clips lie in the recording, 0 where they do as they are;
        None where after none more than half of them do, or there are no clips.
    """
    if not clips:
        return None
    first, last = clock.first.utc, clock.last.utc
    # a clip begins before the first row, and ends after the last, by no more than a clip's length
    slack = max((clip.end_utc - clip.start_utc for clip in clips), default=timedelta()) + timedelta(minutes=1)
    inside: dict[int, int] = {}
    for hours in sorted(range(-14, 15), key=abs):
        shift = timedelta(hours=hours)
        fits = (first - slack <= c.start_utc - shift and c.end_utc - shift <= last + slack for c in clips)
        inside[hours] = sum(fits)
    # of equals the first, which is the smallest shift
    best = max(inside, key=lambda hours: inside[hours])
    return best if 2 * inside[best] > len(clips) else None
