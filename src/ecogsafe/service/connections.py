"""Stores by URL, each known by its random id: a mount that vanished is noticed before a byte is written."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import WrongStoreError
from ecogsafe.stores.open import open_store
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.store_id import create_store_id, read_store_id


@dataclass(frozen=True, slots=True)
class Connection:
    """An open store and its id."""

    store: Store
    store_id: str


def _kind(url: str) -> str:
    return url.split(":", 1)[0]


@contextmanager
def connected(catalog: Catalog, url: str, *, name: str | None = None, sse: str | None = None) -> Iterator[Connection]:
    """Open the store at ``url`` for this run.

    A place that the catalogue has met must still carry the same ``_ecogsafe/store.json``. A place nobody
    has met gets one.

    Raises
    ------
    WrongStoreError
        The store's id is missing or another one's.
    StoreError
        It cannot be reached or refuses.
    """
    store = open_store(url, name=name, sse=sse)
    try:
        with catalog.read() as tx:
            known = catalog_stores.store_by_url(tx, store.url)
        found = read_store_id(store)
        if known is not None and (found is None or found.store_id != known.store_id):
            raise WrongStoreError(
                store.url,
                "carries no store id, or another one than this lab wrote there"
                if found is None
                else "is another store than the one this lab wrote to before",
                safe="Nothing was written to it",
                next="is the disk mounted? Check it, then run the same command again",
            )
        store_id = (found or create_store_id(store)).store_id
        with catalog.write() as tx:
            catalog_stores.remember_store(tx, store_id, store.url, _kind(url))
        yield Connection(store, store_id)
    finally:
        store.close()
