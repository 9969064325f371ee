"""The key of one sealed file: made, used, and kept wrapped while an upload is unfinished.

References
----------
C2SP age, "File key", "Header MAC", "Payload": https://c2sp.org/age
"""

from __future__ import annotations

import hmac
import secrets

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from ecogsafe.core.errors import LabKeyError

FILE_KEY_BYTES = 16
RESUME_KEY_BYTES = 32
#: an age nonce of zeros is safe where, as here, each key seals one message only
ZERO_NONCE = bytes(12)

_WRAP_VERSION = b"\x01"
_WRAP_SALT_BYTES = 24
_WRAP_INFO = b"ecogsafe resume key v1"
_WRAPPED_BYTES = len(_WRAP_VERSION) + _WRAP_SALT_BYTES + FILE_KEY_BYTES + 16


def hkdf_sha256(secret: bytes, *, salt: bytes, info: bytes) -> bytes:
    """Return 32 bytes of HKDF-SHA-256 (RFC 5869)."""
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(secret)


class FileKey:
    """16 random bytes that seal one file, once. It never prints."""

    __slots__ = ("_value",)

    def __init__(self, value: bytes) -> None:
        if len(value) != FILE_KEY_BYTES:
            raise LabKeyError("file key", f"has {len(value)} bytes, not {FILE_KEY_BYTES}")
        self._value = bytes(value)

    @classmethod
    def new(cls) -> FileKey:
        """Return a fresh key from the system's random generator."""
        return cls(secrets.token_bytes(FILE_KEY_BYTES))

    def reveal(self) -> bytes:
        """Return the key's bytes; never for output."""
        return self._value

    def payload_key(self, payload_nonce: bytes) -> bytes:
        """Return the 32-byte key of the payload that begins with the 16-byte ``payload_nonce``."""
        return hkdf_sha256(self._value, salt=payload_nonce, info=b"payload")

    def header_mac(self, covered: bytes) -> bytes:
        """Return the MAC of a header, ``covered`` being its bytes up to and including ``---``."""
        key = hkdf_sha256(self._value, salt=b"", info=b"header")
        return hmac.digest(key, covered, "sha256")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FileKey) and hmac.compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __str__(self) -> str:
        return "•••"

    __repr__ = __str__


def _wrapping_cipher(resume_key: bytes, salt: bytes) -> ChaCha20Poly1305:
    if len(resume_key) != RESUME_KEY_BYTES:
        raise LabKeyError("resume.key", f"has {len(resume_key)} bytes, not {RESUME_KEY_BYTES}")
    return ChaCha20Poly1305(hkdf_sha256(resume_key, salt=salt, info=_WRAP_INFO))


def wrap_file_key(key: FileKey, resume_key: bytes) -> bytes:
    """Return ``key`` sealed by the 32-byte ``resume_key``, to rest until the upload is complete.

    The form is: a version byte, 24 random bytes, the sealed key with its tag. Each wrapping has its own
    cipher key, derived from the random bytes, so that no number of uploads can repeat a nonce.

    Raises
    ------
    LabKeyError
        ``resume_key`` does not have 32 bytes.
    """
    salt = secrets.token_bytes(_WRAP_SALT_BYTES)
    return _WRAP_VERSION + salt + _wrapping_cipher(resume_key, salt).encrypt(ZERO_NONCE, key.reveal(), _WRAP_VERSION)


def unwrap_file_key(blob: bytes, resume_key: bytes) -> FileKey:
    """Return the key that `wrap_file_key` sealed.

    Raises
    ------
    LabKeyError
        ``blob`` was wrapped by another ``resume_key``, is damaged, or of another version.
    """
    if len(blob) != _WRAPPED_BYTES or blob[:1] != _WRAP_VERSION:
        raise LabKeyError("wrapped file key", "is not in the form this version writes")
    salt = blob[1 : 1 + _WRAP_SALT_BYTES]
    try:
        return FileKey(
            _wrapping_cipher(resume_key, salt).decrypt(ZERO_NONCE, blob[1 + _WRAP_SALT_BYTES :], _WRAP_VERSION)
        )
    except InvalidTag as error:
        raise LabKeyError(
            "wrapped file key",
            "was wrapped by another resume.key, or is damaged",
            next="abort that upload and begin it again",
        ) from error
