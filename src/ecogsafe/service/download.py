"""``download``: subjects back from a store, opened, proven, under the names they had below OUT."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.connections import connected
from ecogsafe.service.download_cold import nothing_that_fits
from ecogsafe.service.download_old import OldDownload, find_old, tell_old
from ecogsafe.service.download_planning import DownloadPlan, DownloadRequest, Wanted
from ecogsafe.service.download_receiving import Receiver
from ecogsafe.service.download_room import room_for, split_by_presence
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.pacing import pace_of
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.snapshots import snapshot_everywhere
from ecogsafe.service.target_folder import make_target
from ecogsafe.service.unlock_keys import unlock_keys
from ecogsafe.service.withdrawn import refuse_bringing_back, tell_left_out
from ecogsafe.transfer.meter import Meter


def download(
    run: Run,
    request: DownloadRequest,
    password: PasswordSource,
    *,
    old_password: PasswordSource | None = None,
    password_at_hand: bool = False,
) -> None:
    """Carry ``request`` out and tell of every file; nothing is written to the store.

    Parameters
    ----------
    old_password
        Opens what the old scripts locked; needed with ``request.old_locks``.
    password_at_hand
        ``password`` asks nobody: the lab key is opened while the store is asked what it holds.

    Raises
    ------
    UsageError
        There is nothing to fetch, or nowhere to put it.
    WrongPasswordError
        The password does not open the lab key; nothing was fetched.
    EcogsafeError
        What stops the run; complete files are kept.
    """
    request.check()
    refuse_bringing_back(run, request.subjects)
    meter = Meter(run.tell, files_total=None, bytes_total=None)
    settings = run.home.settings()
    pace = pace_of(run, settings, meter, limit_rate=request.limit_rate, between=request.between)

    def open_key() -> Sequence[Identity]:
        return [run.home.identity(password, run.home.recipients(run.catalog))]

    with (
        _meanwhile(open_key, at_once=password_at_hand and request.decrypt and not request.dry_run) as identities_of,
        connected(run.catalog, request.url, to_write=False, stop=run.stop, tell=run.tell, rate=pace.rate) as connection,
    ):
        plan = DownloadPlan(run, connection, request)
        wanted = plan.wanted
        old = find_old(run, connection, request, {str(w.target) for w in wanted}) if request.old_locks else []
        tell_left_out(run, plan.withdrawn, action="download")
        if not wanted and not old and not plan.missing and not run.counts.get("not_missing"):
            if plan.withdrawn:
                refuse_bringing_back(run, sorted(plan.withdrawn))
            raise nothing_that_fits(run, request)
        for missing in plan.missing:
            run.fail(missing)
        if request.dry_run:
            _tell_plan(run, request, wanted)
            tell_old(run, old)
            return
        identities: Sequence[Identity] | None = None
        if any(w.sealed for w in wanted):
            identities = identities_of()
        make_target(request.folder)
        meter.files_total = len(wanted) + len(old)
        meter.bytes_total = sum(w.info.size for w in wanted) + sum(o.info.size for o in old)
        receiver = Receiver(run, connection, request.folder, identities, meter, pace=pace)
        try:
            with meter:
                receiver.receive_all(wanted, jobs=request.jobs)
        finally:
            receiver.note_acts()
        if old:
            keys = unlock_keys(run.home, password=password, old_password=old_password or password)
            with meter:
                receiver.failures += OldDownload(run, connection, request, keys, meter).receive_all(old)
        run.tell(meter.now())
    if run.tally.done:
        snapshot_everywhere(run)
    run.check_all_ended(receiver.ended, len(wanted), safe="Complete files are kept, and what came of unfinished ones")
    raise_if_all_failed(receiver.failures, len(wanted) + len(old))
    receiver.check_all_there()
    run.message = _old_verdict(run, len(old)) if old else receiver.verdict(len(wanted) + len(plan.missing))


@contextmanager
def _meanwhile(
    open_key: Callable[[], Sequence[Identity]], *, at_once: bool
) -> Iterator[Callable[[], Sequence[Identity]]]:
    """Yield what returns the opened key; ``at_once`` a thread of its own opens it, which takes a second."""
    if not at_once:
        yield open_key
        return
    with ThreadPoolExecutor(1, thread_name_prefix="unlocker") as pool:
        yield pool.submit(open_key).result


def _old_verdict(run: Run, copies: int) -> str:
    """Return what came of a run that opened old copies too: how many files they hold is known only now."""
    tally = run.tally
    return (
        f"{tally.done} files brought back ({copies} old copies opened), {tally.present} were here already, "
        f"{tally.skipped} skipped, {tally.left_behind} left in the old copies, {tally.failed} failed"
    )


def _tell_plan(run: Run, request: DownloadRequest, wanted: list[Wanted]) -> None:
    here, missing = split_by_presence(request.folder, wanted)
    standing = {w.target for w in here}
    for w in wanted:
        run.tell(
            Item(
                action="download",
                status="planned",
                key=w.info.key,
                path=str(w.target),
                bytes=w.info.size,
                subject=w.subject,
                message="stands here already; it would be compared" if w.target in standing else "",
            )
        )
    total = sum(w.info.size for w in missing)
    run.message = f"{len(missing)} files, {total:,} bytes would be fetched"
    if here:
        run.message += f"; {len(here)} that stand here already would be compared"
    room = room_for(request.folder, missing)
    if room.short:
        run.message += f"; the disk has {room.short:,} bytes too few for them"
