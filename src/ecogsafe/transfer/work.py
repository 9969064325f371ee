"""Work as plain data: what is to be sent where, and what became of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from ecogsafe.catalog.files import Tree
from ecogsafe.core.errors import EcogsafeError
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.source import Source
from ecogsafe.transfer.store_order import StoreOrder


@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """One destination of a run."""

    store: Store
    store_id: str
    sealed: bool
    storage_class: str | None = None
    #: None: it can be reached from this process only
    order: StoreOrder | None = None


class TextWatch(Protocol):
    """Follows the one full read of a file and knows the digest of its text regions (gate, DESIGN 5.5.3)."""

    def feed(self, offset: int, piece: bytes | memoryview) -> None:
        """Take the bytes at ``offset``, of which nothing is kept; called in order."""
        ...

    def check(self) -> None:
        """Raise SourceChangedError if the text regions are not those that were cleared."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Shipment:
    """One file for one or several places."""

    tree: Tree
    path: str
    subject: str
    segment: int | None
    size: int
    #: object key by ``sealed``: {True: "….age", False: "…"}
    keys: dict[bool, str]
    places: tuple[Place, ...]
    open_source: Callable[[], Source]
    text_watch: Callable[[], TextWatch | None] | None = None
    #: the same file for a worker process; None: it can be read in this process only
    order: FileOrder | None = None
    #: row of the content, where it is one that was sent before and no file here: that row stays as it is
    content_id: int | None = None
    #: it was detached from its place once and gets its second and last try
    again: bool = False


class Status(StrEnum):
    """What became of one file at one place."""

    DONE = "done"
    PRESENT = "present"
    DIFFERENT = "different"
    FAILED = "failed"
    #: the place stalled, or forgot the upload: the file is read again later, for it alone
    DETACHED = "detached"
    #: interrupted; run again to continue
    PAUSED = "paused"


@dataclass(slots=True, kw_only=True)
class Outcome:
    """The end of one file at one place."""

    shipment: Shipment
    place: Place
    status: Status
    error: EcogsafeError | None = None
    sha256: str | None = None
    #: the store computed the same checksum as we did
    proven: bool = False
    sent_bytes: int = 0
    notes: list[str] = field(default_factory=list)
