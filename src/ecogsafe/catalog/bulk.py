"""Rows added by the hundred: the statement is compiled once, and the driver is given it as it is.

For every row of an ordinary ``executemany`` SQLAlchemy builds a set of parameters and looks each of them over;
that costs as much as SQLite needs to add the row (``docs/performance.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any

from sqlalchemy import Table, insert
from sqlalchemy.engine import Dialect

from ecogsafe.catalog.database import Transaction


def add_rows(tx: Transaction, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add ``rows`` to ``table``; all of them name the same columns, in the same order."""
    if not rows:
        return
    names = tuple(rows[0])
    text, kept = _compiled(table, names, tx.dialect)
    values = [list(row.values()) for row in rows]
    for position, as_kept in kept:
        for row in values:
            row[position] = as_kept(row[position])
    if tx.dialect.positional:
        tx.exec_driver_sql(text, [tuple(row) for row in values])
    else:
        tx.exec_driver_sql(text, [dict(zip(names, row, strict=True)) for row in values])


@lru_cache(maxsize=64)
def _compiled(
    table: Table, names: tuple[str, ...], dialect: Dialect
) -> tuple[str, list[tuple[int, Callable[[Any], Any]]]]:
    """Return the statement as the driver takes it, and the columns of which values are kept in another form."""
    text = str(insert(table).compile(dialect=dialect, column_keys=list(names)))
    kept = []
    for position, name in enumerate(names):
        column = table.c[name]
        as_kept = column.type.dialect_impl(dialect).bind_processor(dialect)
        if as_kept is not None:
            kept.append((position, as_kept))
    return text, kept
