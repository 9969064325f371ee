"""Between rows of the database and frozen dataclasses whose fields are named as the columns."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

from sqlalchemy import (
    Column,
    Connection,
    Insert,
    Table,
    insert,
)

if TYPE_CHECKING:
    from _typeshed import DataclassInstance


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


@cache
def _insert(table: Table) -> Insert:
    return insert(table)


def insert_numbered(tx: Connection, table: Table, values: dict[str, Any]) -> int:
    """Add a row and return the number the database gave it."""
    key = tx.execute(_insert(table), values).inserted_primary_key
    if key is None:
        raise TypeError(f"{table.name} does not number its rows")
    return int(key[0])
