"""Inserts that look first, in one statement that is built once.

What SQLAlchemy needs to build a statement and look it up costs several times what carrying it out costs;
a row is added for every part that leaves and for every part that has arrived.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BindParameter, Column, ColumnElement, Executable, Table, and_, bindparam, exists, insert, select


def guarded_insert(table: Table, *guards: ColumnElement[bool]) -> Executable:
    """Return a statement that adds a row if its primary key is new and all ``guards`` hold; nothing otherwise.

    Its parameters have the names of the columns; `parameter` makes one for a guard.
    """
    key = and_(*(column == parameter(column) for column in table.primary_key))
    new = select(*(parameter(column) for column in table.c)).where(~exists().where(key), *guards)
    return insert(table).from_select([column.name for column in table.c], new)


def parameter(column: Column[Any], name: str | None = None) -> BindParameter[Any]:
    """Return the parameter ``name`` (default: the column's) with the column's type."""
    return bindparam(name or column.name, type_=column.type)
