"""What the user asked ``verify`` for, and how long it may take."""

from __future__ import annotations

import re
import secrets
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta

from ecogsafe.core.clock import monotonic, stamp_of, utc_now
from ecogsafe.core.errors import UsageError
from ecogsafe.deid.codes import is_code

_DURATION = re.compile(r"(?:(?P<h>\d{1,4})h)?(?:(?P<m>\d{1,5})m)?(?:(?P<s>\d{1,6})s)?", re.ASCII)
#: shorter readings say nothing about how fast a store is, bytes
_TELLING_BYTES = 1 << 20


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyRequest:
    """What the user asked for."""

    subject: str | None = None
    url: str | None = None
    #: download, decrypt and compare digests
    deep: bool = False
    #: percent of the files and of the bytes of every subject at every store; None: all of them
    sample: float | None = None
    #: what draws among evidence of one day; drawn itself where it is not given
    seed: int = field(default_factory=lambda: secrets.randbelow(1_000_000))
    #: only what was last looked at longer ago than so many days
    max_age_days: float | None = None
    #: as typed: ``30m``, ``2h``
    max_duration: str | None = None
    #: send what is bad again, from a good copy
    repair: bool = False

    @property
    def is_limited(self) -> bool:
        """Whether this run may leave copies out."""
        return (self.sample, self.max_age_days, self.max_duration) != (None, None, None)

    def check(self) -> None:
        """Raise UsageError for what means nothing."""
        if self.subject is not None and not is_code(self.subject):
            raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
        if self.sample is not None and not 0 < self.sample <= 100:
            raise UsageError("--sample", "is a share in percent: above 0, at most 100")
        if self.max_age_days is not None and not 0 <= self.max_age_days <= 36_500:
            raise UsageError("--max-age", "is a number of days, 0 or more")
        if self.max_duration is not None:
            seconds_of(self.max_duration)

    def until(self, now: str) -> str:
        """Return the time of the newest evidence that is to be renewed, ``now`` being that of the request."""
        if not self.max_age_days:
            return now
        return min(now, stamp_of(utc_now() - timedelta(days=self.max_age_days)))

    def deadline(self) -> Deadline:
        """Return when it is to end, counted from now."""
        return Deadline(None if self.max_duration is None else seconds_of(self.max_duration))


def seconds_of(text: str) -> float:
    """Return the seconds of ``30m``, ``2h``, ``1h30m`` or ``90s``.

    Raises
    ------
    UsageError
        It is something else, or no time at all.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    parts = match.groupdict(default="0") if match else {}
    seconds = sum(int(parts[unit]) * worth for unit, worth in (("h", 3600), ("m", 60), ("s", 1)) if parts)
    if not seconds:
        raise UsageError("--max-duration", "is a time such as 30m, 2h or 1h30m")
    return float(seconds)


class Deadline:
    """When a run is to end. What is begun is finished, so nothing is begun that would take too long.

    Its methods are called from several threads.

    Parameters
    ----------
    seconds
        From now; None for no end.
    """

    def __init__(self, seconds: float | None, now: Callable[[], float] = monotonic) -> None:
        self._now = now
        self._began = now()
        self._seconds = seconds
        self._lock = threading.Lock()
        #: by store: bytes that were read of it, and in how many seconds
        self._read: dict[str, tuple[int, float]] = {}

    def is_over(self, share: float = 1.0) -> bool:
        """Return whether the time, or this share of it, has passed."""
        return self._seconds is not None and self._now() - self._began >= share * self._seconds

    def note(self, store: str, size: int, seconds: float) -> None:
        """Learn from an object of ``size`` bytes that was read of a store in ``seconds``."""
        if size >= _TELLING_BYTES:
            with self._lock:
                before = self._read.get(store, (0, 0.0))
                self._read[store] = (before[0] + size, before[1] + seconds)

    def has_time_for(self, store: str, size: int) -> bool:
        """Return whether an object of ``size`` bytes would be read in time, as fast as others of that store were.

        As long as nobody knows how fast that is, yes: so an object that takes longer than the whole time is
        read by the run that comes to it first.
        """
        if self._seconds is None:
            return True
        left = self._seconds - (self._now() - self._began)
        with self._lock:
            read_bytes, seconds = self._read.get(store, (0, 0.0))
        if not read_bytes or size < _TELLING_BYTES:
            return left > 0
        return left > size * seconds / read_bytes
