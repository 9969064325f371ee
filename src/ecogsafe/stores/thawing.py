"""Objects that must be thawed before they can be read: their state, and the request that thaws them.

Optional beside `ecogsafe.stores.protocol.Store`: a folder keeps nothing cold.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal, Protocol, runtime_checkable

#: how fast an object is thawed: the words of S3
Tier = Literal["Bulk", "Standard", "Expedited"]
TIERS: tuple[Tier, ...] = ("Bulk", "Standard", "Expedited")
#: storage classes whose objects must be thawed; `Store.list` tells the class, only `Store.head` the state
COLD_CLASSES = frozenset({"GLACIER", "DEEP_ARCHIVE", "Archive"})


class ThawState(StrEnum):
    """Whether a cold object can be read."""

    FROZEN = "frozen"
    #: a request is under way
    THAWING = "thawing"
    THAWED = "thawed"


@dataclass(frozen=True, slots=True)
class Thaw:
    """What a store says of one cold object."""

    state: ThawState
    #: when the thawed copy goes; None where the store does not say
    expires: datetime | None = None


@runtime_checkable
class ThawingStore(Protocol):
    """A store that can keep objects cold; `Store.head` gives `ObjectInfo.thaw`."""

    def request_thaw(self, key: str, *, tier: Tier, days: int) -> None:
        """Ask that an object become readable for ``days`` days; nothing happens where it is, or was asked before.

        Azure knows no days: there it becomes readable for good.

        Raises
        ------
        ObjectMissingError
            Nothing under ``key``.
        StoreRefusedError
            The store does not offer ``tier`` for it, has no room for such requests now, or keeps nothing cold.
        """
        ...


def thawing_store(store: object) -> ThawingStore | None:
    """Return what takes requests for ``store``, which may be a wrapper; None where nothing there is ever cold."""
    inner = getattr(store, "inner", None)
    if inner is not None and thawing_store(inner) is None:
        return None
    if isinstance(store, ThawingStore):
        return store
    return None if inner is None else thawing_store(inner)
