"""What earlier runs left unfinished of a file: continued where that is certainly safe, else given up.

A sealing is continued only if the stores bear out what the catalogue says of it. A store that knows more
parts than the catalogue has rows shows that an older catalogue was put back: a part without a row may have
left after all, so nothing is sealed under that key again.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import Enum, auto

from ecogsafe.catalog import sealings, uploads
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError, LabKeyError, LockedError, StoreError, StoreRefusedError, UploadGoneError
from ecogsafe.crypt.file_key import unwrap_file_key, wrap_file_key
from ecogsafe.crypt.sealed_layout import SealedLayout
from ecogsafe.stores.protocol import OpenUpload, Store
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.cutting import Form, PlainForm, SealedForm
from ecogsafe.transfer.in_parts import PartUpload, begin, take_over
from ecogsafe.transfer.lane import Lane, abandon_sealing, new_form
from ecogsafe.transfer.parts import part_size_for
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status

#: Our clock may have been wrong when a begin was lost, so what is a little older is looked at too. By more than a
#: quarter of an hour no S3 store takes a request; a file server may be further off.
_CLOCK_MAY_BE_WRONG = timedelta(days=1)


class Standing(Enum):
    """What a store bears out of an upload that the catalogue calls open."""

    #: the store has the upload, and no part that the catalogue does not know
    CONFIRMED = auto()
    #: there is nothing to go on from
    GONE = auto()
    #: the store knows more than the catalogue
    AHEAD = auto()


@dataclass(slots=True)
class Opened:
    """How a file begins."""

    lanes: list[Lane] = field(default_factory=list)
    #: the places that could not even begin
    ended: list[Outcome] = field(default_factory=list)


def unfinished(context: TransferContext, shipment: Shipment) -> dict[str, list[tuple[Place, UploadRow]]]:
    """Return the open uploads of this file's objects at its places, by sealing."""
    found: dict[str, list[tuple[Place, UploadRow]]] = {}
    for place in shipment.places:
        store_id, key = place.store_id, shipment.keys[place.sealed]
        for row in context.ledger.read(lambda tx, s=store_id, k=key: uploads.open_uploads(tx, s, k)):  # type: ignore[misc]
            found.setdefault(row.sealing_id, []).append((place, row))
    return found


class Opening:
    """Opens the lanes of one file: those that earlier runs left and can be continued, and new ones."""

    def __init__(self, crew: Crew, *, stat: SourceStat, file_id: int) -> None:
        self._crew = crew
        self._context = crew.context
        self._stat = stat
        self._file_id = file_id
        self._opened = Opened()
        #: places not yet served; which of them must not take part in a sealing of an earlier run
        self._waiting = list(crew.shipment.places)
        self._apart: list[Place] = []
        self._refused: list[PartUpload] = []

    def open(self) -> Opened:
        """Return the lanes, every place in one of them or ended."""
        for sealing_id, left in unfinished(self._context, self._crew.shipment).items():
            self._continue(sealing_id, left)
        for place in list(self._waiting):
            lane = next((x for x in self._opened.lanes if x.sealing.sealed == place.sealed), None)
            if lane is not None and place not in self._apart:
                self._begin(lane, place)
        for sealed in sorted({place.sealed for place in self._waiting}):
            self._begin_lane([place for place in self._waiting if place.sealed == sealed], sealed=sealed)
        self._forget_refused()
        return self._opened

    def _fail(self, place: Place, error: EcogsafeError) -> None:
        if place in self._waiting:
            self._waiting.remove(place)
            shipment = self._crew.shipment
            self._opened.ended.append(Outcome(shipment=shipment, place=place, status=Status.FAILED, error=error))

    def _continue(self, sealing_id: str, left: Sequence[tuple[Place, UploadRow]]) -> None:
        """Open a lane for an earlier sealing if that is safe; else abort its uploads and erase its key."""
        owned: list[PartUpload] = []
        for place, row in left:
            try:
                owned.append(take_over(self._crew, place, row))
            except LockedError as error:
                self._fail(place, error)
        sealing = self._context.ledger.read(lambda tx: sealings.sealing(tx, sealing_id))
        form, reason = self._form_again(sealing)
        standings: dict[PartUpload, Standing] = {}
        rows: Mapping[int, PartRow] = {}
        if form is not None:
            rows = self._context.ledger.read(lambda tx: sealings.parts_of(tx, sealing_id))
            standings = self._ask(owned, rows)
            # the first part without a row shares a chunk with the one before it, whose digest proves that chunk
            if set(rows) != set(range(1, len(rows) + 1)):
                form, reason = None, "the catalogue lost what it knew of a part in between"
            elif Standing.AHEAD in standings.values():
                form, reason = None, "the store has more of it than the catalogue knows (was an older one put back?)"
        if form is None or sealing is None:
            self._give_up(sealing_id, owned, reason, shared=len(owned) < len(left))
            return
        lane = Lane(self._crew, sealing, form, rows)
        for upload, standing in standings.items():
            if standing is Standing.CONFIRMED and upload.place in self._waiting:
                self._waiting.remove(upload.place)
                lane.add(upload)
            else:
                upload.abandon_if_possible()
                upload.release()
                self._apart.append(upload.place)
        if lane.uploads:
            self._opened.lanes.append(lane)

    def _form_again(self, row: SealingRow | None) -> tuple[Form | None, str]:
        """Return the form of an earlier sealing, or None and why it cannot be continued."""
        if row is None or row.state != "open":
            return None, ""
        # the size fixes the geometry; whether the bytes are the same is judged part by part, by digest
        if row.source.size != self._stat.size:
            return None, "the file has another size than when that began"
        if not row.sealed:
            return PlainForm(row.source.size), ""
        try:
            file_key = unwrap_file_key(row.wrapped_key or b"", self._context.resume_key)
        except LabKeyError:
            return None, "its file key cannot be opened here (resume.key is another one)"
        layout = SealedLayout(header=row.header, payload_nonce=row.payload_nonce, plain_size=row.source.size)
        return SealedForm(layout, file_key, row.source.size), ""

    def _ask(self, owned: Sequence[PartUpload], rows: Mapping[int, PartRow]) -> dict[PartUpload, Standing]:
        """Return what the stores say of each upload; one whose store does not answer is left as it is."""
        standings: dict[PartUpload, Standing] = {}
        for upload in owned:
            try:
                if upload.row.upload_id is None:
                    standings[upload] = clear_doubtful_begin(self._context, upload.place.store, upload.row)
                else:
                    standings[upload] = confirm(self._context, upload, rows)
            except StoreError as error:
                self._fail(upload.place, error)
                upload.release()
        return standings

    def _give_up(self, sealing_id: str, owned: Sequence[PartUpload], reason: str, *, shared: bool) -> None:
        if reason:
            message = f"an earlier upload is not continued, the file starts over under a new key: {reason}"
            self._context.tell("upload", message, key=self._crew.shipment.path)
        if reason and not shared:
            abandon_sealing(self._context, sealing_id)
        for upload in owned:
            try:
                if upload.row.upload_id is None:
                    clear_doubtful_begin(self._context, upload.place.store, upload.row)
                upload.abandon()
            except EcogsafeError as error:
                upload.tell_left_open(error)
            upload.release()

    def _begin(self, lane: Lane, place: Place) -> None:
        upload = begin(self._crew, place, lane.sealing)
        if upload.error is None:
            self._waiting.remove(place)
            lane.add(upload)
        else:
            self._fail(place, upload.error)
            self._refused.append(upload)

    def _forget_refused(self) -> None:
        """Give up what a store did not begin; where that is in doubt the row stays, for a later run to look for it."""
        for upload in self._refused:
            if not (isinstance(upload.error, StoreError) and upload.error.retry):
                upload.abandon()
            upload.release()

    def _begin_lane(self, places: Sequence[Place], *, sealed: bool) -> None:
        context = self._context
        form, layout, file_key = new_form(context, sealed=sealed, size=self._stat.size)
        sealing = SealingRow(
            id=secrets.token_hex(16),
            file_id=self._file_id,
            source=self._stat,
            sealed=sealed,
            header=layout.header if layout else b"",
            payload_nonce=layout.payload_nonce if layout else b"",
            wrapped_key=wrap_file_key(file_key, context.resume_key) if file_key else None,
            part_size=part_size_for(form.object_size),
            object_size=form.object_size,
            created_at=utc_stamp(),
            state="open",
        )
        lane = Lane(self._crew, sealing, form, {})
        for place in places:
            self._begin(lane, place)
        if lane.uploads:
            self._opened.lanes.append(lane)


