"""Unfinished uploads at a store: whose they are, whether they can be continued, what they cost, and their end.

The parts of an upload that was never finished are billed as long as they are there, and no listing of
objects shows them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from enum import StrEnum
from functools import partial

from ecogsafe.catalog import audit, inventories, leases, sealings, uploads
from ecogsafe.catalog.audit import Act
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import EcogsafeError, LockedError, StoreRefusedError, UploadGoneError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import Connection
from ecogsafe.service.object_keys import KeyParts, parse_key
from ecogsafe.service.owner import is_dead
from ecogsafe.service.price_estimates import Weight, keeping_cost, money
from ecogsafe.service.price_table import PriceTable
from ecogsafe.service.running import LEASE_S, Run
from ecogsafe.service.snapshot_copies import is_snapshot_key
from ecogsafe.stores.protocol import OpenUpload
from ecogsafe.transfer.completion import end_upload
from ecogsafe.transfer.in_parts import lease_name

_JOBS = 8
_ADVICE = (
    "an administrator of the bucket should set a lifecycle rule AbortIncompleteMultipartUpload with "
    "DaysAfterInitiation 7 (docs/inventory.md has the command)"
)


class Standing(StrEnum):
    """What an unfinished upload is to this catalogue."""

    #: a run at work owns it
    UNDER_WAY = "under way"
    #: ours; the same command goes on with it
    CONTINUABLE = "can be continued"
    #: ours, and never continued
    ABANDONED = "abandoned"
    #: not in this catalogue: another machine's, or ours from before it
    UNKNOWN = "not in this catalogue"
    #: of a catalogue, this machine's or another's: never continued, but perhaps under way now
    SNAPSHOT = "a snapshot of the catalogue"


#: somebody may be at work with them, who can be told by their age only
_UNKNOWN_OWNER = (Standing.UNKNOWN, Standing.SNAPSHOT)


@dataclass(frozen=True, slots=True, kw_only=True)
class Unfinished:
    """One unfinished upload of an object of our form."""

    upload: OpenUpload
    #: None for a snapshot
    parts: KeyParts | None
    standing: Standing
    row: UploadRow | None
    #: what the store has of it
    bytes: int
    why: str

    @property
    def subject(self) -> str | None:
        """Whose it is; None for a snapshot."""
        return self.parts.subject if self.parts else None

    @property
    def age(self) -> timedelta | None:
        """How long ago it began, by the store's clock and ours; None where the store does not say."""
        return None if self.upload.started is None else utc_now() - self.upload.started


def _snapshot(upload: OpenUpload) -> Unfinished:
    why = "a run that was cut short sent it, or one that is at work; the next snapshot is sent whole"
    return Unfinished(upload=upload, parts=None, standing=Standing.SNAPSHOT, row=None, bytes=0, why=why)


