"""A bounded amount of part bytes in memory, shared by every file and destination of a run."""

from __future__ import annotations

import threading
from collections.abc import Callable

from ecogsafe.core.clock import monotonic
from ecogsafe.transfer.parts import MIB

#: bytes of parts held at once (DESIGN 5.8)
DEFAULT_CAPACITY = 192 * MIB
#: how long a destination may hold the whole pool before it is detached, seconds
STALL_S = 30.0


class PartPool:
    """Counts the bytes of parts in flight; ``acquire`` waits while there are too many."""

    def __init__(self, capacity: int = DEFAULT_CAPACITY) -> None:
        self.capacity = capacity
        self._used = 0
        self._peak = 0
        self._changed = threading.Condition()

    @property
    def peak(self) -> int:
        """Most bytes held at once so far."""
        return self._peak

    def acquire(self, size: int, *, stalled: Callable[[], None], give_up: Callable[[], bool]) -> bool:
        """Take room for ``size`` bytes; one part larger than the pool may enter it alone.

        Parameters
        ----------
        size
            Bytes of the part.
        stalled
            Called each time nothing was given back for `STALL_S` seconds, to detach who holds the pool.
        give_up
            Asked while waiting; a true answer ends the wait.

        Returns
        -------
        False if ``give_up`` said so, else True.
        """
        with self._changed:
            since = monotonic()
            seen = self._used
            while self._used and self._used + size > self.capacity:
                if give_up():
                    return False
                self._changed.wait(timeout=0.2)
                if self._used != seen:
                    seen, since = self._used, monotonic()
                elif monotonic() - since > STALL_S:
                    since = monotonic()
                    self._changed.release()
                    try:
                        stalled()
                    finally:
                        self._changed.acquire()
            self._used += size
            self._peak = max(self._peak, self._used)
            return True

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()


class PooledPart:
    """The bytes of one part, given back to the pool when the last destination is through with them."""

    def __init__(self, pool: PartPool, body: bytes, holders: int) -> None:
        self.body = body
        self._pool = pool
        self._holders = holders
        self._lock = threading.Lock()

    def drop(self) -> None:
        """One destination less needs the bytes."""
        with self._lock:
            self._holders -= 1
            last = self._holders == 0
        if last:
            size = len(self.body)
            self.body = b""
            self._pool.release(size)
