"""Which processes a run begins beside itself: as many as it has work for, and where they can do it."""

from __future__ import annotations

import os
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

from ecogsafe.transfer import file_job
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.messages import Begin
from ecogsafe.transfer.packing import LocalPacker
from ecogsafe.transfer.parts import MIB
from ecogsafe.transfer.senders import OVERLOAD, Senders
from ecogsafe.transfer.store_order import StoreOrder
from ecogsafe.transfer.work import Shipment

if TYPE_CHECKING:
    from ecogsafe.transfer.cutter_messages import StoreWaits
    from ecogsafe.transfer.cutters import Cutters
    from ecogsafe.transfer.workers import Workers

#: fewer small files are through before a worker process is ready
LEAST_FOR_WORKERS = 200
#: as many bytes of large files are through before a process that cuts them is ready
LEAST_FOR_CUTTERS = 128 * MIB
_MOST_WORKERS = 8
#: four of them seal more than the fastest line takes
_MOST_CUTTERS = 4


def hire_workers(
    context: TransferContext,
    shipments: Sequence[Shipment],
    *,
    per_store: int,
    count: int | None,
    instead: LocalPacker,
) -> Workers | None:
    """Return worker processes for small files, if there is enough for them to do and any can be begun.

    Parameters
    ----------
    count
        None: as many as there are processors, if it is worth it.
    """
    small = [s for s in shipments if is_small(s) and s.order is not None]
    if count is None:
        count = min(_processors(), _MOST_WORKERS) if len(small) >= LEAST_FOR_WORKERS and _processors() > 1 else 0
    orders = _orders(context, small)
    if not count or orders is None:
        return None
    from ecogsafe.transfer.workers import Workers

    begin = Begin(tuple(context.recipients), orders, -(-per_store // count), context.pace.window)
    tell = partial(_store_waits, context)
    hired = Workers(begin, _roots(small), count, instead=instead, stop=context.stop, tell=tell)
    return hired if hired.count else None


def hire_cutters(
    context: TransferContext, shipments: Sequence[Shipment], senders: Senders, *, count: int | None
) -> Cutters | None:
    """Return processes for large files, if there is enough of them to be worth their start and any can be begun.

    Parameters
    ----------
    senders
        Their threads have parts put by the processes.
    count
        As in `hire_workers`.
    """
    large = [s for s in shipments if not is_small(s) and s.order is not None]
    if count is None:
        is_worth_it = sum(s.size for s in large) >= LEAST_FOR_CUTTERS and _processors() > 1
        count = min(_processors(), _MOST_CUTTERS, len(large)) if is_worth_it else 0
    orders = _orders(context, large)
    if not count or orders is None:
        return None
    from ecogsafe.transfer.cutter_messages import BeginCutting
    from ecogsafe.transfer.cutters import Cutters

    def tell(waits: StoreWaits) -> None:
        _store_waits(context, waits.store, waits.message)
        if waits.code in OVERLOAD:
            senders.troubled(waits.store_id)

    begin = BeginCutting(orders, senders.per_store)
    hired = Cutters(begin, _roots(large), count, pool=context.pool, stop=context.stop, tell=tell)
    return hired if hired.count else None


def is_small(shipment: Shipment) -> bool:
    """Return whether a file is sent in one request."""
    return shipment.size <= file_job.largest_whole()


def _orders(context: TransferContext, shipments: Sequence[Shipment]) -> dict[str, StoreOrder] | None:
    """Return how other processes open the places of ``shipments``; None if there are none, or they cannot."""
    if context.pace.rate is not None:
        # one process is enough for a line that is shared, and accounts for every byte
        return None
    places = {place.store_id: place for shipment in shipments for place in shipment.places}
    orders = {i: place.order for i, place in places.items() if place.order is not None}
    return orders if orders and len(orders) == len(places) else None


def _roots(shipments: Sequence[Shipment]) -> set[int]:
    return {shipment.order.root for shipment in shipments if shipment.order is not None}


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _store_waits(context: TransferContext, store: str, message: str) -> None:
    context.meter.asked_again()
    if message:
        context.tell("store", message, store=store)
