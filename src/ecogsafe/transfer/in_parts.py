"""One object on its way to one place in parts: begun or resumed, acknowledged part by part, completed."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Mapping, Sequence
from dataclasses import replace

from ecogsafe.catalog import leases, sealings, uploads
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.leases import Lease
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.catalog.uploads import IntentRow, UploadRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import (
    EcogsafeError,
    ObjectExistsError,
    StoreError,
    UploadGoneError,
)
from ecogsafe.crypt.checksums import combine
from ecogsafe.stores.protocol import UploadedPart
from ecogsafe.transfer.completion import record_stored, settle_doubt
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.parts import PartRange
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status

#: how long a lease lives without renewal, seconds
LEASE_S = 120


class PartUpload:
    """The state of one multipart upload; its methods are called from several sender threads."""

    def __init__(
        self, context: TransferContext, shipment: Shipment, place: Place, row: UploadRow, lease: Lease
    ) -> None:
        self.context = context
        self.shipment = shipment
        self.place = place
        self.row = row
        self._lease = lease
        self.acknowledged: dict[int, str] = {}
        self.error: EcogsafeError | None = None
        self.detached = threading.Event()
        self.sent_bytes = 0
        self.reused_parts = 0
        self._lock = threading.Lock()

    @property
    def over(self) -> bool:
        """True once no further part of this upload should be sent."""
        return self.error is not None or self.detached.is_set()

    def fail(self, error: EcogsafeError) -> None:
        """Remember the first failure; the parts already there stay for the next run."""
        with self._lock:
            self.error = self.error or error

    def learn_from_store(self, rows: Mapping[int, PartRow]) -> None:
        """Ask the store for its parts and keep those that are exactly ours.

        Raises
        ------
        UploadGoneError
            The store forgot the upload.
        """
        assert self.row.upload_id is not None
        noted = self.context.ledger.read(lambda tx: uploads.acks(tx, self.row.token))
        if not self.place.store.capabilities.lists_parts:
            self.acknowledged = dict(noted)
        else:
            for part in self.place.store.list_parts(self.row.key, self.row.upload_id):
                row = rows.get(part.number)
                if row is None or part.size != row.length:
                    continue
                same_crc = part.crc64 is not None and part.crc64 == row.crc64
                if same_crc or (part.crc64 is None and noted.get(part.number) == part.etag):
                    self.acknowledged[part.number] = part.etag
        self.reused_parts = len(self.acknowledged)

    def send(self, place: PartRange, body: bytes, crc64: int) -> None:
        """Send one part and note its acknowledgement durably."""
        assert self.row.upload_id is not None
        part = self.place.store.put_part(
            self.row.key, self.row.upload_id, place.number, body, offset=place.start, crc64=crc64
        )
        self.context.ledger.record(
            lambda tx: uploads.add_ack(tx, self.row.token, place.number, part.etag, self.row.fence)
        )
        with self._lock:
            self.acknowledged[place.number] = part.etag
            self.sent_bytes += len(body)

    def complete(
        self,
        sealing: SealingRow,
        rows: Mapping[int, PartRow],
        ranges: Sequence[PartRange],
        *,
        file_id: int,
        sha256: str,
    ) -> Outcome:
        """Announce, complete and record the object."""
        crc = rows[ranges[0].number].crc64
        for place in ranges[1:]:
            crc = combine(crc, rows[place.number].crc64, place.length)
        intent = IntentRow(
            token=self.row.token,
            store_id=self.place.store_id,
            key=self.row.key,
            size=sealing.object_size,
            crc64=crc,
            file_id=file_id,
            sha256=sha256,
            sealed=sealing.sealed,
            created_at=utc_stamp(),
            state="open",
        )
        self.context.ledger.record(lambda tx: uploads.add_intents(tx, [intent]))
        outcome = self._finish(intent, ranges, rows)
        outcome.sent_bytes = self.sent_bytes
        if self.reused_parts:
            outcome.notes.append(f"{self.reused_parts} of {len(ranges)} parts were already there")
        return outcome

    def _finish(self, intent: IntentRow, ranges: Sequence[PartRange], rows: Mapping[int, PartRow]) -> Outcome:
        assert self.row.upload_id is not None
        parts = [
            UploadedPart(number=p.number, size=p.length, etag=self.acknowledged[p.number], crc64=rows[p.number].crc64)
            for p in ranges
        ]
        store = self.place.store
        try:
            info = store.finish_upload(
                self.row.key,
                self.row.upload_id,
                parts,
                crc64=intent.crc64,
                size=intent.size,
                token=intent.token,
            )
        except StoreError as error:
            doubtful = error.retry or isinstance(error, ObjectExistsError | UploadGoneError)
            outcome = settle_doubt(self.context, self.shipment, self.place, self.row.key) if doubtful else None
            if outcome is None:
                if isinstance(error, UploadGoneError):
                    self.abandon()
                raise
            self.abandon()
            return outcome
        return record_stored(self.context, self.shipment, self.place, intent, info)

    def abandon(self) -> None:
        """Abort the upload at the store and in the catalogue; its bytes are never continued."""
        if self.row.upload_id is not None:
            self.place.store.abort_upload(self.row.key, self.row.upload_id)
        self.context.ledger.record(lambda tx: uploads.abort_upload(tx, self.row.token))

    def release(self) -> None:
        """Give the lease back."""
        self.context.ledger.record(lambda tx: leases.release(tx, self._lease))


def lease_name(token: str) -> str:
    """Return the name of the lease on one upload."""
    return f"upload:{token}"


def take_over(context: TransferContext, shipment: Shipment, place: Place, row: UploadRow) -> PartUpload:
    """Become the owner of an upload that an earlier run left open.

    Raises
    ------
    LockedError
        Another living run owns it.
    """

    def write(tx: Transaction) -> Lease:
        lease = leases.acquire(tx, lease_name(row.token), context.owner, LEASE_S, shared=False, gone=context.is_dead)
        uploads.take_over(tx, row.token, owner=context.owner, fence=lease.fence)
        return lease

    lease = context.ledger.record(write)
    owned = replace(row, owner=context.owner, fence=lease.fence)
    return PartUpload(context, shipment, place, owned, lease)


def begin(context: TransferContext, shipment: Shipment, place: Place, sealing: SealingRow) -> PartUpload:
    """Begin a new upload of ``sealing`` at ``place``; its row is durable before the store is asked."""
    token = secrets.token_hex(16)
    key = shipment.keys[place.sealed]

    def write(tx: Transaction) -> tuple[UploadRow, Lease]:
        lease = leases.acquire(tx, lease_name(token), context.owner, LEASE_S, shared=False)
        row = UploadRow(
            token=token,
            sealing_id=sealing.id,
            store_id=place.store_id,
            key=key,
            upload_id=None,
            state="open",
            owner=context.owner,
            fence=lease.fence,
            created_at=utc_stamp(),
            storage_class=place.storage_class,
        )
        uploads.add_upload(tx, row)
        return row, lease

    row, lease = context.ledger.record(write)
    upload_id = place.store.begin_upload(key, token=token, size=sealing.object_size, storage_class=place.storage_class)
    context.ledger.record(lambda tx: uploads.set_upload_id(tx, token, upload_id))
    return PartUpload(context, shipment, place, replace(row, upload_id=upload_id), lease)


def outcome_of_failure(upload: PartUpload) -> Outcome:
    """Return the end of an upload that did not complete."""
    status = Status.DETACHED if upload.detached.is_set() else Status.FAILED
    return Outcome(
        shipment=upload.shipment,
        place=upload.place,
        status=status,
        error=upload.error,
        sent_bytes=upload.sent_bytes,
    )


def parts_noted(context: TransferContext, sealing_id: str) -> dict[int, PartRow]:
    """Return the durable part rows of a sealing, by number."""
    return context.ledger.read(lambda tx: sealings.parts_of(tx, sealing_id))
