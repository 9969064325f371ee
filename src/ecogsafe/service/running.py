"""One run of a command: its row in the catalogue, its leases, its heartbeat, its end."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from ecogsafe.catalog import leases, runs, subjects
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import FINDINGS, EcogsafeError, ExitStatus, LockedError, worst
from ecogsafe.core.events import ErrorEvent, Event, EventSink, Progress, Summary, Tally
from ecogsafe.service.home import Home
from ecogsafe.service.owner import actor_here, is_dead, owner_here
from ecogsafe.transfer.context import Actor

#: leases of this run live this long without a heartbeat, seconds
LEASE_S = 120
_HEARTBEAT_S = 20.0


@dataclass(kw_only=True)
class Run:
    """What a service function holds while it works."""

    home: Home
    catalog: Catalog
    command: str
    emit: EventSink
    run_id: str = field(default_factory=lambda: secrets.token_hex(16))
    owner: str = field(default_factory=owner_here)
    actor: Actor = field(default_factory=actor_here)
    tally: Tally = field(default_factory=Tally)
    counts: dict[str, int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    #: the verdict, one line
    message: str = ""
    began: float = field(default_factory=monotonic)

    def tell(self, event: Event) -> None:
        """Pass an event on; progress also goes to the catalogue, for ``status --watch``."""
        self.emit(event)
        if isinstance(event, Progress):
            with self.catalog.write() as tx:
                runs.update_run(
                    tx,
                    self.run_id,
                    files_done=event.files_done,
                    files_total=event.files_total,
                    bytes_done=event.bytes_done,
                    bytes_total=event.bytes_total,
                    bytes_per_s=event.bytes_per_s,
                    seconds_left=event.seconds_left,
                    current=event.current,
                )

    def fail(self, error: EcogsafeError) -> None:
        """Count one failed item and tell of it."""
        self.tally.failed += 1
        # one item that met what would stop a run (a store, a lock, a key) did not stop it: it failed
        self.tally.note(error.exit_status if error.exit_status in FINDINGS else ExitStatus.PARTIAL)
        self.emit(ErrorEvent.of(error))

    def hold_subject(self, code: str, *, shared: bool) -> None:
        """Take the lease on a subject until the end of the run.

        Raises
        ------
        LockedError
            Another run has it in a way that excludes this one, or a journal of the subject is open.
        """
        with self.catalog.write() as tx:
            leases.acquire(tx, f"subject:{code}", self.owner, LEASE_S, shared=shared, gone=is_dead)

    def refuse_open_journal(self, code: str) -> None:
        """Raise LockedError while a de-identification of ``code`` is unfinished."""
        with self.catalog.read() as tx:
            unfinished = subjects.open_journals(tx, code)
        if unfinished:
            raise unfinished_journal(code)

    def summary(self) -> Summary:
        """Return the last event."""
        return Summary(
            command=self.command,
            exit_status=int(worst(self.tally.statuses)),
            files=self.tally.files(),
            bytes=self.tally.bytes,
            seconds=round(monotonic() - self.began, 3),
            counts=dict(self.counts),
            message=self.message,
        )

    def renew_leases(self) -> None:
        """Renew every lease of this owner, those on uploads included."""
        with self.catalog.write() as tx:
            leases.renew_all(tx, self.owner, LEASE_S)


def unfinished_journal(code: str) -> LockedError:
    """Return the refusal to touch a subject whose de-identification is unfinished."""
    return LockedError(
        code,
        "is being de-identified, or a de-identification of it was interrupted",
        safe="Nothing was sent",
        next="run the same ecogsafe deid apply again to finish it, or ecogsafe deid undo to take it back",
    )


@contextmanager
def running(home: Home, command: str, emit: EventSink, *, stop: threading.Event | None = None) -> Iterator[Run]:
    """Open the catalogue, note the run, keep its leases alive, and note its end whatever happens."""
    home.require()
    catalog = home.open_catalog()
    run = Run(home=home, catalog=catalog, command=command, emit=emit, stop=stop or threading.Event())
    with catalog.write() as tx:
        runs.start_run(tx, run.run_id, command)
    ended = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(run, ended), name="heartbeat", daemon=True)
    heartbeat.start()
    status = int(ExitStatus.BUG)
    try:
        yield run
        status = int(worst(run.tally.statuses))
    except EcogsafeError as error:
        status = int(error.exit_status)
        raise
    finally:
        ended.set()
        heartbeat.join()
        with catalog.write() as tx:
            leases.release_all(tx, run.owner)
            runs.end_run(tx, run.run_id, status)
        catalog.close()


def _beat(run: Run, ended: threading.Event) -> None:
    while not ended.wait(_HEARTBEAT_S):
        run.renew_leases()
