"""Between rows of the database and frozen dataclasses whose fields are named as the columns."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import cache
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import Column, ColumnElement, Connection, Table, func, insert, select
from sqlalchemy.dialects import sqlite

if TYPE_CHECKING:
    from _typeshed import DataclassInstance

_SQLITE = sqlite.dialect()


def columns_of(kind: type[DataclassInstance], table: Table) -> list[Column[Any]]:
    """Return the columns of ``table`` in the order of the fields of ``kind``, so that ``kind(*row)`` fits."""
    return [table.c[f.name] for f in fields(kind)]


def values_of(row: DataclassInstance) -> dict[str, Any]:
    """Return the column values of ``row``, not copied."""
    names, get = _fields_of(type(row))
    return dict(zip(names, get(row), strict=True))


@cache
def _fields_of(kind: type[DataclassInstance]) -> tuple[tuple[str, ...], Callable[[Any], tuple[Any, ...]]]:
    names = tuple(f.name for f in fields(kind))
    return names, attrgetter(*names)


def insert_numbered(tx: Connection, table: Table, values: dict[str, Any]) -> int:
    """Add a row and return the number the database gave it."""
    key = tx.execute(insert(table).values(values)).inserted_primary_key
    if key is None:
        raise TypeError(f"{table.name} does not number its rows")
    return int(key[0])


def insert_all(tx: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    """Add ``rows``, at least one, all with the same columns.

    To SQLite they are handed over as they are: what SQLAlchemy does for each row takes longer than adding it.
    """
    given = _as_given(table, rows) if tx.dialect.name == "sqlite" else None
    if given is None:
        tx.execute(insert(table), rows)
    else:
        tx.exec_driver_sql(*given)


def _as_given(table: Table, rows: Sequence[dict[str, Any]]) -> tuple[str, list[tuple[Any, ...]]] | None:
    """Return the statement and the values for SQLite; None where a value is refused, so that SQLAlchemy says why."""
    text, names, processors = _insert_of(table, tuple(rows[0]))
    columns = zip(*map(itemgetter(*names), rows), strict=True)
    try:
        made = [
            values if process is None else [process(value) for value in values]
            for process, values in zip(processors, columns, strict=True)
        ]
    except (ValueError, TypeError):
        return None
    return text, list(zip(*made, strict=True))


@cache
def _insert_of(
    table: Table, names: tuple[str, ...]
) -> tuple[str, tuple[str, ...], tuple[Callable[[Any], Any] | None, ...]]:
    """Return the statement, the columns in its order, and what makes each value one of SQLite's."""
    compiled = insert(table).compile(dialect=_SQLITE, column_keys=list(names))
    order = tuple(compiled.positiontup or ())
    kinds = [table.c[name].type.dialect_impl(_SQLITE) for name in order]
    return str(compiled), order, tuple(kind.bind_processor(_SQLITE) for kind in kinds)


def among(tx: Connection, column: Column[Any], texts: Sequence[str]) -> ColumnElement[bool]:
    """Return the condition that ``column`` is one of ``texts``.

    A list in a statement makes another statement for every length; SQLite is given it as one value.
    """
    if tx.dialect.name != "sqlite":
        return column.in_(texts)
    return column.in_(select(func.json_each(json.dumps(texts)).table_valued("value").c.value))
