"""The ranges of one object digested in their order, however they come: from memory, or from what an earlier run left.

What was left is read from the disk, and it is not believed: the digest of the whole tells whether it is still
right. Where nobody knows that digest, what was noted of each range does.
"""

from __future__ import annotations

import hashlib
import threading

from ecogsafe.crypt.checksums import combine, crc64nvme
from ecogsafe.crypt.errors import PayloadError
from ecogsafe.transfer.buffers import Slot, Slots
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.landing_notes import Landed
from ecogsafe.transfer.ranges import Range, RangePlan
from ecogsafe.transfer.received import interrupted

_READ_BACK = 1024 * 1024


class InTurn:
    """Digests each range as soon as it is its turn; from any thread.

    Parameters
    ----------
    key
        The object's, for messages.
    stop
        Ends the reading of what was left.
    landing, left
        The file, and what of it an earlier run left.
    """

    def __init__(
        self,
        plan: RangePlan,
        key: str,
        stop: threading.Event,
        *,
        landing: Landing | None = None,
        left: Landed | None = None,
    ) -> None:
        self.plan = plan
        self._key = key
        self._stop = stop
        self._landing = landing
        self._left = left.ranges if left is not None else {}
        self._contents = left.contents if left is not None else {}
        self._lock = threading.Lock()
        self._arrived: dict[int, tuple[Slot, int]] = {}
        self._digest = hashlib.sha256()
        self._count = 0
        self._is_digesting = False
        self._is_over = False
        #: CRC64NVME of the object's bytes so far
        self.crc64 = 0

    @property
    def count(self) -> int:
        """How many ranges were digested: all before this number."""
        with self._lock:
            return self._count

    @property
    def sha256(self) -> str:
        """The digest so far."""
        return self._digest.hexdigest()

    def is_left(self, number: int) -> bool:
        """Return whether an earlier run left the range."""
        return number in self._left

    @property
    def has_left(self) -> bool:
        """Whether an earlier run left anything."""
        return bool(self._left)

    def digest_ahead(self) -> hashlib._Hash:
        """Return the digest so far, for whoever digests the next range on its way; `take` makes it count."""
        return self._digest.copy()

    def take(self, range_: Range, digest: hashlib._Hash, crc64: int) -> None:
        """Count the range whose turn it is as digested; nobody else digests before this is done.

        Parameters
        ----------
        digest
            Of the content up to its end.
        """
        self._digest = digest
        self._done(range_, crc64)

    def arrive(self, number: int, slot: Slot, crc64: int, slots: Slots) -> None:
        """Digest range ``number``, now or when it is its turn; its slot is given back then.

        Raises
        ------
        PayloadError, InterruptedRunError, OSError
            As `go_on`.
        """
        with self._lock:
            is_over = self._is_over
            if not is_over:
                self._arrived[number] = slot, crc64
        if is_over:
            slots.release(slot)
        else:
            self.go_on(slots)

    def go_on(self, slots: Slots) -> None:
        """Digest every range whose turn it is; one thread at a time does.

        Raises
        ------
        PayloadError
            What was left is not what was noted.
        InterruptedRunError
            ``stop`` was set.
        OSError
            The disk refused.
        """
        while True:
            with self._lock:
                number = self._count
                if self._is_digesting or self._is_over:
                    return
                slot, crc64 = self._arrived.pop(number, (None, self._left.get(number, -1)))
                if crc64 < 0:
                    return
                self._is_digesting = True
            range_ = self.plan.range(number)
            try:
                if slot is not None:
                    self._digest.update(slot.view)
                else:
                    self._digest_left(range_)
                self._done(range_, crc64)
            finally:
                if slot is not None:
                    slots.release(slot)
                with self._lock:
                    self._is_digesting = False

    def _done(self, range_: Range, crc64: int) -> None:
        self.crc64 = combine(self.crc64, crc64, range_.object_stop - range_.object_start)
        with self._lock:
            self._count += 1

    def _digest_left(self, range_: Range) -> None:
        """Digest what an earlier run wrote, from the disk."""
        position, crc64, noted = range_.start, 0, self._contents.get(range_.number)
        with memoryview(bytearray(_READ_BACK)) as memory:
            while position < range_.stop and self._landing is not None:
                if self._stop.is_set():
                    raise interrupted(self._key)
                count = self._landing.read(memory[: range_.stop - position], position)
                if not count:
                    raise PayloadError(self._key, "its unfinished file is shorter than was noted")
                self._digest.update(memory[:count])
                if noted is not None:
                    crc64 = crc64nvme(memory[:count], crc64)
                position += count
        if noted is not None and crc64 != noted:
            raise PayloadError(self._key, "its unfinished file is not what was noted")

    def give_up(self, slots: Slots) -> None:
        """Digest nothing more; what waits gives its slot back."""
        with self._lock:
            self._is_over = True
            arrived, self._arrived = self._arrived, {}
        for slot, _ in arrived.values():
            slots.release(slot)
