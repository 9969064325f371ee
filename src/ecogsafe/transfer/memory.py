"""Memory for parts, taken from the system once and used again: fresh pages cost as much as sealing them.

It is mapped apart from Python's heap, so that what is not needed goes back to the system at once.
"""

from __future__ import annotations

import mmap
import threading

#: below this, ordinary memory is as good
_SMALLEST = 1024 * 1024
#: memory that is larger than asked for by more than this factor is not used for it
_WASTE = 2


class Memory:
    """Gives out memory and keeps what comes back; its methods are called from several threads."""

    def __init__(self) -> None:
        self._free: list[mmap.mmap] = []
        self._lock = threading.Lock()

    def take(self, size: int, *, keep: int) -> memoryview:
        """Return ``size`` writable bytes with any content; at most ``keep`` bytes stay set aside after that."""
        if size < _SMALLEST:
            return memoryview(bytearray(size))
        with self._lock:
            fitting = [free for free in self._free if size <= len(free) <= _WASTE * size]
            found = min(fitting, key=len, default=None)
            if found is not None:
                self._free.remove(found)
            while self._free and sum(map(len, self._free)) > keep:
                self._free.pop(0)
        if found is None:
            length = -(-size // _SMALLEST) * _SMALLEST
            found = mmap.mmap(-1, length, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        return memoryview(found)[:size]

    def give_back(self, part: memoryview) -> None:
        """Keep what `take` returned for later; nobody may look at it any more."""
        if isinstance(part.obj, mmap.mmap):
            with self._lock:
                self._free.append(part.obj)
