"""Ranges of one object into memory: fetched, opened, checksummed; what comes wrong is fetched again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from itertools import chain
from typing import TypeVar

from ecogsafe.core.errors import EcogsafeError, VerificationError
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.age_stream import ChunkOpener
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.errors import PayloadError
from ecogsafe.crypt.unsealer import ChunkRun, open_prefix
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.buffers import Slot
from ecogsafe.transfer.ranges import FIRST_REQUEST_BYTES, Range, RangePlan, plan_ranges

T = TypeVar("T")
_log = logging.getLogger(__name__)
#: bytes that arrive wrong so often are not wrong by chance
_ATTEMPTS = 3


class _PlainRun:
    """Takes bytes as they are into a buffer; the counterpart of `ChunkRun`."""

    def __init__(self, out: memoryview) -> None:
        self._out = out
        self._position = 0

    def feed(self, data: memoryview) -> None:
        stop = self._position + len(data)
        if stop > len(self._out):
            raise PayloadError("an object", "has more bytes than the store announced")
        self._out[self._position : stop] = data
        self._position = stop

    def finish(self) -> None:
        if self._position != len(self._out):
            raise PayloadError("an object", "has fewer bytes than the store announced")


class Fetcher:
    """Fetches ranges of one object; several threads may, after `fetch_first` or `open_known`.

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

    def open_known(self, info: ObjectInfo, prefix: bytes) -> RangePlan | None:
        """Return how ``info`` is cut, from header and nonce as an earlier run noted them; None if they do not fit."""
        payload_offset = None
        try:
            if self._identities is not None:
                opened = open_prefix(prefix, self._identities)
                if opened is None:
                    return None
                self._opener, payload_offset = opened
            return plan_ranges(info.size, payload_offset)
        except EcogsafeError:
            return None

    def fetch_first(self, info: ObjectInfo, slot: Slot) -> tuple[RangePlan, bytes, int]:
        """Fetch the first range into ``slot``, with what stands before it.

        Returns
        -------
        plan, prefix, crc64
            How the object is cut; header and nonce, empty for an object taken as it is; CRC64NVME of the
            object's bytes up to the end of the range.

        Raises
        ------
        HeaderError, HmacError, NoMatchError
            As `open_header`.
        PayloadError
            The bytes are not what was sealed, or not as many as the store announced.
        StoreError
            As `Store.read`.
        """
        return self._repeated(info.key, lambda: self._fetch_first(info, slot))

    def fetch(self, key: str, range_: Range, slot: Slot) -> int:
        """Fetch another range into ``slot``; return the CRC64NVME of the object's bytes.

        Raises
        ------
        PayloadError, StoreError
            As `fetch_first`.
        """
        return self._repeated(key, lambda: self._fetch(key, range_, slot))

    def _pieces(self, key: str, start: int, stop: int | None) -> Iterator[memoryview]:
        for data in self._store.read(key, start, stop):
            self._on_bytes(len(data))
            yield memoryview(data)

    def _fetch_first(self, info: ObjectInfo, slot: Slot) -> tuple[RangePlan, bytes, int]:
        # all of a small object is asked for without an end, so that one that is longer than announced shows
        is_small = info.size <= FIRST_REQUEST_BYTES
        pieces = self._pieces(info.key, 0, None if is_small else FIRST_REQUEST_BYTES)
        head = bytearray()
        payload_offset = None
        if self._identities is not None:
            for piece in pieces:
                head += piece
                opened = open_prefix(head, self._identities)
                if opened is not None:
                    self._opener, payload_offset = opened
                    break
            else:
                raise PayloadError(info.key, "ends inside its header")
        plan = plan_ranges(info.size, payload_offset)
        first = plan.range(0)
        prefix = bytes(head[: payload_offset or 0])
        run = self._run(first, slot)
        crc = crc64nvme(prefix)
        left = first.object_stop - len(prefix)
        for piece in chain((memoryview(head)[len(prefix) :],), pieces):
            # what comes of the next range is fetched again with it
            mine = piece if first.is_last else piece[:left]
            crc = crc64nvme(mine, crc)
            left -= len(mine)
            run.feed(mine)
        run.finish()
        return plan, prefix, crc

    def _run(self, range_: Range, slot: Slot) -> ChunkRun | _PlainRun:
        view = slot.room(range_.size)
        if self._opener is None:
            return _PlainRun(view)
        return ChunkRun(self._opener, range_.first_chunk, view, with_last=range_.is_last)

    def _fetch(self, key: str, range_: Range, slot: Slot) -> int:
        run = self._run(range_, slot)
        crc = 0
        for piece in self._pieces(key, range_.object_start, range_.object_stop):
            crc = crc64nvme(piece, crc)
            run.feed(piece)
        run.finish()
        return crc

    def _repeated(self, key: str, fetch: Callable[[], T]) -> T:
        """Fetch again what came wrong; a few times, because a damaged object comes wrong every time."""
        for _ in range(_ATTEMPTS - 1):
            try:
                return fetch()
            except VerificationError as error:
                _log.info("a range came wrong and is fetched again key=%s code=%s", key, error.code)
        return fetch()
