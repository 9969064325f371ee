"""What we seal opens with stock `age` and pyrage, and the other way round."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pyrage
import pytest

from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, open_stream, seal
from ecogsafe.crypt.age_password import ScryptIdentity, ScryptRecipient
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.lab_key import identity_text
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES

SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES]
DataOf = Callable[[int], bytes]


def run_age(age: str, *arguments: str | Path, given: bytes) -> bytes:
    return subprocess.run([age, *map(str, arguments)], input=given, check=True, capture_output=True).stdout


@pytest.mark.parametrize("armored", [False, True], ids=["binary", "text"])
@pytest.mark.parametrize("size", SIZES)
def test_stock_age_both_ways(size: int, armored: bool, stock_age: str, tmp_path: Path, data_of: DataOf) -> None:
    lab, recovery = generate_identity(), generate_identity()
    plain = data_of(size)
    sealed = seal(plain, [lab.recipient, recovery.recipient], armored=armored)
    for identity in (lab, recovery):
        key_file = tmp_path / "key.txt"
        key_file.write_text(identity_text(identity))
        assert run_age(stock_age, "-d", "-i", key_file, given=sealed) == plain
    recipients = tmp_path / "recipients.txt"
    recipients.write_text(f"# lab key\n{lab.recipient.to_text()}\n# recovery key\n{recovery.recipient.to_text()}\n")
    theirs = run_age(stock_age, "-e", "-R", recipients, *["-a"] * armored, given=plain)
    for identity in (lab, recovery):
        assert open_sealed(theirs, [identity]) == plain


@pytest.mark.parametrize("size", SIZES)
def test_pyrage_both_ways(size: int, data_of: DataOf) -> None:
    lab, recovery = generate_identity(), generate_identity()
    plain = data_of(size)
    sealed = seal(plain, [lab.recipient, recovery.recipient])
    recipients = [pyrage.x25519.Recipient.from_str(i.recipient.to_text()) for i in (lab, recovery)]
    theirs = pyrage.encrypt(plain, recipients)
    for identity in (lab, recovery):
        assert pyrage.decrypt(sealed, [pyrage.x25519.Identity.from_str(identity.to_text())]) == plain
        assert open_sealed(theirs, [identity]) == plain


def test_pyrage_keys_are_our_keys() -> None:
    for _ in range(3):
        ours = generate_identity()
        assert str(pyrage.x25519.Identity.from_str(ours.to_text()).to_public()) == ours.recipient.to_text()


def test_pyrage_opens_our_password(data_of: DataOf) -> None:
    plain = data_of(CHUNK_BYTES + 5)
    sealed = seal(plain, [ScryptRecipient(Secret("wörd".encode()), work_factor=10)])
    assert pyrage.passphrase.decrypt(sealed, "wörd") == plain


def test_stock_age_opens_our_password(ask_age: Callable[..., None], tmp_path: Path, data_of: DataOf) -> None:
    password = Secret(b"correct horse")
    plain = data_of(CHUNK_BYTES + 5)
    (tmp_path / "sealed.age").write_bytes(seal(plain, [ScryptRecipient(password, work_factor=10)]))
    ask_age("-d", "-o", tmp_path / "plain", tmp_path / "sealed.age", password=password)
    assert (tmp_path / "plain").read_bytes() == plain


def test_we_open_the_password_of_stock_age(ask_age: Callable[..., None], tmp_path: Path, data_of: DataOf) -> None:
    password = Secret(b"correct horse")
    plain = data_of(2 * CHUNK_BYTES)
    (tmp_path / "plain").write_bytes(plain)
    ask_age("-p", "-o", tmp_path / "sealed.age", tmp_path / "plain", password=password, questions=2)
    with (tmp_path / "sealed.age").open("rb") as file:
        assert b"".join(open_stream(file, [ScryptIdentity(password)])) == plain
