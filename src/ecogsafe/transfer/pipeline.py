"""The run: many files at once, a bounded pool of parts, sender threads, outcomes as they come."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.file_job import send_file
from ecogsafe.transfer.parts import MIB
from ecogsafe.transfer.senders import DEFAULT_SENDERS, Senders
from ecogsafe.transfer.work import Outcome, Shipment, Status

#: large files read at once
DEFAULT_READERS = 4
#: that many small files take the place of a large one: they spend their time waiting for answers
_SMALL_FOR_LARGE = 4
_SMALL = MIB


def send_all(
    context: TransferContext,
    shipments: Iterable[Shipment],
    *,
    readers: int = DEFAULT_READERS,
    senders: int = DEFAULT_SENDERS,
) -> Generator[Outcome, None, None]:
    """Send every shipment and yield the end of each file at each place, in the order of completion.

    A place that was detached from its file gets the file again, alone, at the end. After ``context.stop``
    no new file is begun; the parts in flight are finished. Whoever does not iterate to the end must close
    the iterator: the run is stopped then.

    Raises
    ------
    Exception
        A bug met by one file, at the end, when every other file has been seen to.
    """
    with Senders(senders) as threads, ThreadPoolExecutor(readers * _SMALL_FOR_LARGE, "reader") as pool:
        try:
            yield from _Round(context, threads, pool, readers * _SMALL_FOR_LARGE).run(iter(shipments))
        except BaseException:
            context.stop.set()
            raise
    if threads.bugs:
        raise threads.bugs[0]


class _Round:
    """The state of one `send_all`."""

    def __init__(self, context: TransferContext, senders: Senders, pool: ThreadPoolExecutor, room: int) -> None:
        self._context = context
        self._senders = senders
        self._pool = pool
        self._room = room
        self._running: dict[Future[list[Outcome]], Shipment] = {}
        self._again: deque[Shipment] = deque()
        self._bugs: list[BaseException] = []

    def run(self, shipments: Iterator[Shipment]) -> Iterator[Outcome]:
        while True:
            while not self._context.stop.is_set() and self._load() < self._room:
                shipment = next(shipments, None)
                if shipment is None and self._again:
                    shipment = self._again.popleft()
                if shipment is None:
                    break
                self._running[self._pool.submit(send_file, self._context, shipment, self._senders)] = shipment
            if not self._running:
                break
            finished, _ = wait(self._running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from self._ends(self._running.pop(future), future)
        for shipment in self._again:
            yield Outcome(shipment=shipment, place=shipment.places[0], status=Status.PAUSED)
        if self._bugs:
            raise self._bugs[0]

    def _load(self) -> int:
        return sum(_load_of(shipment) for shipment in self._running.values())

    def _ends(self, shipment: Shipment, future: Future[list[Outcome]]) -> Iterator[Outcome]:
        bug = future.exception()
        if bug is not None:
            self._bugs.append(bug)
            error = EcogsafeError(shipment.path, "met a bug in ecogsafe", safe="What was sent is kept")
            outcomes = [Outcome(shipment=shipment, place=p, status=Status.FAILED, error=error) for p in shipment.places]
        else:
            outcomes = future.result()
        again = [outcome for outcome in outcomes if outcome.status is Status.DETACHED]
        self._again += [replace(o.shipment, places=(o.place,), again=True) for o in again]
        for outcome in outcomes:
            if outcome.status is not Status.DETACHED:
                if shipment.again:
                    outcome.notes.append("was detached, and read again after the others")
                yield outcome
        if not again and all(outcome.status is not Status.PAUSED for outcome in outcomes):
            self._context.meter.file_done()


def _load_of(shipment: Shipment) -> int:
    return 1 if shipment.size <= _SMALL else _SMALL_FOR_LARGE
