"""One read of files for two who want them: the objects of the files, and the archive they also go into.

Both read in one order. Whoever comes to a block first reads it from the disk, and it is kept until the other
has taken it, so nobody gets further ahead of the other than `WINDOW_BYTES`. The one behind never waits. One that
does not move for long is left behind, and reads what it still wants by itself; so does whoever begins again.
"""

from __future__ import annotations

import threading
from array import array
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import accumulate

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.clock import monotonic
from ecogsafe.transfer.parts import MIB
from ecogsafe.transfer.source import READ_SIZE, FileSource

#: how far one may read ahead of the other, and so what is kept in memory, about
WINDOW_BYTES = 8 * MIB
_LOOK_EVERY_S = 0.2


class Side(IntEnum):
    """The two who read."""

    FILES = 0
    ARCHIVE = 1

    @property
    def other(self) -> Side:
        """The other one."""
        return Side(1 - self)


@dataclass(slots=True)
class _Shared:
    """One file that is being read; what there is of each side stands at the place of its number."""

    #: as the first who opened it found it
    stat: SourceStat | None = None
    #: the next block that the side wants
    wanted: list[int] = field(default_factory=lambda: [0, 0])
    #: blocks that wait for the side
    kept: tuple[dict[int, bytes], dict[int, bytes]] = field(default_factory=lambda: ({}, {}))
    #: blocks that somebody reads now
    being_read: set[int] = field(default_factory=set)


class SharedReading:
    """See the module; its methods are called from several threads.

    Parameters
    ----------
    sizes
        Bytes of each file, in the order in which both sides read.
    patience_s
        How long one waits for the other to move.
    left_behind
        Is told once of a side that is waited for no longer.
    """

    def __init__(
        self,
        sizes: Sequence[int],
        *,
        stop: threading.Event,
        patience_s: float,
        left_behind: Callable[[Side], None],
        window: int = WINDOW_BYTES,
    ) -> None:
        #: where each file begins in the order of all of them, and where the last one ends
        self._starts = array("q", accumulate(sizes, initial=0))
        #: which files the side is through with
        self._is_over = (bytearray(len(sizes)), bytearray(len(sizes)))
        self._being_read: dict[int, _Shared] = {}
        self._stop = stop
        self._patience_s = patience_s
        self._left_behind = left_behind
        self._window = window
        self._changed = threading.Condition()
        #: the first file that the side is not through with
        self._first = [0, 0]
        self._moved = [monotonic(), monotonic()]
        self._is_gone = [False, False]
        #: read from the disk so far
        self.bytes_read = 0

    def source(self, side: Side, number: int, opened: FileSource) -> SharedSource:
        """Return file ``number``, which ``side`` has just opened, to be read together with the other side."""
        with self._changed:
            shared = self._shared(number)
            if shared.stat is None:
                shared.stat = opened.stat
            size = self._starts[number + 1] - self._starts[number]
            is_same = shared.stat == opened.stat and size == opened.size
        if not is_same:
            self.finish(side, number)
        return SharedSource(self, side, number, opened)

    def finish(self, side: Side, *numbers: int) -> None:
        """``side`` is through with these files, or will not read them; it may do so again, by itself."""
        with self._changed:
            for number in numbers:
                self._is_over[side][number] = True
                shared = self._shared(number)
                shared.kept[side].clear()
                if (self._is_gone[side.other] or self._is_over[side.other][number]) and not shared.being_read:
                    del self._being_read[number]
            self._note_move(side)

    def leave(self, side: Side) -> None:
        """``side`` reads nothing more together with the other."""
        with self._changed:
            self._is_gone[side] = True
            for shared in self._being_read.values():
                shared.kept[side].clear()
            self._note_move(side)

    def take(self, side: Side, number: int, block: int, read: Callable[[], bytes]) -> bytes:
        """Return a block of a file, from the other side or by ``read``; waits while it is too far ahead."""
        with self._changed:
            shared = self._shared(number)
            together = self._wants(side, number, block)
            if together:
                if side is Side.ARCHIVE:
                    # it is one thread, which never goes back but to begin all over
                    self.finish(side, *range(self._first_of(side), number))
                self._reached(side, shared, block)
                kept = self._wait_for(side, number, block)
                if kept is not None:
                    return kept
        data = b""
        try:
            data = read()
        finally:
            with self._changed:
                shared.being_read.discard(block)
                self.bytes_read += len(data)
                if together and data:
                    if self._wants(side.other, number, block):
                        shared.kept[side.other][block] = data
                    self._reached(side, shared, block + 1)
                self._note_move(side)
        return data

    def _shared(self, number: int) -> _Shared:
        shared = self._being_read.get(number)
        if shared is None:
            shared = self._being_read[number] = _Shared()
        return shared

    def _wait_for(self, side: Side, number: int, block: int) -> bytes | None:
        """Return a block that the other side read, as soon as there is one; None if it is for ``side`` to read."""
        shared = self._shared(number)
        position = self._starts[number] + block * READ_SIZE
        began = monotonic()
        while (kept := shared.kept[side].pop(block, None)) is None:
            if self._stop.is_set() or (block not in shared.being_read and self._may_read(side, position)):
                shared.being_read.add(block)
                return None
            self._changed.wait(timeout=_LOOK_EVERY_S)
            if monotonic() - max(began, self._moved[side.other]) > self._patience_s and not self._is_gone[side.other]:
                self.leave(side.other)
                self._left_behind(side.other)
        self._reached(side, shared, block + 1)
        return kept

    def _reached(self, side: Side, shared: _Shared, block: int) -> None:
        """Note that the side wants nothing more before ``block``; an archive passes over what its store has."""
        if block > shared.wanted[side]:
            shared.wanted[side] = block
            for passed in [number for number in shared.kept[side] if number < block]:
                del shared.kept[side][passed]
            self._note_move(side)

    def _wants(self, side: Side, number: int, block: int) -> bool:
        """Return whether the side will come to a block, together with the other."""
        is_over = self._is_gone[side] or self._is_over[side][number]
        return not is_over and self._shared(number).wanted[side] <= block

    def _first_of(self, side: Side) -> int:
        """Return the first file that the side is not through with."""
        over = self._is_over[side]
        while self._first[side] < len(over) and over[self._first[side]]:
            self._first[side] += 1
        return self._first[side]

    def _may_read(self, side: Side, position: int) -> bool:
        other = side.other
        first = self._first_of(other)
        if self._is_gone[other] or first == len(self._is_over[other]):
            return True
        reached = self._starts[first] + self._shared(first).wanted[other] * READ_SIZE
        return position - reached < self._window

    def _note_move(self, side: Side) -> None:
        self._moved[side] = monotonic()
        self._changed.notify_all()


