"""Memory for ranges: so many at once, used again, on whole pages so that disks can take it directly."""

from __future__ import annotations

import mmap
import threading

from ecogsafe.crypt.sealed_layout import SEALED_CHUNK_BYTES
from ecogsafe.transfer.ranges import RANGE_BYTES

#: ranges in memory at once, however many connections there are: 144 MiB
MAX_SLOTS = 16
#: what arrives lies here until it is opened: whole chunks, few enough to stay in the processor's cache
_ARRIVING_BYTES = 8 * SEALED_CHUNK_BYTES


class Slot:
    """The right to hold one range in memory, and that memory."""

    def __init__(self) -> None:
        self._memory: memoryview | None = None
        self.view = memoryview(b"")

    def _whole(self) -> memoryview:
        if self._memory is None:
            # pages that are never written take no memory, so small files cost little
            self._memory = memoryview(mmap.mmap(-1, RANGE_BYTES + _ARRIVING_BYTES))
        return self._memory

    def room(self, size: int) -> memoryview:
        """Return ``size`` bytes, at most `RANGE_BYTES`, to write into; what was there before is overwritten."""
        if size > RANGE_BYTES:
            raise ValueError("a slot holds one range")
        self.view = self._whole()[:size] if size else memoryview(bytearray())
        return self.view

    @property
    def arriving(self) -> memoryview:
        """Room for bytes on their way into that of the range."""
        return self._whole()[RANGE_BYTES:]


class Slots:
    """As many slots as may be in use at once."""

    def __init__(self, count: int) -> None:
        self._free = [Slot() for _ in range(count)]
        self._given_back = threading.Condition()

    def acquire(self) -> Slot:
        """Return a free slot, as soon as there is one."""
        with self._given_back:
            while not self._free:
                self._given_back.wait()
            return self._free.pop()

    def release(self, slot: Slot) -> None:
        """Give ``slot`` back; its view is not used afterwards."""
        with self._given_back:
            self._free.append(slot)
            self._given_back.notify()
