"""One run of a command: its row in the catalogue, its leases, its heartbeat, its end."""

from __future__ import annotations

import logging
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from ecogsafe.catalog import leases, runs, subjects
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.leases import Lease
from ecogsafe.catalog.sums import keep_sums
from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import (
    FINDINGS,
    STOPPING,
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    LockedError,
    worst,
)
from ecogsafe.core.events import ErrorEvent, Event, EventSink, Progress, Summary, Tally
from ecogsafe.service.home import Home
from ecogsafe.service.owner import actor_here, is_dead, owner_here
from ecogsafe.transfer.context import Actor

#: leases of this run live this long without a heartbeat, seconds
LEASE_S = 120
_HEARTBEAT_S = 20.0
#: what this run changed is put in its place in the sums so often: whoever asks for `status` finds little to do
_SUMS_S = 5.0
#: every run holds this: shared, or alone where the catalogue lies on a network file system (DESIGN 5.11)
RUN_LEASE = "run"

_log = logging.getLogger(__name__)


@dataclass(kw_only=True)
class Run:
    """What a service function holds while it works."""

    home: Home
    catalog: Catalog
    command: str
    emit: EventSink
    run_id: str = field(default_factory=lambda: secrets.token_hex(16))
    owner: str = ""
    actor: Actor = field(default_factory=actor_here)
    tally: Tally = field(default_factory=Tally)
    counts: dict[str, int] = field(default_factory=dict)
    stop: threading.Event = field(default_factory=threading.Event)
    #: the verdict, one line
    message: str = ""
    began: float = field(default_factory=monotonic)
    #: held by whoever counts, where several threads of a run do
    counting: threading.RLock = field(default_factory=threading.RLock)
    #: why the run had to stop although nobody asked it to
    lost: LockedError | None = None
    _held: dict[str, Lease] = field(default_factory=dict)
    #: wakes the heartbeat
    _pulse: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.owner = self.owner or owner_here(self.run_id)

    def tell(self, event: Event) -> None:
        """Pass an event on; progress also goes to the catalogue, for ``status --watch``."""
        self.emit(event)
        if isinstance(event, Progress):
            try:
                self._note_progress(event)
            except EcogsafeError as error:
                # the work itself is not worse for it
                _log.info("progress was not noted code=%s", error.code)

    def _note_progress(self, event: Progress) -> None:
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
                files_present=event.files_present,
                bytes_present=event.bytes_present,
                retries=event.retries,
                waiting=event.waiting,
                current_files=[(f.path, f.bytes_done, f.bytes_total) for f in event.current_files],
            )

    def fail(self, error: EcogsafeError) -> None:
        """Count one failed item and tell of it."""
        with self.counting:
            self.tally.failed += 1
            # one item that met what would stop a run (a store, a lock, a key) did not stop it: it failed
            self.tally.note(error.exit_status if error.exit_status in FINDINGS else ExitStatus.PARTIAL)
        self.emit(ErrorEvent.of(error))

    def hold_subject(self, code: str, *, shared: bool) -> None:
        """Take the lease on a subject until the end of the run.

        Raises
        ------
        LockedError
            Another run has it in a way that excludes this one.
        """
        self._hold(f"subject:{code}", shared=shared)

    def release_subject(self, code: str) -> None:
        """Give the lease on a subject back before the end of the run: nothing is done with it after all."""
        lease = self._held.pop(f"subject:{code}", None)
        if lease is not None:
            with self.catalog.write() as tx:
                leases.release(tx, lease)

    def hold_backup(self) -> None:
        """Take the lease of the nightly job until the end of the run.

        Raises
        ------
        LockedError
            Last night's is still at work.
        """
        self._hold("backup", shared=False)

    def hold_vault(self, url: str) -> None:
        """Take an old vault for this run alone: each of its jobs is asked for once, and some cost money.

        Raises
        ------
        LockedError
            Another run has it.
        """
        self._hold(f"vault:{url}", shared=False)

    def hold_archives(self, code: str) -> None:
        """Take the lease on the archives of a subject until the end of the run: one run plans its volumes.

        Raises
        ------
        LockedError
            Another run archives this subject.
        """
        self._hold(f"archive:{code}", shared=False)

    def hold_run(self) -> None:
        """Take the lease that every run holds.

        Raises
        ------
        LockedError
            The catalogue lies on a network file system, and another run works with it.
        """
        with self.catalog.write() as tx:
            for held in leases.holders(tx, RUN_LEASE):
                if is_dead(held.owner):
                    # whatever a killed run held is free at once, not only when it stands in somebody's way
                    leases.release_all(tx, held.owner)
        self._hold(RUN_LEASE, shared=not self.catalog.on_network_fs)

    def _hold(self, name: str, *, shared: bool) -> None:
        try:
            with self.catalog.write() as tx:
                self._held[name] = leases.acquire(tx, name, self.owner, LEASE_S, shared=shared, gone=is_dead)
        except LockedError as error:
            if error.item != name:
                raise
            item = "the catalogue" if name == RUN_LEASE else name.removeprefix("subject:").removeprefix("vault:")
            raise LockedError(item, error.problem, safe=error.safe, next=error.next) from error

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

    def add_up(self) -> None:
        """Have what this run changed put in its place in the sums now, beside what is done next."""
        self._pulse.set()

    def wait_for_pulse(self, seconds: float) -> None:
        """Return after ``seconds``, or as soon as `add_up` was called."""
        self._pulse.wait(seconds)
        self._pulse.clear()

    def renew_leases(self) -> None:
        """Renew every lease of this owner, those on uploads included; stop if one that we relied on is gone."""
        held = list(self._held.items())
        with self.catalog.write() as tx:
            leases.renew_all(tx, self.owner, LEASE_S)
            missed = [
                (name, lease)
                for name, lease in held
                if lease.fence not in {holder.fence for holder in leases.holders(tx, name)}
            ]
        # what was given back meanwhile, or taken anew, is no longer relied on
        gone = [name for name, lease in missed if self._held.get(name) is lease]
        if RUN_LEASE in gone and self._held[RUN_LEASE].shared:
            # after a long suspension; nobody else relies on it, it only says that this run is at work
            self._hold(RUN_LEASE, shared=True)
            gone.remove(RUN_LEASE)
        if gone:
            self.lose(gone[-1])

    def lose(self, name: str) -> None:
        """Stop the run: it no longer holds the lease ``name``, and others may be working on the same things."""
        self.lost = LockedError(
            name.removeprefix("subject:"),
            "this run was held up so long that its lock went to others",
            safe="What was done until then is kept",
            next="run the same command again",
        )
        self.stop.set()

    def check_stop(self, *, safe: str) -> None:
        """Raise InterruptedRunError if the run was told to stop."""
        if self.stop.is_set():
            raise InterruptedRunError(
                self.command, "was interrupted", safe=safe, next="run the same command again to continue"
            )

    def check_all_ended(self, ended: int, total: int, *, safe: str) -> None:
        """Raise unless every item came to an end, whatever end: a run that stopped short never looks done.

        Raises
        ------
        InterruptedRunError
            The run was told to stop.
        EcogsafeError
            Nobody told it to: a bug of ours.
        """
        if ended == total:
            return
        self.check_stop(safe=safe)
        raise EcogsafeError(
            self.command,
            f"met a bug in ecogsafe: {total - ended} of {total} files came to no end",
            safe=safe,
            next="run the same command again, and report this",
        )


