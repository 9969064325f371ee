"""``upload``: one kind of data of the subjects below DIR to one store, encrypted or cleared, and proven there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    NotClearedError,
    StoreError,
    UsageError,
)
from ecogsafe.core.events import Item
from ecogsafe.formats.kinds import ALWAYS_SEALED
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.gate import Cleared, ClearedWatch, Gate, Refusal, refuse
from ecogsafe.service.outgoing import Outgoing, OutgoingFile, find_outgoing
from ecogsafe.service.owner import is_dead
from ecogsafe.service.presence import Listing, Need, key_for
from ecogsafe.service.presence import judge as judge_presence
from ecogsafe.service.running import Run, unfinished_journal
from ecogsafe.service.second_look import second_look
from ecogsafe.service.snapshots import send_snapshot
from ecogsafe.transfer.context import Meter, TransferContext
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.pipeline import DEFAULT_READERS, send_all
from ecogsafe.transfer.source import FileSource
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadRequest:
    """What the user asked for."""

    folder: Path
    url: str
    #: "v" or "e"
    data_type: str
    #: seal EDF/BDF too
    encrypt: bool = False
    #: leave video and text unsealed (``file://`` only)
    plain: bool = False
    jobs: int = DEFAULT_READERS
    storage_class: str | None = None
    exclude: tuple[str, ...] = ()
    new_version: bool = False
    dry_run: bool = False
    sse: str | None = None

    @property
    def sealed(self) -> bool:
        """Whether objects are sealed by default."""
        return not self.plain if self.data_type == "v" else self.encrypt

    def check(self) -> None:
        """Raise UsageError if the wishes contradict each other."""
        if self.plain and self.encrypt:
            raise UsageError("--plain", "contradicts --encrypt", next="give one of them")
        if self.plain and self.data_type == "v" and not self.url.startswith("file://"):
            raise UsageError(
                "--plain",
                "video and its text go unencrypted only to a folder (file://)",
                safe="Nothing was sent",
                next="leave --plain out, or send to file:///…",
            )
        if self.jobs < 1:
            raise UsageError("--jobs", "must be at least 1")


@dataclass(slots=True)
class UploadPlan:
    """What will be sent, and what will not and why."""

    shipments: list[Shipment] = field(default_factory=list)
    present: list[Item] = field(default_factory=list)
    different: list[Item] = field(default_factory=list)

    @property
    def bytes_total(self) -> int:
        """Source bytes to be sent."""
        return sum(s.size for s in self.shipments)


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
    outgoing = find_outgoing(request.folder, request.data_type)
    _exclude(run, outgoing, request.exclude)
    _tell_left(run, outgoing)
    if not outgoing.files:
        raise _nothing_to_send(request, outgoing)
    for code in outgoing.subjects():
        if code in outgoing.unfinished:
            raise unfinished_journal(code)
        run.refuse_open_journal(code)
        run.hold_subject(code, shared=True)
    with _descriptor(request.folder) as root:
        cleared = _pass_gate(run, outgoing, request, root)
        recipients = run.home.recipients(run.catalog)
        with connected(run.catalog, request.url, sse=request.sse) as connection:
            ledger = Ledger(run.catalog)
            try:
                context = TransferContext(
                    ledger=ledger,
                    emit=run.tell,
                    meter=Meter(run.tell, files_total=None, bytes_total=None),
                    run_id=run.run_id,
                    owner=run.owner,
                    recipients=recipients,
                    resume_key=run.home.resume_key(),
                    actor=run.actor,
                    stop=run.stop,
                    is_dead=is_dead,
                )
                plan = _plan(run, context, connection, outgoing, request, cleared, root)
                _tell_plan(run, plan, dry_run=request.dry_run)
                if request.dry_run:
                    run.message = f"{len(plan.shipments)} files, {plan.bytes_total:,} bytes would be sent"
                    return
                _send(run, context, plan, request)
            finally:
                ledger.close()
            send_snapshot(run, [connection], recipients)
            _end(run, connection)


def _end(run: Run, connection: Connection) -> None:
    tally = run.tally
    if run.stop.is_set():
        raise InterruptedRunError(
            "upload", "was interrupted", safe="What was sent is kept", next="run the same command again to continue"
        )
    run.message = (
        f"{tally.done} files stored and proven at {connection.store.name}, {tally.present} already there, "
        f"{tally.skipped} skipped, {tally.failed} failed"
    )


def _nothing_to_send(request: UploadRequest, outgoing: Outgoing) -> UsageError:
    kinds = "video and text" if request.data_type == "v" else "EDF or BDF files"
    problem = f"holds no {kinds} of a subject in the layout of ecogsafe deid apply"
    if outgoing.left:
        problem += f" ({len(outgoing.left)} other entries were left alone)"
    return UsageError("DIR", problem, safe="Nothing was sent", next="check -d and -t, or run ecogsafe deid apply first")


@contextmanager
def _descriptor(folder: Path) -> Iterator[int]:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _exclude(run: Run, outgoing: Outgoing, globs: tuple[str, ...]) -> None:
    if not globs:
        return
    from fnmatch import fnmatch

    kept = [f for f in outgoing.files if not any(fnmatch(f.path, g) or fnmatch(f.relative.name, g) for g in globs)]
    run.counts["excluded"] = len(outgoing.files) - len(kept)
    outgoing.files = kept


def _tell_left(run: Run, outgoing: Outgoing) -> None:
    for shown, reason in outgoing.left:
        run.tally.left_behind += 1
        run.tally.note(ExitStatus.NOT_UNDERSTOOD)
        run.tell(Item(action="upload", status="left_behind", path=shown, message=reason))


def _sealed(file: OutgoingFile, request: UploadRequest) -> bool:
    return request.sealed or file.kind in ALWAYS_SEALED


def _pass_gate(run: Run, outgoing: Outgoing, request: UploadRequest, root: int) -> dict[str, Cleared]:
    """Return the cleared text of every file that goes plain, by shown path."""
    gate = Gate(run.catalog)
    cleared: dict[str, Cleared] = {}
    refusals: list[Refusal] = []
    for file in outgoing.files:
        if _sealed(file, request):
            continue
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


def _plan(
    run: Run,
    context: TransferContext,
    connection: Connection,
    outgoing: Outgoing,
    request: UploadRequest,
    cleared: dict[str, Cleared],
    root: int,
) -> UploadPlan:
    plan = UploadPlan()
    listing = Listing(connection)
    for file in outgoing.files:
        sealed = _sealed(file, request)
        listing.read(file.path.split("/", 1)[0] + "/")
        key = key_for(file, sealed=sealed)
        place = Place(
            store=connection.store,
            store_id=connection.store_id,
            sealed=sealed,
            storage_class=request.storage_class,
        )
        presence = judge_presence(run.catalog, connection, listing, file, key)
        shipment = _shipment(file, key, place, cleared.get(file.shown), root)
        need = presence.need
        if need in (Need.COMPARE, Need.ASK):
            need = second_look(context, shipment, place, presence)
        if need is Need.LOST:
            context.tell("upload", "was there once and is gone: it is sent again", key=key, store=request.url)
        if need in (Need.SEND, Need.LOST):
            plan.shipments.append(shipment)
        elif need is Need.PRESENT:
            plan.present.append(_item(file, key, connection, "present", "already there and unchanged"))
        elif request.new_version:
            versioned = listing.next_version(key)
            plan.shipments.append(_shipment(file, versioned, place, cleared.get(file.shown), root))
        else:
            reason = "another content stands under this name; it is never replaced (--new-version keeps both)"
            plan.different.append(_item(file, key, connection, "skipped", reason))
    return plan


def _item(file: OutgoingFile, key: str, connection: Connection, status: str, message: str) -> Item:
    return Item(
        action="upload",
        status=status,
        subject=file.parts.code,
        segment=file.parts.number,
        path=file.shown,
        key=key,
        store=connection.store.name,
        bytes=file.status.st_size,
        message=message,
    )


def _shipment(file: OutgoingFile, key: str, place: Place, cleared: Cleared | None, root: int) -> Shipment:
    return Shipment(
        tree=file.tree,
        path=file.path,
        subject=file.parts.code,
        segment=file.parts.number,
        size=file.status.st_size,
        keys={place.sealed: key},
        places=(place,),
        open_source=lambda: FileSource(root, file.relative, name=file.shown),
        text_watch=(lambda: ClearedWatch(file.shown, cleared)) if cleared else None,
    )


def _tell_plan(run: Run, plan: UploadPlan, *, dry_run: bool) -> None:
    for item in plan.present:
        run.tally.present += 1
        run.tell(item)
    for item in plan.different:
        run.tally.skipped += 1
        run.tally.note(ExitStatus.PARTIAL)
        run.tell(item)
    if dry_run:
        for shipment in plan.shipments:
            run.tell(
                Item(
                    action="upload",
                    status="planned",
                    subject=shipment.subject,
                    segment=shipment.segment,
                    path=f"{shipment.tree}/{shipment.path}",
                    key=next(iter(shipment.keys.values())),
                    bytes=shipment.size,
                )
            )


def _send(run: Run, context: TransferContext, plan: UploadPlan, request: UploadRequest) -> None:
    context.meter.files_total = len(plan.shipments)
    context.meter.bytes_total = plan.bytes_total
    failures: list[EcogsafeError] = []
    # closed whatever happens here, so that no thread outlives the ledger it writes to
    with closing(send_all(context, plan.shipments, readers=request.jobs)) as ends:
        for outcome in ends:
            note_outcome(run, outcome)
            if outcome.error is not None:
                failures.append(outcome.error)
    run.tell(context.meter.now())
    stores_failed = [e for e in failures if isinstance(e, StoreError)]
    if stores_failed and len(stores_failed) == len(plan.shipments):
        # the one destination failed for everything: that is what the run ends with
        raise stores_failed[0]
    for error in failures:
        if isinstance(error, NotClearedError):
            raise error


def note_outcome(run: Run, outcome: Outcome) -> None:
    """Count and tell one outcome."""
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
        run.fail(outcome.error)


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
