"""The lab's old DES files open, whichever OpenSSL wrote them and however."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.private import Secret
from ecogsafe.crypt.openssl_des import MAGIC, Derivation, Lock, Unlocker, is_salted, padding_length, possible_locks

_FILE = json.loads((Path(__file__).parent / "openssl_des.json").read_text())
VECTORS = _FILE["vectors"]
PASSWORD = Secret(_FILE["password"].encode())


def _name(vector: dict[str, Any]) -> str:
    return (
        f"{vector['derivation']}-{'salted' if vector['salted'] else 'bare'}-{'padded' if vector['padded'] else 'nopad'}"
    )


def _opened(vector: dict[str, Any], *, password: Secret = PASSWORD, step: int = 1 << 20) -> dict[Derivation, bytes]:
    """Return what each possible lock gives."""
    locked = base64.b64decode(vector["locked"])
    found = {}
    for lock in possible_locks(locked[:16]):
        unlocker = Unlocker(password, lock)
        body = locked[lock.body_start :]
        found[lock.derivation] = b"".join(unlocker.feed(body[at : at + step]) for at in range(0, len(body), step))
        assert unlocker.is_whole
    return found


@pytest.mark.parametrize("vector", VECTORS, ids=_name)
@pytest.mark.parametrize("step", [1, 7, 4096])
def test_what_openssl_locked_opens_and_the_other_derivation_does_not(vector: dict[str, Any], step: int) -> None:
    plain = base64.b64decode(vector["plain"])
    for derivation, opened in _opened(vector, step=step).items():
        if derivation != vector["derivation"]:
            assert opened[: len(plain)] != plain
            continue
        assert opened[: len(plain)] == plain
        padding = len(opened) - len(plain)
        assert padding == (padding_length(opened[-8:]) if vector["padded"] else 0)


def test_another_password_gives_other_bytes() -> None:
    for vector in VECTORS:
        plain = base64.b64decode(vector["plain"])
        assert all(o[:8] != plain[:8] for o in _opened(vector, password=Secret(b"another")).values())


def test_a_salted_file_is_told_by_its_first_bytes() -> None:
    assert is_salted(MAGIC + bytes(8))
    assert not is_salted(MAGIC + bytes(7))
    assert not is_salted(bytes(16))
    assert [lock.salt for lock in possible_locks(MAGIC + b"saltsalt" + bytes(8))] == [b"saltsalt"] * 2
    assert [lock.body_start for lock in possible_locks(bytes(16))] == [0, 0]


def test_a_file_cut_inside_a_block_is_noticed() -> None:
    unlocker = Unlocker(PASSWORD, Lock(Derivation.MD5, b""))
    assert not unlocker.is_whole
    unlocker.feed(bytes(12))
    assert not unlocker.is_whole
    unlocker.feed(bytes(4))
    assert unlocker.is_whole


@pytest.mark.parametrize(
    ("block", "length"),
    [
        (bytes([8]) * 8, 8),
        (b"abcdefg\x01", 1),
        (b"abcde\x03\x03\x03", 3),
        (b"abcde\x02\x03\x03", 0),
        (b"abcdefg\x00", 0),
        (b"abcdefg\x09", 0),
        (b"", 0),
    ],
)
def test_padding_is_what_openssl_adds(block: bytes, length: int) -> None:
    assert padding_length(block) == length
