"""One file: read once, to every place that wants it."""

from __future__ import annotations

import hashlib
from concurrent.futures import Executor

from ecogsafe.catalog import files
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, SourceChangedError
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.lane import Lane, SealingChangedError, has_unfinished, new_form, open_lane
from ecogsafe.transfer.parts import SINGLE_REQUEST_LIMIT
from ecogsafe.transfer.single import put_whole
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status


def send_file(context: TransferContext, shipment: Shipment, senders: Executor) -> list[Outcome]:
    """Read ``shipment`` once and return what became of it at each place; no failure is raised but a bug's."""
    try:
        source = shipment.open_source()
    except EcogsafeError as error:
        return _all_failed(shipment, error)
    try:
        file_id = note_file(context, shipment, source, sha256=None)
        if source.size <= SINGLE_REQUEST_LIMIT and not has_unfinished(context, shipment):
            return _send_small(context, shipment, source, file_id)
        try:
            return _send_in_parts(context, shipment, source, file_id, senders)
        except SealingChangedError as error:
            context.tell("upload", str(error), key=shipment.path)
            if not source.rereadable:
                raise
            return _send_in_parts(context, shipment, source, file_id, senders)
    except EcogsafeError as error:
        return _all_failed(shipment, error)
    finally:
        source.close()


def note_file(context: TransferContext, shipment: Shipment, source: Source, *, sha256: str | None) -> int:
    """Note the file as it was opened, with its digest once it is known; return its id."""
    stat = source.stat

    def write(tx: Transaction) -> int:
        return files.upsert_file(
            tx,
            tree=shipment.tree,
            path=shipment.path,
            subject=shipment.subject,
            segment=shipment.segment,
            size=stat.size,
            mtime_ns=stat.mtime_ns,
            inode=stat.inode,
            device=stat.device,
            sha256=sha256,
        )

    return context.ledger.record(write)


def _send_small(context: TransferContext, shipment: Shipment, source: Source, file_id: int) -> list[Outcome]:
    watch = shipment.text_watch() if shipment.text_watch else None
    pieces: list[bytes] = []
    offset = 0
    for piece in source.pieces():
        if watch:
            watch.feed(offset, piece)
        pieces.append(piece)
        offset += len(piece)
    source.check_unchanged()
    if watch:
        watch.check()
    plain = b"".join(pieces)
    file_id = note_file(context, shipment, source, sha256=hashlib.sha256(plain).hexdigest())
    outcomes: list[Outcome] = []
    for sealed in sorted({place.sealed for place in shipment.places}):
        places = [place for place in shipment.places if place.sealed == sealed]
        form, _, _ = new_form(context, sealed=sealed, size=len(plain))
        if not context.pool.acquire(form.object_size, stalled=lambda: None, give_up=context.stop.is_set):
            return outcomes + _paused(shipment, places)
        try:
            outcomes += put_whole(context, shipment, plain=plain, form=form, file_id=file_id, places=places)
        finally:
            context.pool.release(form.object_size)
    return outcomes


def _send_in_parts(
    context: TransferContext, shipment: Shipment, source: Source, file_id: int, senders: Executor
) -> list[Outcome]:
    failed: list[Outcome] = []
    lanes: list[Lane] = []
    for sealed in sorted({place.sealed for place in shipment.places}):
        lane, earlier = open_lane(context, shipment, sealed=sealed, stat=source.stat, file_id=file_id, senders=senders)
        for place in [p for p in shipment.places if p.sealed == sealed]:
            outcome = lane.attach(place, earlier.get(place.store_id))
            if outcome is not None:
                failed.append(outcome)
        lanes.append(lane)
    try:
        sha256 = _feed(context, shipment, source, lanes)
        file_id = note_file(context, shipment, source, sha256=sha256)
        for lane in lanes:
            failed += lane.complete(file_id=file_id, sha256=sha256)
        return failed
    except InterruptedRunError:
        for lane in lanes:
            lane.drain()
        done_elsewhere = {id(o.place) for o in failed}
        return failed + _paused(shipment, [p for p in shipment.places if id(p) not in done_elsewhere])
    except SourceChangedError:
        for lane in lanes:
            lane.abandon()
        raise
    finally:
        for lane in lanes:
            lane.drain()
            lane.release()


def _feed(context: TransferContext, shipment: Shipment, source: Source, lanes: list[Lane]) -> str:
    """Read the source once through every lane; return its SHA-256 once it is proven unchanged."""
    watch = shipment.text_watch() if shipment.text_watch else None
    digest = hashlib.sha256()
    offset = 0
    for piece in source.pieces():
        if context.stop.is_set():
            raise InterruptedRunError(shipment.path, "was interrupted", safe="Parts already there are kept")
        digest.update(piece)
        if watch:
            watch.feed(offset, piece)
        for lane in lanes:
            lane.feed(piece)
        offset += len(piece)
        if all(lane.over for lane in lanes):
            break
    for lane in lanes:
        lane.end()
    source.check_unchanged()
    if watch and offset == source.size:
        watch.check()
    return digest.hexdigest()


def _all_failed(shipment: Shipment, error: EcogsafeError) -> list[Outcome]:
    return [Outcome(shipment=shipment, place=place, status=Status.FAILED, error=error) for place in shipment.places]


def _paused(shipment: Shipment, places: list[Place]) -> list[Outcome]:
    return [Outcome(shipment=shipment, place=place, status=Status.PAUSED) for place in places]
