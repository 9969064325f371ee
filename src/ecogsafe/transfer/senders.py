"""The threads that carry requests out, apart for each store: one that hangs takes no thread from another.

How many requests a store gets at once is found out as it answers (`concurrency`). What moves bytes waits while
nothing may be begun (`pace`); what finishes a file does not.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import ParamSpec, TypeVar

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import StoreBusyError, StoreUnreachableError
from ecogsafe.transfer.concurrency import Concurrency
from ecogsafe.transfer.pace import LOOK_EVERY_S, Pace

P = ParamSpec("P")
T = TypeVar("T")

#: requests in flight for each store, at most
DEFAULT_SENDERS = 16
#: codes of what a store that gets too many requests answers
OVERLOAD = frozenset({StoreBusyError.code, StoreUnreachableError.code})


class _Line:
    """What one store gets, and the threads that carry it."""

    def __init__(self, most: int, pace: Pace) -> None:
        self.concurrency = Concurrency(most, at=monotonic())
        self._pace = pace
        self._changed = threading.Condition()
        #: what moves no bytes, and may always be begun; goes first
        self._requests: deque[Callable[[], int]] = deque()
        self._bodies: deque[Callable[[], int]] = deque()
        self._threads: list[threading.Thread] = []
        self._idle = 0
        self._busy = 0
        self._is_closing = False

    def put(self, task: Callable[[], int], *, is_body: bool) -> None:
        """Have ``task`` carried out; it returns the bytes that it moved."""
        with self._changed:
            if self._is_closing:
                raise RuntimeError("the senders are closed")
            (self._bodies if is_body else self._requests).append(task)
            self._wake()

    def _wake(self) -> None:
        """See that somebody takes what waits, if one more may be under way."""
        if self._idle:
            self._changed.notify()
        elif len(self._threads) < self.concurrency.limit:
            thread = threading.Thread(target=self._work, name="sender")
            # in this order: `close` may be waiting for all that are in the list
            thread.start()
            self._threads.append(thread)

    def _work(self) -> None:
        while (task := self._next()) is not None:
            moved = 0
            try:
                moved = task()
            finally:
                self._ended(moved)

    def _next(self) -> Callable[[], int] | None:
        with self._changed:
            while True:
                if self._busy < self.concurrency.limit and (task := self._take()) is not None:
                    self._busy += 1
                    if self._requests or self._bodies:
                        self._wake()
                    return task
                if self._is_closing and not self._requests and not self._bodies:
                    self._changed.notify_all()
                    return None
                self._idle += 1
                # nobody tells of a window that opens
                self._changed.wait(LOOK_EVERY_S if self._bodies else None)
                self._idle -= 1

    def _take(self) -> Callable[[], int] | None:
        if self._requests:
            return self._requests.popleft()
        # at the end whatever still waits has been given up by whoever wanted it
        may_go = self._is_closing or self._pace.may_begin()
        return self._bodies.popleft() if self._bodies and may_go else None

    def _ended(self, moved: int) -> None:
        with self._changed:
            self._busy -= 1
            if moved:
                before = self.concurrency.limit
                self.concurrency.done(moved, at=monotonic(), is_full=bool(self._bodies))
                for _ in range(min(self.concurrency.limit - before, len(self._bodies))):
                    self._wake()

    def troubled(self) -> None:
        """The store asked for fewer requests, or gave no answer."""
        with self._changed:
            self.concurrency.troubled(at=monotonic())

    def close(self) -> None:
        """Wait for everything and end the threads."""
        with self._changed:
            self._is_closing = True
            self._changed.notify_all()
        for thread in self._threads:
            thread.join()


class Senders:
    """A few threads for each store, begun as they are needed.

    Parameters
    ----------
    per_store
        Requests in flight for each store, at most.
    pace
        When bytes may go.
    """

    def __init__(self, per_store: int = DEFAULT_SENDERS, pace: Pace | None = None) -> None:
        #: requests in flight for each store, at most
        self.per_store = per_store
        self._pace = pace or Pace()
        self._lines: dict[str, _Line] = {}
        self._lock = threading.Lock()
        #: unexpected exceptions of requests that nobody waited for any more
        self.bugs: list[BaseException] = []

    def _line(self, store_id: str) -> _Line:
        with self._lock:
            line = self._lines.get(store_id)
            if line is None:
                line = self._lines[store_id] = _Line(self.per_store, self._pace)
            return line

    def submit(self, store_id: str, call: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run ``call``, which moves no bytes of files, on a thread of ``store_id`` as soon as one is free."""
        future: Future[T] = Future()
        # so that nobody can cancel what is about to be carried out
        future.set_running_or_notify_cancel()

        def run() -> int:
            try:
                result = call(*args, **kwargs)
            except BaseException as error:  # noqa: BLE001  the future's owner raises it
                future.set_exception(error)
            else:
                future.set_result(result)
            return 0

        self._line(store_id).put(run, is_body=False)
        return future

    def send(self, store_id: str, call: Callable[P, int], *args: P.args, **kwargs: P.kwargs) -> None:
        """Run ``call`` when a thread is free and bytes may go; it returns how many it moved, and raises nothing."""
        self._line(store_id).put(lambda: call(*args, **kwargs), is_body=True)

    def troubled(self, store_id: str) -> None:
        """Take note that a store asked for fewer requests, or gave no answer: it gets half as many at once."""
        self._line(store_id).troubled()

    def limits(self) -> dict[str, tuple[int, int]]:
        """Return by store how many requests it gets at once now, and how often that was halved."""
        with self._lock:
            return {
                store_id: (line.concurrency.limit, line.concurrency.slowed) for store_id, line in self._lines.items()
            }

    def close(self) -> None:
        """Wait for every request and end the threads."""
        for line in list(self._lines.values()):
            line.close()

    def __enter__(self) -> Senders:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
