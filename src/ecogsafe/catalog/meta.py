"""Named texts of the catalogue itself: its id, the digest of recipients.txt, the last check."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.schema import meta

_GET = select(meta.c.value).where(meta.c.name == bindparam("a_name"))
_CHANGE = update(meta).where(meta.c.name == bindparam("a_name")).values(value=bindparam("the_value"))
_ADD = insert(meta)


def get(tx: Transaction, name: str) -> str | None:
    """Return the text kept under ``name``; None where there is none."""
    return tx.execute(_GET, {"a_name": name}).scalar()


def set(tx: Transaction, name: str, value: str) -> None:
    """Keep ``value`` under ``name``, in place of what was there."""
    changed = tx.execute(_CHANGE, {"a_name": name, "the_value": value}).rowcount
    if not changed:
        tx.execute(_ADD, {"name": name, "value": value})


def starting_with(tx: Transaction, start: str) -> dict[str, str]:
    """Return every text whose name begins with ``start``, by name."""
    rows = tx.execute(select(meta.c.name, meta.c.value).where(meta.c.name.startswith(start, autoescape=True)))
    return {row.name: row.value for row in rows}
