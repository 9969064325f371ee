"""Runs: what is going on and what went on, for `status --watch` and the page."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import insert, select, update

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import runs
from ecogsafe.core.clock import utc_stamp


@dataclass(frozen=True, slots=True)
class RunRow:
    """One command; its arguments are not kept, they may be private."""

    id: str
    #: the command's name alone: "upload", "deid apply"
    command: str
    started_at: str
    updated_at: str
    #: None while it runs, and for ever where it was killed
    ended_at: str | None
    exit_status: int | None
    host: str
    pid: int
    files_done: int = 0
    files_total: int | None = None
    bytes_done: int = 0
    bytes_total: int | None = None
    bytes_per_s: float = 0.0
    seconds_left: float | None = None
    #: what was worked on last: a path below OUT, or a key
    current: str = ""
    #: what was there before the run
    files_present: int = 0
    bytes_present: int = 0
    #: requests that were repeated
    retries: int = 0
    #: what the run waits for
    waiting: str = ""
    #: JSON: a list of [path, bytes done, bytes in all] of large files on their way
    current_files: str = "[]"

    def files_under_way(self) -> list[tuple[str, int, int]]:
        """Return ``current_files`` as path, bytes done, bytes in all."""
        return [(path, done, total) for path, done, total in json.loads(self.current_files)]


_COLUMNS = columns_of(RunRow, runs)


def start_run(tx: Transaction, run_id: str, command: str) -> RunRow:
    """Note that this process begins ``command``."""
    now = utc_stamp()
    row = RunRow(run_id, command, now, now, None, None, socket.gethostname(), os.getpid())
    tx.execute(insert(runs).values(values_of(row)))
    return row


def update_run(
    tx: Transaction,
    run_id: str,
    *,
    files_done: int,
    files_total: int | None,
    bytes_done: int,
    bytes_total: int | None,
    bytes_per_s: float,
    seconds_left: float | None,
    current: str,
    files_present: int = 0,
    bytes_present: int = 0,
    retries: int = 0,
    waiting: str = "",
    current_files: Sequence[tuple[str, int, int]] = (),
) -> None:
    """Note how far the run is (the fields of `core.events.Progress`)."""
    tx.execute(
        update(runs)
        .where(runs.c.id == run_id)
        .values(
            updated_at=utc_stamp(),
            files_done=files_done,
            files_total=files_total,
            bytes_done=bytes_done,
            bytes_total=bytes_total,
            bytes_per_s=bytes_per_s,
            seconds_left=seconds_left,
            current=current,
            files_present=files_present,
            bytes_present=bytes_present,
            retries=retries,
            waiting=waiting,
            current_files=json.dumps(list(current_files), ensure_ascii=False),
        )
    )


def end_run(tx: Transaction, run_id: str, exit_status: int) -> None:
    """Note how the run ended."""
    now = utc_stamp()
    ended = {
        "ended_at": now,
        "updated_at": now,
        "exit_status": int(exit_status),
        "current": "",
        "waiting": "",
        "current_files": "[]",
        "seconds_left": None,
    }
    tx.execute(update(runs).where(runs.c.id == run_id).values(ended))


def run(tx: Transaction, run_id: str) -> RunRow | None:
    """Return the run ``run_id``."""
    row = tx.execute(select(*_COLUMNS).where(runs.c.id == run_id)).first()
    return None if row is None else RunRow(*row)


def recent_runs(tx: Transaction, limit: int = 20) -> list[RunRow]:
    """Return the newest runs, the newest first."""
    query = select(*_COLUMNS).order_by(runs.c.started_at.desc(), runs.c.id).limit(limit)
    return [RunRow(*row) for row in tx.execute(query)]
