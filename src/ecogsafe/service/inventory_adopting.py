"""``inventory --adopt``: objects that the catalogue does not know are recorded, with what is certain of them."""

from __future__ import annotations

from collections.abc import Sequence

from ecogsafe.catalog import adoptions, audit, copies, inventories, uploads
from ecogsafe.catalog.adoptions import Adoptable
from ecogsafe.catalog.audit import Act
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError, LockedError
from ecogsafe.core.events import Item
from ecogsafe.service.inventory_listing import StoreListing
from ecogsafe.service.object_keys import KeyParts
from ecogsafe.service.running import Run
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.completion import end_upload, matches

_BATCH = 200
#: what its members were when they were read, and its frames, stand in the catalogue of whoever made it; the index says
#: less, and an inventory has no password to open it
_ADOPTED_ARCHIVE = (
    "recorded as stored; what is in it only its sealed index says, which ecogsafe restore reads: "
    "its files do not count as archived here, and the next archive run sends them in a further volume"
)

Unknown = tuple[KeyParts, ObjectInfo]


class Adopting:
    """Records unknown objects of one store.

    An object that an earlier run announced, and whose checksum or token is what it announced, is that run's
    copy with all its evidence. Any other is a stored copy of unknown content, until `verify --deep` reads it.
    """

    def __init__(self, run: Run, listing: StoreListing) -> None:
        self._run = run
        self._listing = listing
        self._connection = listing.connection
        self._locked: set[str] = set()

    def adopt(self, unknown: Sequence[Unknown]) -> None:
        """Record ``unknown``; what another run changes now is left for the next time, and told."""
        for code in sorted({parts.subject for parts, _ in unknown}):
            try:
                self._run.hold_subject(code, shared=True)
            except LockedError as error:
                self._run.fail(error)
                self._locked.add(code)
        # of several contents of a path the newest is the current one
        ordered = sorted(unknown, key=lambda u: (u[0].path, -u[0].version, u[1].key))
        free = [u for u in ordered if u[0].subject not in self._locked]
        for start in range(0, len(free), _BATCH):
            self._run.check_stop(safe="What was adopted until then is recorded")
            self._adopt(free[start : start + _BATCH])

    def _adopt(self, batch: Sequence[Unknown]) -> None:
        with self._run.catalog.read() as tx:
            keys = inventories.announced_keys(tx, self._connection.store_id, [info.key for _, info in batch])
        asked = [info for _, info in batch if info.key in keys]
        announced = {info.key: found for info in asked if (found := self._announced(info)) is not None}
        adopted: list[tuple[KeyParts, ObjectInfo, str]] = []
        with self._run.catalog.write() as tx:
            acts: list[Act] = []
            for parts, info in batch:
                result = self._record(tx, parts, info, announced.get(info.key))
                if result is None:
                    continue
                adopted.append((parts, info, result))
                acts.append(
                    Act(
                        act="inventory adopt",
                        subject=parts.subject,
                        object=info.key,
                        store=self._connection.store_id,
                        result=result,
                    )
                )
            actor = self._run.actor
            audit.append_all(tx, acts, run_id=self._run.run_id, who=actor.who, host=actor.host, version=actor.version)
        for parts, info, result in adopted:
            self._tell(parts, info, result)

    def _announced(self, info: ObjectInfo) -> tuple[IntentRow, ObjectInfo] | None:
        """Return what an earlier run of this catalogue said it would make, if the object is that."""
        with self._run.catalog.read() as tx:
            intents = uploads.intents_for(tx, self._connection.store_id, info.key)
        try:
            told = self._connection.store.head(info.key, checksum=True)
        except EcogsafeError as error:
            self._run.fail(error)
            return None
        intent = next((i for i in intents if told is not None and matches(told, i)), None)
        return None if intent is None or told is None else (intent, told)

    def _record(
        self, tx: Transaction, parts: KeyParts, info: ObjectInfo, announced: tuple[IntentRow, ObjectInfo] | None
    ) -> str | None:
        """Record one object; return at which level, None if it is recorded by now."""
        store_id = self._connection.store_id
        if announced is not None:
            return self._record_announced(tx, *announced)
        found = Adoptable(
            store_id=store_id,
            key=info.key,
            tree=parts.tree,
            path=parts.path,
            subject=parts.subject,
            segment=parts.segment,
            sealed=parts.sealed,
            size=info.size,
            etag=info.etag,
            storage_class=info.storage_class,
            mtime_ns=int(info.last_modified.timestamp()) * 10**9 if info.last_modified else 0,
            seen_at=self._listing.as_of,
        )
        return "stored" if adoptions.adopt(tx, found) else None

    def _record_announced(self, tx: Transaction, intent: IntentRow, told: ObjectInfo) -> str | None:
        if copies.copy_by_key(tx, intent.store_id, intent.key) is not None:
            return None
        now = utc_stamp()
        proven = told.crc64 is not None
        row = CopyRow(
            id=0,
            file_id=intent.file_id,
            store_id=intent.store_id,
            key=intent.key,
            sealed=intent.sealed,
            size=intent.size,
            crc64=intent.crc64,
            etag=told.etag,
            version_id=told.version_id,
            storage_class=told.storage_class,
            token=intent.token,
            level="checksum" if proven else "stored",
            stored_at=now,
            checksum_at=now if proven else None,
            store_date=told.store_date.isoformat() if told.store_date else None,
            seen_at=self._listing.as_of,
        )
        copies.record_copy(tx, row)
        uploads.settle_intent(tx, intent.token, "done")
        end_upload(tx, intent.token, done=True)
        return row.level

    def _tell(self, parts: KeyParts, info: ObjectInfo, result: str) -> None:
        run = self._run
        run.tally.done += 1
        run.counts["adopted"] = run.counts.get("adopted", 0) + 1
        message = "recorded as stored; its content is not known until ecogsafe verify --deep reads it"
        if parts.tree == "archive":
            message = _ADOPTED_ARCHIVE
        if result == "checksum":
            message = "recorded: a run that was cut had sent it, and the store's checksum is the one it announced"
        run.tell(
            Item(
                action="adopt",
                status="done",
                subject=parts.subject,
                segment=parts.segment,
                key=info.key,
                store=self._listing.name,
                bytes=info.size,
                message=message,
                details={"level": result},
            )
        )
