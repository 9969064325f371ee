"""One making of one file's object (plain, or sealed under one key) on its way to every place that gets it.

A lane takes the source bytes in order, cuts parts, makes each part's row durable before its bytes leave,
and hands the bytes to the sender threads. Several lanes share one read of the file.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from concurrent.futures import Future
from functools import partial

from ecogsafe.catalog import sealings
from ecogsafe.catalog.sealings import PartRow, SealingRow
from ecogsafe.core.errors import InterruptedRunError, SourceChangedError
from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import PAYLOAD_NONCE_BYTES, SealedLayout
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.context import TransferContext
from ecogsafe.transfer.cutting import CutPart, Form, PartCutter, PlainForm, SealedForm
from ecogsafe.transfer.in_parts import PartUpload
from ecogsafe.transfer.parts import part_ranges
from ecogsafe.transfer.pool import PooledPart
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
        self._form = form
        self._cutter = PartCutter(form, sealing.part_size)
        self._ranges = part_ranges(sealing.object_size, sealing.part_size)
        self._rows = dict(rows)

    def add(self, upload: PartUpload) -> None:
        """Let a place take part."""
        self.uploads.append(upload)
        self.crew.members.append(upload)
        reused = sum(r.length for r in self._ranges if r.number in upload.acknowledged)
        if reused:
            self.context.meter.bytes_moved(reused, over_the_wire=False)

    @property
    def over(self) -> bool:
        """True once no place wants anything more."""
        return all(upload.over for upload in self.uploads)

    def feed(self, piece: bytes) -> None:
        """Take the next source bytes."""
        if self.over:
            return
        for cut in self._cutter.feed(piece):
            self._dispatch(cut)

    def end(self) -> None:
        """The source has ended: cut what is left."""
        if self.over:
            return
        for cut in self._cutter.finish():
            self._dispatch(cut)

    def complete(self, *, file_id: int, sha256: str) -> list[Future[Outcome]]:
        """Have every upload completed whose parts are all there; each future gives the end of one."""
        return [
            self.crew.senders.submit(
                upload.place.store_id,
                upload.complete,
                self.sealing,
                self._rows,
                self._ranges,
                file_id=file_id,
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

    def _dispatch(self, cut: CutPart) -> None:
        number = cut.place.number
        row = self._rows.get(number)
        if row is not None and row.plain_sha256 != cut.plain_sha256:
            raise _changed(self.crew.shipment.path)
        wanting = [u for u in self.uploads if not u.over and number not in u.acknowledged]
        if not wanting:
            return
        stop = self.context.stop
        if not self.context.pool.acquire(cut.place.length, give_up=lambda: stop.is_set() or self.over):
            if stop.is_set():
                raise InterruptedRunError(self.crew.shipment.path, "was interrupted", safe="Parts sent are kept")
            return
        try:
            body = self._form.body(cut)
            crc = self._note(cut, body, row)
        except BaseException:
            self.context.pool.release(cut.place.length)
            raise
        pooled = PooledPart(self.context.pool, body, wanting)
        for upload in wanting:
            upload.carry(pooled, partial(upload.send, cut.place, crc))

    def _note(self, cut: CutPart, body: bytes, known: PartRow | None) -> int:
        """Make the row of a part durable before its first byte may leave; return its CRC64NVME."""
        crc = crc64nvme(body)
        row = PartRow(
            sealing_id=self.sealing.id,
            number=cut.place.number,
            plain_sha256=cut.plain_sha256,
            length=len(body),
            crc64=crc,
        )
        if known is None:
            self.context.ledger.record(lambda tx: sealings.add_part(tx, row))
            self._rows[row.number] = row
        elif known != row:
            raise _changed(self.crew.shipment.path)
        return crc


def _changed(path: str) -> SealingChangedError:
    return SealingChangedError(
        path,
        "changed since its upload began",
        safe="Nothing of the earlier state is called stored; it starts again under a new key",
    )


def abandon_sealing(context: TransferContext, sealing_id: str) -> None:
    """Erase the file key of a sealing; nothing is sealed under it again."""
    context.ledger.record(lambda tx: sealings.abandon_sealing(tx, sealing_id))
