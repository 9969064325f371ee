"""Files whose object is there by name but not by evidence: read, ask the store, compare."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass, replace

from ecogsafe.catalog import copies, uploads
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import InterruptedRunError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.evidence import is_proven_good
from ecogsafe.service.presence import Candidate, Need, Presence
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.completion import matches, record_stored
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.noting import note_file
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Place, Shipment


@dataclass(frozen=True, slots=True)
class Content:
    """What one full read of the source gave."""

    sha256: str
    crc64: int
    size: int
    #: of the source as it was read
    stat: SourceStat


class SecondLook:
    """Compares one file with the objects that stand under its name.

    Parameters
    ----------
    record
        Whether what is found out is noted; a dry run only looks.
    read
        What was read by now, by ``tree/path``; several places share one reading of a file.
    """

    def __init__(
        self,
        context: TransferContext,
        shipment: Shipment,
        place: Place,
        *,
        record: bool,
        read: MutableMapping[str, Content] | None = None,
    ) -> None:
        self._context = context
        self._shipment = shipment
        self._place = place
        self._record = record
        self._known = {} if read is None else read

    def judge(self, presence: Presence) -> Presence:
        """Return PRESENT with the key of an object that holds the file as it is now; else DIFFERENT, or SEND.

        Raises
        ------
        SourceChangedError, SourceUnreadableError
            The file cannot be read as one state of it.
        InterruptedRunError
            The run was told to stop.
        """
        source = self._shipment.open_source()
        try:
            content = self._read(source)
            for candidate in presence.candidates:
                if self._is_same(source, candidate, content):
                    return Presence(Need.PRESENT, candidate.key)
        finally:
            source.close()
        is_free = self._place.store.head(presence.key) is None
        return Presence(Need.SEND if is_free else Need.DIFFERENT, presence.key, presence.candidates)

    def _read(self, source: Source) -> Content:
        name = f"{self._shipment.tree}/{self._shipment.path}"
        known = self._known.get(name)
        if known is not None and known.stat == source.stat:
            return known
        digest = hashlib.sha256()
        crc = 0
        for piece in source.pieces():
            if self._context.stop.is_set():
                raise InterruptedRunError("upload", "was interrupted", safe="What was sent is kept")
            digest.update(piece)
            crc = crc64nvme(piece, crc)
        source.check_unchanged()
        self._known[name] = Content(digest.hexdigest(), crc, source.size, source.stat)
        return self._known[name]

    def _is_same(self, source: Source, candidate: Candidate, content: Content) -> bool:
        if candidate.is_trusted and candidate.file is not None and candidate.file.sha256 == content.sha256:
            if self._record:
                note_file(self._context, self._shipment, source, sha256=content.sha256)
            return True
        info = self._place.store.head(candidate.key, checksum=True)
        if info is None:
            return False
        intent = self._announced(candidate, content, info) or self._equal(candidate, content, info)
        if intent is None:
            return False
        if not self._record:
            return True
        file_id = note_file(self._context, self._shipment, source, sha256=content.sha256)
        return self._adopt(candidate, replace(intent, file_id=file_id), info)

    def _announced(self, candidate: Candidate, content: Content, info: ObjectInfo) -> IntentRow | None:
        """Return the intent of ours, of an earlier run, that the object is."""
        if candidate.copy is not None and not is_proven_good(
            candidate.copy, "stored" if info.crc64 is None else "checksum"
        ):
            return None
        announced = self._context.ledger.read(lambda tx: uploads.intents_for(tx, self._place.store_id, candidate.key))
        return next((i for i in announced if i.sha256 == content.sha256 and matches(info, i)), None)

    def _equal(self, candidate: Candidate, content: Content, info: ObjectInfo) -> IntentRow | None:
        """Return an intent for a plain object of another machine: the store's checksum says it is these bytes."""
        is_bad = candidate.copy is not None and not is_proven_good(candidate.copy, "checksum")
        if self._place.sealed or is_bad or (info.crc64, info.size) != (content.crc64, content.size):
            return None
        return IntentRow(
            token=secrets.token_hex(16),
            store_id=self._place.store_id,
            key=candidate.key,
            size=info.size,
            crc64=content.crc64,
            file_id=0,
            sha256=content.sha256,
            sealed=False,
            created_at=utc_stamp(),
        )

    def _adopt(self, candidate: Candidate, intent: IntentRow, info: ObjectInfo) -> bool:
        def announce(tx: Transaction) -> None:
            if intent.token not in {i.token for i in uploads.intents_for(tx, intent.store_id, intent.key)}:
                uploads.add_intents(tx, [intent])

        self._context.ledger.record(announce)
        outcome = record_stored(self._context, self._shipment, self._place, intent, info)
        copy = candidate.copy
        if copy is not None and copy.bad_at is not None and outcome.proven:
            self._context.ledger.record(lambda tx: copies.prove_good(tx, copy.id, "checksum", utc_stamp()))
        return True
