"""Durable notes in batches: many threads write, one commit (one fsync) covers all that wait.

A write is a function of an open transaction; it may be called again after a rollback, so it changes
nothing else. ``record`` returns when the commit that holds it is on the disk, so that a caller may let the
bytes go that the row speaks of.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any, TypeVar

from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.failures import ITEM
from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import LockedError, NoSpaceError

T = TypeVar("T")
R = TypeVar("R")
_BATCH = 256
#: how long a write that may wait does so for others to share its commit, seconds
SOON_S = 0.015


@dataclass(frozen=True, slots=True)
class _Entry:
    #: of an open transaction; for a row, also of all rows of its kind that wait with it
    write: Callable[..., Any]
    future: Future[Any]
    may_wait: bool
    is_row: bool = False
    row: Any = None


class Ledger:
    """One writer thread in front of a catalogue."""

    def __init__(self, catalog: Catalog) -> None:
        self.catalog = catalog
        self._queue: queue.SimpleQueue[_Entry | None] = queue.SimpleQueue()
        self._closed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="ledger", daemon=True)
        self._thread.start()

    def submit(self, write: Callable[[Transaction], T], *, may_wait: bool = False) -> Future[T]:
        """Queue ``write``; the future is done when its commit is durable.

        Parameters
        ----------
        may_wait
            For `SOON_S`, unless somebody who may not comes by: many such writes then share one commit.

        Raises
        ------
        RuntimeError
            The ledger is closed.
        """
        future: Future[T] = Future()
        self._put(_Entry(write, future, may_wait))
        return future

    def submit_row(self, write: Callable[[Transaction, Sequence[R]], None], row: R) -> Future[None]:
        """Queue ``row``, which may wait (see `submit`); ``write`` gets it with others of its kind that wait with it.

        Rows of several kinds that wait together change places; nothing else overtakes a row, or is overtaken.
        """
        future: Future[None] = Future()
        self._put(_Entry(write, future, may_wait=True, is_row=True, row=row))
        return future

    def _put(self, entry: _Entry) -> None:
        # so that nobody can cancel what the writer is about to carry out
        entry.future.set_running_or_notify_cancel()
        with self._lock:
            if self._closed:
                raise RuntimeError("the ledger is closed")
            self._queue.put(entry)

    def record(self, write: Callable[[Transaction], T], *, may_wait: bool = False) -> T:
        """Carry out ``write`` and return its value once it is durable; its exception is raised here."""
        return self.submit(write, may_wait=may_wait).result()

    def read(self, query: Callable[[Transaction], T]) -> T:
        """Return what ``query`` finds in the committed state."""
        with self.catalog.read() as tx:
            return query(tx)

    def close(self) -> None:
        """Finish what is queued and stop the writer; may be called twice."""
        with self._lock:
            if not self._closed:
                self._closed = True
                self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while (first := self._queue.get()) is not None:
            batch = [first]
            ending = False
            until = monotonic() + SOON_S
            may_wait = first.may_wait
            while len(batch) < _BATCH:
                try:
                    entry = self._queue.get(timeout=max(0.0, until - monotonic()) if may_wait else 0.0)
                except queue.Empty:
                    break
                if entry is None:
                    ending = True
                    break
                batch.append(entry)
                may_wait = may_wait and entry.may_wait
            self._commit(batch)
            if ending:
                return

    def _commit(self, batch: list[_Entry], *, is_last_try: bool = False) -> None:
        try:
            with self.catalog.write() as tx:
                values = _carried_out(tx, batch)
        except BaseException as error:  # noqa: BLE001  told by whoever waits for the entry
            is_locked = isinstance(error, LockedError) and error.item == ITEM
            if len(batch) == 1 or isinstance(error, NoSpaceError) or (is_locked and is_last_try):
                for entry in batch:
                    entry.future.set_exception(error)
            elif is_locked:
                # for each alone it would be waited as long again
                self._commit(batch, is_last_try=True)
            else:
                # the batch was rolled back as a whole: one bad write must not fail its neighbours
                for entry in batch:
                    self._commit([entry])
            return
        for entry, value in zip(batch, values, strict=True):
            entry.future.set_result(value)


def _carried_out(tx: Transaction, batch: Sequence[_Entry]) -> list[Any]:
    """Return what each write of ``batch`` returned; neighbouring rows of one kind are written together."""
    values: list[Any] = []
    rows: dict[Callable[..., Any], list[Any]] = {}
    for entry in batch:
        if entry.is_row:
            rows.setdefault(entry.write, []).append(entry.row)
            values.append(None)
            continue
        _write_rows(tx, rows)
        values.append(entry.write(tx))
    _write_rows(tx, rows)
    return values


def _write_rows(tx: Transaction, rows: dict[Callable[..., Any], list[Any]]) -> None:
    for write, of_kind in rows.items():
        write(tx, of_kind)
    rows.clear()
