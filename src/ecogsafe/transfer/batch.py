"""Small files by the batch: packed, announced in one commit, put, recorded in one commit.

The first commit makes the intents durable before the first byte leaves. What a process dies over is found
again by them: an object that came to stand is ours by its intent, everything else is read and sealed anew.
"""

from __future__ import annotations

import queue
import secrets
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace

from ecogsafe.catalog import uploads
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.uploads import IntentRow
from ecogsafe.core.clock import monotonic, utc_stamp
from ecogsafe.core.errors import ChecksumRefusedError, EcogsafeError, InterruptedRunError, ObjectExistsError, StoreError
from ecogsafe.transfer.completion import Written, record_stored, record_written, settle_doubt
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.noting import note_files
from ecogsafe.transfer.packing import Going, Job, Made, Packed, Packer, Readable, SentOrNot, Stored
from ecogsafe.transfer.pool import LOOK_EVERY_S
from ecogsafe.transfer.senders import Senders
from ecogsafe.transfer.work import Outcome, Place, Shipment, Status
from ecogsafe.transfer.worker_errors import WorkerGoneError

#: what a sealed object is larger than its file, at most, apart from the tags of its chunks: header and nonce, bytes
_HEADER_ROOM = 4096


@dataclass(slots=True)
class Ended:
    """What became of a batch."""

    outcomes: list[Outcome] = field(default_factory=list)
    #: to be sent one by one: they are not small any more, or were left unfinished in parts, or a worker died
    singly: list[Shipment] = field(default_factory=list)
    bugs: list[BaseException] = field(default_factory=list)


@dataclass(slots=True)
class _Letter:
    """One object of the batch on its way to one place."""

    shipment: Shipment
    place: Place
    job: int
    intent: IntentRow
    is_waited_for: bool = True
    detached: bool = False
    result: SentOrNot = None


