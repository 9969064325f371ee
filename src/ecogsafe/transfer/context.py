"""What every thread of a transfer run shares."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from ecogsafe.catalog.audit import Act, append_all
from ecogsafe.catalog.database import Transaction
from ecogsafe.core.errors import StoreError
from ecogsafe.core.events import EventSink, Item
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.pace import Pace
from ecogsafe.transfer.pool import PartPool


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
    pace: Pace = field(default_factory=Pace)
    #: stores that nothing more is sent to in this run, by id, and why
    lost: dict[str, StoreError] = field(default_factory=dict)
    #: a store that was out of reach, or full, for so many files in a row is lost too; None: every file is tried
    give_up_after: int | None = None
    #: says whether the process behind an owner is certainly dead
    is_dead: Callable[[str], bool] = lambda _owner: False

    def tell(self, action: str, message: str, *, key: str | None = None, store: str | None = None) -> None:
        """Emit a note for the user."""
        self.emit(Item(action=action, status="note", key=key, store=store, message=message))

    def audit(self, tx: Transaction, acts: Sequence[Act]) -> None:
        """Append to the audit chain, in the transaction of the changes it tells of."""
        who = self.actor
        append_all(tx, acts, run_id=self.run_id, who=who.who, host=who.host, version=who.version)
