"""The worker processes of a run: small files are shared out among them, so that every core has work.

Python holds one lock a process, and a small file is a hundred short calls: threads do not make that faster.
A worker that dies takes nothing with it but time: what it was packing is packed again, and what it was
sending is asked for at the store.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from concurrent.futures import Future
from dataclasses import dataclass

from ecogsafe.transfer.messages import (
    Begin,
    Drop,
    End,
    Failed,
    Forget,
    Order,
    Pack,
    Results,
    Send,
    Stop,
    Trouble,
    WasMade,
)
from ecogsafe.transfer.packing import Deliver, Going, Job, LocalPacker, MadeOrNot, Packed, SentOrNot
from ecogsafe.transfer.processes import begin_process
from ecogsafe.transfer.worker_errors import WorkerGoneError

_log = logging.getLogger(__name__)


class Workers:
    """A packer (`ecogsafe.transfer.packing.Packer`) that has others work for it.

    Parameters
    ----------
    descriptors
        What the workers inherit: the folders that file orders speak of.
    instead
        Packs once no worker is left.
    stop
        When it is set, the workers wait for no store at the end.
    tell
        Gets the name of a store that is in trouble, and what is to be said of it.
    """

    def __init__(
        self,
        begin: Begin,
        descriptors: Collection[int],
        count: int,
        *,
        instead: LocalPacker,
        stop: threading.Event,
        tell: Callable[[str, str], None],
    ) -> None:
        self._instead = instead
        self._stop = stop
        self._workers: list[_Worker] = []
        try:
            for _ in range(count):
                self._workers.append(_Worker(begin, descriptors, tell))
        except OSError as error:
            _log.warning("a worker could not be begun errno=%s", error.errno)

    @property
    def count(self) -> int:
        """How many were begun."""
        return len(self._workers)

    def pack(self, jobs: Sequence[Job]) -> Packed:
        """See `Packer.pack`.

        Raises
        ------
        WorkerGoneError
            The worker died over it.
        """
        living = [worker for worker in self._workers if worker.is_alive]
        if not living:
            return self._instead.pack(jobs)
        return min(living, key=lambda worker: worker.load).pack(jobs)

    def close(self) -> None:
        """Let the workers finish what they are sending, and end them."""
        if self._stop.is_set():
            for worker in self._workers:
                worker.order(Stop())
        for worker in self._workers:
            worker.order(End())
        for worker in self._workers:
            worker.close()

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


class _Worker:
    """One worker process, as this one sees it."""

    def __init__(self, begin: Begin, descriptors: Collection[int], tell: Callable[[str, str], None]) -> None:
        self._tell = tell
        self._process, self._connection = begin_process("ecogsafe.transfer.worker", descriptors)
        self.is_alive = True
        self._lock = threading.Lock()
        self._writing = threading.Lock()
        self._number = 0
        self._making: dict[int, Future[list[MadeOrNot]]] = {}
        self._sending: dict[int, _Sending] = {}
        self.order(begin)
        self._reader = threading.Thread(target=self._read, name="worker-reader", daemon=True)
        self._reader.start()

    @property
    def load(self) -> int:
        """Batches that it has in hand."""
        return len(self._making) + len(self._sending)

    def order(self, message: Begin | Order) -> None:
        """Tell the worker; a dead one hears nothing, and its reader tells of that."""
        try:
            with self._writing:
                self._connection.send(message)
        except OSError:
            self._gone()

    def pack(self, jobs: Sequence[Job]) -> _RemotePacked:
        made: Future[list[MadeOrNot]] = Future()
        with self._lock:
            if not self.is_alive:
                raise WorkerGoneError
            self._number += 1
            number = self._number
            self._making[number] = made
        self.order(Pack(number, jobs))
        return _RemotePacked(self, number, made.result())

    def send(self, number: int, going: Sequence[Going], deliver: Deliver) -> None:
        with self._lock:
            is_alive = self.is_alive
            if is_alive:
                self._sending[number] = _Sending(set(range(len(going))), deliver)
        if is_alive:
            self.order(Send(number, going))
        else:
            deliver([(position, WorkerGoneError()) for position in range(len(going))])

    def _read(self) -> None:
        try:
            while True:
                match self._connection.recv():
                    case WasMade(number, made):
                        with self._lock:
                            waiting = self._making.pop(number, None)
                        # None: told already that the worker has ended
                        if waiting is not None:
                            waiting.set_result(list(made))
                    case Results(number, results):
                        self._deliver(number, results)
                    case Trouble(store, message):
                        self._tell(store, message)
                    case Failed(error):
                        _log.warning("a worker could not begin code=%s", error.code)
        except (EOFError, OSError):
            _log.debug("a worker has ended")
        finally:
            # whatever went wrong with the conversation, nobody may wait for it; a worker that lives ends by this
            self._gone()
            self._connection.close()

    def _deliver(self, number: int, results: list[tuple[int, SentOrNot]]) -> None:
        with self._lock:
            sending = self._sending.get(number)
            if sending is None:
                # everybody was told already that the worker has ended
                return
            sending.waited_for -= {position for position, _ in results}
            if not sending.waited_for:
                del self._sending[number]
        sending.deliver(results)

    def _gone(self) -> None:
        """Tell everybody who waits for this worker that it has ended."""
        with self._lock:
            self.is_alive = False
            making, self._making = self._making, {}
            sendings, self._sending = self._sending, {}
        for waiting in making.values():
            waiting.set_exception(WorkerGoneError())
        for sending in sendings.values():
            sending.deliver([(position, WorkerGoneError()) for position in sorted(sending.waited_for)])

    def close(self) -> None:
        """Wait until it has ended."""
        self._reader.join()
        self._process.wait()


@dataclass(slots=True)
class _Sending:
    """A batch on its way."""

    #: positions without a result
    waited_for: set[int]
    deliver: Deliver


class _RemotePacked:
    """What a worker packed (`ecogsafe.transfer.packing.Packed`)."""

    def __init__(self, worker: _Worker, number: int, made: list[MadeOrNot]) -> None:
        self.made = made
        self._worker = worker
        self._number = number

    def send(self, going: Sequence[Going], deliver: Deliver) -> None:
        """See `Packed.send`."""
        self._worker.send(self._number, going, deliver)

    def forget(self) -> None:
        """See `Packed.forget`."""
        self._worker.order(Forget(self._number))

    def tell(self) -> None:
        """See `Packed.tell`: the worker does so for itself."""

    def drop(self, positions: Collection[int]) -> None:
        """See `Packed.drop`."""
        self._worker.order(Drop(self._number, frozenset(positions)))

    def stop(self) -> None:
        """See `Packed.stop`."""
        self._worker.order(Stop())
