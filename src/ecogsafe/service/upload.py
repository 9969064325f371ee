"""``upload``: one kind of data of the subjects below DIR to one store, encrypted or cleared, and proven there."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from fnmatch import fnmatch
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, ExitStatus, StoreError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.key_backup import back_up_stale_keys
from ecogsafe.service.outgoing import NOTHING_LEFT, Outgoing, find_outgoing, marked_subjects
from ecogsafe.service.owner import is_dead
from ecogsafe.service.pacing import pace_of
from ecogsafe.service.running import Run, raise_if_all_failed, unfinished_journal
from ecogsafe.service.snapshots import Snapshots
from ecogsafe.service.store_failures import StoreFailures, counted
from ecogsafe.service.upload_planning import Planner, UploadPlan, refuse_overfull, tell_plan
from ecogsafe.service.upload_request import UploadRequest
from ecogsafe.service.withdrawal import refuse_withdrawn
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.file_order import Cleared
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.pace import Pace
from ecogsafe.transfer.pipeline import DEFAULT_READERS, send_all
from ecogsafe.transfer.work import Outcome, Status

_KEPT = "What was sent is kept"


def upload(run: Run, request: UploadRequest) -> None:
    """Carry ``request`` out and tell of every file.

    Raises
    ------
    NotClearedError
        A file that would go plain is not cleared; nothing was sent.
    LockedError
        A subject is being de-identified or changed by another run.
    EcogsafeError
        The store, a key or the request stops the run.
    """
    request.check()
    settings = run.home.settings()
    request = request.completed(settings)
    meter = Meter(run.tell, files_total=None, bytes_total=None)
    pace = pace_of(run, settings, meter, limit_rate=request.limit_rate, between=request.between)
    outgoing = find_outgoing(request.folder, request.data_type)
    _exclude(run, outgoing, request.exclude)
    tell_left(run, outgoing, "upload")
    if outgoing.is_rightly_empty:
        run.message = NOTHING_LEFT
        return
    if not outgoing.files:
        raise _nothing_to_send(request, outgoing)
    hold_subjects(run, outgoing)
    with descriptor_of(request.folder) as root:
        cleared = _pass_gate(run, outgoing, request, root)
        recipients = run.home.recipients(run.catalog)
        with connected(
            run.catalog,
            request.url,
            sse=request.sse,
            to_write=not request.dry_run,
            stop=run.stop,
            tell=run.tell,
            rate=pace.rate,
            access=request.access,
        ) as connection:
            snapshots = Snapshots(run, [connection], recipients)
            with closing(Ledger(run.catalog)) as ledger:
                context = context_of(run, ledger, recipients, meter=meter, pace=pace)
                planner = Planner(run, context, connection, request, cleared, root)
                for file in outgoing.files:
                    run.check_stop(safe=_KEPT)
                    planner.add(file)
                tell_plan(run, planner.plan, dry_run=request.dry_run)
                if request.dry_run:
                    run.message = (
                        f"{len(planner.plan.shipments)} files, {planner.plan.bytes_total:,} bytes would be sent"
                    )
                    return
                refuse_overfull(run, connection, planner.plan.shipments)
                ended = _send(run, context, planner.plan, request, snapshots)
            snapshots.finish()
            run.check_all_ended(ended, len(planner.plan.shipments), safe=_KEPT)
            make_up_for_keys(run)
            run.message = _verdict(run, connection)


def make_up_for_keys(run: Run) -> None:
    """Copy the keys to a place that was out of reach when they changed; that it still is does not spoil this run."""
    copies = back_up_stale_keys(run.home, run.catalog)
    for url in copies.complete:
        run.tell(Item(action="key-backup", status="done", store=url, message="keys and journals as they are now"))
    for url, problem in copies.failed:
        run.tell(Item(action="key-backup", status="note", store=url, message=problem))


def context_of(
    run: Run,
    ledger: Ledger,
    recipients: Sequence[Recipient],
    *,
    meter: Meter | None = None,
    pace: Pace | None = None,
) -> TransferContext:
    """Return what the threads of a transfer of this run share."""
    pace = pace or Pace(stop=run.stop)
    return TransferContext(
        ledger=ledger,
        emit=run.tell,
        meter=meter or Meter(run.tell, files_total=None, bytes_total=None),
        run_id=run.run_id,
        owner=run.owner,
        recipients=recipients,
        resume_key=run.home.resume_key(),
        actor=run.actor,
        pool=pace.pool(),
        stop=run.stop,
        pace=pace,
        is_dead=is_dead,
    )


def _verdict(run: Run, connection: Connection) -> str:
    tally = run.tally
    unproven = run.counts.get("stored_without_checksum", 0)
    proof = "stored and proven" if not unproven else f"stored ({unproven} without a checksum of the store)"
    return (
        f"{tally.done} files {proof} at {connection.store.name}, {tally.present} already there, "
        f"{tally.skipped} skipped, {tally.failed} failed"
    )


def _nothing_to_send(request: UploadRequest, outgoing: Outgoing) -> EcogsafeError:
    if outgoing.unreadable:
        return outgoing.unreadable[0]
    kinds = "video and text" if request.data_type == "v" else "EDF or BDF files"
    problem = f"holds no {kinds} of a subject in the layout of ecogsafe deid apply"
    if outgoing.left:
        problem += f" ({len(outgoing.left)} other entries were left alone)"
    return UsageError("DIR", problem, safe="Nothing was sent", next="check -d and -t, or run ecogsafe deid apply first")


@contextmanager
def descriptor_of(folder: Path) -> Iterator[int]:
    """Give a descriptor of DIR."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _exclude(run: Run, outgoing: Outgoing, globs: tuple[str, ...]) -> None:
    if not globs:
        return
    kept = [f for f in outgoing.files if not any(fnmatch(f.path, g) or fnmatch(f.relative.name, g) for g in globs)]
    run.counts["excluded"] = len(outgoing.files) - len(kept)
    outgoing.files = kept


