"""The index of a volume: made from the catalogue, else found in this store or another one of the lab."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack

from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.core.errors import EcogsafeError, VerificationError
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.connections import Connection, connected, one_url
from ecogsafe.service.restore_request import Volume, may_be_cold
from ecogsafe.service.running import Run
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer.archive.frame_fetching import index_fits
from ecogsafe.transfer.archive.index import VolumeIndex, parse_index
from ecogsafe.transfer.archive.indexing import index_of

#: a larger one is none of ours: 100 bytes a file, 40 a frame
_MOST_INDEX_BYTES = 512 << 20


class Indexes:
    """Finds indexes; a context manager, because it opens other stores when it has to.

    Parameters
    ----------
    connection
        The store that holds the volumes.
    """

    def __init__(self, run: Run, connection: Connection, identities: Sequence[Identity]) -> None:
        self._run = run
        self._here = connection
        self._identities = identities
        self._stack = ExitStack()
        self._others: list[Store] | None = None

    def __enter__(self) -> Indexes:
        """Open nothing yet."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close what was opened."""
        self._stack.close()

    def find(self, volume: Volume) -> VolumeIndex | None:
        """Return the index of ``volume``; None where there is none that fits the object as it is now."""
        if volume.row is not None:
            try:
                with self._run.catalog.read() as tx:
                    made = index_of(tx, volume.row)
            except VerificationError:
                # of an adopted or rebuilt catalogue
                made = None
            if made is not None and index_fits(made, volume.info, crc64=volume.crc64):
                return made
        key = volume.key.removesuffix(".tar.zst.age") + ".index.age"
        for store in self._stores():
            index = self._read(store, key, volume)
            if index is not None:
                return index
        return None

    def _read(self, store: Store, key: str, volume: Volume) -> VolumeIndex | None:
        try:
            info = store.head(key)
            if info is None or info.size > _MOST_INDEX_BYTES or (may_be_cold(info) and info.thaw is not None):
                return None
            index = parse_index(open_sealed(b"".join(store.read(key)), self._identities), item=key)
        except EcogsafeError as error:
            self._tell(store, key, f"the index cannot be used ({error.problem}); another one is looked for")
            return None
        if not index_fits(index, volume.info, crc64=volume.crc64):
            self._tell(store, key, "the index is of another object than the one that stands there; it is not used")
            return None
        return index

    def _stores(self) -> Iterator[Store]:
        yield self._here.store
        if self._others is None:
            self._others = []
            for url in self._urls():
                try:
                    connection = connected(self._run.catalog, url, to_write=False, stop=self._run.stop)
                    self._others.append(self._stack.enter_context(connection).store)
                except EcogsafeError as error:
                    self._run.tell(
                        Item(action="restore", status="note", message=f"no index was looked for in {url}: {error}")
                    )
        yield from self._others

    def _urls(self) -> list[str]:
        """Return where indexes may stand: destinations that are no archives first, then every store ever met."""
        destinations = [one_url(d.url) for d in sorted(self._run.home.settings().destination, key=lambda d: d.archive)]
        with self._run.catalog.read() as tx:
            met = [row.url for row in catalog_stores.all_stores(tx)]
        return [url for url in dict.fromkeys([*destinations, *met]) if url != self._here.store.url]

    def _tell(self, store: Store, key: str, message: str) -> None:
        self._run.tell(Item(action="restore", status="note", key=key, store=store.name, message=message))
