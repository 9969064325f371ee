"""A catalogue, stores and contexts to send files with; parts are small here, so that files may be."""

from __future__ import annotations

import os
import random
import secrets
import shutil
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any

from ecogsafe.catalog import copies, stores, uploads
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.uploads import UploadRow
from ecogsafe.core.events import Event, Item
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.stores.faulty import Faulty, Script
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Body, ObjectInfo, Store, UploadedPart
from ecogsafe.transfer.context import Actor, TransferContext
from ecogsafe.transfer.ledger import Ledger
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.pipeline import send_all
from ecogsafe.transfer.pool import PartPool
from ecogsafe.transfer.source import FileSource, Source
from ecogsafe.transfer.work import Outcome, Place, Shipment

CODE = "abcd1234"
PART = 100_000
#: files above this go in parts here
SMALL = 150_000
IDENTITY = generate_identity()


class Watched(Faulty):
    """A faulty store that keeps every body it was sent, and calls what a test hangs in before a method."""

    def __init__(self, inner: Store, script: Script | None = None) -> None:
        super().__init__(inner, script)
        #: (upload id, number, bytes)
        self.parts: list[tuple[str, int, bytes]] = []
        self.bodies: list[bytes] = []
        self.before: dict[str, Callable[[], None]] = {}

    def _hook(self, method: str) -> None:
        # several senders come here at once, and a hook takes itself away
        hook = self.before.get(method)
        if hook is not None:
            hook()

    def put(
        self,
        key: str,
        body: Body,
        *,
        crc64: int,
        token: str,
        storage_class: str | None = None,
        if_absent: bool = True,
    ) -> ObjectInfo:
        self._hook("put")
        self.bodies.append(bytes(body))  # type: ignore[arg-type]
        return super().put(key, body, crc64=crc64, token=token, storage_class=storage_class, if_absent=if_absent)

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        self._hook("begin_upload")
        return super().begin_upload(key, token=token, size=size, storage_class=storage_class)

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        self._hook("put_part")
        self.parts.append((upload_id, number, bytes(body)))  # type: ignore[arg-type]
        return super().put_part(key, upload_id, number, body, offset=offset, crc64=crc64)

    def finish_upload(self, key: str, upload_id: str, parts: object, **kw: object) -> ObjectInfo:  # type: ignore[override]
        self._hook("finish_upload")
        return super().finish_upload(key, upload_id, parts, **kw)  # type: ignore[arg-type]

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        self._hook("list_parts")
        return super().list_parts(key, upload_id)

    def sent_numbers(self) -> list[int]:
        """Return the part numbers in the order of their names, each as often as it was sent."""
        return sorted(number for _, number, _ in self.parts)


class Bench:
    """One home's worth of state; ``context`` begins a run of its own each time."""

    def __init__(self, folder: Path, empty_catalogue: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.out.mkdir()
        self.catalog_path = folder / "catalog.sqlite"
        shutil.copy(empty_catalogue, self.catalog_path)
        self.catalog = Catalog.open(self.catalog_path)
        self.resume_key = secrets.token_bytes(32)
        self.events: list[Event] = []
        self.root = os.open(self.out, os.O_RDONLY | os.O_DIRECTORY)
        self._numbers = random.Random(7)

    def close(self) -> None:
        os.close(self.root)
        self.catalog.close()

    def write(self, name: str, data: bytes) -> PurePosixPath:
        """Write ``data`` below OUT/video under the clip's name ``name`` and return its path there."""
        relative = PurePosixPath(CODE, f"{CODE}_1", f"{CODE}_1_{name}.avi")
        path = self.out / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        return relative

    def data(self, size: int) -> bytes:
        return self._numbers.randbytes(size)

    def place(self, store: Store, *, sealed: bool = True, number: int = 0, storage_class: str | None = None) -> Place:
        store_id = f"{number:02x}" * 16
        with self.catalog.write() as tx:
            stores.remember_store(tx, store_id, store.url, "memory")
        return Place(store=store, store_id=store_id, sealed=sealed, storage_class=storage_class)

    def shipment(
        self,
        relative: PurePosixPath,
        *places: Place,
        open_source: Callable[[], Source] | None = None,
    ) -> Shipment:
        path = str(relative)
        size = (self.out / relative).lstat().st_size
        return Shipment(
            tree="video",
            path=path,
            subject=CODE,
            segment=1,
            size=size,
            keys={True: f"{path}.age", False: path},
            places=places,
            open_source=open_source or (lambda: FileSource(self.root, relative, name=path)),
        )

    @contextmanager
    def context(
        self, *, pool: PartPool | None = None, is_dead: Callable[[str], bool] = lambda owner: True
    ) -> Iterator[TransferContext]:
        """Give the context of a new run; runs before it count as dead."""
        ledger = Ledger(self.catalog)
        try:
            yield TransferContext(
                ledger=ledger,
                emit=self.events.append,
                meter=Meter(self.events.append, files_total=None, bytes_total=None),
                run_id=secrets.token_hex(16),
                owner=secrets.token_hex(8),
                recipients=[IDENTITY.recipient],
                resume_key=self.resume_key,
                actor=Actor(who="tester", host="here", version="0"),
                pool=pool or PartPool(),
                stop=threading.Event(),
                is_dead=is_dead,
            )
        finally:
            ledger.close()

    def send(self, *shipments: Shipment, pool: PartPool | None = None) -> list[Outcome]:
        """Send in a run of its own; the pool must be empty again afterwards."""
        pool = pool or PartPool()
        with self.context(pool=pool) as context, closing(send_all(context, shipments)) as ends:
            outcomes = list(ends)
        assert pool.used == 0
        return outcomes

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.catalog_path)) as connection:
            return connection.execute(query).fetchall()

    def copies(self) -> list[CopyRow]:
        with self.catalog.read() as tx:
            found = [copies.copy(tx, int(str(i))) for (i,) in self.rows("SELECT id FROM copies ORDER BY id")]
        return [row for row in found if row is not None]

    def open_uploads(self) -> list[UploadRow]:
        with self.catalog.read() as tx:
            return uploads.open_uploads(tx)

    def told(self) -> str:
        """Return every note of every run."""
        return "\n".join(event.message for event in self.events if isinstance(event, Item))

    def keys_resting(self) -> int:
        """Return how many wrapped file keys the catalogue holds."""
        return int(str(self.rows("SELECT count(*) FROM sealings WHERE wrapped_key IS NOT NULL")[0][0]))

    def check_no_nonce_twice(self, *stores: Watched) -> None:
        """Fail if a part of one sealing ever left with two different bodies."""
        sealing_of = dict(self.rows("SELECT upload_id, sealing_id FROM uploads"))
        bodies: dict[tuple[object, int], bytes] = {}
        for store in stores:
            for upload_id, number, body in store.parts:
                part = (sealing_of[upload_id], number)
                assert bodies.setdefault(part, body) == body, f"part {number} left twice with different bytes"


def read(store: Store, key: str) -> bytes:
    return b"".join(store.read(key))


def opened(store: Store, key: str) -> bytes:
    return open_sealed(read(store, key), [IDENTITY])


class Quiet(MemoryStore):
    """Like SeaweedFS: its listing of parts tells no checksums."""

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        from dataclasses import replace

        return tuple(replace(part, crc64=None) for part in super().list_parts(key, upload_id))


def with_capabilities(store: MemoryStore, **changes: bool) -> MemoryStore:
    from dataclasses import replace

    known: Mapping[str, bool] = changes
    store.capabilities = replace(store.capabilities, **known)  # type: ignore[arg-type]
    return store
