"""A small file in one request: read, hashed, sealed in memory, announced, put."""

from __future__ import annotations

import hashlib
import secrets

from ecogsafe.catalog import uploads
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError, ObjectExistsError, StoreError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.transfer.completion import record_stored, settle_doubt
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.cutting import CutPart, Form
from ecogsafe.transfer.parts import PartRange
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status


def put_whole(
    context: TransferContext,
    shipment: Shipment,
    *,
    plain: bytes,
    form: Form,
    file_id: int,
    places: list[Place],
) -> list[Outcome]:
    """Send ``plain`` to every place of ``places`` (all of one form) and return what became of each.

    The intents are durable before the first byte leaves. A later process never sends these bytes again: it
    seals under a new file key.
    """
    sha256 = hashlib.sha256(plain).hexdigest()
    body = form.body(CutPart(PartRange(1, 0, form.object_size), plain, b""))
    crc = crc64nvme(body)
    intents = [
        IntentRow(
            token=secrets.token_hex(16),
            store_id=place.store_id,
            key=shipment.keys[place.sealed],
            size=len(body),
            crc64=crc,
            file_id=file_id,
            sha256=sha256,
            sealed=place.sealed,
            created_at=utc_stamp(),
            state="open",
        )
        for place in places
    ]
    context.ledger.record(lambda tx: uploads.add_intents(tx, intents))
    return [_put(context, shipment, place, intent, body) for place, intent in zip(places, intents, strict=True)]


def _put(context: TransferContext, shipment: Shipment, place: Place, intent: IntentRow, body: bytes) -> Outcome:
    try:
        try:
            info = place.store.put(
                intent.key, body, crc64=intent.crc64, token=intent.token, storage_class=place.storage_class
            )
        except ObjectExistsError:
            outcome = settle_doubt(context, shipment, place, intent.key)
            if outcome is None:
                raise
            return outcome
        except StoreError as error:
            outcome = settle_doubt(context, shipment, place, intent.key) if error.retry else None
            if outcome is None:
                raise
            return outcome
        outcome = record_stored(context, shipment, place, intent, info)
    except EcogsafeError as error:
        return Outcome(shipment=shipment, place=place, status=Status.FAILED, error=error, sha256=intent.sha256)
    outcome.sent_bytes = len(body)
    context.meter.bytes_moved(len(body), current=shipment.path)
    return outcome