class Batch:
    """A few small files on their way to all of their places.

    Parameters
    ----------
    packer
        Reads, seals and puts.
    senders
        Threads to ask the stores on where an answer was lost.
    """

    def __init__(
        self, context: TransferContext, packer: Packer, senders: Senders, shipments: Sequence[Shipment]
    ) -> None:
        self._context = context
        self._packer = packer
        self._senders = senders
        self._shipments = shipments
        self._ended = Ended()
        self._letters: list[_Letter] = []
        self._arrived: queue.SimpleQueue[list[tuple[int, SentOrNot]]] = queue.SimpleQueue()
        #: when a store last finished something, by id
        self._moved: dict[str, float] = {}
        self._stopped = False
        self._lock = threading.Lock()

    def run(self, files_of: Sequence[Readable], *, most: int) -> Ended:
        """Send the files, and return what became of each at each place.

        Parameters
        ----------
        files_of
            How to open each of the shipments.
        most
            A file that has more bytes when it is opened is not sent here.
        """
        context = self._context
        jobs = [
            Job(file, most, tuple(sorted({place.sealed for place in shipment.places})))
            for file, shipment in zip(files_of, self._shipments, strict=True)
        ]
        sizes = [s.size for s in self._shipments]
        bodies = sum(_room_of(size) * len(job.forms) for size, job in zip(sizes, jobs, strict=True))
        # one file is read at a time; its plain bytes are there beside the objects made of it
        plain = max(sizes)
        if context.stop.is_set() or not context.pool.acquire(bodies + plain, give_up=context.stop.is_set):
            self._ended.outcomes = [one for s in self._shipments for one in _all_paused(s, s.places)]
            return self._ended
        try:
            self._carry_out(jobs, plain)
        finally:
            context.pool.release(bodies)
        return self._ended

    def _carry_out(self, jobs: Sequence[Job], plain: int) -> None:
        try:
            packed = self._packer.pack(jobs)
            try:
                announced = self._announce(packed)
            except BaseException:
                packed.forget()
                raise
        except WorkerGoneError:
            self._ended.singly += self._shipments
            return
        finally:
            self._context.pool.release(plain)
        if announced:
            self._send(packed)
            self._settle()

    def _announce(self, packed: Packed) -> bool:
        """Make durable what is about to be made to exist; return whether there is anything."""
        made: list[tuple[int, Made]] = []
        for number, one in enumerate(packed.made):
            shipment = self._shipments[number]
            if isinstance(one, Made):
                made.append((number, one))
            elif one is None:
                self._ended.singly.append(shipment)
            else:
                self._fail(shipment, shipment.places, one)

        def write(tx: Transaction) -> list[_Letter]:
            ids = note_files(tx, [(self._shipments[n], m.stat, m.sha256) for n, m in made])
            letters = self._write_letters(made, ids)
            uploads.add_intents(tx, [letter.intent for letter in letters])
            return letters

        if made:
            self._letters = self._context.ledger.record(write)
        return bool(made)

    def _write_letters(self, made: Sequence[tuple[int, Made]], ids: Sequence[int]) -> list[_Letter]:
        now = utc_stamp()
        letters: list[_Letter] = []
        for (number, one), file_id in zip(made, ids, strict=True):
            shipment = self._shipments[number]
            for place in shipment.places:
                size, crc64 = one.objects[place.sealed]
                intent = IntentRow(
                    token=secrets.token_hex(16),
                    store_id=place.store_id,
                    key=shipment.keys[place.sealed],
                    size=size,
                    crc64=crc64,
                    file_id=file_id,
                    sha256=one.sha256,
                    sealed=place.sealed,
                    created_at=now,
                    state="open",
                )
                letters.append(_Letter(shipment, place, number, intent))
        return letters

    def _send(self, packed: Packed) -> None:
        """Let everything go, and wait for what came of it; a place that stalls is not waited for."""
        going = [
            Going(x.job, x.intent.sealed, x.intent.store_id, x.intent.key, x.intent.token, x.place.storage_class)
            for x in self._letters
        ]
        self._moved = dict.fromkeys((letter.place.store_id for letter in self._letters), monotonic())
        packed.send(going, self._take)
        left = len(self._letters)
        while left:
            try:
                results = self._arrived.get(timeout=LOOK_EVERY_S)
            except queue.Empty:
                results = []
                packed.tell()
            left -= self._note(results)
            if self._context.stop.is_set() and not self._stopped:
                self._stopped = True
                packed.stop()
            left -= self._leave_stalled_behind(packed)
        while not self._arrived.empty():
            self._note(self._arrived.get())

    def _take(self, results: list[tuple[int, SentOrNot]]) -> None:
        """Take results on the thread that has them."""
        with self._lock:
            late = [(p, r) for p, r in results if self._letters[p].detached]
            self._arrived.put([(p, r) for p, r in results if not self._letters[p].detached])
        for position, result in late:
            self._note_late(self._letters[position], result)

    def _note(self, results: Sequence[tuple[int, SentOrNot]]) -> int:
        """Keep what arrived; return how many were waited for."""
        count = sent = 0
        current = ""
        for position, result in results:
            letter = self._letters[position]
            self._moved[letter.place.store_id] = monotonic()
            if not letter.is_waited_for:
                # it arrived while it was being left behind
                self._note_late(letter, result)
                continue
            letter.is_waited_for = False
            letter.result = result
            count += 1
            if isinstance(result, Stored):
                sent += letter.intent.size
                current = letter.shipment.path
        if sent:
            self._context.meter.bytes_moved(sent, current=current)
        return count

    def _leave_stalled_behind(self, packed: Packed) -> int:
        """Stop waiting for a store that finished nothing for long, where another place of the file could go on."""
        limit = monotonic() - self._context.pool.stall_s
        closed_at = self._context.pace.closed_at
        waiting = {letter.place.store_id for letter in self._letters if letter.is_waited_for}
        stalled = {store_id for store_id in waiting if max(self._moved[store_id], closed_at) < limit}
        if not stalled:
            return 0
        goes_on = {
            letter.job
            for letter in self._letters
            if letter.place.store_id not in stalled and (letter.is_waited_for or isinstance(letter.result, Stored))
        }
        left = [
            position
            for position, letter in enumerate(self._letters)
            if letter.is_waited_for and letter.place.store_id in stalled and letter.job in goes_on
        ]
        with self._lock:
            for position in left:
                self._letters[position].is_waited_for = False
                self._letters[position].detached = True
        if left:
            packed.drop(left)
        for place in {id(self._letters[p].place): self._letters[p].place for p in left}.values():
            own = [self._letters[p] for p in left if self._letters[p].place is place]
            message = "stalled: the other destinations go on, this one gets the file again later"
            if len(own) > 1:
                message = f"stalled: the other destinations go on, this one gets {len(own)} files again later"
            self._context.tell("upload", message, key=own[0].intent.key, store=place.store.name)
        return len(left)

    def _note_late(self, letter: _Letter, result: SentOrNot) -> None:
        """Record what became of an object that nobody waited for any more."""
        if result is None:
            self._context.ledger.submit(lambda tx: uploads.settle_intent(tx, letter.intent.token, "void"))
        elif isinstance(result, Stored):
            try:
                record_stored(self._context, letter.shipment, letter.place, letter.intent, result)
            except EcogsafeError as error:
                self._context.tell("upload", str(error), key=letter.intent.key, store=letter.place.store.name)
        elif not isinstance(result, EcogsafeError | WorkerGoneError):
            # the batch went on without this place: told at the end of the run
            self._senders.bugs.append(result)

    def _settle(self) -> None:
        """Record what came of every object; ask the store about those whose answer was lost."""
        written: list[Written] = []
        void: list[str] = []
        doubts: list[tuple[_Letter, Future[Outcome | None]]] = []
        for letter in self._letters:
            result, token = letter.result, letter.intent.token
            if letter.detached:
                self._ended.outcomes.append(_outcome(letter, Status.DETACHED))
            elif isinstance(result, Stored):
                written.append(Written(letter.shipment, letter.place, letter.intent, result))
            elif result is None:
                void.append(token)
                self._ended.outcomes.append(_outcome(letter, Status.PAUSED))
            elif _is_doubtful(result):
                ask = (self._context, letter.shipment, letter.place, letter.intent)
                doubts.append((letter, self._senders.submit(letter.place.store_id, settle_doubt, *ask)))
            else:
                if isinstance(result, StoreError):
                    void.append(token)
                self._fail(letter.shipment, [letter.place], result)
        for outcome, one in zip(record_written(self._context, written, void=void), written, strict=True):
            outcome.sent_bytes = one.intent.size
            self._ended.outcomes.append(outcome)
        self._settle_doubts(doubts)

    def _settle_doubts(self, doubts: Sequence[tuple[_Letter, Future[Outcome | None]]]) -> None:
        void: list[str] = []
        resend: dict[int, list[_Letter]] = {}
        for letter, future in doubts:
            error = future.exception()
            if error is not None:
                self._fail(letter.shipment, [letter.place], error)
                continue
            outcome = future.result()
            if outcome is not None:
                self._ended.outcomes.append(outcome)
            elif isinstance(letter.result, WorkerGoneError):
                resend.setdefault(letter.job, []).append(letter)
            elif letter.result is not None and not isinstance(letter.result, Stored):
                if isinstance(letter.result, ChecksumRefusedError):
                    void.append(letter.intent.token)
                self._fail(letter.shipment, [letter.place], letter.result)
        for letters in resend.values():
            self._ended.singly.append(replace(letters[0].shipment, places=tuple(x.place for x in letters)))
        record_written(self._context, [], void=void)

    def _fail(self, shipment: Shipment, places: Sequence[Place], error: BaseException) -> None:
        if isinstance(error, InterruptedRunError):
            # whether it came to stand is told by its intent, which stays open
            self._ended.outcomes += _all_paused(shipment, places)
            return
        if not isinstance(error, EcogsafeError):
            self._ended.bugs.append(error)
            error = bug_met(shipment)
        self._ended.outcomes += [Outcome(shipment=shipment, place=p, status=Status.FAILED, error=error) for p in places]


def bug_met(shipment: Shipment) -> EcogsafeError:
    """Return what is told of a file that met a bug."""
    return EcogsafeError(shipment.path, "met a bug in ecogsafe", safe="What was sent is kept")


def _is_doubtful(result: BaseException) -> bool:
    """Return whether an object may stand there although the request failed."""
    if isinstance(result, StoreError):
        return result.retry or isinstance(result, ObjectExistsError)
    return isinstance(result, WorkerGoneError)


def _outcome(letter: _Letter, status: Status) -> Outcome:
    return Outcome(shipment=letter.shipment, place=letter.place, status=status)


def _all_paused(shipment: Shipment, places: Sequence[Place]) -> list[Outcome]:
    return [Outcome(shipment=shipment, place=p, status=Status.PAUSED) for p in places]


def _room_of(size: int) -> int:
    """Return the most bytes that an object of a file of ``size`` bytes takes."""
    return size + size // 4096 + _HEADER_ROOM
