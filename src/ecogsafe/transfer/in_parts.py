"""One object on its way to one place in parts: begun or taken over, acknowledged part by part, completed."""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import replace

from ecogsafe.catalog import leases, sealings, uploads
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.leases import Lease
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.catalog.uploads import AckRow, IntentRow, UploadRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    EcogsafeError,
    LockedError,
    ObjectExistsError,
    StoreError,
    UploadGoneError,
)
from ecogsafe.crypt.checksums import combine
from ecogsafe.stores.protocol import Buffer, ObjectInfo, UploadedPart
from ecogsafe.transfer.carrier import Carrier, Crew
from ecogsafe.transfer.completion import end_upload, record_stored, settle_doubt
from ecogsafe.transfer.part_bytes import DistantPart
from ecogsafe.transfer.parts import PartRange
from ecogsafe.transfer.work import Outcome, Place

#: how long a lease lives without renewal, seconds
LEASE_S = 120


class PartUpload(Carrier):
    """The state of one multipart upload, which this run owns by a lease."""

    def __init__(self, crew: Crew, place: Place, row: UploadRow, lease: Lease) -> None:
        super().__init__(crew, place)
        self.row = row
        self.acknowledged: dict[int, str] = {}
        self.reused_parts = 0
        self._lease = lease
        #: the store's name of the upload on its way to the disk; no part leaves before it is there
        self._named: Future[None] | None = None
        #: acknowledgements on their way to the disk
        self._acks: deque[Future[None]] = deque()

    @property
    def upload_id(self) -> str:
        """The store's name of the upload."""
        if self.row.upload_id is None:
            raise ValueError("this upload was not begun")
        return self.row.upload_id

    def name(self, upload_id: str) -> None:
        """Note the store's name of the upload, in the commit of its first part's row."""
        token = self.row.token
        self._named = self.context.ledger.submit(lambda tx: uploads.set_upload_id(tx, token, upload_id), may_wait=True)
        self.row = replace(self.row, upload_id=upload_id)

    def keep_acknowledged(self, acknowledged: Mapping[int, str]) -> None:
        """Go on from these parts of an earlier run, ETag by number."""
        self.acknowledged = dict(acknowledged)
        self.reused_parts = len(acknowledged)

    def send(
        self,
        place: PartRange,
        crc64: int,
        noted: Future[None],
        body: Buffer | DistantPart,
        *,
        stands_for: int | None = None,
    ) -> None:
        """Send one part as soon as its row is ``noted``, and have its acknowledgement noted.

        Nobody waits for that one: what a kill loses of it, the store is asked for (`Store.list_parts`). It is durable
        before the object is announced.

        Parameters
        ----------
        stands_for
            Bytes of the source that it counts for; None: as many as it has.
        """
        noted.result()
        if self._named is not None:
            self._named.result()
        self._check_acks(wait=False)
        where = self.key, self.upload_id, place.number
        if isinstance(body, DistantPart):
            part = body.put(self.place.store_id, *where, offset=place.start, crc64=crc64)
        else:
            part = self.place.store.put_part(*where, body, offset=place.start, crc64=crc64)
        row = AckRow(self.row.token, place.number, part.etag, self.row.fence)
        ack = self.context.ledger.submit_row(uploads.add_acks, row)
        with self._changed:
            self._acks.append(ack)
            self.acknowledged[place.number] = part.etag
            self.sent_bytes += len(body)
        if self.detached:
            # nobody asks any more
            self._check_acks(wait=True)
        moved = len(body) if stands_for is None else stands_for
        self.context.meter.bytes_moved(moved, current=self.shipment.path)

    def settled(self) -> None:
        """See `Carrier.settled`: here also every acknowledgement is durable."""
        try:
            self._check_acks(wait=True)
        except EcogsafeError as error:
            self.fail(error)

    def _check_acks(self, *, wait: bool) -> None:
        """Raise what kept an acknowledgement from being noted: another run has ended the upload, or taken it over."""
        while True:
            with self._changed:
                if not self._acks or not (wait or self._acks[0].done()):
                    return
                ack = self._acks.popleft()
            try:
                ack.result()
            except EcogsafeError:
                row = self.context.ledger.read(lambda tx: uploads.upload(tx, self.row.token))
                if row is not None and row.state == "aborted":
                    # given up while this part was under way: the store may have kept the part all the same
                    self.place.store.abort_upload(self.key, self.upload_id)
                raise

    def complete(
        self,
        sealing: SealingRow,
        rows: Mapping[int, PartRow],
        ranges: Sequence[PartRange],
        *,
        note: Callable[[Transaction], int],
        sha256: str,
    ) -> Outcome:
        """Announce, complete and record the object; no failure is raised but a bug's.

        Parameters
        ----------
        note
            Notes the file with its digest and returns its number, in the commit that announces the object.
        """
        crc = rows[ranges[0].number].crc64
        for place in ranges[1:]:
            crc = combine(crc, rows[place.number].crc64, place.length)
        intent = IntentRow(
            token=self.row.token,
            store_id=self.place.store_id,
            key=self.key,
            size=sealing.object_size,
            crc64=crc,
            file_id=0,
            sha256=sha256,
            sealed=sealing.sealed,
            created_at=utc_stamp(),
            state="open",
        )
        parts = [
            UploadedPart(number=p.number, size=p.length, etag=self.acknowledged[p.number], crc64=rows[p.number].crc64)
            for p in ranges
        ]
        try:
            outcome = self._finish(intent, parts, note)
        except EcogsafeError as error:
            self.fail(error)
            return self.ended()
        outcome.sent_bytes = self.sent_bytes
        if self.reused_parts:
            outcome.notes.append(f"{self.reused_parts} of {len(ranges)} parts were already there")
        return outcome

    def _finish(
        self, unnumbered: IntentRow, parts: Sequence[UploadedPart], note: Callable[[Transaction], int]
    ) -> Outcome:
        def announce(tx: Transaction) -> IntentRow:
            self._check_owner(tx)
            intent = replace(unnumbered, file_id=note(tx))
            uploads.add_intents(tx, [intent])
            return intent

        intent = self.context.ledger.record(announce)
        try:
            info = self._ask_to_finish(intent, parts)
        except StoreError as error:
            doubtful = error.retry or isinstance(error, ObjectExistsError | UploadGoneError)
            outcome = settle_doubt(self.context, self.shipment, self.place, intent) if doubtful else None
            # what is no longer needed, and what the store will never make whole, is given up
            if outcome is not None or isinstance(error, ChecksumRefusedError):
                self.abandon_if_possible()
            if outcome is None:
                raise
            return outcome
        return record_stored(self.context, self.shipment, self.place, intent, info)

    def _ask_to_finish(self, intent: IntentRow, parts: Sequence[UploadedPart]) -> ObjectInfo:
        return self.place.store.finish_upload(
            self.key, self.upload_id, parts, crc64=intent.crc64, size=intent.size, token=intent.token
        )

    def _check_owner(self, tx: Transaction) -> None:
        """Raise LockedError if another run has taken the upload over."""
        uploads.check_owner(tx, self.row.token, self.row.fence)

    def is_ours(self) -> bool:
        """Return whether no other run has taken the upload over."""
        try:
            self.context.ledger.record(self._check_owner)
        except LockedError:
            return False
        return True

    def abandon(self) -> None:
        """Abort the upload at the store and in the catalogue; its bytes are never continued.

        Raises
        ------
        LockedError
            Another run has taken it over; it was left alone.
        StoreError
            The store did not abort it; it stays open in the catalogue, for a later run to abort.
        """
        self.context.ledger.record(self._check_owner)
        if self.row.upload_id is not None:
            self.place.store.abort_upload(self.key, self.row.upload_id)
        self.context.ledger.record(lambda tx: end_upload(tx, self.row.token, done=False))

    def abandon_if_possible(self) -> bool:
        """Abandon the upload; if that fails, say so and return False: a later run tries again."""
        try:
            self.abandon()
        except EcogsafeError as error:
            self.tell_left_open(error)
            return False
        return True

    def tell_left_open(self, error: EcogsafeError) -> None:
        """Say that the upload could not be aborted."""
        message = f"an earlier upload could not be aborted yet, a later run tries again: {error}"
        self.context.tell("upload", message, key=self.key, store=self.place.store.name)

    def release(self) -> None:
        """Give the lease back, some time soon: nobody waits for it, and it ends with the run at the latest."""
        self.context.ledger.submit(lambda tx: leases.release(tx, self._lease), may_wait=True)

    def ended(self) -> Outcome:
        """Return the end of an upload that did not complete; one that vanished is begun again later, once."""
        if isinstance(self.error, UploadGoneError) and self.abandon_if_possible() and not self.shipment.again:
            message = "the store forgot the upload: the file is sent again later"
            self.context.tell("upload", message, key=self.key, store=self.place.store.name)
            self.error = None
            self.detached = True
        return super().ended()


