"""Database errors as ours. Their own texts, which quote SQL and paths, stay behind (only in the cause)."""

from __future__ import annotations

import errno
import os
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ecogsafe.core.errors import (
    DamagedCatalogueError,
    EcogsafeError,
    LockedError,
    NoSpaceError,
    StoreUnreachableError,
    UsageError,
)

ITEM = "catalogue"
REBUILD = "ecogsafe catalog rebuild --from URL, URL being a store with data of this lab"

#: primary result codes, https://www.sqlite.org/rescode.html
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
#: Bytes that a disk which is not full takes: the shared memory of the write-ahead log alone is 32 KiB.
_LEAST_ROOM = 1 << 18
_UNWRITABLE = {sqlite3.SQLITE_READONLY, sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_PERM, sqlite3.SQLITE_AUTH}
_DAMAGED = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT}
#: SQLSTATE of PostgreSQL
_BUSY_STATES = {"40001", "40P01", "55P03"}
_FULL_STATE = "53100"


def damaged() -> DamagedCatalogueError:
    """Return the error of a catalogue that is not whole."""
    return DamagedCatalogueError(
        ITEM,
        "is damaged",
        safe="The recordings and the copies in the stores are not touched by this",
        next=REBUILD,
    )


def no_space() -> NoSpaceError:
    """Return the error of a catalogue whose disk is full."""
    return NoSpaceError(ITEM, "its disk is full", next="make room in the home, then run again")


def is_full(error: OSError) -> bool:
    """Return whether ``error`` is that of a full disk, or of a quota that is used up."""
    return error.errno in (errno.ENOSPC, errno.EDQUOT)


def _has_no_room(folder: Path) -> bool:
    """Return whether the disk of ``folder`` takes no more: SQLite calls many a full disk an input/output error."""
    try:
        with tempfile.TemporaryFile(dir=folder, prefix=".ecogsafe-room-") as file:
            file.write(bytes(_LEAST_ROOM))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return is_full(error)
    return False


def _of_sqlite(error: sqlite3.Error, folder: Path | None) -> EcogsafeError | None:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:
        return None
    primary = code & 0xFF
    if primary in _BUSY:
        return LockedError(ITEM, "another run is writing to it", next="wait a little, then run again")
    if primary == sqlite3.SQLITE_FULL or code == sqlite3.SQLITE_IOERR_SHMSIZE:
        return no_space()
    if primary in (sqlite3.SQLITE_IOERR, sqlite3.SQLITE_CANTOPEN) and folder is not None and _has_no_room(folder):
        return no_space()
    if primary in _UNWRITABLE:
        return UsageError(ITEM, "cannot be opened for writing", next="check the permissions of the home")
    if primary in _DAMAGED:
        return damaged()
    if primary == sqlite3.SQLITE_IOERR:
        return DamagedCatalogueError(
            ITEM, "its disk could not be read or written", next=f"check the disk; if it was lost, {REBUILD}"
        )
    return None


def as_ours(error: SQLAlchemyError | sqlite3.Error, folder: Path | None = None) -> EcogsafeError:
    """Return the error of ours that says what ``error`` means."""
    if isinstance(error, PoolTimeoutError):
        return LockedError(ITEM, "too many readers at once", next="run again")
    inner = error.orig if isinstance(error, DBAPIError) else error
    found: EcogsafeError | None = None
    if isinstance(inner, sqlite3.Error):
        found = _of_sqlite(inner, folder)
    elif inner is not None:
        state = getattr(inner, "sqlstate", None)
        if state in _BUSY_STATES:
            found = LockedError(ITEM, "another run is writing to it", next="run again")
        elif state == _FULL_STATE:
            found = NoSpaceError(ITEM, "its disk is full", next="make room, then run again")
        elif isinstance(error, DBAPIError) and error.connection_invalidated:
            found = StoreUnreachableError(
                ITEM, "its server does not answer", next="check the server named in ECOGSAFE_CATALOG, then run again"
            )
    return found or EcogsafeError(ITEM, f"refused what was asked of it ({type(error).__name__})")


@contextmanager
def as_our_errors(folder: Path | None = None) -> Iterator[None]:
    """Raise every database error inside as one of ours.

    Parameters
    ----------
    folder
        Of the file, where there is one: after an error of the disk it is asked whether it is full.
    """
    try:
        yield
    except (SQLAlchemyError, sqlite3.Error) as error:
        raise as_ours(error, folder) from error
