"""One object back to its content: ranges are fetched and opened in any order, digested in theirs, and landed.

Every byte is looked at once on its way: opened into the buffer that is written to the disk and digested from
there (`in_turn`). What an earlier run left is digested from the disk instead. The digest of the whole decides
whether the file gets its name, so it matters little who wrote the unfinished file; where nobody knows that digest,
what was left counts only with a checksum of its own.
"""

from __future__ import annotations

import errno
import hashlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, ObjectReplacedError, VerificationError
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.buffers import Slot, Slots
from ecogsafe.transfer.fetching import Fetcher, Stream
from ecogsafe.transfer.in_turn import InTurn
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.landing_notes import Landed
from ecogsafe.transfer.ranges import Range
from ecogsafe.transfer.received import Received, interrupted, no_room


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
        self._fetcher = Fetcher(self._store, self._identities, self._on_bytes)
        #: None until it is known how the object is cut
        self._turn: InTurn | None = None
        self._next = 0

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
        self._go_on(slots)

    def _go_on(self, slots: Slots) -> None:
        if self._turn is not None:
            self._turn.go_on(slots)

    def _begin(self, slot: Slot, *, ahead: bool, is_over: Callable[[], bool]) -> None:
        if self._look is not None:
            self.info = self._look()
        self._fetcher.sums_up = self._landing is None or self.info.crc64 is not None
        if self._landing is not None and self._may_restart:
            landed = self._landing.open(self.info, self._content_size)
            if landed is not None and self._goes_on(landed):
                return
        begun = self._fetcher.begin(self.info, slot, ahead=ahead)
        plan, after = begun.plan, begun.after if ahead else 1
        try:
            if self._landing is not None:
                self._landing.begin(self.info, plan.content_size, begun.prefix, in_ranges=plan.count > 1)
            turn = InTurn(plan, self.info.key, self.stop)
            with self._lock:
                self._next = after
                self._turn = turn
            self._settle(turn, plan.range(0), slot, begun.digest, begun.crc64)
            self._take_in_turn(turn, range(1, after), slot, begun.stream, is_over)
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
            turn = self._turn
            if turn is None or self.error is not None:
                return ()
            plan = turn.plan
            while turn.is_left(self._next):
                self._next += 1
            first, after = self._next, self._next + 1
            if first >= plan.count:
                return ()
            if ahead and turn.count == first:
                while after < plan.after(first) and not turn.is_left(after):
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
        turn = self._turn
        if turn is None:
            raise ValueError("nothing was assigned")
        if len(ranges) > 1:
            try:
                self._fetch_run(turn, ranges, slot, is_over)
            finally:
                slots.release(slot)
            turn.go_on(slots)
            return
        try:
            crc = self._fetcher.fetch(self.info.key, ranges[0], slot)
            self._write(ranges[0], slot, crc)
        except BaseException:
            slots.release(slot)
            raise
        turn.arrive(ranges[0].number, slot, crc, slots)

    def _fetch_run(self, turn: InTurn, ranges: Sequence[Range], slot: Slot, is_over: Callable[[], bool]) -> None:
        start, stop = ranges[0].object_start, ranges[-1].object_stop
        stream = self._fetcher.stream(self.info.key, start, stop, slot, size=stop - start)
        try:
            self._take_in_turn(turn, range(ranges[0].number, ranges[-1].number + 1), slot, stream, is_over)
        finally:
            stream.close()

    @property
    def is_complete(self) -> bool:
        """Whether every range was digested."""
        turn = self._turn
        return turn is not None and turn.count == turn.plan.count

    @property
    def is_small(self) -> bool:
        """Whether it came in one range: the disk takes many of such files as fast as one."""
        return self._turn is not None and self._turn.plan.count == 1

    @property
    def came_whole(self) -> bool:
        """Whether all of it came in this run: what an earlier one left may have come from another store."""
        return self._turn is not None and not self._turn.has_left

    def fail(self, error: Exception, slots: Slots) -> None:
        """Give up; the first error counts."""
        with self._lock:
            self.error = self.error or error
            turn = self._turn
        if turn is not None:
            turn.give_up(slots)

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
        left = self._turn is not None and self._turn.has_left
        if isinstance(self.error, VerificationError) and left and self._may_restart:
            self._may_restart = False
            self.error = None
            self._reset()
            if self._landing is not None:
                self._attempt(self._landing.begin_again)
            if self.error is None:
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
        turn = self._turn
        if turn is None:
            raise interrupted(self.info.key)
        return Received(turn.sha256, turn.plan.content_size, turn.crc64)

    # parts of it

    def _goes_on(self, left: Landed) -> bool:
        """Take over what an earlier run left, if it fits, and if it will show whether it is still right."""
        landed = left.ranges
        plan = self._fetcher.open_known(self.info, left.prefix)
        if plan is None or self._landing is None or not landed or max(landed) >= plan.count:
            return False
        if self._expected is None and left.contents.keys() != landed.keys():
            return False
        self._landing.go_on()
        ranges = [plan.range(number) for number in landed]
        self._on_kept(sum(r.object_stop - r.object_start for r in ranges))
        turn = InTurn(plan, self.info.key, self.stop, landing=self._landing, left=left)
        with self._lock:
            self._turn = turn
        return True

    def _take_in_turn(
        self, turn: InTurn, numbers: range, slot: Slot, stream: Stream, is_over: Callable[[], bool]
    ) -> None:
        """Take ranges that are this thread's alone, and the next to be digested; one comes wrong, the rest singly."""
        is_whole = True
        for number in numbers:
            if is_over() or self.error is not None:
                return
            range_, digest = turn.plan.range(number), turn.digest_ahead()
            try:
                if is_whole:
                    crc = self._fetcher.take(stream, range_, slot, digest.update)
            except ObjectReplacedError:
                raise
            except VerificationError:
                is_whole = False
            if not is_whole:
                crc = self._fetcher.fetch(self.info.key, range_, slot)
                # what came wrong was digested in part
                digest = turn.digest_ahead()
                digest.update(slot.view)
            self._settle(turn, range_, slot, digest, crc)

    def _settle(self, turn: InTurn, range_: Range, slot: Slot, digest: hashlib._Hash, crc: int) -> None:
        """Write a range whose turn it is, and count it as digested: nobody else digests before this is done."""
        self._write(range_, slot, crc)
        turn.take(range_, digest, crc)

    def _write(self, range_: Range, slot: Slot, crc: int) -> None:
        if self._landing is not None:
            self._landing.write(slot.view, range_.start)
            content = crc64nvme(slot.view) if self._expected is None and not self.is_small else None
            self._landing.note(range_.number, crc, range_.size, content=content)

    def _check(self) -> None:
        """Raise VerificationError unless the whole is what it should be."""
        crc64, turn = self.info.crc64, self._turn
        if turn is None or not self.is_complete:
            raise self._wrong("did not come whole")
        if crc64 is not None and turn.crc64 != crc64:
            raise self._wrong("does not have the checksum that the store recorded")
        if self._expected is not None and turn.sha256 != self._expected:
            raise self._wrong("is not the file that was uploaded: its digest differs")

    def _wrong(self, problem: str) -> VerificationError:
        return VerificationError(
            self.info.key,
            problem,
            safe="Nothing was put in place of it",
            next="ecogsafe verify --deep, then download from another store",
        )
