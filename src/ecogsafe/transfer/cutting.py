"""A sequential stream of source bytes cut into the parts of an object, plain or sealed.

A sealed part touches whole age chunks of 64 KiB; a chunk on the border of two parts is cut into both.
The digest of a part is the SHA-256 of every plaintext byte of the chunks it touches: as long as it is
unchanged, sealing the part again under the same key gives the same bytes, and no nonce meets a second
plaintext (DESIGN 5.8).
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

from ecogsafe.crypt.age_stream import ChunkSealer
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import SealedLayout
from ecogsafe.transfer.parts import PartRange, part_ranges


@dataclass(frozen=True, slots=True)
class CutPart:
    """The plaintext one part is made of, and its digest."""

    place: PartRange
    #: a view is valid only until the next part is cut
    plain: bytes | memoryview
    plain_sha256: bytes


class Form(Protocol):
    """How source bytes become object bytes."""

    object_size: int

    def plain_range(self, place: PartRange) -> tuple[int, int]:
        """Return the source bytes a part needs, end excluded."""
        ...

    def body(self, cut: CutPart) -> bytes:
        """Return the object bytes of a part."""
        ...


class PlainForm:
    """The object is the file."""

    def __init__(self, size: int) -> None:
        self.object_size = size

    def plain_range(self, place: PartRange) -> tuple[int, int]:
        """Return the part's own range."""
        return place.start, place.stop

    def body(self, cut: CutPart) -> bytes:
        """Return the bytes as they are."""
        return bytes(cut.plain)


class SealedForm:
    """The object is an age v1 file: header, payload nonce, chunks."""

    def __init__(self, layout: SealedLayout, file_key: FileKey, size: int) -> None:
        self._layout = layout
        self._sealer = ChunkSealer(file_key, layout.payload_nonce)
        self._size = size
        self.object_size = layout.object_size()

    def plain_range(self, place: PartRange) -> tuple[int, int]:
        """Return the plaintext of every chunk the part touches."""
        chunks = self._layout.chunks_of(place.start, place.stop)
        if not chunks:
            return 0, 0
        return self._layout.plain_range(chunks[0])[0], self._layout.plain_range(chunks[-1])[1]

    def body(self, cut: CutPart) -> bytes:
        """Seal the chunks the part touches and return its slice of the object."""
        layout = self._layout
        place = cut.place
        chunks = layout.chunks_of(place.start, place.stop)
        if not chunks:
            return layout.prefix[place.start : place.stop]
        base = layout.plain_range(chunks[0])[0]
        sealed_from = 0 if place.start < layout.payload_offset else layout.cipher_range(chunks[0])[0]
        out = bytearray(layout.cipher_range(chunks[-1])[1] - sealed_from)
        if sealed_from == 0:
            out[: layout.payload_offset] = layout.prefix
        with memoryview(cut.plain) as plain, memoryview(out) as view:
            for chunk in chunks:
                start, stop = layout.plain_range(chunk)
                cipher_start, cipher_stop = layout.cipher_range(chunk)
                target = view[cipher_start - sealed_from : cipher_stop - sealed_from]
                self._sealer.seal_into(chunk, plain[start - base : stop - base], target, last=layout.is_last(chunk))
        return bytes(memoryview(out)[place.start - sealed_from : place.stop - sealed_from])


class PartCutter:
    """Takes the source bytes in order and yields each part as soon as its last byte is there."""

    def __init__(self, form: Form, part_size: int) -> None:
        self._form = form
        self._waiting = deque(part_ranges(form.object_size, part_size))
        self._window = bytearray()
        #: where in the source the window begins
        self._base = 0

    def feed(self, piece: bytes | memoryview) -> Iterator[CutPart]:
        """Take the next source bytes and yield the parts they complete; to be iterated to its end."""
        self._window += piece
        while self._waiting:
            start, stop = self._form.plain_range(self._waiting[0])
            if self._base + len(self._window) < stop:
                return
            with memoryview(self._window) as window, window[start - self._base : stop - self._base] as plain:
                yield CutPart(self._waiting.popleft(), plain, hashlib.sha256(plain).digest())
            if self._waiting:
                self._forget(self._form.plain_range(self._waiting[0])[0])

    def _forget(self, keep_from: int) -> None:
        if keep_from > self._base:
            del self._window[: keep_from - self._base]
            self._base = keep_from

    def finish(self) -> Iterator[CutPart]:
        """Yield what is left once the source has ended: the one part of an empty file.

        Raises
        ------
        ValueError
            Source bytes are missing.
        """
        yield from self.feed(b"")
        if self._waiting:
            raise ValueError("the source ended before its last part")
