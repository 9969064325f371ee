"""Clearances: this file's text was searched and is clean, for one set of identifiers (DESIGN 5.5)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sqlalchemy import bindparam, delete, insert, select

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import Tree, check_path
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import clearances


@dataclass(frozen=True, slots=True)
class ClearanceRow:
    """The newest clearance of a path; it lapses when ``revision`` is no longer its subject's."""

    subject: str
    tree: Tree
    path: str
    #: bytes
    size: int
    #: digest of its text regions, places and lengths included (`ecogsafe.formats.text_digest`)
    text_sha256: str
    revision: int
    scanner_version: str
    at: str
    #: ids of findings that a person called harmless
    accepted: tuple[str, ...] = ()


_COLUMNS = columns_of(ClearanceRow, clearances)


def record_clearances(tx: Transaction, rows: Iterable[ClearanceRow]) -> None:
    """Keep ``rows``, each in place of an older one of its path."""
    batch = list(rows)
    for row in batch:
        check_path(row.path, row.subject)
    withdraw_clearances(tx, ((row.tree, row.path) for row in batch))
    if batch:
        tx.execute(insert(clearances), [values_of(row) for row in batch])


def withdraw_clearances(tx: Transaction, paths: Iterable[tuple[Tree, str]]) -> None:
    """Forget the clearances of ``paths``: a later search found something, or the file is gone."""
    batch = [{"a_tree": tree, "a_path": path} for tree, path in paths]
    if batch:
        gone = delete(clearances).where(
            clearances.c.tree == bindparam("a_tree"), clearances.c.path == bindparam("a_path")
        )
        tx.execute(gone, batch)


def clearance_for(tx: Transaction, tree: Tree, path: str) -> ClearanceRow | None:
    """Return the newest clearance of ``path``."""
    row = tx.execute(select(*_COLUMNS).where(clearances.c.tree == tree, clearances.c.path == path)).first()
    return None if row is None else ClearanceRow(*row)


def clearances_of(tx: Transaction, subject: str) -> dict[tuple[str, str], ClearanceRow]:
    """Return the newest clearances of ``subject`` by tree and path."""
    rows = (ClearanceRow(*row) for row in tx.execute(select(*_COLUMNS).where(clearances.c.subject == subject)))
    return {(row.tree, row.path): row for row in rows}
