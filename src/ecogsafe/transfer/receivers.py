"""Threads that receive objects: several ranges of a large one, several small ones, whatever keeps them busy.

While there are objects enough, each thread has one of its own and takes many ranges of it with one request: that
costs server and client least, and what was opened is digested by the same thread, from the same memory.
Else several threads share an object, a range at a time. A thread holds a slot of memory before it takes a range,
and ranges of an object are taken in their order: so the range that the digest waits for always has memory, and the
slots of those behind it come free.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Sequence
from queue import SimpleQueue
from typing import NamedTuple

from ecogsafe.core.clock import monotonic
from ecogsafe.transfer.buffers import MAX_SLOTS, Slot, Slots
from ecogsafe.transfer.ending import end_together
from ecogsafe.transfer.pace import LOOK_EVERY_S, Pace
from ecogsafe.transfer.ranges import FIRST_REQUEST_BYTES, Range
from ecogsafe.transfer.received import Received, interrupted
from ecogsafe.transfer.receiving import Reception

#: so many small files wait for the disk together, and so long at most, seconds
_TOGETHER = 64
_TOGETHER_S = 1.0
#: connections for an object that is digested alone
_CONNECTIONS_ALONE = 2


class _Work(NamedTuple):
    reception: Reception
    #: None to begin it
    ranges: Sequence[Range] | None
    #: go on behind what is to be begun
    ahead: bool


class _Receivers:
    def __init__(self, receptions: Iterable[Reception], connections: int, stop: threading.Event, pace: Pace) -> None:
        self._waiting = iter(receptions)
        #: the one that is begun next, once anybody has looked
        self._upcoming: Reception | None = None
        self._has_looked = False
        self._stop = stop
        self._pace = pace
        self._slots = Slots(min(2 * connections, MAX_SLOTS))
        self._connections = min(connections, MAX_SLOTS)
        self._changed = threading.Condition()
        self._is_left = False
        self._bug: BaseException | None = None
        self._again: list[Reception] = []
        #: begun and not ended, with the number of threads at work on each
        self._open: dict[Reception, int] = {}
        self._ended: SimpleQueue[Reception | None] = SimpleQueue()
        #: small ones that came whole, and end together
        self._whole: list[Reception] = []
        self._whole_since = 0.0

    def run(self) -> Iterator[Reception]:
        threads = [threading.Thread(target=self._work, name=f"receiver-{n}") for n in range(self._connections)]
        for thread in threads:
            thread.start()
        try:
            working = len(threads)
            while working:
                ended = self._ended.get()
                if ended is None:
                    working -= 1
                else:
                    yield ended
        finally:
            # also when whoever asked goes away: what is in flight is finished, nothing is begun
            if any(thread.is_alive() for thread in threads):
                self._quit()
            for thread in threads:
                thread.join()
            # also when nobody listens any more: what is open would be locked as long as this process lives
            left = [*self._open, *self._whole]
            for reception in left:
                reception.fail(interrupted(reception.info.key), self._slots)
            end_together(left)
        if self._bug is not None:
            raise self._bug
        yield from left

    @property
    def _is_over(self) -> bool:
        return self._is_left or self._stop.is_set()

    def _quit(self) -> None:
        with self._changed:
            self._is_left = True
            self._changed.notify_all()

    def _work(self) -> None:
        try:
            while True:
                slot = self._slots.acquire()
                work = self._next_work()
                if work is None:
                    self._slots.release(slot)
                    if not self._end_whole(all_of_them=True):
                        return
                    continue
                self._do(work, slot)
                self._end_whole(all_of_them=False)
        except BaseException as error:  # noqa: BLE001 - a bug of ours: the caller is told, and the others end
            self._bug = self._bug or error
            self._quit()
        finally:
            self._ended.put(None)

    def _next_work(self) -> _Work | None:
        """Return something to do; None when there is no more, or nothing more before those that came whole end.

        An object that nobody is at work on comes first, then one not yet begun, then help with another: so each
        thread has an object of its own while there are enough of them.
        """
        with self._changed:
            while not self._is_over:
                if not self._pace.may_begin():
                    if self._whole:
                        break
                    self._changed.wait(LOOK_EVERY_S)
                    continue
                if self._again:
                    return self._begins(self._again.pop())
                if (work := self._of_open(idle=True)) is not None:
                    return work
                if (new := self._new()) is not None:
                    return self._begins(new)
                if (work := self._of_open(idle=False)) is not None:
                    return work
                if not self._open or self._whole:
                    break
                # one that begins, or begins once more, may have something to do for everybody
                self._changed.wait(timeout=1.0)
            return None

    def _new(self) -> Reception | None:
        """Return the next one to be begun, and look at the one behind it."""
        if not self._has_looked:
            self._upcoming = next(self._waiting, None)
            self._has_looked = True
        new = self._upcoming
        if new is not None:
            self._upcoming = next(self._waiting, None)
        return new

    def _begins(self, reception: Reception) -> _Work:
        self._open[reception] = 1
        return _Work(reception, None, self._each_has_its_own)

    def _of_open(self, *, idle: bool) -> _Work | None:
        for reception, at_work in self._open.items():
            if idle and at_work:
                continue
            if ranges := reception.assign(ahead=idle and self._each_has_its_own):
                self._open[reception] += 1
                return _Work(reception, ranges, True)
        return None

    @property
    def _each_has_its_own(self) -> bool:
        return self._upcoming is not None or len(self._open) >= self._connections

    def _do(self, work: _Work, slot: Slot) -> None:
        error: Exception | None = None
        reception = work.reception
        try:
            if work.ranges is None:
                reception.begin(slot, self._slots, ahead=work.ahead, is_over=lambda: self._is_over)
            else:
                reception.fetch(work.ranges, slot, self._slots, is_over=lambda: self._is_over)
        except Exception as caught:  # noqa: BLE001 - it is the reception's result, and its caller raises it
            error = caught
        if error is not None:
            reception.fail(error, self._slots)
        self._settle(reception)

    def _settle(self, reception: Reception) -> None:
        with self._changed:
            self._open[reception] -= 1
            self._changed.notify_all()
            if self._open[reception]:
                return
            is_over = reception.is_complete or reception.error is not None
            if not is_over and not self._is_over:
                return
            if is_over and reception.error is None and reception.is_small:
                del self._open[reception]
                if not self._whole:
                    self._whole_since = monotonic()
                self._whole.append(reception)
                return
            # nobody else looks at it from here on
            self._open[reception] = 1
        if not is_over:
            reception.fail(interrupted(reception.info.key), self._slots)
        self._end([reception])

    def _end_whole(self, *, all_of_them: bool) -> bool:
        """End the small ones that came whole if they are many, or have waited long; return whether there were any."""
        with self._changed:
            is_due = len(self._whole) >= _TOGETHER or monotonic() - self._whole_since > _TOGETHER_S
            if not self._whole or not (is_due or all_of_them):
                return False
            whole, self._whole = self._whole, []
            # as long as they have not ended there may be something to do
            self._open |= dict.fromkeys(whole, 1)
        self._end(whole)
        return True

    def _end(self, receptions: list[Reception]) -> None:
        again = end_together(receptions)
        with self._changed:
            for reception, is_to_begin_again in zip(receptions, again, strict=True):
                if is_to_begin_again:
                    self._open[reception] = 0
                    self._again.append(reception)
                else:
                    del self._open[reception]
                    self._ended.put(reception)
            self._changed.notify_all()


def receive_all(
    receptions: Iterable[Reception],
    *,
    connections: int,
    stop: threading.Event | None = None,
    pace: Pace | None = None,
) -> Iterator[Reception]:
    """Carry out ``receptions`` and yield each when it has ended, whatever became of it (`Reception.result`).

    Parameters
    ----------
    receptions
        Iterated by one thread at a time, when there is room for another one.
    connections
        Requests under way at once; at most 16, which bounds the memory.
    stop
        When it is set, what is in flight is finished and nothing is begun. Objects that were begun and not
        finished end with InterruptedRunError; those never begun are not yielded.
    pace
        When requests may be begun; default at any time.
    """
    return _Receivers(receptions, connections, stop or threading.Event(), pace or Pace()).run()


def digest_object(reception: Reception) -> Received:
    """Receive and open an object without keeping it.

    Raises
    ------
    VerificationError
        The bytes are not what was sealed, end early, or differ from the store's own checksum.
    InterruptedRunError
        The reception's ``stop`` was set.
    """
    connections = 1 if reception.info.size <= FIRST_REQUEST_BYTES else _CONNECTIONS_ALONE
    for _ in receive_all([reception], connections=connections, stop=reception.stop):
        return reception.result()
    raise interrupted(reception.info.key)
