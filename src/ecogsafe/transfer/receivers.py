"""Threads that receive objects: several ranges of a large one, several small ones, whatever keeps them busy.

A thread holds a slot of memory before it takes a range, and ranges of an object are taken in their order:
so the range that the digest waits for always has memory, and the slots of those behind it come free.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from queue import SimpleQueue

from ecogsafe.transfer.buffers import MAX_SLOTS, Slot, Slots
from ecogsafe.transfer.pace import LOOK_EVERY_S, Pace
from ecogsafe.transfer.ranges import FIRST_REQUEST_BYTES, Range
from ecogsafe.transfer.receiving import Received, Reception, interrupted

#: connections for an object that is digested alone
_CONNECTIONS_ALONE = 2


class _Receivers:
    def __init__(self, receptions: Iterable[Reception], connections: int, stop: threading.Event, pace: Pace) -> None:
        self._waiting = iter(receptions)
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
        if self._bug is not None:
            raise self._bug
        for reception in list(self._open):
            self._end(reception, interrupted(reception.info.key))
            yield reception

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
                    return
                self._do(*work, slot)
        except BaseException as error:  # noqa: BLE001 - a bug of ours: the caller is told, and the others end
            self._bug = self._bug or error
            self._quit()
        finally:
            self._ended.put(None)

    def _next_work(self) -> tuple[Reception, Range | None] | None:
        """Return a reception and its range to fetch, or None to begin it; None when there is no more to do."""
        with self._changed:
            while not self._is_over:
                if not self._pace.may_begin():
                    self._changed.wait(LOOK_EVERY_S)
                    continue
                if self._again:
                    again = self._again.pop()
                    self._open[again] = 1
                    return again, None
                for reception in self._open:
                    if (range_ := reception.assign()) is not None:
                        self._open[reception] += 1
                        return reception, range_
                if (new := next(self._waiting, None)) is not None:
                    self._open[new] = 1
                    return new, None
                if not self._open:
                    break
                # one that begins, or begins once more, may have something to do for everybody
                self._changed.wait(timeout=1.0)
            return None

    def _do(self, reception: Reception, range_: Range | None, slot: Slot) -> None:
        error: Exception | None = None
        try:
            if range_ is None:
                reception.begin(slot, self._slots)
            else:
                reception.fetch(range_, slot, self._slots)
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
            # nobody else looks at it from here on
            self._open[reception] = 1
        self._end(reception, None if is_over else interrupted(reception.info.key))

    def _end(self, reception: Reception, error: Exception | None) -> None:
        if error is not None:
            reception.fail(error, self._slots)
        is_to_begin_again = reception.end()
        with self._changed:
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
