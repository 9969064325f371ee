"""The lab's old lock: files of ``openssl enc -des`` (DES-CBC, a key made from a password). Reading only.

The key is made by ``EVP_BytesToKey`` with one round: of MD5 (OpenSSL up to 1.0, and ``-md md5``) or of SHA-256
(since 1.1.0). A salted file begins with ``Salted__`` and 8 bytes of salt; with ``-nosalt`` nothing precedes the data.
Nothing in such a file tells whether the password was right: DES-CBC is not authenticated, and padding comes out right
by chance once in 256 times. Who opens one must judge by what comes out (`ecogsafe.formats.plain_content`).

References
----------
``openssl-enc(1)`` and ``EVP_BytesToKey(3)``; FIPS 46-3 (withdrawn) for DES.
"""

from __future__ import annotations

import hashlib
import warnings
from copy import copy
from dataclasses import dataclass
from enum import StrEnum

from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives.ciphers import Cipher, modes

from ecogsafe.core.private import Secret

#: first bytes of a salted file
MAGIC = b"Salted__"
BLOCK = 8
_SALT_BYTES = 8
_KEY_BYTES = 8


class Derivation(StrEnum):
    """The digest that makes the key from the password."""

    MD5 = "md5"
    SHA256 = "sha256"


@dataclass(frozen=True, slots=True)
class Lock:
    """One way in which the bytes may have been locked."""

    derivation: Derivation
    #: empty: not salted
    salt: bytes

    @property
    def body_start(self) -> int:
        """Offset in the file of the first locked byte."""
        return len(MAGIC) + _SALT_BYTES if self.salt else 0


def possible_locks(head: bytes) -> tuple[Lock, ...]:
    """Return the ways in which a file that begins with ``head`` (16 bytes at least) may be locked, likeliest first."""
    salt = head[len(MAGIC) : len(MAGIC) + _SALT_BYTES] if is_salted(head) else b""
    return tuple(Lock(derivation, salt) for derivation in Derivation)


def is_salted(head: bytes) -> bool:
    """Return whether ``head`` is that of a salted file of ``openssl enc``."""
    return head.startswith(MAGIC) and len(head) >= len(MAGIC) + _SALT_BYTES


def _key_and_iv(password: Secret, lock: Lock) -> tuple[bytes, bytes]:
    made = digest = b""
    while len(made) < _KEY_BYTES + BLOCK:
        digest = hashlib.new(
            lock.derivation.value, digest + password.reveal() + lock.salt, usedforsecurity=False
        ).digest()
        made += digest
    return made[:_KEY_BYTES], made[_KEY_BYTES : _KEY_BYTES + BLOCK]


class Unlocker:
    """Opens the locked bytes of one file, in order, in constant memory; padding stays in what comes out.

    Parameters
    ----------
    lock
        As `possible_locks` gave it; bytes are fed from ``lock.body_start`` on.
    """

    def __init__(self, password: Secret, lock: Lock) -> None:
        self._key, iv = _key_and_iv(password, lock)
        self._begin(iv)

    def _begin(self, before: bytes) -> None:
        # DES is triple DES with three equal keys; the library warns of what is the whole point here
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._context = Cipher(TripleDES(self._key * 3), modes.CBC(before)).decryptor()
        self._fed = 0

    def after(self, before: bytes) -> Unlocker:
        """Return another one that goes on behind the locked block ``before``, 8 bytes."""
        other = copy(self)
        other._begin(before)
        return other

    def feed(self, data: bytes | memoryview) -> bytes:
        """Return the bytes that ``data`` completes; whole blocks of 8."""
        self._fed += len(data)
        return self._context.update(data)

    @property
    def is_whole(self) -> bool:
        """True if what was fed is whole blocks; a locked file never ends inside one."""
        return self._fed > 0 and self._fed % BLOCK == 0


def padding_length(last_block: bytes) -> int:
    """Return how many bytes ``openssl enc`` may have added at the end (PKCS #7), 0 where the end is no padding."""
    count = last_block[-1] if last_block else 0
    if 1 <= count <= BLOCK and last_block.endswith(bytes([count]) * count):
        return count
    return 0
