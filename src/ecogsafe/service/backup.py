"""``backup``: every destination of the config from one read of the data; what fails leaves the rest completed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path

from ecogsafe.core.errors import ConfigError, StoreError
from ecogsafe.service.backup_archiving import ArchivesBeside, GoalArchive, plan_archives
from ecogsafe.service.backup_places import Goal, goals_of, open_goals, raise_if_none_open
from ecogsafe.service.backup_planning import plan_backup
from ecogsafe.service.backup_subjects import Outbox, admit_subjects, find_outbox, raise_if_all_refused
from ecogsafe.service.backup_verifying import verify_due
from ecogsafe.service.backup_whereabouts import tell_whereabouts
from ecogsafe.service.running import Run
from ecogsafe.service.snapshots import Snapshots
from ecogsafe.service.store_failures import StoreFailures, counted
from ecogsafe.service.upload import context_of, descriptor_of, make_up_for_keys, note_outcome
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.work import Outcome, Shipment, Status

_KEPT = "What was sent is kept"
#: files in a row, each tried again and again: the others need not wait for a place that went away
_ENOUGH_FAILURES = 3
#: files read at once beside an archive: with more, parts of files that wait for it could fill the memory it needs
_READERS_BESIDE = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class BackupRequest:
    """What the user asked for."""

    #: None: the outbox of the config
    folder: Path | None = None


def backup(run: Run, request: BackupRequest) -> None:
    """Fill every destination of the config, and tell of each subject what is where.

    Raises
    ------
    ConfigError, UsageError
        The config names no destination, or contradicts itself; there is nothing to send.
    LockedError
        Another backup is at work, or every subject is being de-identified or changed.
    NotClearedError
        No subject could be sent, for want of clearance.
    StoreError
        Every destination failed.
    EcogsafeError
        A key stops the run.
    """
    settings = run.home.settings()
    folder = request.folder or (Path(settings.outbox) if settings.outbox else None)
    if folder is None:
        raise ConfigError("config.toml", "names no outbox", next="ecogsafe backup DIR, or write outbox into it")
    goals = goals_of(settings.destination, folder)
    run.hold_backup()
    outbox = find_outbox(run, folder, {t for goal in goals for t in goal.destination.types})
    admit_subjects(run, outbox)
    with ExitStack() as stack:
        root = stack.enter_context(descriptor_of(folder))
        recipients = run.home.recipients(run.catalog)
        open_goals(run, goals, stack)
        context = context_of(run, stack.enter_context(closing(Ledger(run.catalog))), recipients)
        context.give_up_after = _ENOUGH_FAILURES
        snapshots = Snapshots(
            run,
            [goal.connection for goal in goals if goal.connection is not None],
            recipients,
            pass_over=[goal.destination.url for goal in goals if goal.connection is None],
        )
        shipments = plan_backup(run, context, goals, outbox, root)
        troubles = StoreFailures(run)
        archives = plan_archives(run, context, goals, outbox, root, stack, troubles)
        _send(run, context, shipments, archives, goals, snapshots, troubles)
        if not run.stop.is_set():
            verify_due(run, [goal for goal in goals if goal.is_open])
        for goal in goals:
            if goal.connection is not None and not goal.is_open:
                snapshots.leave_out(goal.connection)
        snapshots.finish()
    run.check_stop(safe=_KEPT)
    make_up_for_keys(run)
    whole = tell_whereabouts(run, goals, outbox)
    raise_if_none_open(goals)
    raise_if_all_refused(outbox)
    run.message = _verdict(goals, outbox, whole)


def _send(
    run: Run,
    context: TransferContext,
    shipments: Sequence[Shipment],
    archives: Sequence[GoalArchive],
    goals: Sequence[Goal],
    snapshots: Snapshots,
    troubles: StoreFailures,
) -> None:
    """Send what was planned, every file from one read, and see which places failed."""
    plans = [archive.archiving.plan for archive in archives]
    context.meter.files_total = len(shipments) + sum(plan.files_total for plan in plans)
    context.meter.bytes_total = sum(s.size for s in shipments) + sum(plan.bytes_total for plan in plans)
    asked = Counter(place.store_id for shipment in shipments for place in shipment.places)
    ended: Counter[str] = Counter()
    there: Counter[str] = Counter()
    failed: dict[str, list[StoreError]] = {}
    beside = ArchivesBeside(run, context, archives, shipments)

    def outcomes() -> Generator[Outcome, None, None]:
        # closed whatever happens here, so that no thread outlives the ledger it writes to
        with closing(send_all(context, beside.shared, readers=_READERS_BESIDE)) as ends:
            yield from ends
        with closing(send_all(context, _not_lost(context, beside.others))) as ends:
            yield from ends

    with context.meter, beside, closing(outcomes()) as sent:
        for outcome in sent:
            note_outcome(run, outcome, troubles)
            there[outcome.place.store_id] += outcome.status in (Status.DONE, Status.PRESENT)
            ended[outcome.place.store_id] += outcome.status is not Status.PAUSED
            if isinstance(outcome.error, StoreError):
                failed.setdefault(outcome.place.store_id, []).append(outcome.error)
            beside.forget_lost()
            snapshots.send_if_due()
        beside.files_are_over()
        beside.wait(snapshots.send_if_due)
    run.tell(context.meter.now())
    for goal in goals:
        store_id = goal.connection.store_id if goal.connection is not None else ""
        missing = asked[store_id] - there[store_id]
        why = context.lost.get(store_id)
        if why is None and asked[store_id] and len(failed.get(store_id, ())) == asked[store_id]:
            why = failed[store_id][0]
        if goal.connection is not None and (why is not None or not goal.is_open):
            troubles.take(goal.connection.store.url)
        if why is not None:
            goal.fail(run, counted(why, missing))
    troubles.tell()
    left = [store_id for store_id in asked if store_id not in context.lost]
    if not run.stop.is_set():
        run.check_all_ended(sum(ended[i] for i in left), sum(asked[i] for i in left), safe=_KEPT)


def _not_lost(context: TransferContext, shipments: Sequence[Shipment]) -> list[Shipment]:
    """Return the shipments without the places that were given up before."""
    left = [replace(s, places=tuple(p for p in s.places if p.store_id not in context.lost)) for s in shipments]
    return [shipment for shipment in left if shipment.places]


def _verdict(goals: Sequence[Goal], outbox: Outbox, whole: int) -> str:
    subjects = outbox.subjects()
    failed = [goal.name for goal in goals if not goal.is_open]
    told = f"{whole} of {len(subjects)} subjects are complete at every one of {len(goals)} destinations"
    if failed:
        told += f"; failed: {', '.join(failed)}"
    if outbox.refused:
        told += f"; held back: {', '.join(sorted(outbox.refused))}"
    return told
