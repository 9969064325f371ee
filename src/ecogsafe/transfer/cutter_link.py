"""One process that cuts files, as the run sees it: the conversation with it, and the parts that lie there."""

from __future__ import annotations

import logging
import queue
import threading
from collections.abc import Callable, Collection
from concurrent.futures import Future
from multiprocessing.connection import Connection

from ecogsafe.stores.protocol import UploadedPart
from ecogsafe.transfer.cutter_messages import (
    BeginCutting,
    CannotBegin,
    Forget,
    OfFile,
    Put,
    Room,
    StopWaiting,
    StoreWaits,
    ToCutter,
    WasPut,
)
from ecogsafe.transfer.part_bytes import DistantPart
from ecogsafe.transfer.pool import LOOK_EVERY_S, PartPool
from ecogsafe.transfer.processes import Process, begin_process
from ecogsafe.transfer.worker_errors import WorkerGoneError

_log = logging.getLogger(__name__)


class CutterLink:
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
        self._process: Process
        self._connection: Connection
        self._process, self._connection = begin_process("ecogsafe.transfer.cutter", descriptors)
        self.is_alive = True
        self._writing = threading.Lock()
        self._lock = threading.Lock()
        self._number = 0
        self._has_stopped = False
        self._to_forget: list[Forget] = []
        self._heard: queue.SimpleQueue[OfFile | None] = queue.SimpleQueue()
        self._putting: dict[int, Future[UploadedPart]] = {}
        self.say(begin)
        self._reader = threading.Thread(target=self._listen, name="cutter-reader", daemon=True)
        self._reader.start()

    def say(self, *messages: ToCutter) -> None:
        """Tell the process, also what it may forget; a dead one hears nothing, and its reader tells of that."""
        try:
            with self._writing:
                said = [*self._to_forget, *messages]
                self._to_forget.clear()
                if said:
                    self._connection.send(said)
        except OSError:
            _log.debug("a cutter hears nothing")

    def forget(self, message: Forget) -> None:
        """Tell the process with the next word that it gets; at once if nothing else is under way."""
        with self._writing:
            self._to_forget.append(message)
        if not self._putting:
            self.say()

    def next_number(self) -> int:
        """Return a number that nothing else has here."""
        with self._lock:
            self._number += 1
            return self._number

    def room(self, file: int, lane: int, size: int) -> tuple[Room, DistantPart]:
        """Return the leave to make a part for which there is room, and that part."""
        part = HeldPart(self, self.next_number(), size)
        return Room(file, lane, part.number, (self._pool.capacity - self._pool.used) // self._share), part

    def hear(self) -> OfFile:
        """Return what it says next of the file that it is at."""
        heard = self._heard.get()
        if heard is None:
            # for whoever asks next
            self._heard.put(None)
            raise WorkerGoneError
        return heard

    def put(self, part: int, request: Callable[[int], Put]) -> UploadedPart:
        """Have a part put and return what came of it; raises what the store raised."""
        done: Future[UploadedPart] = Future()
        number = self.next_number()
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
        except Exception as error:  # noqa: BLE001  whatever it is, the conversation is over
            _log.debug("a cutter has ended error=%s", type(error).__name__)
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


class HeldPart(DistantPart):
    """A part that lies in one of the processes."""

    def __init__(self, cutter: CutterLink, number: int, size: int) -> None:
        self.number = number
        self._cutter = cutter
        self._size = size

    def __len__(self) -> int:
        return self._size

    def put(self, store_id: str, key: str, upload_id: str, number: int, *, offset: int, crc64: int) -> UploadedPart:
        part = self.number
        return self._cutter.put(part, lambda n: Put(n, part, store_id, key, upload_id, number, offset, crc64))

    def let_go(self, *, may_be_read: bool) -> None:
        self._cutter.forget(Forget(self.number, may_be_read))
