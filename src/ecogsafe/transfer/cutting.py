"""A sequential stream of source bytes made into the parts of an object, plain or sealed.

Each part is made where it will be sent from, grain by grain while the bytes are still in the processor's
cache; nothing is joined or copied afterwards. A sealed grain is an age chunk of 64 KiB; one on the border
of two parts is sealed once and divided between them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

from ecogsafe.crypt.age_stream import ChunkSealer
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SEALED_CHUNK_BYTES, SealedLayout
from ecogsafe.transfer.parts import PartRange, part_ranges


@dataclass(frozen=True, slots=True)
class CutPart:
    """One part whose last byte has been made."""

    place: PartRange
    #: its bytes; None if nobody wanted them
    body: memoryview | None
    #: CRC64NVME of the bytes; 0 without them
    crc64: int


class Form(Protocol):
    """How source bytes become object bytes."""

    #: bytes
    source_size: int
    object_size: int
    #: source bytes are made into object bytes in multiples of this, but for the last
    grain: int
    #: what the object begins with before anything of the source
    prefix: bytes

    def object_offset(self, offset: int) -> int:
        """Return where in the object the grain begins that begins at ``offset`` of the source, or its end."""
        ...

    def source_within(self, stop: int) -> int:
        """Return the end of the source bytes whose object bytes end at or before ``stop``."""
        ...

    def source_needed(self, stop: int) -> int:
        """Return the end of the source bytes that the object bytes before ``stop`` are made of."""
        ...

    def make(self, offset: int, plain: memoryview, out: memoryview) -> None:
        """Make the object bytes of whole grains from ``offset`` on; ``out`` has exactly their size."""
        ...


class PlainForm:
    """The object is the file."""

    grain = 1
    prefix = b""

    def __init__(self, size: int) -> None:
        self.source_size = self.object_size = size

    def object_offset(self, offset: int) -> int:
        """Return the same offset."""
        return offset

    def source_within(self, stop: int) -> int:
        """Return the same offset."""
        return stop

    def source_needed(self, stop: int) -> int:
        """Return the same offset."""
        return stop

    def make(self, offset: int, plain: memoryview, out: memoryview) -> None:
        """Copy."""
        out[:] = plain


class SealedForm:
    """The object is an age v1 file: header, payload nonce, chunks."""

    grain = CHUNK_BYTES

    def __init__(self, layout: SealedLayout, file_key: FileKey, size: int) -> None:
        self._layout = layout
        self._file_key = file_key
        self._sealer = ChunkSealer(file_key, layout.payload_nonce)
        self.prefix = layout.prefix
        self.source_size = size
        self.object_size = layout.object_size()
        self._last = layout.chunk_count() - 1

    def __reduce__(self) -> tuple[type[SealedForm], tuple[SealedLayout, FileKey, int]]:
        """Say how it is made again in another process of the run; a cipher cannot go there."""
        return SealedForm, (self._layout, self._file_key, self.source_size)

    def object_offset(self, offset: int) -> int:
        """Return where the chunk begins."""
        if offset >= self.source_size:
            return self.object_size
        return len(self.prefix) + offset // CHUNK_BYTES * SEALED_CHUNK_BYTES

    def source_within(self, stop: int) -> int:
        """Return the end of the last chunk that ends at or before ``stop``."""
        if stop == self.object_size:
            return self.source_size
        return max(0, stop - len(self.prefix)) // SEALED_CHUNK_BYTES * CHUNK_BYTES

    def source_needed(self, stop: int) -> int:
        """Return the end of the last chunk that begins before ``stop``."""
        chunks = -(-max(0, stop - len(self.prefix)) // SEALED_CHUNK_BYTES)
        return min(chunks * CHUNK_BYTES, self.source_size)

    def make(self, offset: int, plain: memoryview, out: memoryview) -> None:
        """Seal chunk after chunk."""
        self._sealer.seal_run_into(offset // CHUNK_BYTES, plain, out, last=self._last)


class PartCutter:
    """Takes the source bytes in order and yields each part as soon as its last byte is made.

    Parameters
    ----------
    begin
        Gives the memory a part is to be made in, exactly its length; None if nobody wants the part.
    """

    def __init__(self, form: Form, part_size: int, begin: Callable[[PartRange], memoryview | None]) -> None:
        self._form = form
        self._waiting = deque(part_ranges(form.object_size, part_size))
        self._begin = begin
        #: the part that is being made; `_made` of its bytes are there
        self._place: PartRange | None = None
        self._target: memoryview | None = None
        self._made = 0
        self._crc = 0
        #: source bytes taken, and those behind the last whole grain that are not yet made
        self._taken = 0
        self._rest = bytearray()
        self._began = False

    def feed(self, piece: bytes | memoryview) -> Iterator[CutPart]:
        """Take the next source bytes and yield the parts they complete; to be iterated to its end."""
        yield from self._start()
        with memoryview(piece) as view:
            self._taken += len(view)
            used = 0
            if self._rest:
                used = min(self._form.grain - len(self._rest), len(view))
                self._rest += view[:used]
                if len(self._rest) < self._form.grain and not self._is_all_there:
                    return
                grain, self._rest = self._rest, bytearray()
                yield from self._make(self._taken - len(view) + used - len(grain), memoryview(grain))
            left = 0 if self._is_all_there else (len(view) - used) % self._form.grain
            if used < len(view) - left:
                yield from self._make(self._taken - len(view) + used, view[used : len(view) - left])
            self._rest += view[len(view) - left :]

    def finish(self) -> Iterator[CutPart]:
        """Yield what is left once the source has ended: the one part of an empty file.

        Raises
        ------
        ValueError
            Source bytes are missing.
        """
        yield from self._start()
        if self._form.source_size == 0 and self._waiting:
            # an empty age file has one empty chunk, an empty plain file one empty part
            made = memoryview(bytearray(self._form.object_size - len(self._form.prefix)))
            self._form.make(0, memoryview(b""), made)
            yield from self._write(made)
            if self._waiting:
                self._open()
                yield from self._close_if_full()
        if self._waiting:
            raise ValueError("the source ended before its last part")

    @property
    def _is_all_there(self) -> bool:
        return self._taken == self._form.source_size

    def _start(self) -> Iterator[CutPart]:
        if not self._began:
            self._began = True
            yield from self._write(memoryview(self._form.prefix))

    def _make(self, offset: int, plain: memoryview) -> Iterator[CutPart]:
        """Make whole grains; those inside the part at once, one on its border apart."""
        form = self._form
        while len(plain) and self._waiting:
            place = self._open()
            count = min(len(plain), form.source_within(place.stop) - offset)
            if count <= 0:
                count = min(len(plain), form.grain)
                yield from self._divide(offset, plain[:count])
            else:
                size = form.object_offset(offset + count) - form.object_offset(offset)
                if self._target is not None:
                    out = self._target[self._made : self._made + size]
                    form.make(offset, plain[:count], out)
                    self._crc = crc64nvme(out, self._crc)
                self._made += size
                yield from self._close_if_full()
            offset += count
            plain = plain[count:]

    def _divide(self, offset: int, plain: memoryview) -> Iterator[CutPart]:
        """Make one grain and divide it between the parts it touches."""
        form = self._form
        made = memoryview(bytearray(form.object_offset(offset + len(plain)) - form.object_offset(offset)))
        form.make(offset, plain, made)
        yield from self._write(made)

    def _write(self, made: memoryview) -> Iterator[CutPart]:
        while len(made):
            place = self._open()
            count = min(len(made), place.length - self._made)
            if self._target is not None:
                self._target[self._made : self._made + count] = made[:count]
                self._crc = crc64nvme(made[:count], self._crc)
            self._made += count
            made = made[count:]
            yield from self._close_if_full()

    def _open(self) -> PartRange:
        if self._place is None:
            place = self._waiting[0]
            self._target = self._begin(place)
            self._place, self._made, self._crc = place, 0, 0
        return self._place

    def _close_if_full(self) -> Iterator[CutPart]:
        if self._place is not None and self._made == self._place.length:
            cut = CutPart(self._place, self._target, self._crc)
            self._waiting.popleft()
            self._place = self._target = None
            yield cut
