"""The run: many files at once, a bounded pool of parts, sender threads, outcomes as they come.

Large files are read each by a thread. Small ones go by the batch (`batch`), and where there are many of
them, worker processes do the work (`workers`).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

from ecogsafe.catalog import uploads
from ecogsafe.core.errors import (
    EcogsafeError,
    NoSpaceError,
    StoreError,
    StoreForbiddenError,
    StoreFullError,
    StoreUnreachableError,
)
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Retrying, Wait
from ecogsafe.transfer import file_job
from ecogsafe.transfer.batch import Batch, Ended, bug_met
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.hiring import hire_cutters, hire_workers, is_small
from ecogsafe.transfer.packing import LocalPacker, Packer
from ecogsafe.transfer.parts import MIB
from ecogsafe.transfer.senders import DEFAULT_SENDERS, OVERLOAD, Senders
from ecogsafe.transfer.single import ShippedFile
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status

if TYPE_CHECKING:
    from ecogsafe.transfer.cutters import Cutters

#: large files read at once
DEFAULT_READERS = 4
#: a batch ends at so many files or bytes; a file that is larger is a batch of its own
BATCH_FILES = 256
BATCH_BYTES = 8 * MIB
#: batches in hand for each worker: one is packed, one is announced, one is sent
_AHEAD = 3
#: files in a row that a store forbids; the next one would fare no better
_ENOUGH_REFUSALS = 3
#: how often it is seen whether a window of the day has opened, seconds
_LOOK_EVERY_S = 2.0


def send_all(
    context: TransferContext,
    shipments: Iterable[Shipment],
    *,
    readers: int = DEFAULT_READERS,
    senders: int = DEFAULT_SENDERS,
    workers: int | None = None,
    cutters: int | None = None,
) -> Generator[Outcome, None, None]:
    """Send every shipment and yield the end of each file at each place, in the order of completion.

    A place that was detached from its file gets the file again, alone, at the end. After ``context.stop``
    no new file is begun; what is in flight is finished. Whoever does not iterate to the end must close
    the iterator: the run is stopped then.

    Parameters
    ----------
    workers
        Processes for small files; None: as many as there are processors, if there are many small files and
        the places can be reached from another process.
    cutters
        Processes that read and seal large files; None: as many as there are processors, if there is enough to read.

    Raises
    ------
    Exception
        A bug met by one file, at the end, when every other file has been seen to.
    """
    waiting = list(shipments)
    stores = {place.store_id: place.store for shipment in waiting for place in shipment.places}
    with ExitStack() as stack:
        threads = Senders(senders, context.pace)
        cutting = hire_cutters(context, waiting, threads, count=cutters)
        if cutting is not None:
            # it ends when no thread waits for it any more
            stack.enter_context(cutting)
        stack.enter_context(threads)
        for store_id, store in stores.items():
            if isinstance(store, Retrying):
                stack.enter_context(store.telling(partial(_troubled, context, threads, store_id)))
        local = LocalPacker(stores, context.recipients, threads, context.stop)
        hired = hire_workers(context, waiting, per_store=senders, count=workers, instead=local)
        if hired is not None:
            stack.enter_context(hired)
        lots = readers if hired is None else hired.count * _AHEAD
        pool = stack.enter_context(ThreadPoolExecutor(readers + lots, "reader"))
        try:
            run = _Round(context, threads, pool, hired or local, cutting, readers=readers, lots=lots)
            yield from run.run(waiting)
        except BaseException:
            context.stop.set()
            raise
    _tell_concurrency(context, threads, stores)
    if threads.bugs:
        raise threads.bugs[0]


def _tell_concurrency(context: TransferContext, senders: Senders, stores: Mapping[str, Store]) -> None:
    """Say what was found out of each store; for those who ask for everything (``-v``)."""
    for store_id, (limit, slowed) in senders.limits().items():
        slower = f"; halved {slowed} x, as it asked for" if slowed else ""
        context.tell("pace", f"up to {limit} requests at once were worth it{slower}", store=stores[store_id].name)


def _troubled(context: TransferContext, senders: Senders, store_id: str, wait: Wait) -> None:
    context.meter.asked_again()
    if wait.code in OVERLOAD:
        senders.troubled(store_id)


@dataclass(slots=True)
class _Task:
    """What one thread is at: one file, or a lot of small ones."""

    shipments: Sequence[Shipment]
    is_lot: bool


class _Round:
    """The state of one `send_all`.

    Parameters
    ----------
    readers, lots
        Large files, and lots of small ones, in hand at once.
    """

    def __init__(
        self,
        context: TransferContext,
        senders: Senders,
        pool: ThreadPoolExecutor,
        packer: Packer,
        cutters: Cutters | None,
        *,
        readers: int,
        lots: int,
    ) -> None:
        self._context = context
        self._senders = senders
        self._pool = pool
        self._packer = packer
        self._cutters = cutters
        self._readers = readers
        self._lots = lots
        self._lot_files = 1
        self._running: dict[Future[Ended], _Task] = {}
        self._small: deque[Shipment] = deque()
        #: each by a thread of its own: large, or no longer fit for a lot
        self._single: deque[Shipment] = deque()
        #: begun before, and to be sent once more: those that left their lot, and those that were detached
        self._left: deque[Shipment] = deque()
        self._again: deque[Shipment] = deque()
        self._bugs: list[BaseException] = []
        #: by store: files in a row that met a store out of reach or full
        self._failures: Counter[str] = Counter()

    def run(self, shipments: Sequence[Shipment]) -> Iterator[Outcome]:
        """Send ``shipments``; see `send_all`."""
        for shipment in shipments:
            (self._small if self._fits_a_lot(shipment) else self._single).append(shipment)
        # few files are shared out evenly, so that none waits for a full lot
        self._lot_files = max(1, min(len(self._small) // (2 * self._lots), BATCH_FILES))
        while True:
            pace = self._context.pace
            may_begin = pace.may_begin()
            if may_begin and not self._context.stop.is_set():
                self._begin()
            if not self._running:
                if may_begin or not any(self._waiting):
                    break
                pace.wait()
                continue
            look_again_s = _LOOK_EVERY_S if pace.window else None
            finished, _ = wait(self._running, timeout=look_again_s, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from self._ends(self._running.pop(future), future)
        for shipment in (*self._left, *self._again):
            yield from (Outcome(shipment=shipment, place=p, status=Status.PAUSED) for p in shipment.places)
        if self._bugs:
            raise self._bugs[0]

    @property
    def _waiting(self) -> tuple[deque[Shipment], ...]:
        return self._small, self._single, self._left, self._again

    def _lose(self, place: Place, error: StoreError) -> None:
        """Send nothing more to a store that has ended for this run; what waits for it alone is not begun."""
        if place.store_id in self._context.lost:
            return
        self._context.lost[place.store_id] = error
        for waiting in self._waiting:
            kept = [(s, tuple(p for p in s.places if p.store_id not in self._context.lost)) for s in waiting]
            waiting.clear()
            waiting.extend(replace(s, places=places) for s, places in kept if places)

    def _count_failure(self, outcome: Outcome) -> None:
        """Give a store up that is out of reach for one file after the other (each waits for minutes), or forbids it."""
        store_id = outcome.place.store_id
        if isinstance(outcome.error, StoreUnreachableError | StoreFullError | StoreForbiddenError):
            self._failures[store_id] += 1
            is_forbidden = isinstance(outcome.error, StoreForbiddenError)
            most = _ENOUGH_REFUSALS if is_forbidden else self._context.give_up_after
            if most is not None and self._failures[store_id] >= most:
                self._lose(outcome.place, outcome.error)

    def _is_told(self, outcome: Outcome) -> bool:
        """Return whether a failure is one that its store was given up for: that is told once, not for each file."""
        lost = self._context.lost.get(outcome.place.store_id)
        return lost is not None and type(outcome.error) is type(lost)

    def _fits_a_lot(self, shipment: Shipment) -> bool:
        return is_small(shipment) and (shipment.order is not None or isinstance(self._packer, LocalPacker))

    def _begin(self) -> None:
        """Give every thread that is free something to do."""
        lots = sum(task.is_lot for task in self._running.values())
        singles = len(self._running) - lots
        while lots < self._lots and (lot := self._next_lot()):
            self._running[self._pool.submit(self._send_lot, lot)] = _Task(lot, is_lot=True)
            lots += 1
        while singles < self._readers and (shipment := self._next_single()) is not None:
            self._running[self._pool.submit(self._send_single, shipment)] = _Task([shipment], is_lot=False)
            singles += 1

    def _next_lot(self) -> list[Shipment]:
        waiting = self._small
        if not waiting and not self._single and self._again and self._fits_a_lot(self._again[0]):
            waiting = self._again
        lot: list[Shipment] = []
        size = 0
        while waiting and len(lot) < self._lot_files and self._fits_a_lot(waiting[0]):
            size += waiting[0].size
            if lot and size > BATCH_BYTES:
                break
            lot.append(waiting.popleft())
        return lot

    def _next_single(self) -> Shipment | None:
        if self._single:
            return self._single.popleft()
        if self._left:
            return self._left.popleft()
        if self._again and not self._small and not self._fits_a_lot(self._again[0]):
            return self._again.popleft()
        return None

    def _send_single(self, shipment: Shipment) -> Ended:
        return Ended(outcomes=file_job.send_file(self._context, shipment, self._senders, self._cutters))

    def _send_lot(self, lot: Sequence[Shipment]) -> Ended:
        """Send a lot, but for what an earlier run left unfinished in parts."""
        stores = {place.store_id for shipment in lot for place in shipment.places}
        begun = self._context.ledger.read(
            lambda tx: {(store_id, key) for store_id in stores for key in uploads.keys_with_open_uploads(tx, store_id)}
        )
        left = [s for s in lot if any((p.store_id, s.keys[p.sealed]) in begun for p in s.places)]
        whole = [shipment for shipment in lot if shipment not in left] if left else lot
        ended = Ended()
        if whole:
            is_local = isinstance(self._packer, LocalPacker)
            files_of = [ShippedFile(s) if is_local or s.order is None else s.order for s in whole]
            batch = Batch(self._context, self._packer, self._senders, whole)
            ended = batch.run(files_of, most=file_job.largest_whole())
        ended.singly += left
        return ended

    def _ends(self, task: _Task, future: Future[Ended]) -> Iterator[Outcome]:
        failure = future.exception()
        ended = Ended() if failure is not None else future.result()
        if failure is not None:
            # such as a full disk below the catalogue: nothing is known of what was sent but what was announced
            if not isinstance(failure, EcogsafeError):
                self._bugs.append(failure)
            failed = list(task.shipments)
            if isinstance(failure, NoSpaceError):
                # the catalogue takes nothing more: what would be read for it is not read
                failed += (shipment for waiting in self._waiting for shipment in waiting)
                for waiting in self._waiting:
                    waiting.clear()
            ended.outcomes = [_failed(s, p, failure) for s in failed for p in s.places]
        # those of one lot come in no order: one that went well says of all of them that the store is there
        answering = {o.place.store_id for o in ended.outcomes if o.status in (Status.DONE, Status.PRESENT)}
        for store_id in answering:
            self._failures[store_id] = 0
        for outcome in ended.outcomes:
            ends_store = isinstance(outcome.error, StoreError) and outcome.error.ends_store
            if isinstance(outcome.error, StoreError) and (ends_store or self._is_told(outcome)):
                # told once for the store, not for each of its files
                self._lose(outcome.place, outcome.error)
                outcome.status, outcome.error = Status.PAUSED, None
            elif outcome.place.store_id not in answering:
                self._count_failure(outcome)
        self._bugs += ended.bugs
        self._left += ended.singly
        again = [outcome for outcome in ended.outcomes if outcome.status is Status.DETACHED]
        self._again += [replace(o.shipment, places=(o.place,), again=True) for o in again]
        for outcome in ended.outcomes:
            if outcome.status is not Status.DETACHED:
                if outcome.shipment.again:
                    outcome.notes.append("was detached, and read again after the others")
                yield outcome
        open_still = {(s.tree, s.path) for s in (*ended.singly, *(o.shipment for o in again))}
        open_still |= {(o.shipment.tree, o.shipment.path) for o in ended.outcomes if o.status is Status.PAUSED}
        for shipment in task.shipments:
            if (shipment.tree, shipment.path) not in open_still:
                self._context.meter.file_done(shipment.path)


def _failed(shipment: Shipment, place: Place, failure: BaseException) -> Outcome:
    error = failure if isinstance(failure, EcogsafeError) else bug_met(shipment)
    return Outcome(shipment=shipment, place=place, status=Status.FAILED, error=error)
