"""The catalogue's database: opened, checked, migrated; one writer at a time, readers beside it.

SQLite by default, PostgreSQL by URL. SQL that only one of them understands stands here and in
`ecogsafe.catalog.snapshots`, nowhere else.
"""

from __future__ import annotations

import os
import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect, make_url
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from ecogsafe.catalog.failures import ITEM, REBUILD, as_our_errors, damaged, is_full, no_space
from ecogsafe.catalog.network_fs import is_on_network
from ecogsafe.catalog.schema import REVISION
from ecogsafe.core.clock import utc_now, utc_stamp
from ecogsafe.core.errors import EcogsafeError, LockedError, NotInitialisedError, UsageError

#: one open transaction; what every function of this package takes first
Transaction = Connection

#: PRAGMA application_id of our files: "eCoG"
_APPLICATION_ID = 0x65436F47
_SMALL_BYTES = 64 * 2**20
_CHECK_EVERY = timedelta(days=1)
_CHECKED = "checked_at"


def database_time(tx: Transaction) -> datetime:
    """Return the time by the database's own clock, aware, in UTC; to the millisecond at least."""
    if tx.dialect.name == "sqlite":
        text = tx.exec_driver_sql("SELECT strftime('%Y-%m-%dT%H:%M:%f+00:00', 'now')").scalar_one()
        return datetime.fromisoformat(text)
    at: datetime = tx.exec_driver_sql("SELECT clock_timestamp()").scalar_one()
    return at.astimezone(UTC)


def _engine(url: URL, *, writes: bool, busy_timeout_s: float) -> Engine:
    if url.get_backend_name() != "sqlite":
        level = "SERIALIZABLE" if writes else "REPEATABLE READ"
        return create_engine(url, isolation_level=level, hide_parameters=True, pool_pre_ping=True)
    engine = create_engine(
        url,
        connect_args={"timeout": busy_timeout_s, "check_same_thread": False},
        pool_size=1 if writes else 4,
        # A thread that reads never waits for another one that reads.
        max_overflow=0 if writes else -1,
        hide_parameters=True,
    )

    @event.listens_for(engine, "connect")
    def on_connect(connection: Any, record: Any) -> None:
        # sqlite3 must not open transactions by itself: BEGIN is given below.
        connection.isolation_level = None
        cursor = connection.cursor()
        for pragma in (
            "foreign_keys=ON",
            "synchronous=FULL",
            "fullfsync=ON",
            "secure_delete=ON",
            "trusted_schema=OFF",
        ):
            cursor.execute(f"PRAGMA {pragma}")
        if not writes:
            cursor.execute("PRAGMA query_only=ON")
        cursor.close()

    @event.listens_for(engine, "begin")
    def on_begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _as_url(url_or_path: str | Path) -> URL:
    if isinstance(url_or_path, str) and "://" in url_or_path:
        try:
            url = make_url(url_or_path)
            url.get_dialect()
        except (ArgumentError, NoSuchModuleError, ImportError) as error:
            raise UsageError("ECOGSAFE_CATALOG", "is no URL of a database that can be used here") from error
        if url.get_backend_name() == "sqlite" and url.database in (None, "", ":memory:"):
            raise UsageError("ECOGSAFE_CATALOG", "names no file", next="sqlite:////absolute/path/catalog.sqlite")
        return url
    return URL.create("sqlite", database=str(url_or_path))


