"""One pass over the members of a volume: frames, parts, their journal, and the parts on their way."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial

from ecogsafe.catalog import archives, files, sealings
from ecogsafe.catalog.archives import FrameRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.sealings import PartRow
from ecogsafe.core.errors import InterruptedRunError
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, plain_size_of
from ecogsafe.transfer.archive.compress_choice import is_stored, measured_ratio
from ecogsafe.transfer.archive.frames import ZSTD_VERSION, FrameSpan, compressed_frame, stored_frame
from ecogsafe.transfer.archive.making import Making, VolumeWork, whole
from ecogsafe.transfer.archive.members import TarReader, seen_member
from ecogsafe.transfer.archive.part_making import MadePart, PartMaker
from ecogsafe.transfer.archive.volumes import most_part_bytes
from ecogsafe.transfer.carrier import Crew
from ecogsafe.transfer.lane import SealingChangedError
from ecogsafe.transfer.parts import PartRange
from ecogsafe.transfer.pool import PooledPart
from ecogsafe.transfer.work import Outcome, Status


@dataclass(slots=True)
class _Position:
    """Where the next part begins."""

    number: int = 1
    object_offset: int = 0
    #: in the zstd stream, always at the border of an age chunk
    zstd: int = 0
    #: frames before it
    frames: int = 0


class VolumePass:
    """See the module; its parts are made in order, by one thread."""

    def __init__(self, crew: Crew, work: VolumeWork, making: Making) -> None:
        self._crew = crew
        self._context = crew.context
        self._work = work
        self._making = making
        self._reader = TarReader(work.plan, work.members, making.digests)
        self._spans = deque(work.spans())
        self._buffer = bytearray(max((span.length for span in self._spans), default=0))
        self._at = _Position()
        self._ranges: list[PartRange] = []
        self._noting: deque[Future[None]] = deque()

    def __enter__(self) -> VolumePass:
        return self

    def __exit__(self, *failure: object) -> None:
        self._reader.close()

    def make_parts(self) -> bool:
        """Make and send every part; return whether all were made.

        Raises
        ------
        SealingChangedError
            A part that may have left is no longer the same.
        MemberLostError, InterruptedRunError
            See `ecogsafe.transfer.archive.sending.send_volume`.
        """
        while self._spans:
            self._check_stop()
            if self._making.upload.over:
                return False
            known = self._making.rows.get(self._at.number)
            if known is None:
                if not self._make_new():
                    return False
            elif self._at.number in self._making.upload.acknowledged:
                self._pass_over(known)
            elif not self._make_again(known):
                return False
        while self._noting:
            self._noting.popleft().result()
        return True

    def complete(self) -> Outcome:
        """Announce and complete the object; nothing is raised but a bug."""
        context, row, upload = self._context, self._work.row, self._making.upload
        manifest_sha256 = hashlib.sha256(self._reader.manifest()).hexdigest()
        object_size = self._ranges[-1].stop
        # an index, and whoever finds the object after a cut, goes by these
        context.ledger.record(
            lambda tx: archives.set_announced(
                tx,
                row.volume_id,
                zstd_size=self._at.zstd,
                header_bytes=len(self._making.prefix),
                object_size=object_size,
                manifest_sha256=manifest_sha256,
            )
        )
        outcome = upload.complete(
            whole(self._making.sealing, object_size),
            self._making.rows,
            self._ranges,
            note=lambda _: row.volume_id,
            sha256=manifest_sha256,
        )
        if outcome.status in (Status.DONE, Status.DIFFERENT):
            state: archives.VolumeState = "stored" if outcome.status is Status.DONE else "abandoned"
            context.ledger.record(lambda tx: archives.set_state(tx, row.volume_id, state))
        return outcome

    def _check_stop(self) -> None:
        if self._context.stop.is_set():
            raise InterruptedRunError(self._work.row.key, "was interrupted", safe="Parts sent are kept")

    def _read(self, span: FrameSpan) -> memoryview:
        view = memoryview(self._buffer)[: span.length]
        self._reader.read_into(span.tar_start, view)
        return view

    def _take_journalled(self) -> list[tuple[FrameSpan, FrameRow]]:
        """Take the frames of a part that may have left."""
        pairs: list[tuple[FrameSpan, FrameRow]] = []
        for frame in self._making.frames[self._at.number]:
            span = self._spans.popleft() if self._spans else None
            if span is None or (span.tar_start, span.tar_stop) != (frame.tar_start, frame.tar_stop):
                raise self._changed("it is no longer cut into frames as when it began")
            pairs.append((span, frame))
        return pairs

    def _compare(self, frame: FrameRow, data: memoryview) -> None:
        if hashlib.sha256(data).digest() != frame.sha256:
            raise self._changed("a file in it changed since it began")

    def _pass_over(self, known: PartRow) -> None:
        """Go past a part that the store has; only files whose digest is not known yet are read."""
        pairs = self._take_journalled()
        for span, frame in pairs:
            if self._reader.needs(span.tar_start, span.tar_stop):
                self._check_stop()
                self._compare(frame, self._read(span))
        self._context.meter.bytes_moved(sum(span.length for span, _ in pairs), over_the_wire=False)
        self._advance(known.length, len(pairs))

    def _make_again(self, known: PartRow) -> bool:
        """Make a part that may have left before; it is sent only if it is the same to the last byte."""
        pairs = self._take_journalled()

        def frames() -> Iterator[tuple[FrameSpan, bytes]]:
            for span, frame in pairs:
                data = self._read(span)
                self._compare(frame, data)
                yield span, _made(span, data)

        made = self._make(frames(), is_last=not self._spans)
        if made is None:
            return False
        part, room = made
        if (part.plain_sha256, len(part.body), part.crc64) != (known.prefix_sha256, known.length, known.crc64):
            self._context.pool.release(room)
            before, now = self._making.zstd_version, ZSTD_VERSION
            raise self._changed(
                f"it was begun with another zstd ({before}, now {now})"
                if before != now
                else "its frames do not come out as when it began"
            )
        noted: Future[None] = Future()
        noted.set_result(None)
        self._carry(part, room, noted, stands_for=sum(span.length for span, _ in pairs))
        self._advance(known.length, len(pairs))
        return True

    def _make_new(self) -> bool:
        """Make the next part, make its journal durable, and send it."""
        journal: list[FrameRow] = []
        at = self._at

        def frames() -> Iterator[tuple[FrameSpan, bytes]]:
            size = 0
            while self._spans and (not journal or size < self._making.sealing.part_size):
                self._check_stop()
                span = self._spans.popleft()
                data = self._read(span)
                frame = _made(span, data)
                start = at.zstd + size
                size += len(frame)
                journal.append(
                    FrameRow(
                        self._work.row.volume_id,
                        at.frames + len(journal),
                        at.number,
                        span.tar_start,
                        span.tar_stop,
                        start,
                        start + len(frame),
                        hashlib.sha256(data).digest(),
                    )
                )
                yield span, frame

        made = self._make(frames(), is_last=None)
        if made is None:
            return False
        part, room = made
        row = PartRow(
            sealing_id=self._making.sealing.id,
            number=at.number,
            prefix_sha256=part.plain_sha256,
            length=len(part.body),
            crc64=part.crc64,
        )
        self._making.rows[row.number] = row
        try:
            noted = self._note(row, journal)
        except BaseException:
            self._context.pool.release(room)
            raise
        self._carry(part, room, noted, stands_for=journal[-1].tar_stop - journal[0].tar_start)
        self._advance(row.length, len(journal))
        return True

    def _make(self, frames: Iterator[tuple[FrameSpan, bytes]], *, is_last: bool | None) -> tuple[MadePart, int] | None:
        """Return the part of these frames and the room it has in the pool; None if nobody wants it any more.

        Parameters
        ----------
        is_last
            None: it is the last if ``frames`` used up the tar stream.
        """
        pool, upload = self._context.pool, self._making.upload
        prefix = self._making.prefix if self._at.number == 1 else b""
        room = most_part_bytes(self._making.sealing.part_size, prefix=len(prefix))
        if not pool.acquire(room, give_up=lambda: self._context.stop.is_set() or upload.over):
            self._check_stop()
            return None
        try:
            first_chunk = self._at.zstd // CHUNK_BYTES
            maker = PartMaker(self._making.sealer, pool.memory(room), prefix=prefix, first_chunk=first_chunk)
            for _, frame in frames:
                maker.add(frame)
            part = maker.finish(is_last=not self._spans if is_last is None else is_last)
        except BaseException:
            pool.release(room)
            raise
        pool.release(room - len(part.body))
        return part, len(part.body)

    def _note(self, row: PartRow, journal: Sequence[FrameRow]) -> Future[None]:
        """Begin to make a part's row and what it rests on durable: its first byte waits for that."""
        while self._noting and self._noting[0].done():
            self._noting.popleft().result()
        read = [(index, self._reader.digests[index]) for index in self._reader.take_new()]
        members, volume_id, subject = self._work.members, self._work.row.volume_id, self._work.row.subject

        def write(tx: Transaction) -> None:
            sealings.add_part(tx, row)
            archives.add_frames(tx, journal)
            ids = files.upsert_files(tx, [seen_member(subject, members[index], sha256) for index, sha256 in read])
            for (index, sha256), file_id in zip(read, ids, strict=True):
                archives.set_digest(tx, volume_id, index, sha256=sha256, file_id=file_id)

        self._noting.append(self._context.ledger.submit(write, may_wait=True))
        return self._noting[-1]

    def _carry(self, part: MadePart, room: int, noted: Future[None], *, stands_for: int) -> None:
        upload = self._making.upload
        place = PartRange(self._at.number, self._at.object_offset, self._at.object_offset + room)
        pooled = PooledPart(self._context.pool, part.body, [upload])
        upload.carry(pooled, partial(upload.send, place, part.crc64, noted, stands_for=stands_for))

    def _advance(self, length: int, frames: int) -> None:
        at = self._at
        plain = plain_size_of(length - (len(self._making.prefix) if at.number == 1 else 0))
        if plain is None:
            raise self._changed("the catalogue knows a part of a size that none can have")
        self._ranges.append(PartRange(at.number, at.object_offset, at.object_offset + length))
        self._at = _Position(at.number + 1, at.object_offset + length, at.zstd + plain, at.frames + frames)

    def _changed(self, problem: str) -> SealingChangedError:
        return SealingChangedError(
            self._work.row.key,
            f"the volume starts over under a new key: {problem}",
            safe="nothing of what was sent before is called stored",
        )


def _made(span: FrameSpan, data: memoryview) -> bytes:
    """Return the frame; that a clip does not shrink may be no more than a guess until here."""
    if span.stored and is_stored(measured_ratio(len(data), lambda offset, size: bytes(data[offset : offset + size]))):
        return stored_frame(data)
    return compressed_frame(data)
