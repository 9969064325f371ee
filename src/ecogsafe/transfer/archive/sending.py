"""A volume made while it is sent: frame after frame, part after part, each journalled before its bytes leave.

The order of things (DESIGN 5.9): the volume's row and its members are durable → the upload is begun → for
every part, its frames, the digests that became known and the part's row are durable → PUT → acknowledged →
… → the manifest → what the object will be is durable → Complete, conditional → the copy is recorded.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from ecogsafe.catalog import archives, uploads
from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, SourceChangedError, UploadGoneError
from ecogsafe.transfer.archive.making import VolumeWork, open_making
from ecogsafe.transfer.archive.members import MemberLostError
from ecogsafe.transfer.archive.volume_pass import VolumePass
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.completion import matches, record_stored
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.lane import SealingChangedError
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Outcome, Status


def _alone() -> bool:
    return False


def send_volume(
    context: TransferContext, work: VolumeWork, senders: Senders, *, others_go_on: Callable[[], bool] = _alone
) -> Outcome:
    """Send a volume, going on where an earlier run stopped; no failure is raised but those below and a bug's.

    Parameters
    ----------
    others_go_on
        See `ecogsafe.transfer.carrier.Crew`: where it says so, a store that stalls ends the volume as detached.

    Raises
    ------
    MemberLostError
        A file cannot go in as it was planned. Nothing of this making is continued; the volume must be planned anew.
    """
    try:
        settled = settle_volume(context, work)
        if settled is not None:
            return settled
        crew = partial(Crew, context, work.shipment, senders, others_go_on=others_go_on)
        outcome = _send_or_none(crew(), work)
        return _send(crew(), work) if outcome is None else outcome
    except MemberLostError:
        raise
    except InterruptedRunError:
        return Outcome(shipment=work.shipment, place=work.place, status=Status.PAUSED)
    except EcogsafeError as error:
        return Outcome(shipment=work.shipment, place=work.place, status=Status.FAILED, error=error)


def _send_or_none(crew: Crew, work: VolumeWork) -> Outcome | None:
    """Return the end of a volume; None if it must start over under a new key, which is told."""
    try:
        outcome = _send(crew, work)
    except SealingChangedError as error:
        reason = f"{error.problem}: {error.safe}"
    else:
        if not isinstance(outcome.error, UploadGoneError):
            return outcome
        reason = "the volume starts over under a new key: the store forgot the upload"
    crew.context.tell("archive", reason, key=work.row.key, store=work.place.store.name)
    return None


def settle_volume(context: TransferContext, work: VolumeWork) -> Outcome | None:
    """Return the end of a volume that an earlier run may have completed without knowing it; None if it did not.

    Raises
    ------
    StoreError
        The store does not say what stands there.
    """
    row = context.ledger.read(lambda tx: archives.volume(tx, work.row.volume_id))
    if row is None or row.manifest_sha256 is None:
        return None
    announced = context.ledger.read(lambda tx: uploads.intents_for(tx, row.store_id, row.key))
    announced = [i for i in announced if (i.size, i.sha256) == (row.object_size, row.manifest_sha256)]
    info = work.place.store.head(row.key, checksum=True) if announced else None
    intent = next((i for i in reversed(announced) if info is not None and matches(info, i)), None)
    if info is None or intent is None:
        return None
    outcome = record_stored(context, work.shipment, work.place, intent, info)
    context.ledger.record(lambda tx: archives.set_state(tx, row.volume_id, "stored"))
    return outcome


def _send(crew: Crew, work: VolumeWork) -> Outcome:
    making = open_making(crew, work)
    if isinstance(making, Outcome):
        return making
    upload = making.upload
    crew.members.append(upload)
    try:
        with VolumePass(crew, work, making) as sending:
            is_whole = sending.make_parts()
            crew.settle()
            return sending.complete() if is_whole and not upload.over else upload.ended()
    except InterruptedRunError:
        crew.settle()
        return upload.ended()
    except SourceChangedError:
        crew.settle()
        making.abandon()
        raise
    finally:
        try:
            crew.settle()
        finally:
            upload.release()
