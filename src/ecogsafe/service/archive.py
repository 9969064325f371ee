"""``archive``: the subjects below one or several DIRs into sealed volumes in one store, made while they are sent."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack, closing

from ecogsafe.catalog import archives
from ecogsafe.core.errors import EcogsafeError, StoreError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.archive_costs import cost_items
from ecogsafe.service.archive_indexes import Indexes
from ecogsafe.service.archive_planning import ArchivePlan, ArchivePlanner, FileToArchive
from ecogsafe.service.archive_request import ArchiveRequest
from ecogsafe.service.archive_volumes import VolumeSender
from ecogsafe.service.connections import Connection, connected, one_url
from ecogsafe.service.folder_access import access_at
from ecogsafe.service.outgoing import Outgoing, find_outgoing
from ecogsafe.service.price_table import load_price_table
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.snapshots import Snapshots
from ecogsafe.service.upload import context_of, descriptor_of, hold_subjects, make_up_for_keys, tell_left
from ecogsafe.transfer.archive.planning import plan_again
from ecogsafe.transfer.archive.sending import settle_volume
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Place

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
    archive_found(run, request, outgoings)


def archive_found(run: Run, request: ArchiveRequest, outgoings: Sequence[Outgoing]) -> None:
    """Carry out a completed ``request`` for what was found below its folders.

    Raises
    ------
    UsageError, LockedError, EcogsafeError
        As `archive`.
    """
    with ExitStack() as stack:
        files = _files(stack, request, outgoings)
        if not files:
            raise _nothing_to_archive(request, outgoings)
        for outgoing in outgoings:
            hold_subjects(run, outgoing)
        if not request.dry_run:
            for code in files:
                run.hold_archives(code)
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
        ledger = stack.enter_context(closing(Ledger(run.catalog)))
        context = context_of(run, ledger, recipients)
        place = Place(
            store=connection.store,
            store_id=connection.store_id,
            sealed=True,
            storage_class=request.storage_class,
            order=connection.order,
        )
        if not request.dry_run:
            _settle(context, place, request, list(files))
        planner = ArchivePlanner(run, connection, request.kind)
        for code, wanted in files.items():
            planner.add(code, wanted)
        _tell_plan(run, planner.plan, request, connection)
        if request.dry_run:
            return
        _carry_out(run, context, place, request, connection, planner.plan)


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
    by_subject: dict[str, list[FileToArchive]] = {}
    for one in sorted(found.values(), key=lambda f: (f.file.tree, f.file.parts.number or 0, f.file.path)):
        by_subject.setdefault(one.file.parts.code, []).append(one)
    return dict(sorted(by_subject.items()))


def _nothing_to_archive(request: ArchiveRequest, outgoings: Sequence[Outgoing]) -> EcogsafeError:
    unreadable = [error for outgoing in outgoings for error in outgoing.unreadable]
    if unreadable:
        return unreadable[0]
    kinds = "video and text" if request.kind == "vid" else "EDF or BDF files"
    problem = f"holds no {kinds} of a subject in the layout of ecogsafe deid apply"
    return UsageError("DIR", problem, safe="Nothing was sent", next="check -d and -t, or run ecogsafe deid apply first")


def _settle(context: TransferContext, place: Place, request: ArchiveRequest, codes: Sequence[str]) -> None:
    """Find the volumes that an earlier run completed without living to know it."""
    for code in codes:
        rows = context.ledger.read(
            lambda tx, c=code: archives.volumes_of(  # type: ignore[misc]
                tx, subject=c, kind=request.kind, store_id=place.store_id, state="sending"
            )
        )
        for row in rows:
            settle_volume(context, plan_again(row, place, ()))


def _tell_plan(run: Run, plan: ArchivePlan, request: ArchiveRequest, connection: Connection) -> None:
    for volume in plan.volumes:
        again = ", continued" if volume.row is not None else ""
        run.tell(
            Item(
                action="archive",
                status="planned" if request.dry_run else "note",
                subject=volume.name.subject,
                key=volume.name.key,
                store=connection.store.name,
                bytes=volume.bytes,
                message=f"{len(volume.members)} files, {volume.bytes:,} bytes, about {volume.packed:,} sealed{again}",
                details={"files": len(volume.members), "estimated_bytes": volume.packed},
            )
        )
    if request.url.startswith("s3://"):
        table = load_price_table(run.home.root)
        for item in cost_items(plan, table, storage_class=request.storage_class, store=connection.store.name):
            run.tell(item)
    if request.dry_run:
        for volume in plan.volumes:
            for member in volume.members:
                run.tell(
                    Item(
                        action="archive",
                        status="planned",
                        subject=volume.name.subject,
                        segment=member.source.segment,
                        path=f"{member.source.tree}/{member.source.entry.path}",
                        key=volume.name.key,
                        bytes=member.source.entry.size,
                        message="stored as it is"
                        if member.source.stored
                        else f"compressed to about {member.ratio:.0%}",
                    )
                )
        run.message = (
            f"{plan.files_total} files, {plan.bytes_total:,} bytes would be archived in {len(plan.volumes)} volumes"
        )


def _carry_out(
    run: Run,
    context: TransferContext,
    place: Place,
    request: ArchiveRequest,
    connection: Connection,
    plan: ArchivePlan,
) -> None:
    recipients = context.recipients
    context.meter.files_total = plan.files_total
    context.meter.bytes_total = plan.bytes_total
    failures: list[EcogsafeError] = []
    with ExitStack() as stack:
        warm = _warm(run, stack, request, connection)
        snapshots = Snapshots(run, [connection] if warm in (None, connection) else [connection, warm], recipients)
        with Senders(pace=context.pace) as senders:
            indexes = Indexes(run, context, senders, warm)
            indexes.make_up(plan.standing)
            sender = VolumeSender(run, context, place, senders)
            for volume in plan.volumes:
                run.check_stop(safe=_KEPT)
                stored = sender.send(volume)
                failures += sender.take_failures()
                if stored is not None:
                    indexes.send(stored)
                snapshots.send_if_due()
        if senders.bugs:
            raise senders.bugs[0]
        run.tell(context.meter.now())
        raise_if_all_failed(failures, len(plan.volumes))
        snapshots.finish()
    run.check_stop(safe=_KEPT)
    make_up_for_keys(run)
    tally = run.tally
    run.message = (
        f"{tally.done} files in {run.counts.get('volumes', 0)} volumes stored at {connection.store.name}, "
        f"{tally.present} already there, {tally.failed} failed"
    )


def _warm(run: Run, stack: ExitStack, request: ArchiveRequest, connection: Connection) -> Connection | None:
    """Return where the indexes go; None if that place cannot be reached now: the volumes go all the same."""
    if request.index_url is None or one_url(request.index_url) == one_url(request.url):
        return connection
    try:
        return stack.enter_context(
            connected(
                run.catalog,
                request.index_url,
                stop=run.stop,
                tell=run.tell,
                access=access_at(run.home.settings(), request.index_url),
            )
        )
    except StoreError as error:
        run.fail(error)
        return None
