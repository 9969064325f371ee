"""A process that reads large files, makes their parts and puts them, on a core of its own.

It is told what to do over a socket that it inherits under the number in its only argument. What it made it
keeps until it is told that the row of it is durable, and where to put it. When the socket ends without a word,
its parent has died: it ends at once.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
from collections import deque
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from multiprocessing.connection import Connection

from ecogsafe.core.errors import EcogsafeError, InterruptedRunError
from ecogsafe.stores.protocol import Store, UploadedPart
from ecogsafe.stores.retrying import Wait
from ecogsafe.transfer.cutter_messages import (
    BeginCutting,
    CannotBegin,
    Cut,
    CutFailed,
    CutOrder,
    EndCutting,
    Forget,
    FromCutter,
    Halt,
    Leave,
    NoRoom,
    Put,
    Room,
    StopWaiting,
    StoreWaits,
    ToCutter,
    WasPut,
    WasRead,
)
from ecogsafe.transfer.cutting import CutPart, PartCutter
from ecogsafe.transfer.memory import Memory
from ecogsafe.transfer.parts import PartRange, part_ranges
from ecogsafe.transfer.reading import Piece, PrefixDigests, read_once
from ecogsafe.transfer.source import READ_SIZE, changed
from ecogsafe.transfer.wait_notes import WaitNotes
from ecogsafe.transfer.worker_errors import WorkerBugError, tellable


def serve(connection: Connection) -> None:
    """Work until told to end.

    Parameters
    ----------
    connection
        To the process that began this one.
    """
    try:
        cutter = _Cutter(connection, *connection.recv())
    except EcogsafeError as error:
        connection.send(CannotBegin(error))
        return
    # what is loaded by now stays, and is not looked through for garbage again and again
    gc.freeze()
    cutter.run()


class _HaltedError(Exception):
    """Nobody wants anything more of this file."""


class _Cutter:
    def __init__(self, connection: Connection, begin: BeginCutting) -> None:
        self._connection = connection
        self._telling = threading.Lock()
        self._stop = threading.Event()
        self._notes = WaitNotes()
        self._memory = Memory()
        #: what is read goes through here, file after file
        self.reading = memoryview(bytearray(READ_SIZE))
        self._orders: queue.SimpleQueue[CutOrder | None] = queue.SimpleQueue()
        #: what a lane waits for before it begins a part
        self._leave: queue.SimpleQueue[Leave] = queue.SimpleQueue()
        #: by number: those that are being made, and those that are to be put
        self._parts: dict[int, memoryview] = {}
        # how many requests a store gets at once is known where they come from
        self._putters = ThreadPoolExecutor(max(1, begin.per_store * len(begin.stores)), "putter")
        self._stores: dict[str, Store] = {
            store_id: order.open(
                store_id,
                connections=begin.per_store,
                stop=self._stop,
                on_wait=partial(self._note_wait, store_id),
            )
            for store_id, order in begin.stores.items()
        }

    def _note_wait(self, store_id: str, wait: Wait) -> None:
        self.tell(StoreWaits(store_id, wait.store, wait.code, self._notes.message(wait)))

    def tell(self, message: FromCutter) -> None:
        with self._telling:
            self._connection.send(message)

    def run(self) -> None:
        threading.Thread(target=self._listen, name="listener", daemon=True).start()
        while (order := self._orders.get()) is not None:
            try:
                self.tell(WasRead(_Cutting(self, order).run()))
            except Exception as error:  # noqa: BLE001  told by the process that began this one
                self.tell(CutFailed(tellable(error)))

    def _listen(self) -> None:
        """Take orders as they come; what is to be put does not wait for what is being cut."""
        try:
            while True:
                for message in self._connection.recv():
                    self._hear(message)
        except BaseException:  # noqa: BLE001  without its parent nothing here is of use
            os._exit(1)

    def _hear(self, message: ToCutter) -> None:
        match message:
            case CutOrder() as order:
                self._orders.put(order)
            case Room() | NoRoom() | Halt() as leave:
                self._leave.put(leave)
            case Put() as put:
                self._putters.submit(self._put, put, self._parts.get(put.part))
            case Forget(part, may_be_read):
                view = self._parts.pop(part, None)
                if view is not None and not may_be_read:
                    self._memory.give_back(view)
            case StopWaiting():
                self._stop.set()
            case EndCutting():
                os._exit(0)

    def _put(self, put: Put, body: memoryview | None) -> None:
        result: UploadedPart | EcogsafeError | WorkerBugError
        try:
            if body is None:
                # its place was left behind while the part waited for its row
                raise InterruptedRunError(put.key, "is no longer waited for", safe="The file is sent there again")
            result = self._stores[put.store_id].put_part(
                put.key, put.upload_id, put.part_number, body, offset=put.offset, crc64=put.crc64
            )
        except Exception as error:  # noqa: BLE001  told by the process that began this one
            result = tellable(error)
        self.tell(WasPut(put.number, result))

    def next_leave(self) -> Leave:
        """Wait until something may be made, or nothing more."""
        return self._leave.get()

    def memory_for(self, part: int, size: int, *, keep: int) -> memoryview:
        """Return the memory of a part, which it keeps until nobody needs it any more."""
        self._parts[part] = view = self._memory.take(size, keep=keep)
        return view


class _Cutting:
    """One file."""

    def __init__(self, cutter: _Cutter, order: CutOrder) -> None:
        self._cutter = cutter
        self._order = order
        lanes = order.lanes
        self._cutters = [PartCutter(x.form, x.part_size, partial(self._room_for, n)) for n, x in enumerate(lanes)]
        #: what came while another lane waited
        self._leave: list[deque[Room | NoRoom]] = [deque() for _ in lanes]
        ranges = ((x.form, place) for x in lanes for place in part_ranges(x.form.object_size, x.part_size))
        self._digests = PrefixDigests(form.source_needed(place.stop) for form, place in ranges)

    def run(self) -> str | None:
        """Read the file once through every lane; return its SHA-256 once it is proven unchanged."""
        order = self._order
        with order.file.open() as source:
            if source.stat != order.stat:
                raise changed(order.file.name)
            try:
                pieces = source.passing(self._cutter.reading)
                sha256 = read_once(source, pieces, self._take, watch=order.file.watch(), digests=self._digests)
                for lane, cutter in enumerate(self._cutters):
                    for cut in cutter.finish():
                        self._tell(lane, cut)
            except _HaltedError:
                return None
        return sha256

    def _take(self, piece: Piece) -> bool:
        for lane, cutter in enumerate(self._cutters):
            for cut in cutter.feed(piece):
                self._tell(lane, cut)
        return True

    def _room_for(self, lane: int, place: PartRange) -> memoryview | None:
        """Wait for leave to begin a part; return its memory, None if nobody wants it."""
        while not self._leave[lane]:
            leave = self._cutter.next_leave()
            if leave.file != self._order.number:
                # of a file that ended before it
                continue
            if isinstance(leave, Halt):
                raise _HaltedError
            self._leave[leave.lane].append(leave)
        leave = self._leave[lane].popleft()
        if isinstance(leave, NoRoom):
            return None
        return self._cutter.memory_for(leave.part, place.length, keep=leave.spare)

    def _tell(self, lane: int, cut: CutPart) -> None:
        digest = self._digests.at(self._order.lanes[lane].form.source_needed(cut.place.stop))
        self._cutter.tell(Cut(lane, cut.place.number, cut.crc64, digest))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
