"""One making of one file's object (plain, or sealed under one key) on its way to every place that gets it.

A lane takes the source bytes in order, cuts parts, makes each part's row durable before its bytes leave,
and hands the bytes to the sender threads. Several lanes share one read of the file.
"""

from __future__ import annotations

import secrets
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import ExitStack
from functools import partial

from ecogsafe.catalog import sealings
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.core.errors import InterruptedRunError, SourceChangedError
from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import PAYLOAD_NONCE_BYTES, SealedLayout
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.cutting import CutPart, Form, PartCutter, PlainForm, SealedForm
from ecogsafe.transfer.in_parts import PartUpload
from ecogsafe.transfer.part_bytes import DistantPart
from ecogsafe.transfer.parts import PartRange, part_ranges
from ecogsafe.transfer.pool import PooledPart
from ecogsafe.transfer.reading import PrefixDigests
from ecogsafe.transfer.work import Outcome


class SealingChangedError(SourceChangedError):
    """A part no longer has the digest it was sealed with: this key must never seal again."""

    code = "sealing-changed"


def new_form(context: TransferContext, *, sealed: bool, size: int) -> tuple[Form, SealedLayout | None, FileKey | None]:
    """Return a new form of a file of ``size`` bytes; a sealed one gets a new file key and nonce."""
    if not sealed:
        return PlainForm(size), None, None
    file_key = FileKey.new()
    layout = SealedLayout(
        header=seal_header(file_key, context.recipients),
        payload_nonce=secrets.token_bytes(PAYLOAD_NONCE_BYTES),
        plain_size=size,
    )
    return SealedForm(layout, file_key, size), layout, file_key


