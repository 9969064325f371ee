"""One file: read once, to every place that wants it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from ecogsafe.catalog.database import Transaction
from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, SourceChangedError
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.lane import Lane, SealingChangedError, interrupted
from ecogsafe.transfer.noting import note_content, note_file
from ecogsafe.transfer.parts import SINGLE_REQUEST_LIMIT
from ecogsafe.transfer.reading import Piece, PrefixDigests, read_once
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.single import send_whole
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.unfinished import Opened, Opening, unfinished
from ecogsafe.transfer.work import Outcome, Shipment, Status
from ecogsafe.transfer.worker_errors import WorkerGoneError

if TYPE_CHECKING:
    from ecogsafe.transfer.cutters import Cutters

#: of one file that goes in parts: its process may end, and then it may turn out to have changed
_ATTEMPTS = 3


def largest_whole() -> int:
    """Return the most bytes of a file that is sent in one request."""
    return SINGLE_REQUEST_LIMIT


def send_file(
    context: TransferContext, shipment: Shipment, senders: Senders, cutters: Cutters | None = None
) -> list[Outcome]:
    """Read ``shipment`` once and return what became of it at each place; no failure is raised but a bug's.

    Parameters
    ----------
    cutters
        Processes that read it; None: it is read here.
    """
    try:
        source = shipment.open_source()
    except EcogsafeError as error:
        return _all_ended(shipment, error)
    try:
        if source.size <= SINGLE_REQUEST_LIMIT and not unfinished(context, shipment):
            return send_whole(Crew(context, shipment, senders), source)
        return _send_again_if_needed(context, shipment, senders, source, cutters)
    except EcogsafeError as error:
        return _all_ended(shipment, error)
    finally:
        source.close()


def _send_again_if_needed(
    context: TransferContext, shipment: Shipment, senders: Senders, source: Source, cutters: Cutters | None
) -> list[Outcome]:
    """Send in parts; once more if its process ends, and once more under a new key if the file changed meanwhile."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return _send_in_parts(Crew(context, shipment, senders), source, cutters)
        except WorkerGoneError:
            context.tell("upload", "the process that read it ended; it is read here", key=shipment.path)
        except SealingChangedError as error:
            if not source.rereadable:
                raise
            context.tell("upload", str(error), key=shipment.path)
        cutters = None
    return _send_in_parts(Crew(context, shipment, senders), source)


def _send_in_parts(crew: Crew, source: Source, cutters: Cutters | None = None) -> list[Outcome]:
    context, shipment = crew.context, crew.shipment
    context.meter.file_begins(shipment.path, source.size * len(shipment.places))
    file_id = note_file(context, shipment, source, sha256=None)
    opened = Opening(crew, stat=source.stat, file_id=file_id).open()
    try:
        sha256 = _feed(crew, source, opened.lanes, cutters)
        crew.settle()
        if sha256 is None:
            return _ends(opened)
        return _complete(context, opened, partial(note_content, shipment, source.stat, sha256), sha256)
    except InterruptedRunError:
        crew.settle()
        return _ends(opened)
    except SourceChangedError:
        crew.settle()
        for lane in opened.lanes:
            lane.abandon()
        raise
    finally:
        try:
            crew.settle()
        finally:
            for lane in opened.lanes:
                lane.release()


def _feed(crew: Crew, source: Source, lanes: list[Lane], cutters: Cutters | None) -> str | None:
    """Have the source read once through every lane; return its SHA-256 once it is proven unchanged."""
    order = crew.shipment.order
    try:
        if cutters is None or order is None or not lanes or not cutters.reach(order, lanes):
            return _read_here(crew, source, lanes)
        sha256 = cutters.read(order, source.stat, lanes)
        for lane in lanes:
            lane.settle_rows()
        return sha256
    finally:
        for lane in lanes:
            lane.let_go()


def _read_here(crew: Crew, source: Source, lanes: list[Lane]) -> str | None:
    digests = PrefixDigests(stop for lane in lanes for stop in lane.stops())

    def take(piece: Piece) -> bool:
        if crew.context.stop.is_set():
            raise interrupted(crew.shipment.path)
        for lane in lanes:
            lane.feed(piece, digests)
        return not all(lane.over for lane in lanes)

    watch = crew.shipment.text_watch() if crew.shipment.text_watch else None
    sha256 = read_once(source, source.pieces(), take, watch=watch, digests=digests) if lanes else None
    for lane in lanes:
        lane.end(digests)
    return sha256


def _complete(
    context: TransferContext, opened: Opened, note: Callable[[Transaction], int], sha256: str
) -> list[Outcome]:
    """Complete what is all there, at every place at once; return the end of each."""
    futures = [future for lane in opened.lanes for future in lane.complete(note=note, sha256=sha256)]
    if not futures:
        # no place was left, but what was read is known
        context.ledger.record(note)
    done = [future.result() for future in futures]
    ended = {id(outcome.place) for outcome in done}
    left = [u.ended() for lane in opened.lanes for u in lane.uploads if id(u.place) not in ended]
    return opened.ended + done + left


def _ends(opened: Opened) -> list[Outcome]:
    return opened.ended + [upload.ended() for lane in opened.lanes for upload in lane.uploads]


def _all_ended(shipment: Shipment, error: EcogsafeError) -> list[Outcome]:
    """Return that ``error`` kept the file from every place; an interrupted one did not fail."""
    status, told = (Status.PAUSED, None) if isinstance(error, InterruptedRunError) else (Status.FAILED, error)
    return [Outcome(shipment=shipment, place=place, status=status, error=told) for place in shipment.places]