def tell_left(run: Run, outgoing: Outgoing, action: str) -> None:
    """Tell and count what is not of the form, and what could not be looked at."""
    for shown, reason in outgoing.left:
        run.tally.left_behind += 1
        run.tally.note(ExitStatus.NOT_UNDERSTOOD)
        run.tell(Item(action=action, status="left_behind", path=shown, message=reason))
    for error in outgoing.unreadable:
        run.fail(error)


def hold_subjects(run: Run, outgoing: Outgoing) -> None:
    """Keep `deid` away from the subjects; it leaves journal and marker open where it was cut."""
    for code in outgoing.subjects():
        run.hold_subject(code, shared=True)
        # only now: until the lease is ours, an apply may begin
        run.refuse_open_journal(code)
    refuse_withdrawn(run, outgoing.subjects())
    unfinished = marked_subjects(outgoing.root) & set(outgoing.subjects())
    if unfinished:
        raise unfinished_journal(min(unfinished))


def _pass_gate(run: Run, outgoing: Outgoing, request: UploadRequest, root: int) -> dict[str, Cleared]:
    """Return the cleared text of every file that goes plain, by what messages call the file."""
    plain = [file for file in outgoing.files if not request.seals(file)]
    if not plain:
        return {}
    # only here: what searches text takes a tenth of a second to load, and most uploads are sealed
    from ecogsafe.service.gate import Gate, Refusal, refuse

    gate = Gate(run.catalog)
    cleared: dict[str, Cleared] = {}
    refusals: list[Refusal] = []
    for file in plain:
        run.check_stop(safe="Nothing was sent")
        verdict = gate.judge(file, root)
        if isinstance(verdict, Refusal):
            refusals.append(verdict)
            run.tell(
                Item(
                    action="gate",
                    status="failed",
                    subject=file.parts.code,
                    segment=file.parts.number,
                    path=file.shown,
                    message=verdict.reason,
                )
            )
        else:
            cleared[file.shown] = verdict
    if refusals:
        raise refuse(refusals)
    return cleared


def _send(run: Run, context: TransferContext, plan: UploadPlan, request: UploadRequest, snapshots: Snapshots) -> int:
    """Send what was planned; return how many files came to their end."""
    context.meter.files_total = len(plan.shipments)
    context.meter.bytes_total = plan.bytes_total
    failures: list[EcogsafeError] = []
    troubles = StoreFailures(run)
    ended = there = 0
    for item in plan.present:
        context.meter.was_present(item.bytes or 0)
    sent = send_all(context, plan.shipments, readers=min(request.jobs, DEFAULT_READERS), senders=request.jobs)
    # closed whatever happens here, so that no thread outlives the ledger it writes to
    with context.meter, closing(sent) as ends:
        for outcome in ends:
            note_outcome(run, outcome, troubles)
            ended += outcome.status is not Status.PAUSED
            there += outcome.status in (Status.DONE, Status.PRESENT)
            if outcome.error is not None:
                failures.append(outcome.error)
            snapshots.send_if_due()
    run.tell(context.meter.now())
    if context.lost:
        run.check_stop(safe=_KEPT)
    for lost in context.lost.values():
        raise counted(lost, len(plan.shipments) - there) from lost
    # the one destination failed for everything: that is what the run ends with
    raise_if_all_failed([_counted(error, len(failures)) for error in failures[:1]] + failures[1:], len(plan.shipments))
    troubles.tell()
    return ended


def _counted(error: EcogsafeError, files: int) -> EcogsafeError:
    return counted(error, files) if isinstance(error, StoreError) else error


def note_outcome(run: Run, outcome: Outcome, troubles: StoreFailures) -> None:
    """Count and tell one outcome; what is wrong with the store itself is left to ``troubles``."""
    with run.counting:
        _note_outcome(run, outcome, troubles)


def _note_outcome(run: Run, outcome: Outcome, troubles: StoreFailures) -> None:
    shipment, place = outcome.shipment, outcome.place
    if shipment.again:
        run.counts["detached"] = run.counts.get("detached", 0) + 1
    status, message = _words(outcome)
    run.tell(
        Item(
            action="upload",
            status=status,
            subject=shipment.subject,
            segment=shipment.segment,
            path=f"{shipment.tree}/{shipment.path}",
            key=shipment.keys[place.sealed],
            store=place.store.name,
            bytes=shipment.size,
            digest=outcome.sha256,
            message=message,
            details={"sealed": place.sealed, "sent_bytes": outcome.sent_bytes},
        )
    )
    if outcome.status in (Status.DONE, Status.PRESENT):
        run.tally.done += 1
        run.tally.bytes += shipment.size
        if not outcome.proven:
            run.counts["stored_without_checksum"] = run.counts.get("stored_without_checksum", 0) + 1
    elif outcome.status is Status.DIFFERENT:
        run.tally.skipped += 1
        run.tally.note(ExitStatus.PARTIAL)
    elif outcome.error is not None:
        troubles.note(outcome.error, place.store.url)


def _words(outcome: Outcome) -> tuple[str, str]:
    notes = "; ".join(outcome.notes)
    if outcome.status in (Status.DONE, Status.PRESENT):
        proof = "the store's checksum is ours" if outcome.proven else "stored; this store tells no checksum"
        return "done", f"{proof}; {notes}" if notes else proof
    if outcome.status is Status.DIFFERENT:
        return "skipped", "another content stands under this name; it is never replaced"
    if outcome.status is Status.PAUSED:
        return "skipped", "interrupted: run the same command again to continue"
    return "failed", str(outcome.error)
