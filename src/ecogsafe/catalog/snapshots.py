"""Copies of a running catalogue: whole ones before a migration, stripped ones that may leave this machine."""

from __future__ import annotations

import os
import secrets
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.failures import ITEM, as_our_errors, damaged
from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import EcogsafeError, NoSpaceError, UsageError

#: what belongs to work under way on this machine; children before their parents
_IN_FLIGHT = (
    "DELETE FROM acks",
    "DELETE FROM uploads",
    "DELETE FROM parts",
    "DELETE FROM sealings",
    "DELETE FROM intents WHERE state = 'open'",
    "DELETE FROM leases",
)


def _new_file(path: Path) -> None:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _fsync(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _source(catalog: Catalog) -> Path:
    if catalog.path is None:
        raise UsageError(ITEM, "is on a server; its own backup keeps it", next="pg_dump")
    return catalog.path


def _back_up(source: Path, target: Path) -> None:
    """Copy the database ``source`` as it is now over the empty file ``target``, in one read transaction."""
    with closing(sqlite3.connect(source, timeout=30.0)) as here, closing(sqlite3.connect(target)) as there:
        here.backup(there)
        # A write-ahead log beside the copy would hold a part of it.
        there.execute("PRAGMA journal_mode=DELETE").fetchone()


def check_whole(path: Path) -> None:
    """Raise DamagedCatalogueError unless every page and every reference of the database ``path`` is whole."""
    with closing(sqlite3.connect(path)) as copy:
        whole = copy.execute("PRAGMA integrity_check(1)").fetchone()[0] == "ok"
        if not whole or copy.execute("PRAGMA foreign_key_check").fetchone() is not None:
            raise damaged()


def _publish(temporary: Path, path: Path, *, replace: bool) -> None:
    _fsync(temporary)
    if replace:
        temporary.replace(path)
    else:
        rename_noreplace(temporary, path)
    fsync_directory(path.parent)


def _temporary(path: Path) -> Path:
    return path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")


def _os_failure(error: OSError) -> EcogsafeError:
    if isinstance(error, FileExistsError):
        return UsageError("snapshot", "a file of that name exists; snapshots are never replaced")
    return NoSpaceError("snapshot", "could not be written", next="check the room and permissions of its folder")


def copy_database(catalog: Catalog, path: Path, *, replace: bool = False) -> None:
    """Write a whole, checked copy of ``catalog`` to ``path``, for its owner alone; it holds wrapped keys.

    Raises
    ------
    DamagedCatalogueError
        The copy is not whole, so the catalogue is not.
    UsageError
        ``path`` exists and ``replace`` is false.
    NoSpaceError
        It could not be written.
    """
    temporary = _temporary(path)
    try:
        with as_our_errors():
            _new_file(temporary)
            _back_up(_source(catalog), temporary)
            check_whole(temporary)
            _publish(temporary, path, replace=replace)
    except OSError as error:
        raise _os_failure(error) from error
    finally:
        temporary.unlink(missing_ok=True)


def snapshot_to(catalog: Catalog, path: Path, *, meanwhile: Callable[[Path], None] | None = None) -> None:
    """Write a consistent copy of ``catalog`` without work under way to the new file ``path``, mode 0600.

    Sealings, parts, uploads, acknowledgements, open intents and leases are left out; no byte of a wrapped
    key remains in the file. Others may write meanwhile.

    Parameters
    ----------
    meanwhile
        Is given the copy while that is looked through for damage, which takes as long as all the rest; what it makes
        of it counts only if no error is raised here.

    Raises
    ------
    DamagedCatalogueError, UsageError, NoSpaceError
        As `copy_database`.
    """
    whole, lean = _temporary(path), _temporary(path)
    try:
        with as_our_errors():
            _new_file(whole)
            _new_file(lean)
            _back_up(_source(catalog), whole)
            with closing(sqlite3.connect(whole, isolation_level=None)) as copy:
                # The copy is thrown away whatever happens: no journal, so that no key is written once more.
                copy.execute("PRAGMA journal_mode=OFF").fetchone()
                copy.execute("PRAGMA secure_delete=ON").fetchone()
                copy.execute("BEGIN")
                for statement in _IN_FLIGHT:
                    copy.execute(statement)
                copy.execute("COMMIT")
                copy.execute("VACUUM INTO ?", (str(lean),))
            with ThreadPoolExecutor(1, "snapshot") as beside:
                checked = beside.submit(check_whole, lean)
                if meanwhile is not None:
                    meanwhile(lean)
                checked.result()
            _publish(lean, path, replace=False)
    except OSError as error:
        raise _os_failure(error) from error
    finally:
        whole.unlink(missing_ok=True)
        lean.unlink(missing_ok=True)
