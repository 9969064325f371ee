"""One form of one file (plain, or sealed under one key) on its way to every place that wants that form.

A lane takes the source bytes in order, cuts parts, makes each part's row durable before its bytes leave,
and hands the bytes to the sender threads. Several lanes share one read of the file.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Executor, Future, wait

from ecogsafe.catalog import sealings, uploads
from ecogsafe.catalog.sealings import PartRow, SealingRow, SourceStat
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import (
    EcogsafeError,
    InterruptedRunError,
    LabKeyError,
    SourceChangedError,
    UploadGoneError,
)
from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.file_key import FileKey, unwrap_file_key, wrap_file_key
from ecogsafe.crypt.sealed_layout import PAYLOAD_NONCE_BYTES, SealedLayout
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.cutting import CutPart, Form, PartCutter, PlainForm, SealedForm
from ecogsafe.transfer.in_parts import PartUpload, begin, outcome_of_failure, parts_noted, take_over
from ecogsafe.transfer.parts import part_ranges, part_size_for
from ecogsafe.transfer.pool import PooledPart
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status


class SealingChangedError(SourceChangedError):
    """A part no longer has the digest it was sealed with: this key must never seal again."""

    code = "sealing-changed"


def new_form(context: TransferContext, *, sealed: bool, size: int) -> tuple[Form, SealedLayout | None, FileKey | None]:
    """Return a new form of a file of ``size`` bytes; a sealed one gets a new file key and nonce."""
    if not sealed:
        return PlainForm(size), None, None
    file_key = FileKey.new()
    layout = SealedLayout(
        header=seal_header(file_key, context.recipients),
        payload_nonce=secrets.token_bytes(PAYLOAD_NONCE_BYTES),
        plain_size=size,
    )
    return SealedForm(layout, file_key, size), layout, file_key


class Lane:
    """See the module."""

    def __init__(
        self, context: TransferContext, shipment: Shipment, sealing: SealingRow, form: Form, senders: Executor
    ) -> None:
        self.context = context
        self.shipment = shipment
        self.sealing = sealing
        self.uploads: list[PartUpload] = []
        self._form = form
        self._cutter = PartCutter(form, sealing.part_size)
        self._ranges = part_ranges(sealing.object_size, sealing.part_size)
        self._rows = parts_noted(context, sealing.id)
        self._senders = senders
        self._pending: list[Future[None]] = []
        self._in_flight: dict[PartUpload, int] = {}
        self._lock = threading.Lock()

    def attach(self, place: Place, earlier: UploadRow | None) -> Outcome | None:
        """Add a place, resuming its ``earlier`` upload of this sealing if the store still knows it.

        Returns
        -------
        The failure, if the place could not even begin; None if it takes part.
        """
        upload: PartUpload | None = None
        try:
            if earlier is not None:
                upload = take_over(self.context, self.shipment, place, earlier)
                try:
                    upload.learn_from_store(self._rows)
                except UploadGoneError:
                    upload.abandon()
                    upload = None
            upload = upload or begin(self.context, self.shipment, place, self.sealing)
        except EcogsafeError as error:
            return Outcome(shipment=self.shipment, place=place, status=Status.FAILED, error=error)
        self.uploads.append(upload)
        if upload.reused_parts:
            reused = sum(r.length for r in self._ranges if r.number in upload.acknowledged)
            self.context.meter.bytes_moved(reused, over_the_wire=False)
        return None

    @property
    def over(self) -> bool:
        """True once no place wants anything more."""
        return all(upload.over for upload in self.uploads)

    def feed(self, piece: bytes) -> None:
        """Take the next source bytes."""
        for cut in self._cutter.feed(piece):
            self._dispatch(cut)

    def end(self) -> None:
        """The source has ended: cut the last part, wait for every part in flight."""
        for cut in self._cutter.finish():
            self._dispatch(cut)
        self.drain()

    def drain(self) -> None:
        """Wait for every part in flight."""
        wait(self._pending)
        self._pending.clear()

    def complete(self, *, file_id: int, sha256: str) -> list[Outcome]:
        """Complete every upload whose parts are all there; return the end of each."""
        outcomes: list[Outcome] = []
        for upload in self.uploads:
            if not upload.over:
                try:
                    outcomes.append(
                        upload.complete(self.sealing, self._rows, self._ranges, file_id=file_id, sha256=sha256)
                    )
                    continue
                except EcogsafeError as error:
                    upload.fail(error)
            outcomes.append(outcome_of_failure(upload))
        if all(o.error is None for o in outcomes):
            self.context.ledger.record(lambda tx: sealings.finish_sealing(tx, self.sealing.id))
        return outcomes

    def abandon(self) -> None:
        """Abort every upload and erase the file key: these bytes are never continued."""
        self.drain()
        for upload in self.uploads:
            try:
                upload.abandon()
            except EcogsafeError as error:
                # the parts stay billed until the store's own clean-up; the key is erased all the same
                self.context.tell("upload", f"could not abort an upload: {error}", key=upload.row.key)
        abandon_sealing(self.context, self.sealing)

    def release(self) -> None:
        """Give the leases back."""
        for upload in self.uploads:
            upload.release()

    def _dispatch(self, cut: CutPart) -> None:
        number = cut.place.number
        row = self._rows.get(number)
        if row is not None and row.plain_sha256 != cut.plain_sha256:
            raise SealingChangedError(
                self.shipment.path,
                "changed since its upload began",
                safe="Nothing of the earlier state is called stored; it starts again under a new key",
            )
        wanting = [u for u in self.uploads if not u.over and number not in u.acknowledged]
        if not wanting:
            return
        body = self._form.body(cut)
        crc = crc64nvme(body)
        if row is None:
            row = PartRow(
                sealing_id=self.sealing.id,
                number=number,
                plain_sha256=cut.plain_sha256,
                length=len(body),
                crc64=crc,
            )
            noted = row
            # durable before the first byte of this part may leave
            self.context.ledger.record(lambda tx: sealings.add_part(tx, noted))
            self._rows[number] = row
        elif row.crc64 != crc:
            raise SealingChangedError(
                self.shipment.path,
                "was sealed to other bytes than before",
                safe="It starts again under a new key",
            )
        if not self.context.pool.acquire(
            len(body), stalled=self._detach_slowest, give_up=lambda: self.context.stop.is_set() or self.over
        ):
            if self.context.stop.is_set():
                raise InterruptedRunError(self.shipment.path, "was interrupted", safe="Parts already there are kept")
            return
        pooled = PooledPart(self.context.pool, body, len(wanting))
        for upload in wanting:
            with self._lock:
                self._in_flight[upload] = self._in_flight.get(upload, 0) + 1
            self._pending.append(self._senders.submit(self._send, upload, cut, pooled, crc))

    def _send(self, upload: PartUpload, cut: CutPart, pooled: PooledPart, crc: int) -> None:
        try:
            if not upload.over:
                size = cut.place.length
                upload.send(cut.place, pooled.body, crc)
                self.context.meter.bytes_moved(size, current=self.shipment.path)
        except EcogsafeError as error:
            upload.fail(error)
        finally:
            with self._lock:
                self._in_flight[upload] -= 1
            pooled.drop()

    def _detach_slowest(self) -> None:
        """Nothing moved for long: whoever holds most of this lane's parts reads the file again later."""
        with self._lock:
            active = [u for u in self.uploads if not u.over]
            slowest = max(active, key=lambda u: self._in_flight.get(u, 0), default=None)
            if slowest is None or len(active) < 2:
                return
            slowest.detached.set()
        self.context.tell(
            "upload",
            "stalled: the other destinations go on, this one reads the file again later under its own key",
            key=slowest.row.key,
            store=slowest.place.store.name,
        )