def confirm(context: TransferContext, upload: PartUpload, rows: Mapping[int, PartRow]) -> Standing:
    """Compare what the store has of an upload with the rows, and keep the parts that are exactly ours."""
    store = upload.place.store
    noted = context.ledger.read(lambda tx: uploads.acks(tx, upload.row.token))
    if upload.row.storage_class != upload.place.storage_class:
        return Standing.GONE
    if not store.capabilities.lists_parts:
        upload.keep_acknowledged(noted)
        return Standing.CONFIRMED
    try:
        listed = store.list_parts(upload.key, upload.upload_id)
    except UploadGoneError:
        return Standing.GONE if store.head(upload.key) is None else Standing.AHEAD
    kept: dict[int, str] = {}
    for part in listed:
        row = rows.get(part.number)
        if row is None:
            return Standing.AHEAD
        # where the store tells no checksum of a part, the ETag must be the one it acknowledged
        same = noted.get(part.number) == part.etag if part.crc64 is None else part.crc64 == row.crc64
        if same and part.size == row.length:
            kept[part.number] = part.etag
    upload.keep_acknowledged(kept)
    return Standing.CONFIRMED


def clear_doubtful_begin(context: TransferContext, store: Store, row: UploadRow) -> Standing:
    """Abort what a begin whose answer never came may have left: a younger, empty, unknown upload of the key.

    Others, with parts, may be another machine's, or ours from a time that this catalogue does not know.
    """
    known = {u.upload_id for u in context.ledger.read(lambda tx: uploads.open_uploads(tx, row.store_id, row.key))}
    earliest = datetime.fromisoformat(row.created_at) - _CLOCK_MAY_BE_WRONG

    def is_candidate(found: OpenUpload) -> bool:
        young = found.started is None or found.started >= earliest
        return found.key == row.key and found.upload_id not in known and young

    standing = Standing.GONE
    try:
        candidates = [found for found in store.list_uploads(row.key) if is_candidate(found)]
    except StoreRefusedError:
        # without the permission to look, the store's own clean-up of empty uploads must do
        return standing
    for found in candidates:
        try:
            is_empty = store.capabilities.lists_parts and not store.list_parts(row.key, found.upload_id)
        except UploadGoneError:
            continue
        if is_empty:
            store.abort_upload(row.key, found.upload_id)
        else:
            standing = Standing.AHEAD
    return standing
