"""Rows added, changed and looked for by the hundred: a statement is compiled once and given to the driver as it is.

For every row of an ordinary ``executemany``, and every value of an ordinary ``IN``, SQLAlchemy builds parameters
and looks each of them over; that costs as much as SQLite needs for the row (``docs/performance.md``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from operator import itemgetter
from typing import Any, NamedTuple

from sqlalchemy import Insert, Select, Table, Update, insert
from sqlalchemy.engine import Dialect

from ecogsafe.catalog.database import Transaction

#: values in one statement: a multiple of so many, and not more than that
_STEP = 32
_MOST = 512


def add_rows(tx: Transaction, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Add ``rows`` to ``table``; all of them name the same columns."""
    if rows:
        _carry_out(tx, _compiled(_adding(table), tuple(rows[0]), tx.dialect), rows)


def carry_out(tx: Transaction, statement: Update, rows: Sequence[Mapping[str, Any]]) -> None:
    """Carry ``statement``, which was made once, out for each of ``rows``.

    Parameters
    ----------
    rows
        The parameters, two or more each; all of them name the same.
    """
    if rows:
        _carry_out(tx, _compiled(statement, None, tx.dialect), rows)


def _carry_out(tx: Transaction, one: _Compiled, rows: Sequence[Mapping[str, Any]]) -> None:
    given = [list(one.values_of(row)) for row in rows]
    for position, as_kept in one.kept:
        for values in given:
            values[position] = as_kept(values[position])
    if tx.dialect.positional:
        tx.exec_driver_sql(one.text, [tuple(values) for values in given])
    else:
        tx.exec_driver_sql(one.text, [dict(zip(one.names, values, strict=True)) for values in given])


class _Compiled(NamedTuple):
    """A statement for one database."""

    text: str
    #: its parameters, in their order
    names: tuple[str, ...]
    values_of: Callable[[Mapping[str, Any]], tuple[Any, ...]]
    #: of those that are kept in another form than they are given in: position, and what makes that form
    kept: tuple[tuple[int, Callable[[Any], Any]], ...]


@lru_cache(maxsize=64)
def _adding(table: Table) -> Insert:
    return insert(table).inline()


@lru_cache(maxsize=64)
def _compiled(statement: Insert | Update, columns: tuple[str, ...] | None, dialect: Dialect) -> _Compiled:
    """Compile ``statement`` for one database; an insert for these columns."""
    compiled = statement.compile(dialect=dialect, column_keys=columns and list(columns))
    names = tuple(compiled.positiontup or compiled.binds)
    forms = [compiled.binds[name].type.dialect_impl(dialect).bind_processor(dialect) for name in names]
    return _Compiled(
        text=str(compiled),
        names=names,
        values_of=itemgetter(*names),
        kept=tuple((position, form) for position, form in enumerate(forms) if form is not None),
    )


def among(tx: Transaction, statement: Select[Any], given: Mapping[str, Any], /, **many: Sequence[str]) -> list[Any]:
    """Return the rows that ``statement`` finds for many values of one of its parameters, some hundred at a time.

    Parameters
    ----------
    statement
        Made once; the parameter of many values is an expanding one. Its columns are texts or plain numbers, which
        come as the driver gives them.
    given
        The other parameters.
    """
    ((name, values),) = many.items()
    found: list[Any] = []
    for start in range(0, len(values), _MOST):
        some = list(values[start : start + _MOST])
        # a value twice finds nothing more, and few lengths make few statements
        some += some[-1:] * (-len(some) % _STEP)
        text, order, parameters = _listed(statement, tuple(given), name, len(some), tx.dialect)
        parameters = {**parameters, **given, **{f"{name}_{number}": one for number, one in enumerate(some, 1)}}
        found += tx.exec_driver_sql(text, tuple([parameters[one] for one in order]) if order else parameters).all()
    return found


@lru_cache(maxsize=64)
def _listed(
    statement: Select[Any], others: tuple[str, ...], name: str, count: int, dialect: Dialect
) -> tuple[str, tuple[str, ...], dict[str, Any]]:
    """Return the statement for so many values, the order of its parameters (() where they go by name), and these."""
    listed = statement.compile(dialect=dialect).construct_expanded_state(
        dict.fromkeys(others, "") | {name: [""] * count}
    )
    return listed.statement, tuple(listed.positiontup or ()), dict(listed.parameters)