def open_lane(
    context: TransferContext,
    shipment: Shipment,
    *,
    sealed: bool,
    stat: SourceStat,
    file_id: int,
    senders: Executor,
) -> tuple[Lane, dict[str, UploadRow]]:
    """Return a lane for ``shipment``: an earlier sealing of the same state of the file, else a new one.

    Returns
    -------
    lane
        Without places yet.
    earlier
        The open uploads of that sealing, by store id.
    """
    for sealing_id, opened in _unfinished(context, shipment, sealed=sealed).items():
        row = context.ledger.read(lambda tx, wanted=sealing_id: sealings.sealing(tx, wanted))  # type: ignore[misc]
        if row is None:
            continue
        # the size fixes the geometry; whether the bytes are the same is judged part by part, by digest
        form = _form_again(context, row) if row.state == "open" and row.source.size == stat.size else None
        if form is not None:
            by_store = {u.store_id: u for u in opened if u.upload_id is not None}
            return Lane(context, shipment, row, form, senders), by_store
        _abandon_left_over(context, shipment, row, opened)
    form, layout, file_key = new_form(context, sealed=sealed, size=stat.size)
    sealing = SealingRow(
        id=secrets.token_hex(16),
        file_id=file_id,
        source=stat,
        sealed=sealed,
        header=layout.header if layout else b"",
        payload_nonce=layout.payload_nonce if layout else b"",
        wrapped_key=wrap_file_key(file_key, context.resume_key) if file_key else None,
        part_size=part_size_for(form.object_size),
        object_size=form.object_size,
        created_at=utc_stamp(),
        state="open",
    )
    context.ledger.record(lambda tx: sealings.add_sealing(tx, sealing))
    return Lane(context, shipment, sealing, form, senders), {}


