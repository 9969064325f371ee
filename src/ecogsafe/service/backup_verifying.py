"""The part of ``backup`` that looks back: copies whose last proof grew old are proven again, the oldest first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import timedelta

from ecogsafe.catalog import due
from ecogsafe.catalog.due import Line, Pair
from ecogsafe.catalog.leases import stamp
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import EcogsafeError, LockedError, StoreError
from ecogsafe.service.backup_places import Goal
from ecogsafe.service.connections import Connection
from ecogsafe.service.copy_check import CopyCheck
from ecogsafe.service.running import Run
from ecogsafe.service.verdicts import record_verdict
from ecogsafe.transfer.meter import Meter

#: a proof is renewed when it is older than so many days
DUE_AFTER_DAYS = 30
#: one night proves so many copies of a place again, at most
MOST_COPIES = 1000
#: a folder is read back for it, bytes a night at most; the store's own checksum costs one request
MOST_BYTES_READ = 50_000_000_000


def verify_due(run: Run, goals: Sequence[Goal]) -> None:
    """Compare copies that were not proven for `DUE_AFTER_DAYS` with the store's checksum, and record what it says.

    ``verify`` does the same for every copy at once, and ``verify --deep`` opens them.
    """
    meter = Meter(run.tell, files_total=None, bytes_total=None)
    seen: set[str] = set()
    for goal in goals:
        if goal.connection is None or goal.connection.store_id in seen:
            continue
        seen.add(goal.connection.store_id)
        try:
            _verify_place(run, goal, goal.connection, meter)
        except StoreError as error:
            goal.fail(run, error)


def _verify_place(run: Run, goal: Goal, connection: Connection, meter: Meter) -> None:
    checker = CopyCheck(connection, None, meter, stop=run.stop, deep=False)
    reads_back = goal.destination.url.startswith("file://")
    read = checked = 0
    for copy, file in _due(run, connection):
        if run.stop.is_set() or checked >= MOST_COPIES:
            return
        if reads_back and read + copy.size > MOST_BYTES_READ:
            continue
        try:
            run.hold_subject(file.subject, shared=True)
        except LockedError:
            # its turn comes another night
            continue
        try:
            record_verdict(run, connection, copy, file, checker.judge(copy, file))
        except StoreError:
            raise
        except EcogsafeError as error:
            run.fail(error)
        read += copy.size
        checked += 1
        run.counts["proven_again"] = run.counts.get("proven_again", 0) + 1


def _due(run: Run, connection: Connection) -> Iterator[Pair]:
    """Yield the good copies whose proof is old, the oldest first; those that never had one are not due."""
    line = Line(deep=False, store_ids=(connection.store_id,), until=stamp(utc_now() - timedelta(days=DUE_AFTER_DAYS)))
    after = None
    while True:
        with run.catalog.read() as tx:
            pairs, after = due.page(tx, line, after, MOST_COPIES)
        if after is None:
            return
        yield from (pair for pair in pairs if pair[0].bad_at is None and pair[0].level != "stored")
