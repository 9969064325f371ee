"""A catalogue put in the place of another: the one that was there is kept beside it, never removed."""

from __future__ import annotations

from pathlib import Path

from sqlalchemy import func, select

from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.failures import as_our_errors, damaged
from ecogsafe.catalog.schema import copies, files, intents, journals, sealings, segments, subjects
from ecogsafe.catalog.snapshots import check_whole
from ecogsafe.core.durable import fsync_directory, rename_noreplace

#: what SQLite keeps beside a database; a database never sees those of another one
_BESIDE = ("-wal", "-shm", "-journal")


def holds_work(tx: Transaction) -> bool:
    """Return whether this catalogue knows anything that another one might not: a subject, a file, a copy."""
    tables = (subjects, segments, journals, files, copies, sealings, intents)
    return any(tx.execute(select(1).select_from(table).limit(1)).first() is not None for table in tables)


def numbers(tx: Transaction) -> tuple[int, int]:
    """Return how many current files and how many copies the catalogue knows."""
    current = select(func.count()).select_from(files).where(files.c.superseded_at.is_(None))
    recorded = select(func.count()).select_from(copies)
    return tx.execute(current).scalar_one(), tx.execute(recorded).scalar_one()


def open_whole(path: Path) -> Catalog:
    """Open the catalogue ``path`` after a full check, and bring it to the present revision.

    Raises
    ------
    DamagedCatalogueError
        It is not whole, or holds nothing.
    UsageError
        It is no catalogue, or a newer ecogsafe wrote it.
    """
    with as_our_errors():
        check_whole(path)
    return Catalog.open(path)


def put_in_place(new: Path, path: Path, kept: Path) -> bool:
    """Give the closed catalogue ``new`` the name ``path``; what stands there is renamed to ``kept``.

    A kill in between leaves no catalogue under ``path``, or the one of before: never one with a log of another.

    Returns
    -------
    bool
        Whether there was anything to keep.

    Raises
    ------
    DamagedCatalogueError
        ``new`` was not closed: a log stands beside it.
    """
    if any(new.with_name(f"{new.name}{end}").exists() for end in _BESIDE):
        raise damaged()
    was_there = path.exists()
    for end in ("", *_BESIDE):
        old = path.with_name(f"{path.name}{end}")
        if old.exists():
            rename_noreplace(old, kept.with_name(f"{kept.name}{end}"))
    fsync_directory(path.parent)
    rename_noreplace(new, path)
    fsync_directory(path.parent)
    return was_there