class Lane:
    """See the module.

    Parameters
    ----------
    rows
        The parts of ``sealing`` that may have left before, by number.
    """

    def __init__(self, crew: Crew, sealing: SealingRow, form: Form, rows: Mapping[int, PartRow]) -> None:
        self.crew = crew
        self.context = crew.context
        self.sealing = sealing
        self.uploads: list[PartUpload] = []
        self.form = form
        self._cutter = PartCutter(form, sealing.part_size, self._memory_for)
        self.ranges = part_ranges(sealing.object_size, sealing.part_size)
        self._rows = dict(rows)
        #: bytes of the pool taken for the part that is being made
        self._room = 0
        #: rows on their way to the disk
        self._noting: deque[Future[None]] = deque()

    def add(self, upload: PartUpload) -> None:
        """Let a place take part."""
        self.uploads.append(upload)
        self.crew.members.append(upload)
        reused = sum(r.length for r in self.ranges if r.number in upload.acknowledged)
        if reused:
            self.context.meter.bytes_moved(reused, current=upload.shipment.path, over_the_wire=False)

    @property
    def over(self) -> bool:
        """True once no place wants anything more."""
        return all(upload.over for upload in self.uploads)

    def stops(self) -> Iterator[int]:
        """Yield where in the source the digest is needed: at the end of what each part is made of."""
        return (self._needed_for(place) for place in self.ranges)

    def _needed_for(self, place: PartRange) -> int:
        return self.form.source_needed(place.stop)

    def feed(self, piece: bytes | memoryview, digests: PrefixDigests) -> None:
        """Take the next source bytes, which ``digests`` has seen."""
        if self.over:
            self.let_go()
            return
        for cut in self._cutter.feed(piece):
            self._take_cut(cut, digests)

    def end(self, digests: PrefixDigests) -> None:
        """The source has ended: cut what is left, and wait for every row to be durable."""
        if not self.over:
            for cut in self._cutter.finish():
                self._take_cut(cut, digests)
        self.settle_rows()

    def _take_cut(self, cut: CutPart, digests: PrefixDigests) -> None:
        self.take(cut.place, cut.body, cut.crc64, digests.at(self._needed_for(cut.place)))

    def settle_rows(self) -> None:
        """Wait until the row of every part is durable."""
        while self._noting:
            self._noting.popleft().result()

    def let_go(self) -> None:
        """Give the room of a part back that will not be made."""
        if self._room:
            self.context.pool.release(self._room)
            self._keep_room(0)

    def _keep_room(self, size: int) -> None:
        self.crew.parts_begun += (size > 0) - (self._room > 0)
        self._room = size

    def complete(self, *, note: Callable[[Transaction], int], sha256: str) -> list[Future[Outcome]]:
        """Have every upload completed whose parts are all there; each future gives the end of one.

        Parameters
        ----------
        note
            See `PartUpload.complete`.
        """
        return [
            self.crew.senders.submit(
                upload.place.store_id,
                upload.complete,
                self.sealing,
                self._rows,
                self.ranges,
                note=note,
                sha256=sha256,
            )
            for upload in self.uploads
            if not upload.over
        ]

    def abandon(self) -> None:
        """Erase the file key, then abort every upload: these bytes are never continued.

        If another run has taken one of the uploads over, the sealing is that run's and stays.
        """
        if all(upload.is_ours() for upload in self.uploads):
            abandon_sealing(self.context, self.sealing.id)
        for upload in self.uploads:
            upload.abandon_if_possible()

    def release(self) -> None:
        """Give the leases back."""
        for upload in self.uploads:
            if not upload.detached:
                upload.release()

    def _wanting(self, number: int) -> list[PartUpload]:
        return [upload for upload in self.uploads if not upload.over and number not in upload.acknowledged]

    def acquire_room(self, place: PartRange) -> bool:
        """Take room in the pool for a part, unless no place wants it; waits for the pool."""
        if not self._wanting(place.number):
            return False
        pool, stop = self.context.pool, self.context.stop
        has_begun = self.crew.parts_begun > 0
        if not pool.acquire(place.length, give_up=lambda: stop.is_set() or self.over, has_begun=has_begun):
            if stop.is_set():
                raise interrupted(self.crew.shipment.path)
            return False
        self._keep_room(place.length)
        return True

    def _memory_for(self, place: PartRange) -> memoryview | None:
        return self.context.pool.memory(place.length) if self.acquire_room(place) else None

    def take(self, place: PartRange, body: memoryview | DistantPart | None, crc64: int, digest: bytes) -> None:
        """Hand a part to the senders, after proof that it is what was sealed under this key before.

        Whatever happens, the caller need not let go of ``body`` or of its room.

        Parameters
        ----------
        body
            Its room was taken with `acquire_room`; None if nobody wanted it.
        digest
            SHA-256 of the source up to the last byte that the part is made of.
        """
        with ExitStack() as unless_handed_on:
            unless_handed_on.callback(self._refuse, body)
            if self.over:
                return
            known = self._rows.get(place.number)
            if known is not None and known.prefix_sha256 != digest:
                raise _changed(self.crew.shipment.path)
            while self._noting and self._noting[0].done():
                self._noting.popleft().result()
            wanting = self._wanting(place.number)
            if body is None or not wanting:
                return
            row = PartRow(
                sealing_id=self.sealing.id,
                number=place.number,
                prefix_sha256=digest,
                length=len(body),
                crc64=crc64,
            )
            noted = self._note(row, known)
            pooled = PooledPart(self.context.pool, body, wanting)
            self._keep_room(0)
            unless_handed_on.pop_all()
        for position, upload in enumerate(wanting):
            try:
                upload.carry(pooled, partial(upload.send, place, crc64, noted))
            except BaseException:
                for other in wanting[position + 1 :]:
                    pooled.drop(other)
                raise

    def _refuse(self, body: memoryview | DistantPart | None) -> None:
        if isinstance(body, DistantPart):
            body.let_go(may_be_read=False)
        self.let_go()

    def _note(self, row: PartRow, known: PartRow | None) -> Future[None]:
        """Begin to make the row of a part durable: its first byte waits for that."""
        if known is None:
            self._rows[row.number] = row
            self._noting.append(self.context.ledger.submit_row(sealings.add_parts, row))
            return self._noting[-1]
        if known != row:
            raise _changed(self.crew.shipment.path)
        noted: Future[None] = Future()
        noted.set_result(None)
        return noted


def interrupted(path: str) -> InterruptedRunError:
    """Return what is told of a file that was stopped under way."""
    return InterruptedRunError(path, "was interrupted", safe="Parts already there are kept")


def _changed(path: str) -> SealingChangedError:
    return SealingChangedError(
        path,
        "changed since its upload began",
        safe="Nothing of the earlier state is called stored; it starts again under a new key",
    )


def abandon_sealing(context: TransferContext, sealing_id: str) -> None:
    """Erase the file key of a sealing; nothing is sealed under it again."""
    context.ledger.record(lambda tx: sealings.abandon_sealing(tx, sealing_id))
