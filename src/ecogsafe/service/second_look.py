"""Files whose object is there by name but not by evidence: read, ask the store, compare."""

from __future__ import annotations

import hashlib

from ecogsafe.catalog import uploads
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.presence import Need, Presence
from ecogsafe.transfer.completion import matches, record_stored
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.noting import note_file
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Place, Shipment


def second_look(context: TransferContext, shipment: Shipment, place: Place, presence: Presence) -> Need:
    """Return PRESENT if the object holds this file as it is now, COMPARE if another, SEND if it vanished meanwhile."""
    key = shipment.keys[place.sealed]
    info = place.store.head(key, checksum=True)
    if info is None:
        return Need.SEND
    source = shipment.open_source()
    try:
        sha256, crc = _read(source)
        known = presence.file
        if presence.need is Need.COMPARE and known is not None:
            if known.sha256 != sha256:
                return Need.COMPARE
            note_file(context, shipment, source, sha256=sha256)
            return Need.PRESENT
        for intent in context.ledger.read(lambda tx: uploads.intents_for(tx, place.store_id, key)):
            if intent.sha256 == sha256 and matches(info, intent):
                note_file(context, shipment, source, sha256=sha256)
                record_stored(context, shipment, place, intent, info)
                return Need.PRESENT
        if not place.sealed and info.crc64 == crc and info.size == source.size:
            # another machine of the lab sent the same bytes: the store's checksum says so
            file_id = note_file(context, shipment, source, sha256=sha256)
            token = info.token or hashlib.sha256(f"{place.store_id}/{key}".encode()).hexdigest()[:32]
            found = IntentRow(token, place.store_id, key, info.size, crc, file_id, sha256, False, utc_stamp())
            context.ledger.record(lambda tx: uploads.add_intents(tx, [found]))
            record_stored(context, shipment, place, found, info)
            return Need.PRESENT
        return Need.COMPARE
    finally:
        source.close()


def _read(source: Source) -> tuple[str, int]:
    digest = hashlib.sha256()
    crc = 0
    for piece in source.pieces():
        digest.update(piece)
        crc = crc64nvme(piece, crc)
    source.check_unchanged()
    return digest.hexdigest(), crc
