"""Whole sealed files: keys, journals, snapshots, indexes. What is uploaded is sealed by chunks instead."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Iterator, Sequence
from itertools import chain
from typing import BinaryIO

from ecogsafe.crypt.age_recipients import Identity, Recipient, seal_header
from ecogsafe.crypt.age_stream import ChunkSealer
from ecogsafe.crypt.armor import armor, dearmor_stream, is_armored
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, PAYLOAD_NONCE_BYTES, SealedLayout
from ecogsafe.crypt.unsealer import Unsealer

_READ_BYTES = 1 << 20


def seal(plaintext: bytes, recipients: Sequence[Recipient], *, armored: bool = False) -> bytes:
    """Return ``plaintext`` as an age file for ``recipients``, in the text form if ``armored``.

    Raises
    ------
    LabKeyError
        As `seal_header`.
    """
    file_key = FileKey.new()
    header = seal_header(file_key, recipients)
    payload_nonce = secrets.token_bytes(PAYLOAD_NONCE_BYTES)
    sealer = ChunkSealer(file_key, payload_nonce)
    if len(plaintext) <= CHUNK_BYTES:
        whole = b"".join((header, payload_nonce, sealer.seal(0, plaintext, last=True)))
        return armor(whole) if armored else whole
    layout = SealedLayout(header, payload_nonce, len(plaintext))
    sealed = bytearray(layout.object_size())
    sealed[: layout.payload_offset] = layout.prefix
    with memoryview(plaintext) as plain, memoryview(sealed) as out, out[layout.payload_offset :] as chunks:
        sealer.seal_run_into(0, plain, chunks, last=layout.chunk_count() - 1)
    return armor(bytes(sealed)) if armored else bytes(sealed)


def open_pieces(pieces: Iterable[bytes], identities: Sequence[Identity]) -> Iterator[bytes]:
    """Yield the plaintext of the binary age file that comes in ``pieces`` of any length.

    What is yielded is authentic; that nothing is missing is known only when the iteration ends by itself.

    Raises
    ------
    HeaderError, HmacError, NoMatchError, PayloadError
        While iterated, as `Unsealer`.
    """
    unsealer = Unsealer(identities)
    for piece in pieces:
        yield from unsealer.feed(piece)
    rest = unsealer.finish()
    if rest:
        yield rest


def open_stream(file: BinaryIO, identities: Sequence[Identity]) -> Iterator[bytes]:
    """Yield the plaintext of the age file ``file``, binary or text form, from its present position.

    Raises
    ------
    HeaderError, HmacError, NoMatchError, PayloadError, ArmorError
        While iterated, as `open_pieces` and `dearmor_stream`.
    """
    head = file.read(_READ_BYTES)
    pieces: Iterable[bytes] = chain([head], iter(lambda: file.read(_READ_BYTES), b""))
    return open_pieces(dearmor_stream(pieces) if is_armored(head) else pieces, identities)


def open_sealed(data: bytes, identities: Sequence[Identity]) -> bytes:
    """Return the plaintext of the whole age file ``data``, binary or text form; all of it or nothing.

    Raises
    ------
    HeaderError, HmacError, NoMatchError, PayloadError, ArmorError
        As `open_stream`.
    """
    pieces: Iterable[bytes] = [data]
    return b"".join(open_pieces(dearmor_stream(pieces) if is_armored(data) else pieces, identities))
