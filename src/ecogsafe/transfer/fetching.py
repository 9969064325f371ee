"""Ranges of one object into memory: fetched, opened, checksummed; what comes wrong is fetched again."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from typing import TypeAlias, TypeVar

from ecogsafe.core.errors import EcogsafeError, ObjectReplacedError, VerificationError
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.age_stream import ChunkOpener
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.errors import PayloadError
from ecogsafe.crypt.sealed_layout import SEALED_CHUNK_BYTES
from ecogsafe.crypt.unsealer import ChunkRun, open_prefix
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.buffers import Slot
from ecogsafe.transfer.ranges import FIRST_REQUEST_BYTES, REQUEST_BYTES, Range, RangePlan, plan_ranges

T = TypeVar("T")
Opened: TypeAlias = Callable[[memoryview], object]
_log = logging.getLogger(__name__)
#: bytes that arrive wrong so often are not wrong by chance
_ATTEMPTS = 3
#: so much is opened, then digested: what was just opened lies in the processor's cache, 8 MiB would not
_HOT_BYTES = 4 * SEALED_CHUNK_BYTES
#: what is left of an answer is read, up to so much, to keep its connection
_WORTH_READING_BYTES = 256 << 10


class _PlainRun:
    """Takes bytes as they are into a buffer; the counterpart of `ChunkRun`."""

    def __init__(self, out: memoryview) -> None:
        self._out = out
        self.position = 0

    def feed(self, data: memoryview) -> None:
        stop = self.position + len(data)
        if stop > len(self._out):
            raise PayloadError("an object", "has more bytes than the store announced")
        self._out[self.position : stop] = data
        self.position = stop

    def finish(self) -> None:
        if self.position != len(self._out):
            raise PayloadError("an object", "has fewer bytes than the store announced")


class Stream:
    """The bytes of one request, taken in order; not more of them are in memory than one chunk of the store's."""

    def __init__(self, pieces: Generator[memoryview, None, None], size: int) -> None:
        self._pieces = pieces
        self._rest = memoryview(b"")
        self._left = size

    def take(self, most: int) -> memoryview:
        """Return some of the next bytes, at most ``most`` and valid until more are taken; none at the end."""
        if not self._rest:
            self._rest = next(self._pieces, self._rest)
            self._left -= len(self._rest)
        taken, self._rest = self._rest[:most], self._rest[most:]
        return taken

    def give_back(self, rest: memoryview) -> None:
        """Put bytes in front that were taken and are not done with."""
        self._rest = memoryview(bytes(rest) + self._rest) if self._rest else rest

    def close(self) -> None:
        """End the request."""
        self._rest = memoryview(b"")
        if self._left <= _WORTH_READING_BYTES:
            for _ in self._pieces:
                pass
        self._pieces.close()


@dataclass(frozen=True, slots=True)
class Begun:
    """An object of which the first range is in memory."""

    plan: RangePlan
    #: header and nonce; empty for an object taken as it is
    prefix: bytes
    #: CRC64NVME of the object's bytes up to the end of the range; 0 where nobody needs it
    crc64: int
    #: SHA-256 of the content of that range
    digest: hashlib._Hash
    #: brings the ranges before ``after``; the caller closes it
    stream: Stream
    after: int


