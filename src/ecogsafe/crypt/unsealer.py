"""Opening sealed objects: as they arrive (`Unsealer`), by range (`RangedOpener`), or a run of chunks (`ChunkRun`)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from ecogsafe.crypt.age_header import MAX_HEADER_BYTES, Header, malformed, parse_header
from ecogsafe.crypt.age_recipients import Identity, open_header
from ecogsafe.crypt.age_stream import ChunkOpener
from ecogsafe.crypt.errors import SEALED_DATA, PayloadError
from ecogsafe.crypt.sealed_layout import (
    CHUNK_BYTES,
    PAYLOAD_NONCE_BYTES,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    SealedLayout,
    chunks_in,
    plain_size_of,
)

#: how much of an object is fetched first for its header: more than a few recipients take
_FIRST_READ_BYTES = 4096
#: chunks fetched by one range request: 8 MiB of plaintext
_BATCH_CHUNKS = 128


def open_prefix(data: bytes | bytearray, identities: Sequence[Identity]) -> tuple[ChunkOpener, int] | None:
    """Return what opens the chunks of the object that begins with ``data``, and where the first one begins.

    None while header and nonce are not complete.

    Raises
    ------
    HeaderError, HmacError, NoMatchError
        As `open_header`.
    """
    header = parse_header(data)
    if header is None or len(data) < header.size + PAYLOAD_NONCE_BYTES:
        return None
    file_key = open_header(header, identities)
    payload_offset = header.size + PAYLOAD_NONCE_BYTES
    return ChunkOpener(file_key, bytes(data[header.size : payload_offset])), payload_offset


class ChunkRun:
    """Opens consecutive chunks of one object, from their bytes in pieces of any size, into one buffer.

    Parameters
    ----------
    first_chunk
        Number of the chunk that the bytes begin with.
    out
        Where the plaintext goes; its length says how many chunks there are. Every chunk is full, but for
        the last one of the object.
    with_last
        Whether the run ends with the last chunk of the object.
    """

    def __init__(self, opener: ChunkOpener, first_chunk: int, out: memoryview, *, with_last: bool) -> None:
        self._opener = opener
        self._chunk = first_chunk
        self._out = out
        self._after = first_chunk + (chunks_in(len(out)) if with_last else len(out) // CHUNK_BYTES)
        self._with_last = with_last
        #: bytes of ``out`` that are opened
        self.position = 0
        #: the beginning of a chunk whose end has not come
        self._held = bytearray()

    @property
    def is_complete(self) -> bool:
        """Whether every chunk was opened."""
        return self._chunk == self._after

    def feed(self, data: bytes | bytearray | memoryview) -> None:
        """Open what ``data`` completes.

        Raises
        ------
        PayloadError
            A chunk is not what was sealed, or there is more than the run has.
        """
        with memoryview(data) as view:
            taken = 0
            while taken < len(view):
                if self.is_complete:
                    raise PayloadError(SEALED_DATA, "there are bytes after the last chunk")
                whole = 0 if self._held else self._whole_chunks(len(view) - taken)
                if whole:
                    stop = taken + whole * SEALED_CHUNK_BYTES
                    self._open_whole(view[taken:stop], whole)
                    taken = stop
                    continue
                wanted = self._sealed_size()
                if self._held or len(view) - taken < wanted:
                    more = view[taken : taken + wanted - len(self._held)]
                    self._held += more
                    taken += len(more)
                    if len(self._held) == wanted:
                        self._open(self._held)
                        self._held.clear()
                else:
                    self._open(view[taken : taken + wanted])
                    taken += wanted

    def finish(self) -> None:
        """Raise PayloadError unless everything came."""
        if not self.is_complete:
            raise PayloadError(SEALED_DATA, "ends before its last chunk")

    def _sealed_size(self) -> int:
        return min(CHUNK_BYTES, len(self._out) - self.position) + TAG_BYTES

    def _whole_chunks(self, size: int) -> int:
        """Return how many full chunks ``size`` bytes are, without the last one of the object."""
        return min(size // SEALED_CHUNK_BYTES, self._after - self._with_last - self._chunk)

    def _open_whole(self, cipher: memoryview, count: int) -> None:
        stop = self.position + count * CHUNK_BYTES
        self._opener.open_run_into(self._chunk, cipher, self._out[self.position : stop])
        self.position = stop
        self._chunk += count

    def _open(self, cipher: bytearray | memoryview) -> None:
        stop = self.position + len(cipher) - TAG_BYTES
        is_last = self._with_last and self._chunk == self._after - 1
        self._opener.open_into(self._chunk, cipher, self._out[self.position : stop], last=is_last)
        self.position = stop
        self._chunk += 1


class Unsealer:
    """Opens one sealed object from its bytes in order, in pieces of any size.

    Every piece of plaintext that comes out has been authenticated; that nothing is missing at the end is
    known only when `finish` has returned.
    """

    def __init__(self, identities: Sequence[Identity]) -> None:
        self._identities = identities
        self._held = bytearray()
        self._taken = 0
        self._opener: ChunkOpener | None = None
        self._next_chunk = 0
        self._saw_last = False
        self._finished = False

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[bytes]:
        """Take the next ``data`` of the object; iterate the result for the plaintext that is now certain.

        Raises (while iterated)
        -----------------------
        HeaderError, HmacError, NoMatchError
            As `open_header`.
        PayloadError
            A chunk is not what was sealed, or there is more after the last one.
        """
        if self._finished:
            raise ValueError("this object is finished")
        self._held += data
        return self._drain()

    def _open_prefix(self) -> bool:
        opened = open_prefix(self._held, self._identities)
        if opened is None:
            return False
        self._opener, self._taken = opened
        return True

    def _open_full(self, opener: ChunkOpener) -> bytes:
        # Whether a full chunk is the last can be told only by trying; nearly always it is not.
        with memoryview(self._held) as held, held[self._taken : self._taken + SEALED_CHUNK_BYTES] as cipher:
            try:
                return opener.open(self._next_chunk, cipher, last=False)
            except PayloadError:
                plain = opener.open(self._next_chunk, cipher, last=True)
        self._saw_last = True
        return plain

    def _drain(self) -> Iterator[bytes]:
        if self._opener is None and not self._open_prefix():
            return
        opener = self._opener
        while opener is not None and len(self._held) - self._taken >= SEALED_CHUNK_BYTES and not self._saw_last:
            plain = self._open_full(opener)
            self._taken += SEALED_CHUNK_BYTES
            self._next_chunk += 1
            yield plain
        del self._held[: self._taken]
        self._taken = 0
        if self._saw_last and self._held:
            raise PayloadError(SEALED_DATA, "there are bytes after the last chunk")

    def finish(self) -> bytes:
        """Return the rest of the plaintext, perhaps empty; after it the object is known to be whole.

        Raises
        ------
        HeaderError
            The object ended inside its header or nonce.
        PayloadError
            The object ended before its last chunk did, or what was fed last is not what was sealed.
        """
        if self._finished:
            raise ValueError("this object is finished")
        rest = b"".join(self._drain())
        self._finished = True
        if self._opener is None:
            # parse again only to tell a cut nonce from a cut header
            cut = "header" if parse_header(self._held) is None else "nonce"
            raise malformed(f"ends inside its {cut}")
        if self._saw_last:
            return rest
        return rest + self._opener.open(self._next_chunk, self._held, last=True)


class RangedOpener:
    """Opens any range of a sealed object without reading the rest.

    The last chunk is fetched and authenticated first: from then on the size is known to be true.

    Parameters
    ----------
    read
        Returns the bytes ``[start, stop)`` of the object, exactly that many.
    size
        Length of the object, as the store says.

    Raises
    ------
    HeaderError, HmacError, NoMatchError
        As `open_header`.
    PayloadError
        No sealed object has this size, its last chunk is not authentic, or ``read`` returned too little.
    """

    def __init__(self, read: Callable[[int, int], bytes], size: int, identities: Sequence[Identity]) -> None:
        self._read = read
        header, start = self._read_header(size)
        payload_offset = header.size + PAYLOAD_NONCE_BYTES
        if size < payload_offset:
            raise malformed("ends inside its nonce")
        if len(start) < payload_offset:
            start += self._read_exactly(len(start), payload_offset)
        file_key = open_header(header, identities)
        plain_size = plain_size_of(size - payload_offset)
        if plain_size is None:
            raise PayloadError(SEALED_DATA, "is cut: no sealed file has this size")
        nonce = start[header.size : payload_offset]
        #: plaintext bytes
        self.plain_size = plain_size
        self.layout = SealedLayout(start[: header.size], nonce, plain_size)
        self._opener = ChunkOpener(file_key, nonce)
        self._last_index = self.layout.chunk_count() - 1
        self._last_plain = self._opener.open(
            self._last_index, self._read_exactly(*self.layout.cipher_range(self._last_index)), last=True
        )

    def _read_exactly(self, start: int, stop: int) -> bytes:
        data = self._read(start, stop)
        if len(data) != stop - start:
            raise PayloadError(SEALED_DATA, f"{stop - start} bytes were asked for, {len(data)} came")
        return data

    def _read_header(self, size: int) -> tuple[Header, bytes]:
        start = b""
        wanted = _FIRST_READ_BYTES
        while True:
            start += self._read_exactly(len(start), min(wanted, size))
            header = parse_header(start)
            if header is not None:
                return header, start
            if len(start) == size:
                raise malformed("ends inside its header")
            wanted = min(2 * wanted, MAX_HEADER_BYTES + PAYLOAD_NONCE_BYTES)

    def stream(self, start: int, stop: int) -> Iterator[bytes]:
        """Return the plaintext bytes ``[start, stop)`` in authenticated pieces; 8 MiB are fetched at a time.

        Raises
        ------
        ValueError
            The range is not inside the plaintext.
        PayloadError
            While iterated: a chunk is not what was sealed.
        """
        if not 0 <= start <= stop <= self.plain_size:
            raise ValueError("the range is not inside the file")
        return self._stream(start, stop)

    def _stream(self, start: int, stop: int) -> Iterator[bytes]:
        if start == stop:
            return
        first, after = start // CHUNK_BYTES, (stop - 1) // CHUNK_BYTES + 1
        for batch in range(first, after, _BATCH_CHUNKS):
            for index, plain in self._chunks(batch, min(batch + _BATCH_CHUNKS, after)):
                offset = index * CHUNK_BYTES
                yield plain[max(start - offset, 0) : stop - offset]

    def _chunks(self, first: int, after: int) -> Iterator[tuple[int, bytes]]:
        fetched = min(after, self._last_index)
        if first < fetched:
            base = self.layout.cipher_range(first)[0]
            data = memoryview(self._read_exactly(base, self.layout.cipher_range(fetched - 1)[1]))
            for index in range(first, fetched):
                at = (index - first) * SEALED_CHUNK_BYTES
                yield index, self._opener.open(index, data[at : at + SEALED_CHUNK_BYTES], last=False)
        if after > self._last_index:
            yield self._last_index, self._last_plain

    def read(self, start: int, stop: int) -> bytes:
        """Return the plaintext bytes ``[start, stop)``; use `stream` for more than a few MiB."""
        return b"".join(self.stream(start, stop))
