"""The stores this catalogue has met, by the random id each of them carries."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import insert, select, update

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of
from ecogsafe.catalog.schema import stores
from ecogsafe.core.clock import utc_stamp


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One store."""

    #: of its ``_ecogsafe/store.json``
    store_id: str
    #: where it was last reached
    url: str
    #: "file", "s3", …
    kind: str
    first_seen: str
    last_seen: str
    #: where it physically is: bucket, container, device; two stores with one place would be lost together
    place: str | None = None


_COLUMNS = columns_of(StoreRow, stores)
#: name in the table ``meta`` of the store that was last met at a URL; unlike `StoreRow.url` it is kept
#: when the store is met elsewhere too
_MET_AT = "store-at "


def remember_store(tx: Transaction, store_id: str, url: str, kind: str, place: str | None = None) -> StoreRow:
    """Note that the store ``store_id`` was reached at ``url`` just now, and return its row.

    A store that moved keeps its id and gets the new address.
    """
    now = utc_stamp()
    seen = update(stores).where(stores.c.store_id == store_id).values(url=url, kind=kind, last_seen=now, place=place)
    if not tx.execute(seen).rowcount:
        row = {"store_id": store_id, "url": url, "kind": kind, "first_seen": now, "last_seen": now, "place": place}
        tx.execute(insert(stores).values(row))
    meta.set(tx, f"{_MET_AT}{url}", store_id)
    return StoreRow(*tx.execute(select(*_COLUMNS).where(stores.c.store_id == store_id)).one())


def store_by_url(tx: Transaction, url: str) -> StoreRow | None:
    """Return the store last reached at ``url``."""
    query = select(*_COLUMNS).where(stores.c.url == url).order_by(stores.c.last_seen.desc()).limit(1)
    row = tx.execute(query).first()
    return None if row is None else StoreRow(*row)


def store_id_met_at(tx: Transaction, url: str) -> str | None:
    """Return the id of the store that was last met at ``url``, even if it was met elsewhere since."""
    return meta.get(tx, f"{_MET_AT}{url}")


def all_stores(tx: Transaction) -> list[StoreRow]:
    """Return every store, the first met first."""
    query = select(*_COLUMNS).order_by(stores.c.first_seen, stores.c.store_id)
    return [StoreRow(*row) for row in tx.execute(query)]
