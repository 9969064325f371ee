"""Where each byte of a sealed file lies: arithmetic only, no keys.

A sealed file is the header, a 16-byte nonce, and chunks of 65,536 plaintext bytes, each grown by a
16-byte tag; the last chunk may be shorter, and is empty only if the whole file is.

References
----------
C2SP age, "Payload": https://c2sp.org/age
"""

from __future__ import annotations

from dataclasses import dataclass

CHUNK_BYTES = 64 * 1024
TAG_BYTES = 16
SEALED_CHUNK_BYTES = CHUNK_BYTES + TAG_BYTES
PAYLOAD_NONCE_BYTES = 16


def chunks_in(plain_size: int) -> int:
    """Return the number of chunks of ``plain_size`` bytes; an empty file has one."""
    return max(1, -(-plain_size // CHUNK_BYTES))


def plain_size_of(payload_size: int) -> int | None:
    """Return the plaintext size of ``payload_size`` bytes of sealed chunks; None if no file has that."""
    full, rest = divmod(payload_size, SEALED_CHUNK_BYTES)
    if rest == 0:
        return full * CHUNK_BYTES if full else None
    if rest < TAG_BYTES or (rest == TAG_BYTES and full):
        return None
    return full * CHUNK_BYTES + rest - TAG_BYTES


@dataclass(frozen=True, slots=True)
class SealedLayout:
    """The geometry of one sealed object. All ranges are 0-based bytes, end excluded."""

    #: the age header, MAC line and newline included
    header: bytes
    #: 16 random bytes, new for every file
    payload_nonce: bytes
    #: None while the end of a stream is not known; then only `object_size` and `chunk_count` cannot be asked
    plain_size: int | None

    def __post_init__(self) -> None:
        if len(self.payload_nonce) != PAYLOAD_NONCE_BYTES:
            raise ValueError(f"a payload nonce has {PAYLOAD_NONCE_BYTES} bytes")
        if self.plain_size is not None and self.plain_size < 0:
            raise ValueError("a size is not negative")

    @property
    def prefix(self) -> bytes:
        """What the object begins with: header and nonce."""
        return self.header + self.payload_nonce

    @property
    def payload_offset(self) -> int:
        """Where the first chunk begins."""
        return len(self.header) + PAYLOAD_NONCE_BYTES

    def _known_size(self) -> int:
        if self.plain_size is None:
            raise ValueError("the size of this stream is not known yet")
        return self.plain_size

    def chunk_count(self) -> int:
        """Return the number of chunks, at least one."""
        return chunks_in(self._known_size())

    def object_size(self) -> int:
        """Return the length of the whole sealed object."""
        return self.payload_offset + self._known_size() + TAG_BYTES * self.chunk_count()

    def _check_chunk(self, chunk: int) -> None:
        if chunk < 0 or (self.plain_size is not None and chunk >= self.chunk_count()):
            raise ValueError(f"there is no chunk {chunk}")

    def is_last(self, chunk: int) -> bool:
        """Return whether ``chunk`` is the final one; it carries another nonce."""
        return chunk == self.chunk_count() - 1

    def plain_range(self, chunk: int) -> tuple[int, int]:
        """Return which plaintext bytes ``chunk`` holds; a stream of unknown size has full chunks only."""
        self._check_chunk(chunk)
        start = chunk * CHUNK_BYTES
        stop = start + CHUNK_BYTES
        return start, stop if self.plain_size is None else min(stop, self.plain_size)

    def cipher_range(self, chunk: int) -> tuple[int, int]:
        """Return which bytes of the object hold ``chunk``, its tag included."""
        plain_start, plain_stop = self.plain_range(chunk)
        start = self.payload_offset + chunk * SEALED_CHUNK_BYTES
        return start, start + plain_stop - plain_start + TAG_BYTES

    def chunks_of(self, start: int, stop: int) -> range:
        """Return the chunks that ``[start, stop)`` of the object touches; header and nonce belong to none.

        Raises
        ------
        ValueError
            The range is backwards, negative, or reaches beyond the object.
        """
        if not 0 <= start <= stop or (self.plain_size is not None and stop > self.object_size()):
            raise ValueError("the range is not inside the object")
        first = max(start - self.payload_offset, 0) // SEALED_CHUNK_BYTES
        if stop <= max(start, self.payload_offset):
            return range(first, first)
        return range(first, (stop - self.payload_offset - 1) // SEALED_CHUNK_BYTES + 1)
