"""How fast bytes may go, and when: always, or in a window of the day. What is under way outside of it is finished."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import datetime

from ecogsafe.core.clock import monotonic, utc_now
from ecogsafe.core.pacing import DailyWindow
from ecogsafe.stores.limited import Rate
from ecogsafe.transfer.pool import DEFAULT_CAPACITY, STALL_S, PartPool

#: the clock is looked at this often, seconds
LOOK_EVERY_S = 0.5


class Pace:
    """Asked before something is begun; used by all threads of a run.

    Parameters
    ----------
    window
        None: always open.
    rate
        Shared by all stores of the run; None: as fast as they go.
    stop
        Once it is set nobody is kept waiting: who asks goes on, and sees for himself that the run ends.
    on_change
        Is told what is waited for when it closes, such as ``waiting until 18:00``, and "" when it opens.
    now
        The clock of the wall.
    """

    def __init__(
        self,
        window: DailyWindow | None = None,
        *,
        rate: Rate | None = None,
        stop: threading.Event | None = None,
        on_change: Callable[[str], None] | None = None,
        now: Callable[[], datetime] = utc_now,
        look_every_s: float = LOOK_EVERY_S,
    ) -> None:
        self.window = window
        self.rate = rate
        self._stop = stop or threading.Event()
        self._on_change = on_change
        self._now = now
        self._look_every_s = look_every_s
        self._looked_at = -look_every_s
        self._is_open = True
        self._closed_at: float | None = None
        self._lock = threading.Lock()

    def pool(self) -> PartPool:
        """Return a pool of parts; on a slow line a store may take long over one without having stalled."""
        if self.rate is None:
            return PartPool()
        return PartPool(stall_s=max(STALL_S, 2 * DEFAULT_CAPACITY / self.rate.bytes_per_s))

    def may_begin(self) -> bool:
        """Return whether something may be begun now."""
        if self.window is None or self._stop.is_set():
            return True
        with self._lock:
            if monotonic() - self._looked_at >= self._look_every_s:
                self._look(self.window)
            if not self._is_open:
                self._closed_at = monotonic()
            return self._is_open

    def _look(self, window: DailyWindow) -> None:
        self._looked_at = monotonic()
        now = self._now()
        was_open, self._is_open = self._is_open, window.is_open(now)
        if was_open != self._is_open and self._on_change is not None:
            self._on_change("" if self._is_open else f"waiting until {window.opens(now):%H:%M}")

    @property
    def closed_at(self) -> float:
        """When it was last known to be closed, by the monotonic clock; who was idle until then did not stall."""
        if self.window is None:
            return float("-inf")
        self.may_begin()
        return float("-inf") if self._closed_at is None else self._closed_at

    def wait(self) -> None:
        """Return when something may be begun, or the run is to stop."""
        while not self.may_begin():
            self._stop.wait(self._look_every_s)
