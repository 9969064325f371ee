"""What every thread of a transfer run shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ecogsafe.catalog.audit import Act, append_all
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.clock import monotonic
from ecogsafe.core.events import EventSink, Item, Progress
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.pool import PartPool

#: least time between two progress events, seconds
PROGRESS_EVERY_S = 0.5


class Meter:
    """Counts files and bytes of a run and tells of it now and then."""

    def __init__(self, emit: EventSink, *, files_total: int | None, bytes_total: int | None) -> None:
        self._emit = emit
        self._lock = threading.Lock()
        self._began = monotonic()
        self._told = 0.0
        self._moved = 0
        self.files_total = files_total
        self.bytes_total = bytes_total
        self.files_done = 0
        self.bytes_done = 0
        self.current = ""

    def bytes_moved(self, count: int, *, current: str = "", over_the_wire: bool = True) -> None:
        """Add ``count`` bytes; those that were already there do not count for the rate."""
        with self._lock:
            self.bytes_done += count
            if over_the_wire:
                self._moved += count
            self.current = current or self.current
        self._tell()

    def file_done(self) -> None:
        """Add one finished file."""
        with self._lock:
            self.files_done += 1
        self._tell()

    def now(self) -> Progress:
        """Return the present state."""
        seconds = max(monotonic() - self._began, 1e-6)
        rate = self._moved / seconds
        done = self.bytes_done if self.bytes_total is None else min(self.bytes_done, self.bytes_total)
        left = None if self.bytes_total is None or rate <= 0 else (self.bytes_total - done) / rate
        return Progress(
            files_done=self.files_done,
            files_total=self.files_total,
            bytes_done=done,
            bytes_total=self.bytes_total,
            bytes_per_s=rate,
            seconds_left=left,
            current=self.current,
        )

    def _tell(self) -> None:
        with self._lock:
            if monotonic() - self._told < PROGRESS_EVERY_S:
                return
            self._told = monotonic()
            progress = self.now()
        self._emit(progress)


@dataclass(frozen=True, slots=True)
class Actor:
    """Who acts, for the audit chain: login, host, version of the tool."""

    who: str
    host: str
    version: str


@dataclass(kw_only=True)
class TransferContext:
    """The surroundings of one upload run."""

    ledger: Ledger
    emit: EventSink
    meter: Meter
    run_id: str
    #: host, boot, process and a random word: who holds the leases of this run
    owner: str
    recipients: Sequence[Recipient]
    resume_key: bytes
    actor: Actor
    pool: PartPool = field(default_factory=PartPool)
    stop: threading.Event = field(default_factory=threading.Event)
    #: says whether the process behind an owner is certainly dead
    is_dead: Callable[[str], bool] = lambda _owner: False

    def tell(self, action: str, message: str, *, key: str | None = None, store: str | None = None) -> None:
        """Emit a note for the user."""
        self.emit(Item(action=action, status="note", key=key, store=store, message=message))

    def audit(self, tx: Transaction, acts: Sequence[Act]) -> None:
        """Append to the audit chain, in the transaction of the changes it tells of."""
        who = self.actor
        append_all(tx, acts, run_id=self.run_id, who=who.who, host=who.host, version=who.version)
