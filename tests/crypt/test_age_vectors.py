"""The public age vectors (C2SP CCTV) and our own few, made with the stock command, through every reader.

Each vector is `key: value` lines, an empty line, the file. On a payload failure the plaintext that came
out before the failure must be exactly the vector's.
"""

from __future__ import annotations

import hashlib
import io
import os
import zlib
from dataclasses import dataclass
from pathlib import Path

import pytest

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_pieces, open_sealed, open_stream
from ecogsafe.crypt.age_header import marshal_covered, marshal_mac_line, parse_header
from ecogsafe.crypt.age_password import ScryptIdentity
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.armor import armor, dearmor, dearmor_stream
from ecogsafe.crypt.errors import ArmorError, HeaderError, HmacError, NoMatchError, PayloadError
from ecogsafe.crypt.keys import parse_identity
from ecogsafe.crypt.unsealer import RangedOpener

OWN = Path(__file__).parent / "vectors"
PUBLIC = Path(__file__).resolve().parents[3] / "shared" / "vectors" / "age"
PUBLIC_COUNT = 143
FAILURE = {
    "header failure": HeaderError,
    "HMAC failure": HmacError,
    "no match": NoMatchError,
    "payload failure": PayloadError,
    "armor failure": ArmorError,
}


def vector_files(folder: Path) -> list[Path]:
    return sorted(p for p in folder.iterdir() if not p.name.startswith(".")) if folder.is_dir() else []


@dataclass(frozen=True)
class Vector:
    expect: str
    payload: str | None
    armored: bool
    identities: list[Identity]
    body: bytes

    @classmethod
    def read(cls, path: Path) -> Vector:
        head, _, body = path.read_bytes().partition(b"\n\n")
        lines = [line.split(": ", 1) for line in head.decode().split("\n")]
        facts = dict(lines)
        identities: list[Identity] = [parse_identity(v) for k, v in lines if k == "identity"]
        identities += [ScryptIdentity(Secret(v.encode())) for k, v in lines if k == "passphrase"]
        if facts.get("compressed") == "zlib":
            body = zlib.decompress(body)
        return cls(facts["expect"], facts.get("payload"), "armored" in facts, identities, body)

    def check_released(self, plain: bytes) -> None:
        if self.payload is not None:
            assert hashlib.sha256(plain).hexdigest() == self.payload


def ids_of(path: Path) -> str:
    return path.name if path.parent == PUBLIC else f"own-{path.name}"


ALL = vector_files(PUBLIC) + vector_files(OWN)
every_vector = pytest.mark.parametrize("path", ALL, ids=ids_of)
well_formed = pytest.mark.parametrize("path", [p for p in ALL if Vector.read(p).expect == "success"], ids=ids_of)


def test_all_public_vectors_are_here() -> None:
    found = len(vector_files(PUBLIC))
    if found == 0 and "vectors" not in os.environ.get("ECOGSAFE_TEST_REQUIRE", "").split(","):
        pytest.skip("the public age vectors are not beside this checkout")
    assert found == PUBLIC_COUNT


def test_own_vectors_are_here() -> None:
    assert len(vector_files(OWN)) == 5


@every_vector
@pytest.mark.parametrize("piece", [1 << 20, 1000], ids=["whole", "pieces"])
def test_vector_streamed(path: Path, piece: int) -> None:
    vector = Vector.read(path)
    pieces = [vector.body[i : i + piece] for i in range(0, len(vector.body), piece)]
    released = bytearray()

    def run() -> None:
        for plain in open_pieces(dearmor_stream(pieces) if vector.armored else pieces, vector.identities):
            released.extend(plain)

    if vector.expect == "success":
        run()
    else:
        with pytest.raises(FAILURE[vector.expect]) as caught:
            run()
        assert type(caught.value) is FAILURE[vector.expect]
    vector.check_released(bytes(released))


@every_vector
def test_vector_whole_gives_all_or_nothing(path: Path) -> None:
    vector = Vector.read(path)
    if vector.expect == "success":
        vector.check_released(b"".join(open_stream(io.BytesIO(vector.body), vector.identities)))
    else:
        with pytest.raises(EcogsafeError):
            open_sealed(vector.body, vector.identities)


@every_vector
def test_vector_by_range(path: Path) -> None:
    vector = Vector.read(path)
    if vector.expect == "armor failure":
        with pytest.raises(ArmorError):
            dearmor(vector.body)
        return
    try:
        body = dearmor(vector.body) if vector.armored else vector.body
        opener = RangedOpener(lambda start, stop: body[start:stop], len(body), vector.identities)
        plain = opener.read(0, opener.plain_size)
    except EcogsafeError as error:
        assert type(error) is FAILURE[vector.expect]
    else:
        assert vector.expect == "success"
        vector.check_released(plain)


@well_formed
def test_vector_header_is_written_as_it_was_read(path: Path) -> None:
    vector = Vector.read(path)
    body = dearmor(vector.body) if vector.armored else vector.body
    header = parse_header(body)
    assert header is not None
    assert marshal_covered(header.stanzas) == header.covered
    assert header.covered + marshal_mac_line(header.mac) == body[: header.size]
    assert dearmor(armor(body)) == body
