"""How many requests a store gets at once: more while that makes it faster, half as many when it asks for fewer.

Pure: it is told what happened and when, and says how many may be under way.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass

#: a run begins with so many at most
FIRST = 8
#: what a request costs beside its bytes, in bytes: so that small files count too
_REQUEST_WORTH = 64 << 10
#: what was done is looked at this often at most, seconds, and after so many requests for each place in the queue
_LOOK_EVERY_S = 0.5
_REQUESTS_EACH = 1.5
#: more requests at once that gain less than this are not worth it
_WORTHWHILE = 1.06
#: the step of growth, and that of a store which complained before
_GROWTH = 1.5
_CAREFUL_GROWTH = 1.1
#: how long a number that proved best is kept before a larger one is tried again, seconds
_REST_S = 10.0
_LONGEST_REST_S = 160.0
#: answers to requests that were under way when the store complained say nothing new, seconds
_DEAF_S = 2.0


@dataclass(slots=True)
class _Trial:
    """A number of requests at once, and what it brought."""

    limit: int
    per_s: float


class Concurrency:
    """The number for one store.

    Parameters
    ----------
    most
        Never more than this, and never fewer than one.
    at
        The time, seconds; only differences mean anything.
    chance
        Gives numbers in [0, 1): runs that were slowed down together do not grow again together.
    """

    def __init__(self, most: int, *, at: float, chance: Callable[[], float] = random.random) -> None:
        self._most = max(1, most)
        self._chance = chance
        self.limit = min(FIRST, self._most)
        #: how often it was halved
        self.slowed = 0
        self._before: _Trial | None = None
        self._rest_s = _REST_S
        self._resting_until = at
        self._deaf_until = at
        self._begin(at)

    def _begin(self, at: float) -> None:
        """Count from now on."""
        self._since = at
        self._requests = 0
        self._work = 0
        self._was_full = False

    def done(self, size: int, *, at: float, is_full: bool) -> None:
        """Take note of a request that ended well.

        Parameters
        ----------
        size
            Bytes that it moved.
        is_full
            Others were waiting for their turn; a number that nobody asked for is not judged.
        """
        self._requests += 1
        self._work += size + _REQUEST_WORTH
        self._was_full |= is_full
        seconds = at - self._since
        if seconds < _LOOK_EVERY_S or self._requests < self.limit * _REQUESTS_EACH:
            return
        if self._was_full and at >= self._resting_until:
            self._judge(self._work / seconds, at)
        self._begin(at)

    def _judge(self, per_s: float, at: float) -> None:
        before = self._before
        if before is not None and per_s < before.per_s * _WORTHWHILE:
            # the step brought nothing: go back, and try again only after a while
            self.limit = before.limit
            self._before = None
            self._resting_until = at + self._rest_s * (0.75 + 0.5 * self._chance())
            self._rest_s = min(2 * self._rest_s, _LONGEST_REST_S)
            return
        if before is not None:
            self._rest_s = _REST_S
        self._before = None
        if self.limit < self._most:
            self._before = _Trial(self.limit, per_s)
            growth = _CAREFUL_GROWTH if self.slowed else _GROWTH
            self.limit = min(self._most, max(self.limit + 1, int(self.limit * growth)))

    def troubled(self, *, at: float) -> None:
        """Take note that the store asked for fewer requests, or did not answer."""
        if at < self._deaf_until:
            return
        self._deaf_until = at + _DEAF_S * (1 + self._chance())
        self.slowed += 1
        self.limit = max(1, self.limit // 2)
        self._before = None
        self._rest_s = _REST_S
        self._resting_until = at + _REST_S * (0.5 + self._chance())
        self._begin(at)