def _unfinished(context: TransferContext, shipment: Shipment, *, sealed: bool) -> dict[str, list[UploadRow]]:
    """Return the open uploads of this object at the places of ``shipment``, by sealing."""
    found: dict[str, list[UploadRow]] = {}
    for place in shipment.places:
        if place.sealed == sealed:
            key = shipment.keys[sealed]
            for row in context.ledger.read(lambda tx, p=place, k=key: uploads.open_uploads(tx, p.store_id, k)):  # type: ignore[misc]
                found.setdefault(row.sealing_id, []).append(row)
    return found


def has_unfinished(context: TransferContext, shipment: Shipment) -> bool:
    """Return whether an earlier run began any of these objects in parts."""
    return any(_unfinished(context, shipment, sealed=sealed) for sealed in (True, False))


def abandon_sealing(context: TransferContext, sealing: SealingRow) -> None:
    """Erase the file key of a sealing; nothing is sealed under it again."""
    context.ledger.record(lambda tx: sealings.abandon_sealing(tx, sealing.id))


def _abandon_left_over(
    context: TransferContext, shipment: Shipment, sealing: SealingRow, opened: Sequence[UploadRow]
) -> None:
    stores = {place.store_id: place for place in shipment.places}
    for row in opened:
        place = stores.get(row.store_id)
        if place is not None:
            take_over(context, shipment, place, row).abandon()
    context.tell("upload", "the file changed since an earlier upload began: it starts again", key=shipment.path)
    abandon_sealing(context, sealing)


def _form_again(context: TransferContext, row: SealingRow) -> Form | None:
    """Return the form of an earlier sealing, None if its key can no longer be opened."""
    if not row.sealed:
        return PlainForm(row.source.size)
    if row.wrapped_key is None:
        return None
    try:
        file_key = unwrap_file_key(row.wrapped_key, context.resume_key)
    except LabKeyError:
        return None
    layout = SealedLayout(header=row.header, payload_nonce=row.payload_nonce, plain_size=row.source.size)
    return SealedForm(layout, file_key, row.source.size)
