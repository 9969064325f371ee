"""Bytes on their way into a store: one buffer or several, their size, their CRC64NVME.

CRC64NVME is the checksum that S3 keeps over a whole object however many parts it came in; its text form
is the base64 of the eight bytes, most significant first
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, overload

from ecogsafe.stores.protocol import Body


class PacedBody(Sequence[memoryview]):
    """A body of which `leaving` asks leave for every piece just before it goes; looking at it asks nobody.

    Parameters
    ----------
    pay
        Is told the size of a piece, and returns when that may go; called from one thread at a time.
    piece
        The most bytes that one piece should be.
    """

    def __init__(self, views: Sequence[memoryview], *, pay: Callable[[int], None], piece: int) -> None:
        self._views = views
        self._pay = pay
        self.piece = piece
        self._size = sum(len(view) for view in views)
        self._paid = 0

    def pay(self, count: int) -> None:
        """Return when ``count`` further bytes may go."""
        self._pay(count)
        self._paid += count

    @property
    def unpaid(self) -> int:
        """Bytes that went without leave, if all of the body has gone."""
        return max(0, self._size - self._paid)

    @overload
    def __getitem__(self, index: int) -> memoryview: ...

    @overload
    def __getitem__(self, index: slice) -> Sequence[memoryview]: ...

    def __getitem__(self, index: int | slice) -> memoryview | Sequence[memoryview]:
        return self._views[index]

    def __len__(self) -> int:
        return len(self._views)


def buffers(body: Body) -> list[memoryview]:
    """Return ``body`` as flat byte views, empty ones left out; nothing is copied."""
    pieces = (body,) if isinstance(body, bytes | bytearray | memoryview) else body
    return [view for view in (memoryview(piece).cast("B") for piece in pieces) if len(view)]


def leaving(body: Body, most: int) -> Iterator[Any]:
    """Yield ``body`` in pieces of ``most`` bytes or less, each when it may go: whoever sends it iterates this."""
    if isinstance(body, bytes) and 0 < len(body) <= most:
        yield body
        return
    paced = body if isinstance(body, PacedBody) else None
    step = most if paced is None else min(most, paced.piece)
    for view in buffers(body):
        for start in range(0, len(view), step):
            piece = view[start : start + step]
            if paced is not None:
                paced.pay(len(piece))
            yield piece


def body_size(body: Body) -> int:
    """Return the number of bytes in ``body``."""
    if isinstance(body, bytes):
        return len(body)
    return sum(len(view) for view in buffers(body))


def crc64_of(pieces: Iterable[bytes | memoryview], previous: int = 0) -> int:
    """Return the CRC64NVME of ``pieces``, continuing from ``previous``."""
    from awscrt.checksums import crc64nvme

    crc = previous
    for piece in pieces:
        crc = crc64nvme(piece, crc)
    return crc


def body_crc64(body: Body) -> int:
    """Return the CRC64NVME of ``body``."""
    return crc64_of(buffers(body))


def crc64_to_text(crc64: int) -> str:
    """Return the form S3 uses in headers."""
    return base64.b64encode(crc64.to_bytes(8, "big")).decode("ascii")


def crc64_from_text(text: str | None) -> int | None:
    """Return the number that S3's header form stands for.

    None for an absent value and for anything but eight bytes: a checksum of part checksums ends in
    ``-<parts>`` and proves nothing about the whole.
    """
    if text is None:
        return None
    try:
        raw = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return int.from_bytes(raw, "big") if len(raw) == 8 else None
