"""Small files made into objects and put, many at a time: in this process, or in a worker's (`worker`).

Nothing here touches the catalogue. `Packer.pack` reads and seals and says what came of it; only when that
is durable does the caller let the objects go with `Packed.send` (DESIGN 5.8). A file key lives for the
moment in which its file is sealed and is kept nowhere: whatever fails is read and sealed anew.
"""

from __future__ import annotations

import hashlib
import threading
from collections import deque
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import NamedTuple, Protocol, TypeAlias

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.clock import monotonic
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.age_recipients import Recipient
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.stores.protocol import Store
from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.folder_reading import FolderReading
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.source import Source

#: objects that a thread puts one after the other, at most: to be handed each one costs half of what a put does
_AT_A_TIME = 4
#: results are told at least this often, so that a place that is slow is not taken for one that stalls, seconds
TELL_EVERY_S = 1.0


class Watch(Protocol):
    """Follows the one full read of a file (`ecogsafe.transfer.work.TextWatch`)."""

    def feed(self, offset: int, piece: bytes | memoryview) -> None: ...

    def check(self) -> None: ...


class Readable(Protocol):
    """A file that can be opened."""

    def open(self) -> Source: ...

    def watch(self) -> Watch | None: ...


class Job(NamedTuple):
    """One file to be packed."""

    file: Readable
    #: bytes; a file that grew beyond is not packed
    most: int
    #: the forms that are wanted: sealed, plain, or both
    forms: tuple[bool, ...]


class Made(NamedTuple):
    """What a file was when it was read, and the objects made of it."""

    stat: SourceStat
    sha256: str
    #: size and CRC64NVME of the object, by whether it is sealed
    objects: dict[bool, tuple[int, int]]


class Going(NamedTuple):
    """One object that may leave now."""

    #: number of its job
    job: int
    sealed: bool
    store_id: str
    key: str
    token: str
    storage_class: str | None


class Stored(NamedTuple):
    """What a store answered to a put (`ecogsafe.stores.protocol.ObjectInfo`, the lasting part of it)."""

    size: int
    crc64: int | None
    etag: str | None
    version_id: str | None
    storage_class: str | None
    store_date: datetime | None


#: None: the file is larger than it was said to be
MadeOrNot: TypeAlias = Made | BaseException | None
#: None: it was not begun
SentOrNot: TypeAlias = Stored | BaseException | None
#: takes results, each with the position of its `Going`; called from several threads
Deliver: TypeAlias = Callable[[list[tuple[int, SentOrNot]]], None]


class Packed(Protocol):
    """A batch that was packed and waits to be sent."""

    #: one for each job
    made: list[MadeOrNot]

    def send(self, going: Sequence[Going], deliver: Deliver) -> None:
        """Put the objects; to be called once. ``deliver`` gets one result for each, some at a time."""
        ...

    def forget(self) -> None:
        """Let go of everything; in place of `send`."""
        ...

    def tell(self) -> None:
        """Deliver what has been waiting for others for `TELL_EVERY_S`; to be called again and again until all is told.

        While objects are put this comes about by itself, but every thread of a store may hang.
        """
        ...

    def drop(self, positions: Collection[int]) -> None:
        """Do not begin these, if that is still possible; their results come all the same."""
        ...

    def stop(self) -> None:
        """Begin nothing more; the results come all the same."""
        ...


class Packer(Protocol):
    """Whoever packs."""

    def pack(self, jobs: Sequence[Job]) -> Packed:
        """Read and seal every file of ``jobs``; what one of them fails with stands in its place."""
        ...


class LocalPacker:
    """Packs in this process and sends on the threads of ``senders``.

    Parameters
    ----------
    stores
        By id.
    stop
        Once it is set no further object is begun.
    """

    def __init__(
        self,
        stores: Mapping[str, Store],
        recipients: Sequence[Recipient],
        senders: Senders,
        stop: threading.Event,
    ) -> None:
        self._stores = stores
        self._stop = stop
        self._recipients = recipients
        self._senders = senders

    def pack(self, jobs: Sequence[Job]) -> LocalPacked:
        """See `Packer.pack`."""
        made: list[MadeOrNot] = []
        bodies: list[dict[bool, bytes]] = []
        reading = FolderReading()
        try:
            for job in jobs:
                body: dict[bool, bytes] = {}
                try:
                    made.append(self._make(job, body, reading))
                except BaseException as error:  # noqa: BLE001  the others are packed; the caller raises a bug
                    made.append(error)
                bodies.append(body)
        finally:
            reading.close()
        return LocalPacked(made, bodies, self._stores, self._senders, self._stop)

    def _make(self, job: Job, body: dict[bool, bytes], reading: FolderReading) -> Made | None:
        found = reading.read(job.file, job.most) if isinstance(job.file, FileOrder) else None
        found = found or _read(job.file, job.most)
        if found is None:
            return None
        stat, plain = found
        watch = job.file.watch()
        if watch is not None:
            watch.feed(0, plain)
            watch.check()
        for sealed in job.forms:
            body[sealed] = seal(plain, self._recipients) if sealed else plain
        sha256 = hashlib.sha256(plain).hexdigest()
        return Made(stat, sha256, {s: (len(data), crc64nvme(data)) for s, data in body.items()})


