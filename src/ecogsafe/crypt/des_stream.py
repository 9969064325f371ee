"""Unlocked bytes of an old file in order, several slices at a time: CBC is opened from any block on.

One core opens 20 to 30 MB in a second; the cipher library lets go of Python's lock meanwhile, so threads do.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

from ecogsafe.core.private import Secret
from ecogsafe.crypt.openssl_des import BLOCK, Lock, Unlocker

#: bytes that one thread opens at once
SLICE_BYTES = 1 << 20
_MOST_THREADS = 16


def unlock_stream(
    pieces: Iterable[bytes], password: Secret, lock: Lock, *, threads: int | None = None
) -> Iterator[bytes]:
    """Yield what ``pieces`` (the locked bytes from ``lock.body_start`` on) are, padding included.

    The last bytes are left out where they are no whole block; `ecogsafe.crypt.openssl_des.Unlocker.is_whole`
    is what tells of it: compare lengths.

    Parameters
    ----------
    threads
        Default: one for each processor that this process may use. Twice as many slices are held.
    """
    count = threads or min(_processors(), _MOST_THREADS)
    opening = Unlocker(password, lock)
    with ThreadPoolExecutor(count, "unlocker") as pool:
        running: deque[Future[bytes]] = deque()
        try:
            for number, (before, data) in enumerate(_slices(pieces)):
                unlocker = opening if number == 0 else opening.after(before)
                running.append(pool.submit(unlocker.feed, data))
                if len(running) > 2 * count:
                    yield running.popleft().result()
            while running:
                yield running.popleft().result()
        finally:
            for future in running:
                future.cancel()


def _processors() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _slices(pieces: Iterable[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Yield whole blocks with the block before them (empty before the first)."""
    before = b""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= SLICE_BYTES:
            data = bytes(held[:SLICE_BYTES])
            del held[:SLICE_BYTES]
            yield before, data
            before = data[-BLOCK:]
    rest = bytes(held[: len(held) - len(held) % BLOCK])
    if rest:
        yield before, rest
