"""The processes that cut large files into parts and put them, as the run sees them: one file at a time in each.

Python holds one lock a process. Threads that read, hash and seal in one process lose a third of their time to
it (``docs/performance.md``); here they have a process each. A part stays where it was made: it is put from there,
on this process's word, which comes when the part's row is durable. A process that dies takes nothing with it but
time: the file is taken up again where its parts end.
"""

from __future__ import annotations

import logging
import queue
import subprocess
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from multiprocessing.connection import Connection

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.stores.protocol import UploadedPart
from ecogsafe.transfer.cutter_messages import (
    BeginCutting,
    CannotBegin,
    Cut,
    CutFailed,
    CutOrder,
    EndCutting,
    Forget,
    Halt,
    LaneOrder,
    NoRoom,
    OfFile,
    Put,
    Room,
    StopWaiting,
    StoreWaits,
    ToCutter,
    Want,
    WasPut,
    WasRead,
)
from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.lane import Lane, interrupted
from ecogsafe.transfer.part_bytes import DistantPart
from ecogsafe.transfer.pool import LOOK_EVERY_S, PartPool
from ecogsafe.transfer.processes import begin_process
from ecogsafe.transfer.worker_errors import WorkerGoneError

_log = logging.getLogger(__name__)


class Cutters:
    """So many processes.

    Parameters
    ----------
    descriptors
        What they inherit: the folders that file orders speak of.
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
        self._all: list[_Cutter] = []
        try:
            for _ in range(count):
                self._all.append(_Cutter(begin, descriptors, pool, stop, tell, spare=count))
        except OSError as error:
            _log.warning("a cutter could not be begun errno=%s", error.errno)
        self._idle = list(self._all)

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
            return cutter.read(file, stat, lanes)
        finally:
            with self._changed:
                self._idle.append(cutter)
                self._changed.notify_all()

    def _acquire(self) -> _Cutter:
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


class _Cutter:
    """One process; one thread at a time has a file cut, many have parts put."""

    def __init__(
        self,
        begin: BeginCutting,
        descriptors: Collection[int],
        pool: PartPool,
        stop: threading.Event,
        tell: Callable[[StoreWaits], None],
        *,
        spare: int,
    ) -> None:
        self._pool = pool
        self._stop = stop
        self._tell = tell
        #: of the memory that the pool has left, each of so many may set its share aside
        self._share = spare
        self._process: subprocess.Popen[bytes]
        self._connection: Connection
        self._process, self._connection = begin_process("ecogsafe.transfer.cutter", descriptors)
        self.is_alive = True
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._number = 0
        self._has_stopped = False
        self._heard: queue.SimpleQueue[OfFile | None] = queue.SimpleQueue()
        self._putting: dict[int, Future[UploadedPart]] = {}
        self.say(begin)
        self._reader = threading.Thread(target=self._listen, name="cutter-reader", daemon=True)
        self._reader.start()

    def say(self, message: ToCutter) -> None:
        """Tell the process; a dead one hears nothing, and its reader tells of that."""
        try:
            with self._writing:
                self._connection.send(message)
        except OSError:
            _log.debug("a cutter hears nothing")

    def _next_number(self) -> int:
        with self._lock:
            self._number += 1
            return self._number

    def read(self, file: FileOrder, stat: SourceStat, lanes: Sequence[Lane]) -> str | None:
        self.say(CutOrder(file, stat, [LaneOrder(x.form, x.sealing.part_size) for x in lanes]))
        #: what each lane has under way
        under_way: dict[int, DistantPart | None] = {}
        while True:
            heard = self._hear()
            try:
                match heard:
                    case Want(lane, number):
                        if self._stop.is_set():
                            raise interrupted(file.name)
                        self._answer(lanes, lane, number, under_way)
                    case Cut(lane, number, crc64, digest):
                        lanes[lane].take(lanes[lane].ranges[number - 1], under_way[lane], crc64, digest)
                        del under_way[lane]
                    case WasRead(sha256):
                        return sha256
                    case CutFailed(error):
                        raise error
            except BaseException:
                self._halt(heard)
                for part in under_way.values():
                    if part is not None:
                        part.let_go(may_be_read=False)
                raise

    def _answer(self, lanes: Sequence[Lane], lane: int, number: int, under_way: dict[int, DistantPart | None]) -> None:
        """Say whether a part is to be made, once there is room for it."""
        place = lanes[lane].ranges[number - 1]
        has_room = lanes[lane].acquire_room(place)
        if all(x.over for x in lanes):
            self.say(Halt())
        elif has_room:
            part = under_way[lane] = _HeldPart(self, self._next_number(), place.length)
            self.say(Room(part.number, (self._pool.capacity - self._pool.used) // self._share))
        else:
            under_way[lane] = None
            self.say(NoRoom())

    def _halt(self, heard: OfFile) -> None:
        """Have the file left alone: nothing is written once the room of a part is given back."""
        while not isinstance(heard, WasRead | CutFailed):
            if isinstance(heard, Want):
                self.say(Halt())
            heard = self._hear()

    def _hear(self) -> OfFile:
        heard = self._heard.get()
        if heard is None:
            # for whoever asks next
            self._heard.put(None)
            raise WorkerGoneError
        return heard

    def put(self, part: int, request: Callable[[int], Put]) -> UploadedPart:
        """Have a part put and return what came of it; raises what the store raised."""
        done: Future[UploadedPart] = Future()
        number = self._next_number()
        with self._lock:
            if not self.is_alive:
                raise WorkerGoneError
            self._putting[number] = done
        self.say(request(number))
        while True:
            try:
                return done.result(timeout=LOOK_EVERY_S)
            except TimeoutError:
                if self._stop.is_set() and not self._has_stopped:
                    self._has_stopped = True
                    self.say(StopWaiting())

    def _listen(self) -> None:
        try:
            while True:
                match self._connection.recv():
                    case WasPut(number, result):
                        with self._lock:
                            done = self._putting.pop(number)
                        if isinstance(result, UploadedPart):
                            done.set_result(result)
                        else:
                            done.set_exception(result)
                    case CannotBegin(error):
                        _log.warning("a cutter could not begin code=%s", error.code)
                    case StoreWaits() as waits:
                        self._tell(waits)
                    case of_file:
                        self._heard.put(of_file)
        except (EOFError, OSError):
            _log.debug("a cutter has ended")
        finally:
            # whatever went wrong with the conversation, nobody may wait for it, and nothing more may leave
            self._process.kill()
            self._process.wait()
            with self._lock:
                self.is_alive = False
                putting, self._putting = self._putting, {}
            for done in putting.values():
                done.set_exception(WorkerGoneError())
            self._heard.put(None)

    def close(self) -> None:
        """Wait until it has ended."""
        self._reader.join()
        self._connection.close()


class _HeldPart(DistantPart):
    """A part that lies in one of the processes."""

    def __init__(self, cutter: _Cutter, number: int, size: int) -> None:
        self.number = number
        self._cutter = cutter
        self._size = size

    def __len__(self) -> int:
        return self._size

    def put(self, store_id: str, key: str, upload_id: str, number: int, *, offset: int, crc64: int) -> UploadedPart:
        part = self.number
        return self._cutter.put(part, lambda n: Put(n, part, store_id, key, upload_id, number, offset, crc64))

    def let_go(self, *, may_be_read: bool) -> None:
        self._cutter.say(Forget(self.number, may_be_read))
