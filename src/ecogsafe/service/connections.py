"""Stores by URL, each known by its random id: a mount that vanished is noticed before a byte is written."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import StoreRefusedError, UsageError, WrongStoreError
from ecogsafe.core.events import EventSink, Item
from ecogsafe.stores.directory_access import Access
from ecogsafe.stores.limited import Rate
from ecogsafe.stores.open import open_store, parse_store_url
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.stores.retrying import Backoff, Wait
from ecogsafe.stores.store_id import StoreId, create_store_id, read_store_id
from ecogsafe.transfer.store_order import StoreOrder

#: a person is told of a store in trouble this often at most, seconds
_TELL_EVERY_S = 10.0
#: our clock and a store's may be apart by so much, seconds
CLOCKS_APART_S = 300.0
#: shorter pauses are over before anybody wonders, seconds
_TELL_FROM_S = 1.0


@dataclass(frozen=True, slots=True)
class Connection:
    """An open store and its id; a place that was only read and never given an id has the empty one."""

    store: Store
    store_id: str
    #: how another process opens it
    order: StoreOrder | None = None


def _kind(url: str) -> str:
    return url.split(":", 1)[0]


def one_url(url: str) -> str:
    """Return the one way to write ``url``; a URL of a kind that cannot be opened here stays as it is."""
    try:
        return parse_store_url(url).url
    except (UsageError, StoreRefusedError):
        return url


def telling_of_waits(tell: EventSink) -> Callable[[Wait], None]:
    """Return a listener for the pauses of one store that tells of them, but not of everyone's on every thread."""
    lock = threading.Lock()
    told_at = -_TELL_EVERY_S

    def on_wait(wait: Wait) -> None:
        nonlocal told_at
        if wait.pause_s < _TELL_FROM_S:
            return
        with lock:
            if monotonic() - told_at < _TELL_EVERY_S:
                return
            told_at = monotonic()
        tell(Item(action="store", status="note", store=wait.store, message=wait.text))

    return on_wait


@contextmanager
def connected(
    catalog: Catalog,
    url: str,
    *,
    name: str | None = None,
    sse: str | None = None,
    to_write: bool = True,
    stop: threading.Event | None = None,
    tell: EventSink | None = None,
    rate: Rate | None = None,
    backoff: Backoff | None = None,
    access: Access | None = None,
) -> Iterator[Connection]:
    """Open the store at ``url`` for this run.

    A place that the catalogue has met must still carry the same ``_ecogsafe/store.json``. A place nobody
    has met gets one, unless it is only read.

    Parameters
    ----------
    to_write
        Whether this run may write there; without, not one byte is.
    stop
        Ends the pauses between attempts when it is set.
    tell
        Is told when the store is in trouble and asked again, and when its clock is not ours.
    rate
        How fast bytes may move, shared with the other stores of the run.
    backoff
        How often it is tried again; None: as long as something that matters is worth.
    access
        Group and mode of what is made in a folder (``file://``).

    Raises
    ------
    WrongStoreError
        The store's id is missing or another one's.
    StoreError
        It cannot be reached or refuses.
    """
    on_wait = telling_of_waits(tell) if tell else None
    store = open_store(url, name=name, sse=sse, stop=stop, on_wait=on_wait, rate=rate, backoff=backoff, access=access)
    try:
        found = read_store_id(store)
        _refuse_stranger(catalog, store, found)
        if found is None and to_write:
            found = create_store_id(store)
        if found is not None:
            with catalog.write() as tx:
                catalog_stores.remember_store(tx, found.store_id, store.url, _kind(url), store.place)
            if tell is not None and found.seen is not None:
                _tell_clock(tell, store, found.seen)
        yield Connection(store, found.store_id if found else "", StoreOrder(url, store.name, sse, access))
    finally:
        store.close()


def _tell_clock(tell: EventSink, store: Store, seen: ObjectInfo) -> None:
    """Say it where our clock and the store's are apart (DESIGN 5.12): ages of evidence are wrong by as much."""
    if seen.store_date is None or seen.checked_at is None:
        return
    ahead_s = (seen.checked_at - seen.store_date).total_seconds()
    if abs(ahead_s) > CLOCKS_APART_S:
        way = "ahead of" if ahead_s > 0 else "behind"
        message = (
            f"the clock here is {round(abs(ahead_s) / 60)} min {way} that of {store.name}: check it (timedatectl); "
            "evidence keeps both times"
        )
        tell(Item(action="clock-check", status="note", store=store.name, message=message))


def _refuse_stranger(catalog: Catalog, store: Store, found: StoreId | None) -> None:
    with catalog.read() as tx:
        known = catalog_stores.store_by_url(tx, store.url)
        once = catalog_stores.store_id_met_at(tx, store.url)
    if found is None and (known is not None or once is not None):
        problem = "carries no store id, though this lab wrote one there"
    elif found is not None and known is not None and found.store_id != known.store_id:
        problem = "is another store than the one this lab wrote to before"
    else:
        return
    raise WrongStoreError(
        store.url,
        problem,
        safe="Nothing was written to it",
        next="is the disk mounted? Check it, then run the same command again; a new disk needs a URL of its own",
    )
