"""A bounded amount of part bytes in memory, shared by every file and destination of a run."""

from __future__ import annotations

import threading
from collections import Counter, deque
from collections.abc import Callable, Iterable
from typing import Protocol

from ecogsafe.stores.protocol import Buffer
from ecogsafe.transfer.memory import Memory
from ecogsafe.transfer.part_bytes import DistantPart
from ecogsafe.transfer.parts import MIB

#: bytes of parts held at once; DESIGN 5.8 names 192 MiB, with which a run beside slow stores exceeds 300 MB in all
DEFAULT_CAPACITY = 128 * MIB
#: how long a destination may hold parts without finishing one, while another could go on, seconds
STALL_S = 30.0
#: how often a wait looks up: to be interrupted, and to see who stalls, seconds
LOOK_EVERY_S = 0.2


class Holder(Protocol):
    """Whoever keeps parts in the pool until it is through with them."""

    def detach_if_stalled(self) -> None:
        """Give up every part it holds, if it has not moved for long and must not keep others waiting."""
        ...


class PartPool:
    """Counts the bytes of parts in flight; ``acquire`` waits while there are too many, first come first served.

    The wait always ends: parts go when senders are through with them, and a holder that stalls is told to
    let go. Whoever waits while it keeps room for another part it has begun (``has_begun``) goes first, and
    enters a full pool if nothing is on its way to any store: nobody else could make room for it.
    """

    def __init__(self, capacity: int = DEFAULT_CAPACITY, *, stall_s: float = STALL_S) -> None:
        self.capacity = capacity
        self.stall_s = stall_s
        self._used = 0
        self._peak = 0
        self._changed = threading.Condition()
        self._queue: deque[object] = deque()
        self._holders: Counter[Holder] = Counter()
        self._memory = Memory()

    @property
    def used(self) -> int:
        """Bytes held now."""
        return self._used

    @property
    def peak(self) -> int:
        """Most bytes held at once so far."""
        return self._peak

    def acquire(self, size: int, *, give_up: Callable[[], bool], has_begun: bool = False) -> bool:
        """Take room for ``size`` bytes; one part larger than the pool may enter it alone.

        Parameters
        ----------
        has_begun
            The caller keeps room for another part, which it can send only after this one was begun.

        Returns
        -------
        False if ``give_up``, asked while waiting, said so; else True.
        """
        ticket = object()
        with self._changed:
            if has_begun:
                self._queue.appendleft(ticket)
            else:
                self._queue.append(ticket)
        try:
            while not self._enter(ticket, size, has_begun=has_begun):
                if give_up():
                    return False
                self._look_for_stalled()
            return True
        finally:
            with self._changed:
                self._queue.remove(ticket)
                self._changed.notify_all()

    def _enter(self, ticket: object, size: int, *, has_begun: bool) -> bool:
        """Take the room if it is this one's turn and there is some; else wait a moment."""
        with self._changed:
            fits = not self._used or self._used + size <= self.capacity or (has_begun and not self._holders)
            if self._queue[0] is ticket and fits:
                self._used += size
                self._peak = max(self._peak, self._used)
                return True
            self._changed.wait(timeout=LOOK_EVERY_S)
            return False

    def _look_for_stalled(self) -> None:
        with self._changed:
            holders = [holder for holder, parts in self._holders.items() if parts]
        for holder in holders:
            holder.detach_if_stalled()

    def release(self, size: int) -> None:
        """Give ``size`` bytes back."""
        with self._changed:
            self._used -= size
            self._changed.notify_all()

    def memory(self, size: int) -> memoryview:
        """Return memory for a part whose room was acquired."""
        with self._changed:
            free = self.capacity - self._used
        return self._memory.take(size, keep=free)

    def reuse(self, part: memoryview) -> None:
        """Take back what `memory` gave, if nobody looks at it any more."""
        self._memory.give_back(part)

    def count_holders(self, holders: Iterable[Holder]) -> None:
        """Note that each of ``holders`` keeps one part more."""
        with self._changed:
            self._holders.update(holders)

    def discount_holder(self, holder: Holder) -> None:
        """Note that ``holder`` keeps one part less."""
        with self._changed:
            self._holders[holder] -= 1
            if not self._holders[holder]:
                del self._holders[holder]


class PooledPart:
    """The bytes of one part, given back to the pool when the last of its holders is through with them.

    Parameters
    ----------
    body
        Its room was taken with `PartPool.acquire`; a view came from `PartPool.memory`.
    """

    def __init__(self, pool: PartPool, body: Buffer | DistantPart, holders: Iterable[Holder]) -> None:
        self._pool = pool
        self._body = body
        self._size = len(body)
        self._holders = set(holders)
        self._may_be_read = False
        self._lock = threading.Lock()
        pool.count_holders(self._holders)

    def body_for(self, holder: Holder) -> Buffer | DistantPart | None:
        """Return the bytes, None if ``holder`` let go of them before."""
        with self._lock:
            return self._body if holder in self._holders else None

    def drop(self, holder: Holder, *, is_through: bool = False) -> None:
        """``holder`` no longer needs the bytes; a second time changes nothing.

        Parameters
        ----------
        is_through
            Its request ended well, so that nothing of it reads the bytes any more. Else their room is free, but
            the memory is not used again for other bytes: a request that hangs may still send it.
        """
        with self._lock:
            if holder not in self._holders:
                return
            self._holders.remove(holder)
            self._may_be_read |= not is_through
            is_last = not self._holders
            body = self._body
            if is_last:
                self._body = b""
        self._pool.discount_holder(holder)
        if not is_last:
            return
        if isinstance(body, DistantPart):
            body.let_go(may_be_read=self._may_be_read)
        elif isinstance(body, memoryview) and not self._may_be_read:
            self._pool.reuse(body)
        self._pool.release(self._size)
