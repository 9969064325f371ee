"""When an object counts as ours and stored: the decision after Complete, a refused write, or any doubt.

Nothing here believes an error: after one, the store is asked what stands under the key, and the answer is
compared with what we durably said we would write (the intents).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from ecogsafe.catalog import copies, sealings, uploads
from ecogsafe.catalog.audit import Act
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import VerificationError
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status


def matches(info: ObjectInfo, intent: IntentRow) -> bool:
    """Return whether ``info`` is what ``intent`` announced.

    The size must agree. A checksum of the store decides alone where there is one; where there is none the
    random token must be ours, and nothing may have been found wrong with that object before.
    """
    if info.size != intent.size:
        return False
    if info.crc64 is not None:
        return info.crc64 == intent.crc64
    return info.token is not None and info.token == intent.token and intent.state != "different"


def end_upload(tx: Transaction, token: str, *, done: bool) -> None:
    """Note the end of the upload ``token``; with the last upload of a sealing its file key is erased.

    Nothing happens for a token without an upload in parts.
    """
    row = uploads.upload(tx, token)
    if row is None:
        return
    (uploads.finish_upload if done else uploads.abort_upload)(tx, token)
    if not uploads.open_uploads(tx, sealing_id=row.sealing_id):
        (sealings.finish_sealing if done else sealings.abandon_sealing)(tx, row.sealing_id)


class Evidence(Protocol):
    """What a store says of an object that it holds."""

    @property
    def size(self) -> int: ...

    @property
    def crc64(self) -> int | None: ...

    @property
    def etag(self) -> str | None: ...

    @property
    def version_id(self) -> str | None: ...

    @property
    def storage_class(self) -> str | None: ...

    @property
    def store_date(self) -> datetime | None: ...


@dataclass(frozen=True, slots=True)
class Written:
    """One object that stands at a store, and what we had announced."""

    shipment: Shipment
    place: Place
    intent: IntentRow
    info: Evidence

    @property
    def is_wrong(self) -> bool:
        """True if it is not what was announced."""
        return self.info.size != self.intent.size or self.info.crc64 not in (None, self.intent.crc64)

    @property
    def is_proven(self) -> bool:
        """True if the store's own checksum says that it is."""
        return self.info.crc64 is not None and not self.is_wrong


def record_stored(
    context: TransferContext, shipment: Shipment, place: Place, intent: IntentRow, info: Evidence
) -> Outcome:
    """Do `record_written` for one object.

    Raises
    ------
    VerificationError
        The store's own checksum is another one than ours; the copy is recorded as bad.
    """
    (outcome,) = record_written(context, [Written(shipment, place, intent, info)])
    if outcome.error is not None:
        raise outcome.error
    return outcome


def record_written(context: TransferContext, written: Sequence[Written], *, void: Sequence[str] = ()) -> list[Outcome]:
    """Record what stands at the stores, with the strength of the evidence, in one commit.

    A copy of which the store's own checksum is another one than ours is recorded as bad; it failed.

    Parameters
    ----------
    void
        Tokens of intents that certainly did not come true.
    """
    now = utc_stamp()
    rows = [_copy_of(one, now) for one in written]
    acts = [
        Act(
            act="upload",
            subject=one.shipment.subject,
            object=row.key,
            digest=one.intent.sha256,
            store=row.store_id,
            result="checksum-differs" if row.bad_at else row.level,
        )
        for one, row in zip(written, rows, strict=True)
    ]

    def write(tx: Transaction) -> None:
        copies.record_copies(tx, rows)
        uploads.settle_intents(tx, [row.token for row in rows if row.bad_at is None], "done")
        uploads.settle_intents(tx, [row.token for row in rows if row.bad_at is not None], "different")
        uploads.settle_intents(tx, void, "void")
        for store_id in {row.store_id for row in rows}:
            standing = {row.key: row.token for row in rows if row.store_id == store_id}
            uploads.void_other_intents(tx, store_id, standing)
        for token in uploads.tokens_of_uploads(tx, [row.token for row in rows]):
            end_upload(tx, token, done=True)
        context.audit(tx, acts)

    if written or void:
        context.ledger.record(write)
    return [_outcome_of(one) for one in written]


def _copy_of(one: Written, now: str) -> CopyRow:
    intent, info, is_wrong = one.intent, one.info, one.is_wrong
    is_proven = info.crc64 is not None and not is_wrong
    return CopyRow(
        id=0,
        file_id=intent.file_id,
        store_id=one.place.store_id,
        key=intent.key,
        sealed=intent.sealed,
        size=intent.size,
        crc64=intent.crc64,
        etag=info.etag,
        version_id=info.version_id,
        storage_class=info.storage_class,
        token=intent.token,
        level="checksum" if is_proven else "stored",
        stored_at=now,
        checksum_at=now if is_proven else None,
        restored_at=None,
        bad_at=now if is_wrong else None,
        bad_reason="the store's checksum is not ours" if is_wrong else None,
        store_date=info.store_date.isoformat() if info.store_date else None,
    )


def _outcome_of(one: Written) -> Outcome:
    place, intent = one.place, one.intent
    if not one.is_wrong:
        return Outcome(
            shipment=one.shipment, place=place, status=Status.DONE, sha256=intent.sha256, proven=one.is_proven
        )
    error = VerificationError(
        intent.key,
        f"{place.store.name} stored other bytes than were sent",
        safe="The source is untouched and this copy does not count",
        next="ecogsafe upload … --new-version, after asking the administrator of the store",
    )
    return Outcome(shipment=one.shipment, place=place, status=Status.FAILED, error=error)


def settle_doubt(context: TransferContext, shipment: Shipment, place: Place, intent: IntentRow) -> Outcome | None:
    """Ask the store what stands under the key of ``intent`` and return what follows; None if nothing is there.

    Called after a conditional write was refused, an upload id was gone, or an answer was lost. An object of
    an earlier run of ours is recorded for what it is; it counts for this file only if it holds the same
    content.
    """
    info = place.store.head(intent.key, checksum=True)
    if info is None:
        return None
    announced = context.ledger.read(lambda tx: uploads.intents_for(tx, place.store_id, intent.key))
    # our own first, then those of the same content, then the newest
    announced.sort(key=lambda a: (a.token == intent.token, a.sha256 == intent.sha256, a.created_at), reverse=True)
    found = next((earlier for earlier in announced if matches(info, earlier)), None)
    if found is None or found.token != intent.token:
        # a conditional write of ours can no longer take place: the key is taken
        context.ledger.record(lambda tx: uploads.settle_intent(tx, intent.token, "different"))
    if found is not None:
        outcome = record_stored(context, shipment, place, found, info)
        if found.sha256 == intent.sha256:
            return outcome
    return Outcome(shipment=shipment, place=place, status=Status.DIFFERENT, sha256=intent.sha256)
