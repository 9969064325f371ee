"""The tar stream inside content that may be compressed: gzip, zstd, or a tar file as it stands."""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator
from typing import IO, cast

import zstandard

from ecogsafe.core.errors import MalformedFileError, VerificationError
from ecogsafe.formats.plain_content import Content

_PIECE_BYTES = 1 << 20
#: of a frame of ours, and of ``zstd -19 --long``
_MOST_WINDOW_BYTES = 128 << 20
_SAFE = "Nothing of it was put in place"


def unzipped(pieces: Iterable[bytes], content: Content | None, *, item: str) -> Iterator[bytes]:
    """Yield the tar stream; ``pieces`` are read to their end.

    A cut zstd stream ends early without an error: whoever reads the tar stream misses its end.

    Raises
    ------
    MalformedFileError
        ``content`` is none of the three.
    VerificationError
        While iterated: the compressed content is damaged or cut.
    """
    if content is Content.TAR:
        return iter(pieces)
    if content is Content.GZIP:
        return _inflated(iter(pieces), item)
    if content is Content.ZSTD:
        return _from_zstd(pieces, item)
    raise MalformedFileError(
        item, "holds no tar file (nor one in gzip or zstd)", safe=_SAFE, next="leave --untar out to get it as it is"
    )


def _inflated(pieces: Iterator[bytes], item: str) -> Iterator[bytes]:
    inflater = zlib.decompressobj(wbits=31)
    try:
        for piece in pieces:
            data = piece
            while data:
                if inflater.eof:
                    inflater = zlib.decompressobj(wbits=31)
                yield inflater.decompress(data, _PIECE_BYTES)
                data = inflater.unused_data if inflater.eof else inflater.unconsumed_tail
        while not inflater.eof:
            rest = inflater.decompress(inflater.unconsumed_tail, _PIECE_BYTES)
            if not rest:
                raise _damaged(item, "is cut: its compressed content does not come to its end")
            yield rest
    except zlib.error as error:
        raise _damaged(item, "is damaged: its compressed content does not have its checksum or its form") from error


def _from_zstd(pieces: Iterable[bytes], item: str) -> Iterator[bytes]:
    decompressor = zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW_BYTES)
    reader = decompressor.stream_reader(cast(IO[bytes], _File(pieces)), read_across_frames=True)
    try:
        while data := reader.read(_PIECE_BYTES):
            yield data
    except zstandard.ZstdError as error:
        raise _damaged(item, "is damaged: its compressed content does not have its form") from error


class _File:
    """Pieces as the decompressor reads them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        while not self._held:
            piece = next(self._pieces, None)
            if piece is None:
                return b""
            self._held = piece
        data, self._held = (self._held, b"") if size < 0 else (self._held[:size], self._held[size:])
        return data


def _damaged(item: str, problem: str) -> VerificationError:
    return VerificationError(item, problem, safe=_SAFE, next="try another copy of it")
