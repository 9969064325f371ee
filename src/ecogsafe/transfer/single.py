"""A small file in one request: read, hashed, sealed in memory, announced, put."""

from __future__ import annotations

import secrets
from functools import partial

from ecogsafe.catalog import uploads
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import ObjectExistsError, StoreError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.transfer.carrier import Carrier, Crew
from ecogsafe.transfer.completion import record_stored, settle_doubt
from ecogsafe.transfer.cutting import CutPart, Form
from ecogsafe.transfer.lane import new_form
from ecogsafe.transfer.noting import upsert
from ecogsafe.transfer.parts import PartRange
from ecogsafe.transfer.pool import PooledPart
from ecogsafe.transfer.reading import read_once
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Outcome, Place, Status


class WholePut(Carrier):
    """One object in one request."""

    def __init__(self, crew: Crew, place: Place, size: int, crc64: int) -> None:
        super().__init__(crew, place)
        self.outcome: Outcome | None = None
        self._size = size
        self._crc64 = crc64
        self._token = secrets.token_hex(16)

    def intent(self, file_id: int, sha256: str) -> IntentRow:
        """Return what this put is about to make exist."""
        return IntentRow(
            token=self._token,
            store_id=self.place.store_id,
            key=self.key,
            size=self._size,
            crc64=self._crc64,
            file_id=file_id,
            sha256=sha256,
            sealed=self.place.sealed,
            created_at=utc_stamp(),
            state="open",
        )

    def put(self, intent: IntentRow, body: bytes) -> None:
        """Send the object and record it, or find out what stands there."""
        place = self.place
        try:
            info = place.store.put(
                self.key, body, crc64=intent.crc64, token=intent.token, storage_class=place.storage_class
            )
        except StoreError as error:
            doubtful = error.retry or isinstance(error, ObjectExistsError)
            outcome = settle_doubt(self.context, self.shipment, place, intent) if doubtful else None
            if outcome is None:
                raise
            self.outcome = outcome
            return
        self.outcome = record_stored(self.context, self.shipment, place, intent, info)
        self.outcome.sent_bytes = len(body)
        self.context.meter.bytes_moved(len(body), current=self.shipment.path)

    def ended(self) -> Outcome:
        """Return the end of this put."""
        return self.outcome or super().ended()


def send_whole(crew: Crew, source: Source) -> list[Outcome]:
    """Read a small file and send it to every place in one request each.

    The intents are durable before the first byte leaves. A later process never sends these bytes again: it
    seals under a new file key.

    Raises
    ------
    SourceChangedError
        The file changed while it was read; nothing was sent.
    """
    context, shipment = crew.context, crew.shipment
    forms = {p.sealed: new_form(context, sealed=p.sealed, size=source.size)[0] for p in shipment.places}
    # the plain bytes are held too until every form of them is made
    room = source.size + sum(form.object_size for form in forms.values())
    if not context.pool.acquire(room, give_up=context.stop.is_set):
        return [Outcome(shipment=shipment, place=p, status=Status.PAUSED) for p in shipment.places]
    try:
        plain, sha256 = _read(crew, source)
        bodies = {sealed: form.body(_whole(form, plain)) for sealed, form in forms.items()}
        puts = [WholePut(crew, p, len(bodies[p.sealed]), crc64nvme(bodies[p.sealed])) for p in shipment.places]

        def announce(tx: Transaction) -> list[IntentRow]:
            file_id = upsert(tx, shipment, source.stat, sha256=sha256)
            intents = [put.intent(file_id, sha256) for put in puts]
            uploads.add_intents(tx, intents)
            return intents

        intents = context.ledger.record(announce)
    except BaseException:
        context.pool.release(room)
        raise
    crew.members += puts
    for sealed, body in bodies.items():
        holders = [(put, intent) for put, intent in zip(puts, intents, strict=True) if put.place.sealed == sealed]
        pooled = PooledPart(context.pool, body, [put for put, _ in holders])
        for put, intent in holders:
            put.carry(pooled, partial(put.put, intent))
    context.pool.release(source.size)
    del plain, bodies
    crew.settle()
    return [put.ended() for put in puts]


def _read(crew: Crew, source: Source) -> tuple[bytes, str]:
    pieces: list[bytes] = []

    def take(piece: bytes) -> bool:
        pieces.append(piece)
        return True

    sha256 = read_once(crew.shipment, source, take)
    if sha256 is None:
        raise RuntimeError("a small file is always read whole")
    return b"".join(pieces), sha256


def _whole(form: Form, plain: bytes) -> CutPart:
    return CutPart(PartRange(1, 0, form.object_size), plain, b"")
