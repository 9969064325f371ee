"""The ledger of the wire must see every way in which a nonce could be used twice."""

from __future__ import annotations

import secrets
from pathlib import Path

import pytest

from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.age_stream import ChunkSealer
from ecogsafe.crypt.errors import PayloadError
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SealedLayout

from .wire_ledger import Geometry, WireLedger

IDENTITY = generate_identity()
SIZE = 5 * CHUNK_BYTES + 1000
#: ends inside a chunk
PART = 100_000


class Sealing:
    def __init__(self) -> None:
        self.key = FileKey.new()
        header = seal_header(self.key, [IDENTITY.recipient])
        self.layout = SealedLayout(header, secrets.token_bytes(16), SIZE)
        self.geometry = Geometry("u1", self.layout.prefix, PART, self.layout.object_size())

    def sealed(self, plain: bytes) -> bytes:
        sealer, layout = ChunkSealer(self.key, self.layout.payload_nonce), self.layout
        chunks = []
        for n in range(layout.chunk_count()):
            start, stop = layout.plain_range(n)
            chunks.append(sealer.seal(n, plain[start:stop], last=layout.is_last(n)))
        return layout.prefix + b"".join(chunks)

    def parts(self, plain: bytes) -> list[bytes]:
        sealed = self.sealed(plain)
        return [sealed[start : start + PART] for start in range(0, len(sealed), PART)]


@pytest.fixture
def ledger(tmp_path: Path) -> WireLedger:
    return WireLedger(tmp_path / "wire")


def send(ledger: WireLedger, number: int, body: bytes, upload_id: str = "u1") -> None:
    ledger.note("PUT", "/bucket/lab/key.age", {"partNumber": str(number), "uploadId": upload_id}, body)


def other(plain: bytes, at: int) -> bytes:
    changed = bytearray(plain)
    changed[at] ^= 1
    return bytes(changed)


def test_the_same_bytes_as_often_as_one_likes(ledger: WireLedger) -> None:
    sealing, plain = Sealing(), secrets.token_bytes(SIZE)
    for number, body in enumerate(sealing.parts(plain), 1):
        for length in (len(body), 10, len(body) // 2, len(body)):
            send(ledger, number, body[:length])
    proof = ledger.prove([IDENTITY], [sealing.geometry])
    assert (proof.file_keys, proof.chunks) == (1, 6)
    assert ledger.count == 4 * len(sealing.parts(plain))


@pytest.mark.parametrize("at", [0, PART, SIZE - 1])
@pytest.mark.parametrize("cut", [False, True])
def test_a_part_of_another_content(ledger: WireLedger, at: int, *, cut: bool) -> None:
    sealing, plain = Sealing(), secrets.token_bytes(SIZE)
    for number, body in enumerate(sealing.parts(plain), 1):
        send(ledger, number, body)
    for number, body in enumerate(sealing.parts(other(plain, at)), 1):
        send(ledger, number, body[:-1] if cut else body, "u2")
    second = Geometry("u2", sealing.geometry.prefix, PART, sealing.geometry.object_size)
    with pytest.raises(AssertionError, match="two plaintexts"):
        ledger.prove([IDENTITY], [sealing.geometry, second])


def test_two_halves_of_one_chunk_from_two_contents(ledger: WireLedger) -> None:
    """They do not overlap; the tag gives it away."""
    sealing, plain = Sealing(), secrets.token_bytes(SIZE)
    send(ledger, 1, sealing.parts(plain)[0])
    send(ledger, 2, sealing.parts(other(plain, PART - 1000))[1])
    with pytest.raises(PayloadError, match="chunk 1"):
        ledger.prove([IDENTITY], [sealing.geometry])


def test_two_objects_sent_at_once_under_one_file_key(ledger: WireLedger) -> None:
    sealing, plain = Sealing(), secrets.token_bytes(SIZE)
    ledger.note("PUT", "/bucket/lab/one.age", {}, sealing.sealed(plain))
    ledger.note("PUT", "/bucket/lab/two.age", {}, sealing.sealed(plain)[:-5])
    assert ledger.prove([IDENTITY], []).chunks == 6
    ledger.note("PUT", "/bucket/lab/two.age", {}, sealing.sealed(other(plain, 7)))
    with pytest.raises(AssertionError, match="two plaintexts"):
        ledger.prove([IDENTITY], [])


def test_a_part_of_an_upload_that_no_catalogue_knows(ledger: WireLedger) -> None:
    send(ledger, 1, b"x", "unknown")
    with pytest.raises(AssertionError, match="no catalogue"):
        ledger.prove([IDENTITY], [])


def test_plain_objects_and_reading_say_nothing(ledger: WireLedger) -> None:
    ledger.note("PUT", "/bucket/lab/_ecogsafe/store.json", {}, b"{}")
    ledger.note("POST", "/bucket/lab/key.age", {"uploads": ""}, b"")
    ledger.note("PUT", "/bucket/lab/key.age", {}, b"age-encryption.org/v1\n-> X25519 cut")
    assert ledger.prove([IDENTITY], []).file_keys == 0