class Catalog:
    """An open catalogue; threads may share it, processes open their own.

    Attributes
    ----------
    path
        The SQLite file; None for a server.
    on_network_fs
        The file lies on a network file system: rollback journal, and only one run at a time may work.
    """

    def __init__(self, url: URL, *, on_network_fs: bool, busy_timeout_s: float) -> None:
        is_sqlite = url.get_backend_name() == "sqlite"
        self.path = Path(str(url.database)) if is_sqlite else None
        self.on_network_fs = on_network_fs
        self._folder = self.path.parent if self.path is not None else None
        self._writer = _engine(url, writes=True, busy_timeout_s=busy_timeout_s)
        self._reader = _engine(url, writes=False, busy_timeout_s=busy_timeout_s)
        self._lock = threading.RLock()
        self._here = threading.local()
        self._busy_timeout_s = busy_timeout_s
        #: once there are tables to lock on a server
        self._queues_at_server = False

    @classmethod
    def open(
        cls, url_or_path: str | Path, *, create: bool = False, busy_timeout_s: float = 30.0, only_look: bool = False
    ) -> Catalog:
        """Open the catalogue, check it, and bring it to the present revision.

        Parameters
        ----------
        url_or_path
            A file, or an SQLAlchemy URL.
        create
            Whether to make one where there is none.
        busy_timeout_s
            How long to wait for another process, or another machine, that writes.
        only_look
            Whether somebody waits for one answer: the daily check of a large file is left to the next run.

        Raises
        ------
        NotInitialisedError
            There is none, and ``create`` is false.
        DamagedCatalogueError
            It is not whole.
        NoSpaceError
            Its disk is full.
        UsageError
            It is not a catalogue, a newer ecogsafe wrote it, or it cannot be opened for writing.
        LockedError
            Another process kept it locked.
        """
        url = _as_url(url_or_path)
        on_network_fs = False
        if url.get_backend_name() == "sqlite":
            path = Path(str(url.database)).absolute()
            url = url.set(database=str(path))
            _prepare(path, create=create)
            on_network_fs = is_on_network(path.parent)
        catalog = cls(url, on_network_fs=on_network_fs, busy_timeout_s=busy_timeout_s)
        try:
            with as_our_errors(catalog._folder):
                catalog._begin(create=create, only_look=only_look)
        except BaseException:
            catalog.close()
            raise
        return catalog

    def _begin(self, *, create: bool, only_look: bool) -> None:
        if self.path is not None:
            self._check_kind()
        with self.read() as tx:
            revision = _revision(tx)
        if revision is None and not create:
            raise _missing()
        if self.path is not None:
            self._set_journal_mode()
        if revision != REVISION:
            self._migrate(revision)
        if self.path is not None and revision is not None:
            self._check(self.path, only_look=only_look)
        self._queues_at_server = self.path is None

    def _check_kind(self) -> None:
        with self.read() as tx:
            application_id = tx.exec_driver_sql("PRAGMA application_id").scalar_one()
            # A kill within `init` may leave a file without tables.
            is_empty = not tx.exec_driver_sql("SELECT count(*) FROM sqlite_master").scalar_one()
        if application_id != _APPLICATION_ID and not is_empty:
            raise UsageError(
                ITEM, "the file is a database of something else", next="move that file away, or name another home"
            )

    def _set_journal_mode(self) -> None:
        wanted = "delete" if self.on_network_fs else "wal"
        # Only a database that nobody else has open leaves the write-ahead log; that includes our reader.
        self._reader.dispose()
        with self._writer.connect() as connection:
            raw = connection.connection.driver_connection
            got = raw.execute(f"PRAGMA journal_mode={wanted}").fetchone()[0]  # type: ignore[union-attr]
        if self.on_network_fs and got != wanted:
            raise LockedError(ITEM, "another run has it open on a network file system", next="wait until it has ended")

    def _migrate(self, revision: str | None) -> None:
        # Only here: alembic takes a tenth of a second to import, and is needed once per revision.
        from ecogsafe.catalog.migrate import check_known, migrate

        if revision is not None:
            check_known(revision)
        with self.write() as tx:
            before = _revision(tx)
            if before == REVISION:
                return
            keep = None
            if before is not None and self.path is not None:
                keep = self._keep_older
            migrate(tx, REVISION, before=keep)
            if before is None:
                from ecogsafe.catalog import meta

                meta.set(tx, "catalogue_id", secrets.token_hex(16))
                meta.set(tx, "created_at", utc_stamp())
            if self.path is not None:
                tx.exec_driver_sql(f"PRAGMA application_id={_APPLICATION_ID}")

    def _keep_older(self) -> None:
        from ecogsafe.catalog.snapshots import copy_database

        if self.path is not None:
            kept = self.path.with_name(f"{self.path.name}.before-{REVISION}")
            copy_database(self, kept, replace=True)

    def _check(self, path: Path, *, only_look: bool) -> None:
        from ecogsafe.catalog import meta

        with self.read() as tx:
            checked = meta.get(tx, _CHECKED)
            is_fresh = checked is not None and _is_recent(checked)
            if (is_fresh or only_look) and path.stat().st_size >= _SMALL_BYTES:
                return
            answer = tx.exec_driver_sql("PRAGMA quick_check(1)").scalar_one()
        if answer != "ok":
            raise damaged()
        if not is_fresh:
            with self.write() as tx:
                meta.set(tx, _CHECKED, utc_stamp())

    @contextmanager
    def write(self) -> Iterator[Transaction]:
        """Open a transaction that may change rows; commits at the end, takes all back on an exception.

        Threads queue. Inside another ``write`` of the same thread it is a part of that one (a savepoint).

        Raises
        ------
        LockedError
            Another process kept writing.
        NoSpaceError, UsageError, DamagedCatalogueError
            The disk is full; the file is read-only; it is not whole.
        RuntimeError
            Inside ``read`` of the same thread: on a network file system the two would wait for each other.
        """
        if getattr(self._here, "reads", 0):
            raise RuntimeError("write() inside read()")
        with self._lock, as_our_errors(self._folder):
            outer: Connection | None = getattr(self._here, "tx", None)
            if outer is not None:
                with outer.begin_nested():
                    yield outer
                return
            with self._writer.begin() as tx:
                if self._queues_at_server:
                    self._queue(tx)
                self._here.tx = tx
                try:
                    yield tx
                finally:
                    self._here.tx = None

    def _queue(self, tx: Transaction) -> None:
        """Wait until no other machine writes: all of them extend one audit chain, so of two the server refuses one.

        Readers go on. Both come first in a transaction, as they see no state of the database yet
        (https://www.postgresql.org/docs/current/sql-lock.html).
        """
        tx.exec_driver_sql(f"SET LOCAL lock_timeout = {round(self._busy_timeout_s * 1000)}")
        tx.exec_driver_sql("LOCK TABLE leases IN EXCLUSIVE MODE")

    @contextmanager
    def read(self) -> Iterator[Transaction]:
        """Open a transaction that sees one state of the catalogue and changes nothing; threads do not queue.

        Inside ``write`` of the same thread it does not see what that one has not committed.

        Raises
        ------
        LockedError, UsageError, DamagedCatalogueError
            As `write`.
        """
        with as_our_errors(self._folder), self._reader.begin() as tx:
            self._here.reads = getattr(self._here, "reads", 0) + 1
            try:
                yield tx
            finally:
                self._here.reads -= 1

    def close(self) -> None:
        """Let go of the database; the last process that closes it folds the write-ahead log into the file."""
        self._reader.dispose()
        self._writer.dispose()

    def __enter__(self) -> Catalog:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _missing() -> EcogsafeError:
    return NotInitialisedError(ITEM, "there is none", next=f"ecogsafe init (after a loss: {REBUILD})")


def _prepare(path: Path, *, create: bool) -> None:
    """Make the empty file, for its owner alone, or raise where there is none and none is wanted."""
    try:
        if path.exists():
            return
        if not create:
            raise _missing()
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    except OSError as error:
        if is_full(error):
            raise no_space() from error
        raise UsageError(ITEM, "cannot be opened or made", next="check the permissions of the home") from error


def _revision(tx: Transaction) -> str | None:
    if not inspect(tx).has_table("alembic_version"):
        return None
    found = tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar()
    return None if found is None else str(found)


def _is_recent(stamp: str) -> bool:
    age = utc_now() - datetime.fromisoformat(stamp)
    return timedelta(0) <= age < _CHECK_EVERY
