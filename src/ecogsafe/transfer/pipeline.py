"""The run: many files at once, a bounded pool of parts, sender threads, outcomes as they come."""

from __future__ import annotations

import queue
from collections.abc import Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import replace

from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.file_job import send_file
from ecogsafe.transfer.work import Outcome, Shipment, Status

#: files read at once
DEFAULT_READERS = 4
#: requests in flight for parts
DEFAULT_SENDERS = 8


def send_all(
    context: TransferContext,
    shipments: Iterable[Shipment],
    *,
    readers: int = DEFAULT_READERS,
    senders: int = DEFAULT_SENDERS,
) -> Iterator[Outcome]:
    """Send every shipment and yield the end of each file at each place, in the order of completion.

    A place that stalled is detached from its file and gets the file again, alone, at the end. After
    ``context.stop`` no new file is begun; the parts in flight are finished.
    """
    waiting: queue.SimpleQueue[Shipment] = queue.SimpleQueue()
    source = iter(shipments)
    with (
        ThreadPoolExecutor(senders, thread_name_prefix="sender") as sender_pool,
        ThreadPoolExecutor(readers, thread_name_prefix="reader") as reader_pool,
    ):
        running: set[Future[list[Outcome]]] = set()
        exhausted = False
        while True:
            while not exhausted and len(running) < readers and not context.stop.is_set():
                shipment = next(source, None)
                if shipment is None:
                    exhausted = True
                else:
                    running.add(reader_pool.submit(send_file, context, shipment, sender_pool))
            while exhausted and len(running) < readers and not waiting.empty() and not context.stop.is_set():
                running.add(reader_pool.submit(send_file, context, waiting.get(), sender_pool))
            if not running:
                return
            finished, running = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                yield from _ends(context, future.result(), waiting)


def _ends(context: TransferContext, outcomes: list[Outcome], waiting: queue.SimpleQueue[Shipment]) -> Iterator[Outcome]:
    for outcome in outcomes:
        if outcome.status is Status.DETACHED and not context.stop.is_set():
            waiting.put(replace(outcome.shipment, places=(outcome.place,)))
            continue
        yield outcome
    if outcomes and all(o.status is not Status.DETACHED for o in outcomes):
        context.meter.file_done()
