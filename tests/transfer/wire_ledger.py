"""What reached the wire, and the proof that no file key ever sealed two plaintexts with one chunk number.

The proxy hands over every body, whole or cut off by a kill. Afterwards headers are opened with the test's key:
that gives the file key of each body. All bodies of one file key must agree wherever they overlap, and every chunk
that is there from its first to its last byte must open: were two plaintexts sealed under one nonce and seen in
parts that do not overlap, its tag would not fit.
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import unquote

from ecogsafe.crypt.age_header import parse_header
from ecogsafe.crypt.age_recipients import Identity, open_header
from ecogsafe.crypt.age_stream import ChunkOpener
from ecogsafe.crypt.errors import PayloadError
from ecogsafe.crypt.sealed_layout import PAYLOAD_NONCE_BYTES, SealedLayout, plain_size_of

_AGE = b"age-encryption.org/v1\n"
_KEY = re.compile(r"/[^/]+/(?P<key>.+)")


@dataclass(frozen=True)
class Geometry:
    """What a catalogue says of one upload in parts."""

    upload_id: str
    prefix: bytes
    part_size: int
    object_size: int


@dataclass(frozen=True)
class _Body:
    #: the upload and its part; an object sent at once has neither
    upload_id: str
    number: int
    path: Path
    size: int


@dataclass
class Proof:
    """What the ledger could look at."""

    file_keys: int = 0
    bodies: int = 0
    chunks: int = 0


@dataclass
class _Stream:
    """All bodies of one file key."""

    layout: SealedLayout
    opener: ChunkOpener
    #: offset in the object
    pieces: list[tuple[int, _Body]] = field(default_factory=list)


class WireLedger:
    """Keeps every different body on disk; give `note` to the proxy."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        folder.mkdir()
        self._lock = threading.Lock()
        self._bodies: dict[tuple[str, int, str, int], _Body] = {}
        #: number of bodies that arrived, also those that had arrived before
        self.count = 0

    def note(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        """Keep the body of an object or a part; what is too short for one chunk number says nothing."""
        if method != "PUT" or not body:
            return
        upload_id, number = query.get("uploadId", ""), int(query.get("partNumber", 0))
        found = _KEY.fullmatch(unquote(path))
        assert found is not None
        digest = hashlib.sha256(body).hexdigest()
        with self._lock:
            self.count += 1
            # bodies sent at once under one key may be of several sealings: their headers tell them apart
            name = (upload_id or found["key"], number, digest, len(body))
            if name not in self._bodies:
                kept = self._folder / f"{len(self._bodies):06}"
                kept.write_bytes(body)
                self._bodies[name] = _Body(upload_id, number, kept, len(body))

    def prove(self, identities: Sequence[Identity], geometries: Iterable[Geometry]) -> Proof:
        """Fail if one file key and chunk number ever met two plaintexts."""
        proof = Proof()
        by_upload = {geometry.upload_id: geometry for geometry in geometries}
        streams: dict[bytes, _Stream] = {}
        for body in list(self._bodies.values()):
            geometry = by_upload.get(body.upload_id)
            if body.number and geometry is None:
                raise AssertionError(f"part {body.number} left for an upload that no catalogue ever knew")
            self._sort_in(body, geometry, identities, streams)
        for stream in streams.values():
            proof.file_keys += 1
            proof.bodies += len(stream.pieces)
            proof.chunks += _check(stream)
        return proof

    def _sort_in(
        self, body: _Body, geometry: Geometry | None, identities: Sequence[Identity], streams: dict[bytes, _Stream]
    ) -> None:
        data = body.path.read_bytes() if geometry is None or body.number == 1 else b""
        if geometry is None:
            if not data.startswith(_AGE):
                return  # plain, such as the id of the store
            header = parse_header(data)
            if header is None or len(data) < header.size + PAYLOAD_NONCE_BYTES:
                return  # cut off before the first chunk
            prefix, object_size, offset = data[: header.size + PAYLOAD_NONCE_BYTES], None, 0
        else:
            prefix, object_size = geometry.prefix, geometry.object_size
            offset = (body.number - 1) * geometry.part_size
            assert not data or data.startswith(prefix[: len(data)]), "the header that left is not the one on record"
        header = parse_header(prefix)
        assert header is not None
        file_key = open_header(header, identities).reveal()
        nonce = prefix[header.size :]
        stream = streams.get(file_key)
        if stream is None:
            plain_size = plain_size_of(object_size - len(prefix)) if object_size is not None else None
            layout = SealedLayout(prefix[: header.size], nonce, plain_size)
            stream = streams[file_key] = _Stream(layout, ChunkOpener(open_header(header, identities), nonce))
        assert stream.layout.prefix == prefix, "one file key under two headers"
        stream.pieces.append((offset, body))


def _check(stream: _Stream) -> int:
    """Fail if bodies disagree or a whole chunk does not open; return how many chunks were opened."""
    size = max(offset + body.size for offset, body in stream.pieces)
    whole = bytearray(size)
    covered: list[tuple[int, int]] = []
    for offset, body in sorted(stream.pieces, key=lambda piece: (piece[0], -piece[1].size)):
        data = body.path.read_bytes()
        for start, stop in covered:
            begin, end = max(start, offset), min(stop, offset + len(data))
            if begin < end:
                same = whole[begin:end] == data[begin - offset : end - offset]
                assert same, "one file key and chunk number, two plaintexts"
        whole[offset : offset + len(data)] = data
        covered.append((offset, offset + len(data)))
    return _open(stream, whole, _merged(covered))


def _merged(covered: list[tuple[int, int]]) -> list[tuple[int, int]]:
    merged: list[tuple[int, int]] = []
    for start, stop in sorted(covered):
        if merged and start <= merged[-1][1]:
            merged[-1] = merged[-1][0], max(stop, merged[-1][1])
        else:
            merged.append((start, stop))
    return merged


def _open(stream: _Stream, whole: bytearray, covered: list[tuple[int, int]]) -> int:
    layout = stream.layout
    if layout.plain_size is None:
        # sent at once: the longest body is the whole object, or as much of it as ever left
        plain_size = plain_size_of(len(whole) - layout.payload_offset)
        if plain_size is None:
            return 0
        layout = SealedLayout(layout.header, layout.payload_nonce, plain_size)
    opened = 0
    for chunk in range(layout.chunk_count()):
        start, stop = layout.cipher_range(chunk)
        if any(begin <= start and stop <= end for begin, end in covered):
            last = layout.is_last(chunk)
            if last and stream.layout.plain_size is None and not _opens(stream.opener, chunk, whole[start:stop]):
                continue  # a body that was cut off inside this chunk, and never came whole
            stream.opener.open(chunk, bytes(whole[start:stop]), last=last)
            opened += 1
    return opened


def _opens(opener: ChunkOpener, chunk: int, cipher: bytearray) -> bool:
    try:
        opener.open(chunk, bytes(cipher), last=True)
    except PayloadError:
        return False
    return True
