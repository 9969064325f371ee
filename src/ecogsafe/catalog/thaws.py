"""What was asked of stores that keep objects cold: the newest request for each object.

The store itself says whether an object can be read; this says since when it was asked for, and when to come back.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import delete, insert, select, update

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import thaws


@dataclass(frozen=True, slots=True, kw_only=True)
class ThawRow:
    """One request; times are `ecogsafe.core.clock.utc_stamp` texts."""

    store_id: str
    key: str
    #: "Bulk", "Standard", "Expedited"
    tier: str
    requested_at: str
    #: when it is ready at the latest, as the provider promises
    expected_at: str
    #: how long the thawed copy was asked for
    days: int
    #: when the thawed copy goes; None until the store has said
    expires_at: str | None = None


_COLUMNS = columns_of(ThawRow, thaws)
_NAMES = [column.name for column in _COLUMNS]


def record_thaws(tx: Transaction, rows: Sequence[ThawRow]) -> None:
    """Keep requests that stores have taken, each in place of an older one for the same object."""
    for row in rows:
        tx.execute(delete(thaws).where(thaws.c.store_id == row.store_id, thaws.c.key == row.key))
    if rows:
        tx.execute(insert(thaws), [values_of(row) for row in rows])


def note_expiry(tx: Transaction, store_id: str, key: str, expires_at: str) -> None:
    """Note when the thawed copy goes."""
    here = (thaws.c.store_id == store_id, thaws.c.key == key)
    tx.execute(update(thaws).where(*here).values(expires_at=expires_at))


def thaws_in_store(tx: Transaction, store_id: str) -> dict[str, ThawRow]:
    """Return the newest request for each object of a store, by key."""
    rows = tx.execute(select(*_COLUMNS).where(thaws.c.store_id == store_id))
    found = (ThawRow(**dict(zip(_NAMES, row, strict=True))) for row in rows)
    return {row.key: row for row in found}
