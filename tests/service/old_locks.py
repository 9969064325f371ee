"""Files as the lab locked them for years: by the real ``openssl enc -des``, or, for large numbers, made alike here."""

from __future__ import annotations

import gzip
import hashlib
import io
import os
import random
import subprocess
import tarfile
import warnings
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

OLD_PASSWORD = b"an old word of the lab"
LINES = [(md, salted, padded) for md in ("md5", "sha256") for salted in (True, False) for padded in (True, False)]


def name_of(line: tuple[str, bool, bool]) -> str:
    md, salted, padded = line
    return f"{md}-{'salted' if salted else 'bare'}-{'padded' if padded else 'nopad'}"


def openssl(data: bytes, md: str, *, salted: bool, padded: bool, folder: Path) -> bytes:
    """Return ``data`` locked by the command line of STORES.md 7; skips where this machine's openssl has no DES."""
    plain, locked, password = folder / "plain", folder / "locked", folder / "password"
    plain.write_bytes(data)
    password.write_bytes(OLD_PASSWORD + b"\n")
    words = ["openssl", "enc", "-e", "-des", "-md", md, "-provider", "legacy", "-provider", "default"]
    words += ["-salt" if salted else "-nosalt", *([] if padded else ["-nopad"])]
    words += ["-in", str(plain), "-out", str(locked), "-pass", f"file:{password}"]
    try:
        done = subprocess.run(words, capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no openssl on this machine")
    if b"etting cipher" in done.stderr or b"nable to load provider" in done.stderr:
        pytest.skip("this machine's openssl has no DES")
    assert done.returncode == 0, done.stderr
    return locked.read_bytes()


def locked(
    data: bytes, md: str = "md5", *, salted: bool = True, padded: bool = True, password: bytes = OLD_PASSWORD
) -> bytes:
    """Return ``data`` as `openssl` locks it."""
    salt = os.urandom(8) if salted else b""
    made = digest = b""
    while len(made) < 16:
        digest = hashlib.new(md, digest + password + salt).digest()
        made += digest
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        cipher = Cipher(TripleDES(made[:8] * 3), modes.CBC(made[8:16])).encryptor()
    if padded:
        data += bytes([8 - len(data) % 8]) * (8 - len(data) % 8)
    return (b"Salted__" + salt if salted else b"") + cipher.update(data) + cipher.finalize()


def tar_of(files: Mapping[str, bytes], *, top: str = "", form: int = tarfile.GNU_FORMAT) -> bytes:
    """Return a tar file as ``tar cf - DIR`` writes it: folders too."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        folders: set[str] = set()
        for name, data in files.items():
            path = top + name
            for parent in reversed(list(Path(path).parents)[:-1]):
                if str(parent) not in folders:
                    folders.add(str(parent))
                    entry = tarfile.TarInfo(str(parent))
                    entry.type, entry.mode = tarfile.DIRTYPE, 0o777
                    tar.addfile(entry)
            entry = tarfile.TarInfo(path)
            entry.size, entry.mtime, entry.mode = len(data), 1_600_000_000, 0o777
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def tar_gz(files: Mapping[str, bytes], *, top: str = "") -> bytes:
    return gzip.compress(tar_of(files, top=top), mtime=0)


def noise(size: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(size)
