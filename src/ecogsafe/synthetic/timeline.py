"""When things happen in a synthetic study, and how the formats write a moment."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

#: Zone of the invented recording site.
SITE_ZONE = "America/Los_Angeles"
#: s between 1601-01-01 and 1970-01-01, UTC (FORMATS 2.12)
_FILETIME_EPOCH_S = 11_644_473_600
_UNIX_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def filetime(moment: datetime) -> int:
    """Return ``moment`` (aware) as a FILETIME: 100 ns since 1601-01-01 UTC."""
    microseconds = (moment - _UNIX_EPOCH) // timedelta(microseconds=1)
    return microseconds * 10 + _FILETIME_EPOCH_S * 10_000_000


def unix_seconds(moment: datetime) -> int:
    """Return ``moment`` (aware) as whole seconds since 1970, UTC."""
    return (moment - _UNIX_EPOCH) // timedelta(seconds=1)


def site_to_utc(wall_clock: datetime, zone: str = SITE_ZONE) -> datetime:
    """Return the UTC moment of a naive wall clock of the site; the earlier one where it is ambiguous."""
    return wall_clock.replace(tzinfo=ZoneInfo(zone)).astimezone(UTC)


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyTimes:
    """The clock of one study: two runs of samples with a gap between them (0 s for none).

    Sample stamps count elapsed sample positions, so they jump over the gap as NeuroWorks' do.
    """

    start_utc: datetime
    rate_hz: float
    #: samples stored before and after the gap
    runs: tuple[int, int]
    #: sample positions without a sample
    gap_samples: int = 0
    #: stamp of the first sample
    origin_stamp: int = 0

    @property
    def samples(self) -> int:
        """Return how many samples are stored."""
        return sum(self.runs)

    @property
    def duration_s(self) -> float:
        """Return the time from the first to the end of the last sample, s."""
        return (self.samples + self.gap_samples) / self.rate_hz

    @property
    def end_utc(self) -> datetime:
        """Return the end of the last sample."""
        return self.start_utc + timedelta(seconds=self.duration_s)

    def run_stamps(self) -> tuple[int, int]:
        """Return the stamps of the first sample of each run."""
        return self.origin_stamp, self.origin_stamp + self.runs[0] + self.gap_samples

    def moment(self, stamp: int) -> datetime:
        """Return when the sample ``stamp`` was taken."""
        return self.start_utc + timedelta(seconds=(stamp - self.origin_stamp) / self.rate_hz)

    def stamp(self, seconds: float) -> int:
        """Return the stamp ``seconds`` after the start."""
        return self.origin_stamp + round(seconds * self.rate_hz)
