"""A store as plain data, so that a worker process can open it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass

from ecogsafe.core.errors import WrongStoreError
from ecogsafe.stores.directory_access import Access
from ecogsafe.stores.open import open_store
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Wait
from ecogsafe.stores.store_id import read_store_id


@dataclass(frozen=True, slots=True)
class StoreOrder:
    """How a store is opened; credentials come from the environment."""

    url: str
    #: what messages call it
    name: str
    sse: str | None = None
    #: of what is made in a folder
    access: Access | None = None

    def open(self, store_id: str, *, connections: int, stop: threading.Event, on_wait: Callable[[Wait], None]) -> Store:
        """Open the store and see that it is still the one meant: a mount may have vanished.

        Raises
        ------
        WrongStoreError
            It carries another id.
        EcogsafeError
            As `ecogsafe.stores.open.open_store`.
        """
        store = open_store(
            self.url,
            name=self.name,
            sse=self.sse,
            connections=connections,
            stop=stop,
            on_wait=on_wait,
            access=self.access,
        )
        found = read_store_id(store)
        if found is None or found.store_id != store_id:
            store.close()
            raise WrongStoreError(self.name, "is another store than a moment ago", safe="Nothing was written to it")
        return store
