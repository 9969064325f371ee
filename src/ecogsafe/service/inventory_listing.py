"""What an inventory looks at: the objects that a store says it holds, as of a time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ecogsafe.service.connections import Connection
from ecogsafe.stores.protocol import ObjectInfo


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreListing:
    """Everything that a store says it holds."""

    objects: Iterator[ObjectInfo]
    #: a `utc_stamp`; what was stored later need not be in it
    as_of: str
    #: who is asked about what the listing leaves in doubt
    connection: Connection

    @property
    def name(self) -> str:
        """What a person calls the store."""
        return self.connection.store.name

    @property
    def store_id(self) -> str:
        """Under which the catalogue knows the store; empty for a place that carries none."""
        return self.connection.store_id


def list_now(connection: Connection, *, as_of: str) -> StoreListing:
    """Return the listing of a store, made while it is read; our own objects are not in it."""
    return StoreListing(objects=connection.store.list(), as_of=as_of, connection=connection)