class SharedSource:
    """A file that one side has open (`ecogsafe.transfer.source.RangedSource`)."""

    rereadable = True

    def __init__(self, reading: SharedReading, side: Side, number: int, opened: FileSource) -> None:
        self._reading = reading
        self._side = side
        self._number = number
        self._opened = opened
        self.name = opened.name
        self.size = opened.size
        self.stat = opened.stat
        #: the block that was read last, which a range may have ended in
        self._last: tuple[int, bytes] = (-1, b"")

    def pieces(self) -> Iterator[bytes]:
        """Yield the file from the start, block by block."""
        for block in range(-(-self.size // READ_SIZE)):
            yield self._block(block)

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill ``view`` with the bytes from ``offset`` on."""
        done = 0
        while done < len(view):
            block, skipped = divmod(offset + done, READ_SIZE)
            piece = memoryview(self._block(block))[skipped : skipped + len(view) - done]
            view[done : done + len(piece)] = piece
            done += len(piece)

    def _block(self, block: int) -> bytes:
        if self._last[0] != block:
            start = block * READ_SIZE

            def read() -> bytes:
                return self._opened.read_at(start, min(READ_SIZE, self.size - start))

            self._last = block, self._reading.take(self._side, self._number, block, read)
            self._opened.forget_before(start)
        return self._last[1]

    def check_unchanged(self) -> None:
        """Do what `FileSource` does: each side looks for itself."""
        self._opened.check_unchanged()

    def close(self) -> None:
        """Close the file; this side is through with it, but an archive that only looked at it."""
        if self._side is Side.FILES or self._last[0] >= 0:
            self._reading.finish(self._side, self._number)
        self._opened.close()