def _read(file: Readable, most: int) -> tuple[SourceStat, bytes] | None:
    """Read a file once and prove that it did not change meanwhile; None where it has more than ``most`` bytes."""
    source = file.open()
    try:
        if source.size > most:
            return None
        plain = b"".join(source.pieces())
        source.check_unchanged()
        return source.stat, plain
    finally:
        source.close()


class LocalPacked:
    """See `Packed`."""

    def __init__(
        self,
        made: list[MadeOrNot],
        bodies: list[dict[bool, bytes]],
        stores: Mapping[str, Store],
        senders: Senders,
        stop: threading.Event,
    ) -> None:
        self.made = made
        self._stop = stop
        self._bodies = bodies
        self._stores = stores
        self._senders = senders
        self._shares: dict[str, _Share] = {}

    def send(self, going: Sequence[Going], deliver: Deliver) -> None:
        """See `Packed.send`."""
        for position, one in enumerate(going):
            share = self._shares.get(one.store_id)
            if share is None:
                share = self._shares[one.store_id] = _Share(self._stores[one.store_id], deliver, self._stop)
            made = self.made[one.job]
            if not isinstance(made, Made):
                raise TypeError("only what was made can be sent")
            share.add(position, one, self._bodies[one.job][one.sealed], made.objects[one.sealed][1])
        # each body is now held by the shares alone, and goes when the last of them is through with it
        self._bodies = []
        for store_id, share in self._shares.items():
            # each thread gets something to do before one gets two
            each = max(1, min(_AT_A_TIME, share.waiting // (2 * self._senders.per_store)))
            for _ in range(-(-share.waiting // each)):
                self._senders.send(store_id, share.carry, each)

    def forget(self) -> None:
        """See `Packed.forget`."""
        self._bodies = []

    def tell(self) -> None:
        """See `Packed.tell`."""
        for share in list(self._shares.values()):
            share.tell()

    def drop(self, positions: Collection[int]) -> None:
        """See `Packed.drop`."""
        for share in self._shares.values():
            share.drop(positions)

    def stop(self) -> None:
        """See `Packed.stop`: whoever carries a share sees for itself that the run was stopped."""


class _Share:
    """What one store gets of a batch."""

    def __init__(self, store: Store, deliver: Deliver, stop: threading.Event) -> None:
        self._store = store
        self._stop = stop
        self._deliver = deliver
        self._queue: deque[tuple[int, Going, bytes, int]] = deque()
        self._results: list[tuple[int, SentOrNot]] = []
        self._told = monotonic()
        self._lock = threading.Lock()

    def add(self, position: int, going: Going, body: bytes, crc64: int) -> None:
        self._queue.append((position, going, body, crc64))

    @property
    def waiting(self) -> int:
        """How many were not begun."""
        return len(self._queue)

    def carry(self, most: int = 1) -> int:
        """Put so many objects, if so many are left; return the bytes that were sent."""
        sent = 0
        for _ in range(most):
            with self._lock:
                if not self._queue:
                    break
                position, going, body, crc64 = self._queue.popleft()
            # for the last one there may be a long wait
            self.tell()
            result = None if self._stop.is_set() else self._put(going, body, crc64)
            self._ended([(position, result)])
            sent += len(body) if isinstance(result, Stored) else 0
        return sent

    def _put(self, going: Going, body: bytes, crc64: int) -> SentOrNot:
        try:
            info = self._store.put(going.key, body, crc64=crc64, token=going.token, storage_class=going.storage_class)
        except BaseException as error:  # noqa: BLE001  the caller tells a failure from a bug
            return error
        return Stored(info.size, info.crc64, info.etag, info.version_id, info.storage_class, info.store_date)

    def drop(self, positions: Collection[int]) -> None:
        """Let go of what was not begun."""
        with self._lock:
            dropped = [entry[0] for entry in self._queue if entry[0] in positions]
            self._queue = deque(entry for entry in self._queue if entry[0] not in positions)
        self._ended([(position, None) for position in dropped])

    def tell(self) -> None:
        """Deliver what has waited for long enough."""
        self._ended([])

    def _ended(self, results: list[tuple[int, SentOrNot]]) -> None:
        with self._lock:
            self._results += results
            # once all are under way each is told as it ends: it may be the last one for long
            if self._queue and monotonic() - self._told < TELL_EVERY_S:
                return
            told, self._results = self._results, []
            self._told = monotonic()
        if told:
            self._deliver(told)
