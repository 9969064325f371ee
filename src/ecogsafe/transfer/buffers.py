"""Memory for ranges: so many at once, used again, on whole pages so that disks can take it directly."""

from __future__ import annotations

import mmap
import threading

from ecogsafe.transfer.ranges import FIRST_REQUEST_BYTES, RANGE_BYTES

#: ranges in memory at once, however many connections there are: 128 MiB
MAX_SLOTS = 16


class Slot:
    """The right to hold one range in memory, and that memory."""

    def __init__(self) -> None:
        self._memory: mmap.mmap | None = None
        self.view = memoryview(b"")

    def room(self, size: int) -> memoryview:
        """Return ``size`` bytes, at most `RANGE_BYTES`, to write into; what was there before is overwritten."""
        if not size:
            self.view = memoryview(bytearray())
        else:
            if self._memory is None:
                # pages that are never written take no memory, so small files cost little
                self._memory = mmap.mmap(-1, max(RANGE_BYTES, FIRST_REQUEST_BYTES))
            self.view = memoryview(self._memory)[:size]
        return self.view


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
