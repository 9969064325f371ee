"""A store on a line that is not ours alone: all stores of a run together move so many bytes a second.

A body leaves piece by piece, and each piece waits for its turn; so the line is used evenly, not in bursts of
a whole part. A store that takes a body at once pays for it afterwards.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

from ecogsafe.core.clock import monotonic
from ecogsafe.stores.bodies import PacedBody, buffers
from ecogsafe.stores.forwarding import Forwarding
from ecogsafe.stores.protocol import Body, Buffer, ObjectInfo, Store, UploadedPart

#: pieces in a second, about
_PIECES_PER_S = 16
_SMALLEST_PIECE = 1 << 10
_LARGEST_PIECE = 256 << 10


class Rate:
    """So many bytes a second, shared by everyone who calls `pay`: first come, first served.

    Parameters
    ----------
    bytes_per_s
        At least 1.
    now, sleep
        The clock, and how to wait for so many seconds.
    """

    def __init__(
        self,
        bytes_per_s: float,
        *,
        now: Callable[[], float] = monotonic,
        sleep: Callable[[float], None] | None = None,
    ) -> None:
        self.bytes_per_s = bytes_per_s
        #: bytes that one payment should be about, so that the line is used evenly
        self.piece = max(_SMALLEST_PIECE, min(_LARGEST_PIECE, int(bytes_per_s / _PIECES_PER_S)))
        self._now = now
        self._sleep = sleep or _sleep
        #: when everything paid for until now has gone over the line
        self._clear_at = now()
        self._lock = threading.Lock()

    def pay(self, count: int) -> None:
        """Return when ``count`` bytes may go: when all who came before are through."""
        with self._lock:
            now = self._now()
            begins = max(now, self._clear_at)
            self._clear_at = begins + count / self.bytes_per_s
        if begins > now:
            self._sleep(begins - now)


def _sleep(seconds: float) -> None:
    threading.Event().wait(seconds)


class Limited(Forwarding):
    """`ecogsafe.stores.protocol.Store` around another one; ``rate`` may be shared with other stores."""

    def __init__(self, inner: Store, rate: Rate) -> None:
        super().__init__(inner)
        self._rate = rate

    def _paced(self, body: Body) -> PacedBody:
        return PacedBody(buffers(body), pay=self._rate.pay, piece=self._rate.piece)

    def _pay(self, count: int) -> None:
        while count > 0:
            self._rate.pay(min(count, self._rate.piece))
            count -= self._rate.piece

    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        etag: str | None = None,
        into: memoryview | None = None,
    ) -> Iterator[Buffer]:
        """See `Store.read`; what is not taken yet waits on the line, and so does its sender."""
        for data in self.inner.read(key, start, stop, etag=etag, into=into):
            self._pay(len(data))
            yield data

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
        """See `Store.put`."""
        paced = self._paced(body)
        info = self.inner.put(key, paced, crc64=crc64, token=token, storage_class=storage_class, if_absent=if_absent)
        self._pay(paced.unpaid)
        return info

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        paced = self._paced(body)
        part = self.inner.put_part(key, upload_id, number, paced, offset=offset, crc64=crc64)
        self._pay(paced.unpaid)
        return part