def lease_name(token: str) -> str:
    """Return the name of the lease on one upload."""
    return f"upload:{token}"


def take_over(crew: Crew, place: Place, row: UploadRow) -> PartUpload:
    """Become the owner of an upload that an earlier run left open.

    Raises
    ------
    LockedError
        Another living run owns it.
    """
    context = crew.context

    def write(tx: Transaction) -> Lease:
        lease = leases.acquire(tx, lease_name(row.token), context.owner, LEASE_S, shared=False, gone=context.is_dead)
        uploads.take_over(tx, row.token, owner=context.owner, fence=lease.fence)
        return lease

    lease = context.ledger.record(write)
    return PartUpload(crew, place, replace(row, owner=context.owner, fence=lease.fence), lease)


def begin(crew: Crew, place: Place, sealing: SealingRow) -> PartUpload:
    """Begin a new upload of ``sealing`` at ``place``; its row is durable before the store is asked.

    The row of a new sealing comes in the same commit, so that none is ever without an upload.

    Returns
    -------
    The upload; its ``error`` is set if the store did not begin it.
    """
    context = crew.context
    token = secrets.token_hex(16)
    key = crew.shipment.keys[place.sealed]

    def write(tx: Transaction) -> tuple[UploadRow, Lease]:
        lease = leases.acquire_new(tx, lease_name(token), context.owner, LEASE_S)
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
        if sealings.sealing(tx, sealing.id) is None:
            sealings.add_sealing(tx, sealing)
        uploads.add_upload(tx, row)
        return row, lease

    row, lease = context.ledger.record(write)
    upload = PartUpload(crew, place, row, lease)
    try:
        upload_id = place.store.begin_upload(
            key, token=token, size=sealing.object_size, storage_class=place.storage_class
        )
    except StoreError as error:
        upload.fail(error)
        return upload
    upload.name(upload_id)
    return upload