class Orphans:
    """The unfinished uploads of one store."""

    def __init__(self, run: Run, connection: Connection, prices: PriceTable | None, withdrawn: Iterable[str]) -> None:
        self._run = run
        self._connection = connection
        self._prices = prices
        self._withdrawn = frozenset(withdrawn)
        self.found: list[Unfinished] = []

    def look(self) -> None:
        """Find and tell of every unfinished upload; a store that does not say is told of too."""
        store = self._connection.store
        try:
            listed = list(store.list_uploads())
        except StoreRefusedError as error:
            message = f"its unfinished uploads could not be listed: {error.problem}"
            self._run.tell(Item(action="unfinished", status="note", store=store.name, message=message))
            return
        snapshots = [_snapshot(upload) for upload in listed if is_snapshot_key(upload.key)]
        ours = [(upload, parts) for upload in listed if (parts := parse_key(upload.key)) is not None]
        with self._run.catalog.read() as tx:
            rows = inventories.uploads_by_id(tx, self._connection.store_id, [u.upload_id for u, _ in ours])
            judged = [self._judge(tx, upload, parts, rows.get(upload.upload_id)) for upload, parts in ours]
        with ThreadPoolExecutor(_JOBS, thread_name_prefix="inventory") as pool:
            self.found = [u for u in pool.map(self._weigh, [*judged, *snapshots]) if u is not None]
        for unfinished in self.found:
            self._tell(unfinished)
        self._tell_of_all(len(listed) - len(ours) - len(snapshots))

    def _judge(self, tx: Transaction, upload: OpenUpload, parts: KeyParts, row: UploadRow | None) -> Unfinished:
        made = partial(Unfinished, upload=upload, parts=parts, row=row, bytes=0)
        if row is None:
            return made(standing=Standing.UNKNOWN, why="another machine's, or from before this catalogue")
        if any(not is_dead(held.owner) for held in leases.holders(tx, lease_name(row.token))):
            return made(standing=Standing.UNDER_WAY, why="a run at work owns it")
        if row.state != "open":
            return made(standing=Standing.ABANDONED, why="given up, but the store still keeps its parts")
        if parts.subject in self._withdrawn:
            return made(standing=Standing.ABANDONED, why="its subject withdrew")
        sealing = sealings.sealing(tx, row.sealing_id)
        if sealing is None or sealing.state != "open" or (sealing.sealed and sealing.wrapped_key is None):
            return made(standing=Standing.ABANDONED, why="its key is erased")
        return made(standing=Standing.CONTINUABLE, why=f"to continue: {self._command(parts)}")

    def _command(self, parts: KeyParts) -> str:
        url = self._connection.store.url
        if parts.upload_type is None:
            kind = "edf" if "_edf_" in parts.path else "vid"
            return f"ecogsafe archive -d DIR --to {url} -t {kind}"
        form = {("v", False): " --plain", ("e", True): " --encrypt"}.get((parts.upload_type, parts.sealed), "")
        return f"ecogsafe upload -d DIR --to {url} -t {parts.upload_type}{form}"

    def _weigh(self, unfinished: Unfinished) -> Unfinished | None:
        """Return it with the bytes that the store has of it; None if it has ended meanwhile."""
        upload, store = unfinished.upload, self._connection.store
        try:
            size = sum(part.size for part in store.list_parts(upload.key, upload.upload_id))
        except UploadGoneError:
            return None
        except StoreRefusedError:
            size = 0
        return Unfinished(
            upload=upload,
            parts=unfinished.parts,
            standing=unfinished.standing,
            row=unfinished.row,
            bytes=size,
            why=unfinished.why,
        )

    def _tell(self, unfinished: Unfinished) -> None:
        age, month = unfinished.age, self._month([unfinished])
        days = "of unknown age" if age is None else f"{max(age.total_seconds(), 0) / 86_400:.1f} days old"
        price = "" if month is None or self._prices is None else f", {money(month, self._prices.currency)} a month"
        self._run.tell(
            Item(
                action="unfinished",
                status="note",
                subject=unfinished.subject,
                segment=unfinished.parts.segment if unfinished.parts else None,
                key=unfinished.upload.key,
                store=self._connection.store.name,
                bytes=unfinished.bytes,
                message=f"unfinished upload, {unfinished.standing.value}, {days}{price}: {unfinished.why}",
                details={
                    "standing": unfinished.standing.value,
                    "upload_id": unfinished.upload.upload_id,
                    "started": unfinished.upload.started.isoformat() if unfinished.upload.started else None,
                    "cost_month": None if month is None else str(month),
                },
            )
        )

    def _tell_of_all(self, foreign: int) -> None:
        if not self.found and not foreign:
            return
        self._run.counts["unfinished_uploads"] = len(self.found) + foreign
        words = []
        month = self._month(self.found)
        if self.found:
            price = "" if month is None or self._prices is None else f", {money(month, self._prices.currency)} a month"
            size = sum(u.bytes for u in self.found)
            words.append(f"{len(self.found):,} unfinished uploads of our form hold {size:,} bytes{price}")
        if foreign:
            words.append(f"{foreign:,} unfinished uploads of others, whose names are not shown")
        if self._connection.store.url.startswith("s3://"):
            words.append(_ADVICE)
        self._note("; ".join(words))

    def _month(self, of: Sequence[Unfinished]) -> Decimal | None:
        """Return what the parts cost a month, billed at the usual class whatever class the object is to have."""
        if self._prices is None:
            return None
        cost = keeping_cost(self._prices, None, [Weight(u.bytes) for u in of])
        return None if cost is None else cost.month

    def _note(self, message: str) -> None:
        self._run.tell(Item(action="unfinished", status="note", store=self._connection.store.name, message=message))

    # their end

    def to_abort(self, older_than: timedelta) -> list[Unfinished]:
        """Return those that nobody continues: abandoned ones of ours, and of the others those that began long ago."""

        def is_lost(unfinished: Unfinished) -> bool:
            if unfinished.standing is Standing.ABANDONED:
                return True
            age = unfinished.age
            return unfinished.standing in _UNKNOWN_OWNER and age is not None and age >= older_than

        return [unfinished for unfinished in self.found if is_lost(unfinished)]

    def question(self, of: Sequence[Unfinished]) -> str:
        """Return what is asked before `abort`."""
        unknown = sum(1 for u in of if u.standing is Standing.UNKNOWN)
        theirs = f", {unknown:,} of them not begun by this catalogue" if unknown else ""
        return (
            f"Abort {len(of):,} unfinished uploads at {self._connection.store.name} "
            f"({sum(u.bytes for u in of):,} bytes{theirs})? Their parts are gone then; "
            "a file that is still wanted is sent from its start"
        )

    def abort(self, of: Sequence[Unfinished]) -> None:
        """Abort these uploads; one that a run has taken over meanwhile stays."""
        for unfinished in of:
            self._run.check_stop(safe="What was aborted until then is recorded")
            try:
                self._abort(unfinished)
            except EcogsafeError as error:
                self._run.fail(error)

    def _abort(self, unfinished: Unfinished) -> None:
        run, upload, row = self._run, unfinished.upload, unfinished.row
        if row is not None:
            with run.catalog.write() as tx:
                leases.acquire(tx, lease_name(row.token), run.owner, LEASE_S, shared=False, gone=is_dead)
                newest = uploads.upload(tx, row.token)
            if newest is not None and newest.state != row.state:
                raise LockedError(upload.key, "another run has gone on with this upload", safe="It was not aborted")
        self._connection.store.abort_upload(upload.key, upload.upload_id)
        with run.catalog.write() as tx:
            if row is not None:
                end_upload(tx, row.token, done=False)
            act = Act(
                act="inventory abort",
                subject=unfinished.subject,
                object=upload.key,
                store=self._connection.store_id or None,
                result=unfinished.standing.value,
            )
            audit.append_all(
                tx, [act], run_id=run.run_id, who=run.actor.who, host=run.actor.host, version=run.actor.version
            )
        run.counts["aborted_uploads"] = run.counts.get("aborted_uploads", 0) + 1
        run.tell(
            Item(
                action="abort",
                status="done",
                subject=unfinished.subject,
                key=upload.key,
                store=self._connection.store.name,
                bytes=unfinished.bytes,
                message=f"unfinished upload aborted ({unfinished.standing.value})",
            )
        )
