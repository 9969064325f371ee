"""``archive``: the subjects below one or several DIRs into sealed volumes in one store, made while they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

from ecogsafe.core.errors import EcogsafeError, StoreError, UsageError
from ecogsafe.service.archive_planning import FileToArchive, in_order
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.archiving import Archiving, warm_place
from ecogsafe.service.connections import connected
from ecogsafe.service.folder_access import access_at
from ecogsafe.service.outgoing import NOTHING_LEFT, Outgoing, find_outgoing
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.snapshots import Snapshots
from ecogsafe.service.store_failures import StoreFailures, counted
from ecogsafe.service.upload import context_of, descriptor_of, hold_subjects, make_up_for_keys, tell_left
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.senders import Senders

_KEPT = "What was sent is kept"


def archive(run: Run, request: ArchiveRequest) -> None:
    """Carry ``request`` out and tell of every volume and file.

    Raises
    ------
    UsageError
        The request contradicts itself, or there is nothing to archive.
    LockedError
        A subject is being de-identified, or archived by another run.
    EcogsafeError
        The store or a key stops the run.
    """
    request.check()
    request = request.completed(run.home.settings())
    outgoings = [find_outgoing(folder, request.data_type) for folder in request.folders]
    for outgoing in outgoings:
        tell_left(run, outgoing, "archive")
    if all(outgoing.is_rightly_empty for outgoing in outgoings):
        run.message = NOTHING_LEFT
        return
    _archive(run, request, outgoings)


def _archive(run: Run, request: ArchiveRequest, outgoings: Sequence[Outgoing]) -> None:
    with ExitStack() as stack:
        files = _files(stack, request, outgoings)
        if not files:
            raise _nothing_to_archive(request, outgoings)
        for outgoing in outgoings:
            hold_subjects(run, outgoing)
        recipients = run.home.recipients(run.catalog)
        connection = stack.enter_context(
            connected(
                run.catalog,
                request.url,
                sse=request.sse,
                to_write=not request.dry_run,
                stop=run.stop,
                tell=run.tell,
                access=access_at(run.home.settings(), request.url),
            )
        )
        context = context_of(run, stack.enter_context(closing(Ledger(run.catalog))), recipients)
        archiving = Archiving(run, context, request, connection, StoreFailures(run))
        archiving.make_plan(files)
        if not request.dry_run:
            _carry_out(context, archiving)


def _files(stack: ExitStack, request: ArchiveRequest, outgoings: Sequence[Outgoing]) -> dict[str, list[FileToArchive]]:
    """Return the files by subject, in the order in which they go into volumes; DIRs may overlap."""
    found: dict[tuple[str, str], FileToArchive] = {}
    for folder, outgoing in zip(request.folders, outgoings, strict=True):
        root = stack.enter_context(descriptor_of(folder))
        for file in outgoing.files:
            new = FileToArchive(file, root)
            known = found.setdefault(new.where, new)
            if (known.file.status.st_dev, known.file.status.st_ino) != (file.status.st_dev, file.status.st_ino):
                raise UsageError(
                    file.shown,
                    "stands below two of the folders given",
                    safe="Nothing was sent",
                    next="give one of them",
                )
    return in_order(found.values())


def _nothing_to_archive(request: ArchiveRequest, outgoings: Sequence[Outgoing]) -> EcogsafeError:
    unreadable = [error for outgoing in outgoings for error in outgoing.unreadable]
    if unreadable:
        return unreadable[0]
    kinds = "video and text" if request.kind == "vid" else "EDF or BDF files"
    problem = f"holds no {kinds} of a subject in the layout of ecogsafe deid apply"
    return UsageError("DIR", problem, safe="Nothing was sent", next="check -d and -t, or run ecogsafe deid apply first")


def _carry_out(context: TransferContext, archiving: Archiving) -> None:
    run, plan, connection = archiving.run, archiving.plan, archiving.connection
    context.meter.files_total = plan.files_total
    context.meter.bytes_total = plan.bytes_total
    with ExitStack() as stack:
        warm = warm_place(run, stack, archiving.request, connection)
        places = [connection] if warm in (None, connection) else [connection, warm]
        snapshots = Snapshots(run, places, context.recipients)
        with Senders(pace=context.pace) as senders:
            archiving.begin(warm, senders, others_go_on=None)
            archiving.make_up_indexes()
            for volume in plan.volumes:
                run.check_stop(safe=_KEPT)
                archiving.send(volume)
                snapshots.send_if_due()
        if senders.bugs:
            raise senders.bugs[0]
        run.tell(context.meter.now())
        try:
            raise_if_all_failed(archiving.failures, len(plan.volumes))
        except StoreError as error:
            raise counted(error, archiving.files_left) from error
        archiving.troubles.tell()
        snapshots.finish()
    run.check_stop(safe=_KEPT)
    make_up_for_keys(run)
    tally = run.tally
    run.message = (
        f"{tally.done} files in {run.counts.get('volumes', 0)} volumes stored at {connection.store.name}, "
        f"{tally.present} already there, {tally.failed} failed"
    )
