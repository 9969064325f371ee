"""A worker process: reads, seals and puts small files for the process that began it, on a core of its own.

It is told what to do over a socket that it inherits under the number in its only argument, so that no name
and no key stands in a list of processes. It opens the stores itself, with the credentials of its environment,
and the files below descriptors that it inherits. When the socket ends without a word, its parent has died:
it ends at once. What it then leaves half sent is announced, and is written only where nothing stands.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
from collections.abc import Sequence
from functools import partial
from multiprocessing.connection import Connection

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Wait
from ecogsafe.transfer.messages import (
    Begin,
    Drop,
    End,
    Failed,
    Forget,
    Pack,
    Results,
    Send,
    Stop,
    Trouble,
    WasMade,
)
from ecogsafe.transfer.pace import Pace
from ecogsafe.transfer.packing import TELL_EVERY_S, Going, LocalPacked, LocalPacker, Made, SentOrNot
from ecogsafe.transfer.senders import OVERLOAD, Senders
from ecogsafe.transfer.wait_notes import WaitNotes
from ecogsafe.transfer.worker_errors import without_bug

#: objects made before garbage is looked for: next to none of what a file needs is left over from it
_GARBAGE_EVERY = 20_000


def serve(connection: Connection) -> None:
    """Work until told to end.

    Parameters
    ----------
    connection
        To the process that began this one.
    """
    worker = _Worker(connection, connection.recv())
    try:
        worker.open()
    except EcogsafeError as error:
        connection.send(Failed(error))
        return
    # what is loaded by now stays, and is not looked through for garbage again and again
    gc.freeze()
    gc.set_threshold(_GARBAGE_EVERY, 20, 20)
    worker.run()


class _Worker:
    def __init__(self, connection: Connection, begin: Begin) -> None:
        self._connection = connection
        self._begin = begin
        self._stop = threading.Event()
        self._notes = WaitNotes()
        self._sending = threading.Lock()
        self._orders: queue.SimpleQueue[Pack | None] = queue.SimpleQueue()
        self._senders = Senders(begin.per_store, Pace(begin.window, stop=self._stop))
        self._stores: dict[str, Store] = {}
        self._packer = LocalPacker(self._stores, begin.recipients, self._senders, self._stop)
        #: what waits for leave to go, and what is going, by number
        self._packed: dict[int, LocalPacked] = {}

    def open(self) -> None:
        for store_id, order in self._begin.stores.items():
            self._stores[store_id] = order.open(
                store_id,
                connections=self._begin.per_store,
                stop=self._stop,
                on_wait=partial(self._note_wait, store_id),
            )

    def _note_wait(self, store_id: str, wait: Wait) -> None:
        if wait.code in OVERLOAD:
            self._senders.troubled(store_id)
        self._tell(Trouble(wait.store, self._notes.message(wait)))

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        while (order := self._next()) is not None:
            packed = self._packer.pack(order.jobs)
            if any(isinstance(made, Made) for made in packed.made):
                self._packed[order.number] = packed
            self._tell(WasMade(order.number, [without_bug(made) for made in packed.made]))
        self._senders.close()

    def _next(self) -> Pack | None:
        """Return what is to be packed next; while there is nothing, see that whatever was put is told."""
        while True:
            try:
                return self._orders.get(timeout=TELL_EVERY_S if self._packed else None)
            except queue.Empty:
                for packed in list(self._packed.values()):
                    packed.tell()

    def _listen(self) -> None:
        """Take orders as they come; what is to be sent does not wait for a batch that is being packed."""
        try:
            while True:
                match self._connection.recv():
                    case Pack() as order:
                        self._orders.put(order)
                    case Send(number, going):
                        self._send(number, going)
                    case Forget(number):
                        self._packed.pop(number, None)
                    case Drop(number, positions):
                        packed = self._packed.get(number)
                        if packed is not None:
                            packed.drop(positions)
                    case Stop():
                        self._stop.set()
                    case End():
                        self._orders.put(None)
                        return
        except BaseException:  # noqa: BLE001  without its parent nothing here is of use
            os._exit(1)

    def _send(self, number: int, going: Sequence[Going]) -> None:
        left = len(going)

        def deliver(results: list[tuple[int, SentOrNot]]) -> None:
            nonlocal left
            self._tell(Results(number, [(position, without_bug(result)) for position, result in results]))
            with self._sending:
                left -= len(results)
                if not left:
                    del self._packed[number]

        self._packed[number].send(going, deliver)

    def _tell(self, message: WasMade | Results | Trouble) -> None:
        with self._sending:
            self._connection.send(message)


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
