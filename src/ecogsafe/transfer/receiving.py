"""One object back to its content: ranges are fetched and opened in any order, digested in theirs, and landed.

Every byte is looked at once on its way: opened into the buffer that is written to the disk and digested from
there. What an earlier run left is digested from the disk instead. The digest of the whole decides whether
the file gets its name, so it matters little who wrote the unfinished file.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, ObjectReplacedError, VerificationError
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.checksums import combine
from ecogsafe.crypt.errors import PayloadError
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.buffers import Slot, Slots
from ecogsafe.transfer.fetching import Fetcher, Stream
from ecogsafe.transfer.landing import Landing, no_room
from ecogsafe.transfer.ranges import Range, RangePlan
from ecogsafe.transfer.received import Received, interrupted

_READ_BACK = 1024 * 1024


class Reception:
    """One object on its way; `ecogsafe.transfer.receivers` carries it out with several threads.

    Parameters
    ----------
    identities
        Keys that open a sealed object; None to take the bytes as they are.
    landing
        The file that it fills; None to digest only.
    expected_sha256
        What the content must have; None where nobody knows.
    content_size
        Bytes of the content as far as is known; default the object's.
    look
        Asks the store for more than ``info`` says, just before the object is begun.
    on_bytes, on_kept
        Called with the count of object bytes that arrived, and that an earlier run had received.
    """

    def __init__(
        self,
        store: Store,
        info: ObjectInfo,
        *,
        identities: Sequence[Identity] | None,
        landing: Landing | None = None,
        expected_sha256: str | None = None,
        content_size: int | None = None,
        look: Callable[[], ObjectInfo] | None = None,
        on_bytes: Callable[[int], None] = lambda _count: None,
        on_kept: Callable[[int], None] = lambda _count: None,
        stop: threading.Event | None = None,
    ) -> None:
        self.info = info
        self._store = store
        self._identities = identities
        self._landing = landing
        self._expected = expected_sha256
        self._content_size = info.size if content_size is None else content_size
        self._look = look
        self._on_bytes = on_bytes
        self._on_kept = on_kept
        self.stop = stop or threading.Event()
        self._lock = threading.Lock()
        self._may_restart = True
        self.error: Exception | None = None
        self._reset()

    def _reset(self) -> None:
        self._plan: RangePlan | None = None
        self._fetcher = Fetcher(self._store, self._identities, self._on_bytes)
        #: what an earlier run left: CRC64NVME by range
        self._landed: Mapping[int, int] = {}
        self._next = 0
        self._arrived: dict[int, tuple[Slot, int]] = {}
        self._digest = hashlib.sha256()
        self._digested = 0
        self._is_digesting = False
        self._crc = 0

    # called by `receivers`

    def begin(self, slot: Slot, slots: Slots, *, ahead: bool, is_over: Callable[[], bool]) -> None:
        """Find out how the object is cut: from what an earlier run left, else by fetching its first range.

        ``slot`` is given back to ``slots`` as soon as it can be, also after an error; so it is by `fetch`.

        Parameters
        ----------
        ahead
            Go on with the ranges behind the first, in the same request: the other threads have work of their own.
        is_over
            Whether to stop before the next range.

        Raises
        ------
        EcogsafeError, OSError
            As `Landing.open`, `Store.read`, `fetch`.
        """
        try:
            self._begin(slot, ahead=ahead, is_over=is_over)
        finally:
            slots.release(slot)
        self._digest_what_came(slots)

    def _begin(self, slot: Slot, *, ahead: bool, is_over: Callable[[], bool]) -> None:
        if self._look is not None:
            self.info = self._look()
        self._fetcher.sums_up = self._landing is None or self.info.crc64 is not None
        if self._landing is not None and self._may_restart:
            landed = self._landing.open(self.info, self._content_size)
            if landed is not None and self._goes_on(landed.prefix, landed.ranges):
                return
        begun = self._fetcher.begin(self.info, slot, ahead=ahead)
        plan, after = begun.plan, begun.after if ahead else 1
        try:
            if self._landing is not None:
                self._landing.begin(self.info, plan.content_size, begun.prefix, in_ranges=plan.count > 1)
            with self._lock:
                self._next = after
                self._plan = plan
            self._settle(plan.range(0), slot, begun.crc64)
            self._take_in_turn(plan, range(1, after), slot, begun.stream, is_over)
        finally:
            begun.stream.close()

    def assign(self, *, ahead: bool) -> Sequence[Range]:
        """Return ranges that nobody fetches yet, to be fetched in one go; none where there is none, or none is known.

        Parameters
        ----------
        ahead
            More than one where nobody else is at work on the object and it is their turn to be digested.
        """
        with self._lock:
            plan = self._plan
            if plan is None or self.error is not None:
                return ()
            while self._next in self._landed:
                self._next += 1
            first, after = self._next, self._next + 1
            if first >= plan.count:
                return ()
            if ahead and self._digested == first:
                while after < plan.after(first) and after not in self._landed:
                    after += 1
            self._next = after
            return [plan.range(number) for number in range(first, after)]

    def fetch(self, ranges: Sequence[Range], slot: Slot, slots: Slots, *, is_over: Callable[[], bool]) -> None:
        """Fetch, open, land and, when it is their turn, digest what `assign` returned.

        Raises
        ------
        VerificationError
            The bytes are not what was sealed, or not as many as the store announced.
        StoreError
            As `Store.read`.
        OSError
            The disk refused.
        """
        if len(ranges) > 1:
            try:
                self._fetch_run(ranges, slot, is_over)
            finally:
                slots.release(slot)
            self._digest_what_came(slots)
            return
        try:
            crc = self._fetcher.fetch(self.info.key, ranges[0], slot)
            self._write(ranges[0], slot, crc)
        except BaseException:
            slots.release(slot)
            raise
        self._arrive(ranges[0].number, slot, crc, slots)

    def _fetch_run(self, ranges: Sequence[Range], slot: Slot, is_over: Callable[[], bool]) -> None:
        plan = self._plan
        if plan is None:
            return
        start, stop = ranges[0].object_start, ranges[-1].object_stop
        stream = self._fetcher.stream(self.info.key, start, stop, slot, size=stop - start)
        try:
            self._take_in_turn(plan, range(ranges[0].number, ranges[-1].number + 1), slot, stream, is_over)
        finally:
            stream.close()

    @property
    def is_complete(self) -> bool:
        """Whether every range was digested."""
        with self._lock:
            return self._plan is not None and self._digested == self._plan.count

    @property
    def is_small(self) -> bool:
        """Whether it came in one range: the disk takes many of such files as fast as one."""
        with self._lock:
            return self._plan is not None and self._plan.count == 1

    def fail(self, error: Exception, slots: Slots) -> None:
        """Give up; the first error counts."""
        with self._lock:
            self.error = self.error or error
            arrived, self._arrived = self._arrived, {}
        for slot, _ in arrived.values():
            slots.release(slot)

    # the end; `ecogsafe.transfer.ending` calls these in turn

    @property
    def folder(self) -> Path | None:
        """The folder that must be on the disk before the file counts; None where there is none, or it failed."""
        return self._landing.folder if self._landing is not None and self.error is None else None

    def prove(self) -> None:
        """Look whether everything is right, and make it durable."""
        self._attempt(self._check)
        if self._landing is not None:
            self._attempt(self._landing.make_durable)

    def name(self) -> None:
        """Give the proven file its name."""
        if self._landing is not None:
            self._attempt(self._landing.name)

    def _attempt(self, step: Callable[[], None]) -> None:
        if self.error is not None:
            return
        try:
            step()
        except (EcogsafeError, OSError) as error:
            self.error = error

    def conclude(self) -> bool:
        """Leave or remove what did not get its name; return whether to begin once more.

        That is when what an earlier run left turned out not to be of this object.
        """
        if isinstance(self.error, VerificationError) and self._landed and self._may_restart:
            self._may_restart = False
            self.error = None
            self._reset()
            if self._landing is not None:
                self._landing.begin_again()
            return True
        if self._landing is not None:
            if self.error is not None:
                self._give_up(self._landing)
            else:
                self._landing.close()
        return False

    def _give_up(self, landing: Landing) -> None:
        is_kept = False
        if isinstance(self.error, VerificationError | FileExistsError):
            landing.discard()
        else:
            is_kept = landing.leave()
        if isinstance(self.error, OSError) and self.error.errno in (errno.ENOSPC, errno.EDQUOT):
            self.error = no_room(landing.relative, is_kept=is_kept)

    # afterwards

    def result(self) -> Received:
        """Return what the object held, or raise what went wrong."""
        if self.error is not None:
            raise self.error
        return Received(self._digest.hexdigest(), self._plan.content_size if self._plan else 0, self._crc)

    # parts of it

    def _goes_on(self, prefix: bytes, landed: Mapping[int, int]) -> bool:
        """Take over what an earlier run left, if it fits."""
        plan = self._fetcher.open_known(self.info, prefix)
        if plan is None or self._landing is None or not landed or max(landed) >= plan.count:
            return False
        self._landing.go_on()
        ranges = [plan.range(number) for number in landed]
        self._on_kept(sum(r.object_stop - r.object_start for r in ranges))
        with self._lock:
            self._landed = landed
            self._plan = plan
        return True

    def _take_in_turn(
        self, plan: RangePlan, numbers: range, slot: Slot, stream: Stream, is_over: Callable[[], bool]
    ) -> None:
        """Take ranges that are this thread's alone, and the next to be digested; one comes wrong, the rest singly."""
        is_whole = True
        for number in numbers:
            if is_over() or self.error is not None:
                return
            range_ = plan.range(number)
            try:
                if is_whole:
                    crc = self._fetcher.take(stream, range_, slot)
            except ObjectReplacedError:
                raise
            except VerificationError:
                is_whole = False
            if not is_whole:
                crc = self._fetcher.fetch(self.info.key, range_, slot)
            self._settle(range_, slot, crc)

    def _settle(self, range_: Range, slot: Slot, crc: int) -> None:
        """Write and digest a range whose turn it is: nobody else digests before it is done."""
        self._write(range_, slot, crc)
        self._digest.update(slot.view)
        self._crc = combine(self._crc, crc, range_.object_stop - range_.object_start)
        with self._lock:
            self._digested += 1

    def _write(self, range_: Range, slot: Slot, crc: int) -> None:
        if self._landing is not None:
            self._landing.write(slot.view, range_.start)
            self._landing.note(range_.number, crc, range_.size)

    def _arrive(self, number: int, slot: Slot, crc: int, slots: Slots) -> None:
        with self._lock:
            failed = self.error is not None
            if not failed:
                self._arrived[number] = slot, crc
        if failed:
            slots.release(slot)
        else:
            self._digest_what_came(slots)

    def _digest_what_came(self, slots: Slots) -> None:
        """Digest every range whose turn it is; one thread at a time does."""
        while True:
            with self._lock:
                number, plan = self._digested, self._plan
                if self._is_digesting or self.error is not None or plan is None:
                    return
                slot, crc = self._arrived.pop(number, (None, self._landed.get(number, -1)))
                if crc < 0:
                    return
                self._is_digesting = True
            range_ = plan.range(number)
            try:
                if slot is not None:
                    self._digest.update(slot.view)
                else:
                    self._digest_landed(range_)
                self._crc = combine(self._crc, crc, range_.object_stop - range_.object_start)
                with self._lock:
                    self._digested += 1
            finally:
                if slot is not None:
                    slots.release(slot)
                with self._lock:
                    self._is_digesting = False

    def _digest_landed(self, range_: Range) -> None:
        """Digest what an earlier run wrote, from the disk."""
        position = range_.start
        with memoryview(bytearray(_READ_BACK)) as memory:
            while position < range_.stop and self._landing is not None:
                if self.stop.is_set():
                    raise interrupted(self.info.key)
                count = self._landing.read(memory[: range_.stop - position], position)
                if not count:
                    raise PayloadError(self.info.key, "its unfinished file is shorter than was noted")
                self._digest.update(memory[:count])
                position += count

    def _check(self) -> None:
        """Raise VerificationError unless the whole is what it should be."""
        crc64 = self.info.crc64
        if crc64 is not None and self._crc != crc64:
            raise self._wrong("does not have the checksum that the store recorded")
        if self._expected is not None and self._digest.hexdigest() != self._expected:
            raise self._wrong("is not the file that was uploaded: its digest differs")

    def _wrong(self, problem: str) -> VerificationError:
        return VerificationError(
            self.info.key,
            problem,
            safe="Nothing was put in place of it",
            next="ecogsafe verify --deep, then download from another store",
        )
