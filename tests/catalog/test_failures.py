"""Each database error becomes the error of ours that says what to do."""

from __future__ import annotations

import errno
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy.exc import InterfaceError, OperationalError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from ecogsafe.catalog.failures import as_our_errors
from ecogsafe.core.errors import (
    DamagedCatalogueError,
    EcogsafeError,
    LockedError,
    NoSpaceError,
    StoreUnreachableError,
    UsageError,
)


def _sqlite(code: int) -> sqlite3.OperationalError:
    error = sqlite3.OperationalError("/secret/path")
    error.sqlite_errorcode = code
    return error


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (sqlite3.SQLITE_BUSY, LockedError),
        (sqlite3.SQLITE_BUSY_SNAPSHOT, LockedError),
        (sqlite3.SQLITE_LOCKED, LockedError),
        (sqlite3.SQLITE_FULL, NoSpaceError),
        (sqlite3.SQLITE_IOERR_SHMSIZE, NoSpaceError),
        (sqlite3.SQLITE_READONLY, UsageError),
        (sqlite3.SQLITE_READONLY_DIRECTORY, UsageError),
        (sqlite3.SQLITE_CANTOPEN, UsageError),
        (sqlite3.SQLITE_CORRUPT, DamagedCatalogueError),
        (sqlite3.SQLITE_NOTADB, DamagedCatalogueError),
        (sqlite3.SQLITE_IOERR_FSYNC, DamagedCatalogueError),
        (sqlite3.SQLITE_ERROR, EcogsafeError),
    ],
)
def test_errors_of_sqlite(code: int, kind: type[EcogsafeError]) -> None:
    for raised in (_sqlite(code), OperationalError("SELECT 'secret'", None, _sqlite(code))):
        with pytest.raises(EcogsafeError) as caught, as_our_errors():
            raise raised
        assert type(caught.value) is kind
        assert "secret" not in str(caught.value)


class _ServerError(Exception):
    def __init__(self, sqlstate: str | None) -> None:
        super().__init__("secret")
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (OperationalError("", None, _ServerError("40001")), LockedError),
        (OperationalError("", None, _ServerError("40P01")), LockedError),
        (OperationalError("", None, _ServerError("53100")), NoSpaceError),
        (OperationalError("", None, _ServerError(None), connection_invalidated=True), StoreUnreachableError),
        (InterfaceError("", None, _ServerError("XX000")), EcogsafeError),
        (PoolTimeoutError(), LockedError),
        (SQLAlchemyError(), EcogsafeError),
    ],
)
def test_errors_of_a_server(raised: SQLAlchemyError, kind: type[EcogsafeError]) -> None:
    with pytest.raises(EcogsafeError) as caught, as_our_errors():
        raise raised
    assert type(caught.value) is kind
    assert "secret" not in str(caught.value)


def test_other_errors_pass() -> None:
    with pytest.raises(ZeroDivisionError), as_our_errors():
        raise ZeroDivisionError


@pytest.mark.parametrize("code", [sqlite3.SQLITE_IOERR_WRITE, sqlite3.SQLITE_IOERR_FSYNC, sqlite3.SQLITE_CANTOPEN])
@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_takes_no_more_is_full_and_no_damage(
    code: int, number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_values: object, **_more: object) -> None:
        raise OSError(number, "full")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(NoSpaceError, match="full"), as_our_errors(tmp_path):
        raise _sqlite(code)


def test_an_error_of_a_disk_with_room_is_what_it_was(tmp_path: Path) -> None:
    with pytest.raises(DamagedCatalogueError), as_our_errors(tmp_path):
        raise _sqlite(sqlite3.SQLITE_IOERR_WRITE)
    with pytest.raises(UsageError), as_our_errors(tmp_path / "gone"):
        raise _sqlite(sqlite3.SQLITE_CANTOPEN)
    assert list(tmp_path.iterdir()) == [], "the look at the disk left a file"