def raise_if_all_failed(errors: Sequence[EcogsafeError], items: int) -> None:
    """Raise the first of ``errors`` if each of ``items`` failed, and all in one way that stops a run (DESIGN 4)."""
    kinds = {error.exit_status for error in errors}
    if items and len(errors) >= items and len(kinds) == 1 and kinds <= set(STOPPING):
        raise errors[0]


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
    """Open the catalogue, note the run, keep its leases alive, and note its end whatever happens.

    Raises
    ------
    LockedError
        Also at the end, in place of InterruptedRunError: a lease of the run was lost.
    """
    home.require()
    catalog = home.open_catalog()
    try:
        run = Run(home=home, catalog=catalog, command=command, emit=emit, stop=stop or threading.Event())
        run.hold_run()
        with catalog.write() as tx:
            runs.start_run(tx, run.run_id, command)
        with _noted(run):
            yield run
        # what this run changed is added up now, and the next `status` answers at once
        keep_sums(catalog)
    finally:
        catalog.close()


@contextmanager
def _noted(run: Run) -> Iterator[None]:
    ended = threading.Event()
    heartbeat = threading.Thread(target=_beat, args=(run, ended), name="heartbeat", daemon=True)
    heartbeat.start()
    failure: BaseException | None = None
    try:
        try:
            yield
        except InterruptedRunError:
            if run.lost is None:
                raise
        if run.lost is not None:
            raise run.lost
    except BaseException as error:
        failure = error
        raise
    finally:
        ended.set()
        run.add_up()
        heartbeat.join()
        try:
            with run.catalog.write() as tx:
                leases.release_all(tx, run.owner)
                runs.end_run(tx, run.run_id, int(_status_of(run, failure)))
        except EcogsafeError as error:
            if failure is None:
                raise
            _log.warning("the end of the run was not noted code=%s", error.code)


def _status_of(run: Run, failure: BaseException | None) -> ExitStatus:
    if isinstance(failure, EcogsafeError):
        return failure.exit_status
    if isinstance(failure, KeyboardInterrupt):
        return ExitStatus.INTERRUPTED
    return worst(run.tally.statuses) if failure is None else ExitStatus.BUG


def _beat(run: Run, ended: threading.Event) -> None:
    renewed = monotonic()
    while True:
        run.wait_for_pulse(min(_HEARTBEAT_S, _SUMS_S))
        if ended.is_set():
            return
        now = monotonic()
        keep_sums(run.catalog)
        if now - renewed < _HEARTBEAT_S:
            continue
        try:
            run.renew_leases()
            renewed = now
        except EcogsafeError as error:
            _log.warning("leases were not renewed code=%s", error.code)
            if now - renewed > LEASE_S:
                run.lose(RUN_LEASE)