class Fetcher:
    """Fetches ranges of one object; several threads may, after `begin` or `open_known`.

    All ranges are of the object that was begun: one that takes its place is noticed, where the store tells them
    apart.

    Parameters
    ----------
    identities
        Keys that open a sealed object; None to take the bytes as they are.
    on_bytes
        Called with the count of object bytes that arrived.
    """

    def __init__(self, store: Store, identities: Sequence[Identity] | None, on_bytes: Callable[[int], None]) -> None:
        self._store = store
        self._identities = identities
        self._on_bytes = on_bytes
        self._opener: ChunkOpener | None = None
        self._etag: str | None = None
        #: whether CRC64NVMEs are wanted; set before the first range
        self.sums_up = True

    def open_known(self, info: ObjectInfo, prefix: bytes) -> RangePlan | None:
        """Return how ``info`` is cut, from header and nonce as an earlier run noted them; None if they do not fit."""
        payload_offset = None
        self._etag = info.etag
        try:
            if self._identities is not None:
                opened = open_prefix(prefix, self._identities)
                if opened is None:
                    return None
                self._opener, payload_offset = opened
            return plan_ranges(info.size, payload_offset)
        except EcogsafeError:
            return None

    def begin(self, info: ObjectInfo, slot: Slot, *, ahead: bool) -> Begun:
        """Fetch the first range into ``slot``, with what stands before it; with ``ahead`` ask for more than that.

        Raises
        ------
        HeaderError, HmacError, NoMatchError
            As `open_header`.
        PayloadError
            The bytes are not what was sealed, or not as many as the store announced.
        ObjectReplacedError
            Another object stands under the key by now.
        StoreError
            As `Store.read`.
        """
        self._etag = info.etag
        return _repeated(info.key, lambda: self._begin(info, slot, REQUEST_BYTES if ahead else FIRST_REQUEST_BYTES))

    def fetch_first(self, info: ObjectInfo, slot: Slot) -> tuple[RangePlan, bytes, int]:
        """Fetch the first range into ``slot``; return how the object is cut, its prefix, and the CRC64NVME.

        Raises
        ------
        EcogsafeError
            As `begin`.
        """
        begun = self.begin(info, slot, ahead=False)
        begun.stream.close()
        return begun.plan, begun.prefix, begun.crc64

    def fetch(self, key: str, range_: Range, slot: Slot) -> int:
        """Fetch another range into ``slot``; return the CRC64NVME of the object's bytes.

        Raises
        ------
        PayloadError, ObjectReplacedError, StoreError
            As `begin`.
        """
        return _repeated(key, lambda: self._fetch(key, range_, slot))

    def stream(self, key: str, start: int, stop: int | None, slot: Slot, *, size: int) -> Stream:
        """Ask for bytes ``[start, stop)`` of the object, of which there should be ``size``; `take` takes ranges."""
        return Stream(self._pieces(key, start, stop, slot.arriving), size)

    def take(self, stream: Stream, range_: Range, slot: Slot, opened: Opened | None = None) -> int:
        """Open the next range of ``stream`` into ``slot``; return the CRC64NVME of the object's bytes.

        ``opened`` is called with each piece of the content, while it is still in the processor's cache.

        Raises
        ------
        PayloadError, ObjectReplacedError, StoreError
            As `begin`; ``stream`` is of no more use.
        """
        return self._take(stream, range_, slot, range_.object_stop - range_.object_start, 0, opened)

    def _pieces(self, key: str, start: int, stop: int | None, into: memoryview) -> Generator[memoryview, None, None]:
        for data in self._store.read(key, start, stop, etag=self._etag, into=into):
            self._on_bytes(len(data))
            yield memoryview(data)

    def _begin(self, info: ObjectInfo, slot: Slot, most: int) -> Begun:
        # all of an object is asked for without an end, so that one that is longer than announced shows
        stream = self.stream(info.key, 0, None if info.size <= most else most, slot, size=min(info.size, most))
        try:
            prefix, payload_offset = self._prefix(info.key, stream)
            plan = plan_ranges(info.size, payload_offset)
            first = plan.range(0)
            digest = hashlib.sha256()
            left = first.object_stop - len(prefix)
            crc = self._take(stream, first, slot, left, crc64nvme(prefix), digest.update)
        except BaseException:
            stream.close()
            raise
        return Begun(plan, prefix, crc, digest, stream, plan.count_before(most))

    def _prefix(self, key: str, stream: Stream) -> tuple[bytes, int | None]:
        """Take header and nonce; return them, and where the first chunk begins."""
        if self._identities is None:
            return b"", None
        head = bytearray()
        while piece := stream.take(FIRST_REQUEST_BYTES):
            head += piece
            opened = open_prefix(head, self._identities)
            if opened is not None:
                self._opener, payload_offset = opened
                stream.give_back(memoryview(head)[payload_offset:])
                return bytes(head[:payload_offset]), payload_offset
        raise PayloadError(key, "ends inside its header")

    def _run(self, range_: Range, slot: Slot) -> ChunkRun | _PlainRun:
        view = slot.room(range_.size)
        if self._opener is None:
            return _PlainRun(view)
        return ChunkRun(self._opener, range_.first_chunk, view, with_last=range_.is_last)

    def _fetch(self, key: str, range_: Range, slot: Slot) -> int:
        size = range_.object_stop - range_.object_start
        stream = self.stream(key, range_.object_start, range_.object_stop, slot, size=size)
        try:
            return self.take(stream, range_, slot)
        finally:
            stream.close()

    def _take(self, stream: Stream, range_: Range, slot: Slot, left: int, crc: int, opened: Opened | None) -> int:
        run = self._run(range_, slot)
        while left and (piece := stream.take(min(left, _HOT_BYTES))):
            left -= len(piece)
            if self.sums_up:
                crc = crc64nvme(piece, crc)
            before = run.position
            run.feed(piece)
            if opened is not None:
                opened(slot.view[before : run.position])
        run.finish()
        if range_.is_last and (more := stream.take(1)):
            run.feed(more)
        return crc


def _repeated(key: str, fetch: Callable[[], T]) -> T:
    """Fetch again what came wrong; a few times, because a damaged object comes wrong every time."""
    for _ in range(_ATTEMPTS - 1):
        try:
            return fetch()
        except ObjectReplacedError:
            raise
        except VerificationError as error:
            _log.info("a range came wrong and is fetched again key=%s code=%s", key, error.code)
    return fetch()
