"""The processes that cut large files into parts and put them, as the run sees them: one file at a time in each.

Python holds one lock a process. Threads that read, hash and seal in one process lose a third of their time to
it (``docs/performance.md``); here they have a process each. A part stays where it was made: it is put from there,
on this process's word, which comes when the part's row is durable. A process that dies takes nothing with it but
time: the file is taken up again where its parts end.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.transfer.cutter_link import CutterLink
from ecogsafe.transfer.cutter_messages import (
    BeginCutting,
    Cut,
    CutFailed,
    CutOrder,
    EndCutting,
    Halt,
    LaneOrder,
    NoRoom,
    OfFile,
    Room,
    StoreWaits,
    WasRead,
)
from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.lane import Lane, interrupted
from ecogsafe.transfer.part_bytes import DistantPart
from ecogsafe.transfer.pool import LOOK_EVERY_S, PartPool
from ecogsafe.transfer.worker_errors import WorkerGoneError

_log = logging.getLogger(__name__)


class Cutters:
    """So many processes.

    Parameters
    ----------
    descriptors
        What they inherit: the folders that file orders speak of.
    count
        So many are to be begun; `count` tells how many were.
    tell
        Is told of every pause of a store.
    """

    def __init__(
        self,
        begin: BeginCutting,
        descriptors: Collection[int],
        count: int,
        *,
        pool: PartPool,
        stop: threading.Event,
        tell: Callable[[StoreWaits], None],
    ) -> None:
        self._changed = threading.Condition()
        self._all: list[CutterLink] = []
        try:
            for _ in range(count):
                self._all.append(CutterLink(begin, descriptors, pool, stop, tell, spare=count))
        except OSError as error:
            _log.warning("a cutter could not be begun errno=%s", error.errno)
        self._idle = list(self._all)
        self._stop = stop
        self._stores = frozenset(begin.stores)
        self._descriptors = frozenset(descriptors)

    @property
    def count(self) -> int:
        """How many were begun."""
        return len(self._all)

    def reach(self, file: FileOrder, lanes: Sequence[Lane]) -> bool:
        """Return whether they can read ``file`` and put to every place of ``lanes``."""
        places = {upload.place.store_id for lane in lanes for upload in lane.uploads}
        return file.root in self._descriptors and places <= self._stores

    def read(self, file: FileOrder, stat: SourceStat, lanes: Sequence[Lane]) -> str | None:
        """Have ``file`` read once through every lane, as soon as a process is free.

        Parameters
        ----------
        stat
            Of the file as it was opened.

        Returns
        -------
        The SHA-256 of the file, which did not change meanwhile; None if nobody wanted all of it.

        Raises
        ------
        WorkerGoneError
            The process died over it, or none is left.
        InterruptedRunError, SourceChangedError, SourceUnreadableError
            As they are raised where the file is read in this process.
        """
        cutter = self._acquire()
        try:
            return _Following(cutter, lanes, self._stop).run(file, stat)
        finally:
            with self._changed:
                self._idle.append(cutter)
                self._changed.notify_all()

    def _acquire(self) -> CutterLink:
        with self._changed:
            while True:
                self._idle = [cutter for cutter in self._idle if cutter.is_alive]
                if self._idle:
                    return self._idle.pop(0)
                if not any(cutter.is_alive for cutter in self._all):
                    raise WorkerGoneError
                self._changed.wait(LOOK_EVERY_S)

    def close(self) -> None:
        """End them; nobody reads, and nothing is put any more."""
        for cutter in self._all:
            cutter.say(EndCutting())
        for cutter in self._all:
            cutter.close()

    def __enter__(self) -> Cutters:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Following:
    """One file in one process, followed from here: leave is given part by part, and what was made is handed on."""

    def __init__(self, cutter: CutterLink, lanes: Sequence[Lane], stop: threading.Event) -> None:
        self._cutter = cutter
        self._number = cutter.next_number()
        self._lanes = lanes
        self._stop = stop
        #: the part that each lane has under way
        self._under_way: dict[int, DistantPart | None] = {}
        self._is_halted = False

    def run(self, file: FileOrder, stat: SourceStat) -> str | None:
        """See `Cutters.read`."""
        orders = [LaneOrder(x.form, x.sealing.part_size) for x in self._lanes]
        self._cutter.say(CutOrder(self._number, file, stat, orders))
        heard: OfFile | None = None
        try:
            for lane in range(len(orders)):
                self._give_leave(lane, 1)
            while True:
                heard = self._cutter.hear()
                match heard:
                    case Cut(lane, number, crc64, digest):
                        if self._stop.is_set():
                            raise interrupted(file.name)
                        place = self._lanes[lane].ranges[number - 1]
                        # from here on it is the lane's, which carries it or lets it go
                        part = self._under_way.pop(lane)
                        self._lanes[lane].take(place, part, crc64, digest)
                        self._give_leave(lane, number + 1)
                    case WasRead(sha256):
                        return sha256
                    case CutFailed(error):
                        raise error
        finally:
            while not isinstance(heard, WasRead | CutFailed):
                # nothing may be written once the room of a part is given back
                self._halt()
                heard = self._cutter.hear()
            for part in self._under_way.values():
                if part is not None:
                    part.let_go(may_be_read=False)

    def _give_leave(self, lane: int, number: int) -> None:
        """Say whether the next part is to be made, once there is room for it."""
        ranges = self._lanes[lane].ranges
        if number > len(ranges) or self._is_halted:
            return
        size = ranges[number - 1].length
        leave: Room | NoRoom = NoRoom(self._number, lane)
        self._under_way[lane] = None
        if self._lanes[lane].acquire_room(ranges[number - 1]):
            leave, self._under_way[lane] = self._cutter.room(self._number, lane, size)
        if all(x.over for x in self._lanes):
            self._halt()
        else:
            self._cutter.say(leave)

    def _halt(self) -> None:
        if not self._is_halted:
            self._is_halted = True
            self._cutter.say(Halt(self._number))
