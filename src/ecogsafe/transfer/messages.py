"""What a run and its worker processes say to each other: plain data only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypeAlias

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.core.pacing import DailyWindow
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.transfer.packing import Going, Job, MadeOrNot, SentOrNot
from ecogsafe.transfer.store_order import StoreOrder


class Begin(NamedTuple):
    """The first word to a worker."""

    recipients: Sequence[Recipient]
    #: by id
    stores: Mapping[str, StoreOrder]
    #: requests in flight for each store
    per_store: int
    #: when bytes may go; None: always
    window: DailyWindow | None = None


class Pack(NamedTuple):
    """Read and seal."""

    #: of the batch
    number: int
    jobs: Sequence[Job]


class Send(NamedTuple):
    """What was packed is durably announced: put it."""

    number: int
    going: Sequence[Going]


class Forget(NamedTuple):
    """What was packed could not be announced: it is never sent."""

    number: int


class Drop(NamedTuple):
    """Do not begin these."""

    number: int
    positions: frozenset[int]


class Stop(NamedTuple):
    """Begin nothing more, and wait for no store."""


class End(NamedTuple):
    """Finish what is under way, tell of it, and end."""


Order: TypeAlias = Pack | Send | Forget | Drop | Stop | End


class Failed(NamedTuple):
    """The stores could not be opened; the worker ends."""

    error: EcogsafeError


class WasMade(NamedTuple):
    """What came of a `Pack`, one for each job."""

    number: int
    made: Sequence[MadeOrNot]


class Results(NamedTuple):
    """What came of some objects of a `Send`, each with its position there."""

    number: int
    results: list[tuple[int, SentOrNot]]


class Trouble(NamedTuple):
    """A store is in trouble and asked again."""

    #: what messages call it
    store: str
    #: "" where nobody need be told, but that it was asked again
    message: str
