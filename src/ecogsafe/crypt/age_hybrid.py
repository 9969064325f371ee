"""The post-quantum keys of age (``age1pq1…``): HPKE over MLKEM768-X25519.

References
----------
C2SP age, "The MLKEM768-X25519 hybrid post-quantum recipient type": https://c2sp.org/age;
the expansion of the 32-byte seed and the order of the two halves: draft-connolly-cfrg-xwing-kem, 5.2.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey, MLKEM768PublicKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import (
    AEAD,
    KDF,
    KEM,
    MLKEM768X25519PrivateKey,
    MLKEM768X25519PublicKey,
    Suite,
)

from ecogsafe.core.errors import LabKeyError
from ecogsafe.crypt import bech32
from ecogsafe.crypt.age_header import Stanza, decode_base64, encode_base64, malformed
from ecogsafe.crypt.age_recipients import KEY_BYTES, check_body, check_key_length
from ecogsafe.crypt.file_key import FileKey

HYBRID_KIND = "mlkem768x25519"
HYBRID_PREFIX = "age1pq"
HYBRID_SECRET_PREFIX = "age-secret-key-pq-"  # noqa: S105

_INFO = b"age-encryption.org/mlkem768x25519"
_MLKEM_SEED_BYTES = 64
_MLKEM_PUBLIC_BYTES = 1184
_MLKEM_CIPHERTEXT_BYTES = 1088
_PUBLIC_BYTES = _MLKEM_PUBLIC_BYTES + KEY_BYTES
_ENCAPSULATED_BYTES = _MLKEM_CIPHERTEXT_BYTES + KEY_BYTES


def _suite() -> Suite:
    return Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)


def _unsupported() -> LabKeyError:
    return LabKeyError(
        "key",
        "is a post-quantum key, which the cryptography library of this machine cannot use",
        next="install the cryptography wheel from PyPI",
    )


class HybridRecipient:
    """The public half of a hybrid identity: ``age1pq1…``.

    Raises
    ------
    LabKeyError
        The bytes are no such key, or the cryptography library was built without ML-KEM.
    """

    kind = HYBRID_KIND

    def __init__(self, public: bytes) -> None:
        check_key_length(public, _PUBLIC_BYTES)
        self._public = bytes(public)
        try:
            self._key = MLKEM768X25519PublicKey(
                MLKEM768PublicKey.from_public_bytes(self._public[:_MLKEM_PUBLIC_BYTES]),
                X25519PublicKey.from_public_bytes(self._public[_MLKEM_PUBLIC_BYTES:]),
            )
        except UnsupportedAlgorithm as error:
            raise _unsupported() from error
        except ValueError as error:
            raise LabKeyError("key", "is not a valid post-quantum public key") from error

    def to_text(self) -> str:
        """Return ``age1pq1…``, some 1,960 characters."""
        return bech32.encode(HYBRID_PREFIX, self._public)

    def wrap(self, file_key: FileKey) -> Stanza:
        """Return a new stanza that holds ``file_key``.

        Raises
        ------
        LabKeyError
            The X25519 half is a point of low order.
        """
        try:
            sealed = _suite().encrypt(file_key.reveal(), self._key, info=_INFO)
        except ValueError as error:
            raise LabKeyError("recipient", "is not a usable post-quantum key") from error
        encapsulated, body = sealed[:_ENCAPSULATED_BYTES], sealed[_ENCAPSULATED_BYTES:]
        return Stanza((self.kind, encode_base64(encapsulated)), body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HybridRecipient) and self._public == other._public

    def __hash__(self) -> int:
        return hash(self._public)

    def __repr__(self) -> str:
        return f"HybridRecipient({self.to_text()[:20]}…)"


class HybridIdentity:
    """A post-quantum secret key: ``AGE-SECRET-KEY-PQ-1…``. It never prints.

    Raises
    ------
    LabKeyError
        The seed has not 32 bytes, or the cryptography library was built without ML-KEM.
    """

    def __init__(self, seed: bytes) -> None:
        check_key_length(seed, KEY_BYTES)
        self._seed = bytes(seed)
        expanded = hashlib.shake_256(self._seed).digest(_MLKEM_SEED_BYTES + KEY_BYTES)
        self._x25519 = X25519PrivateKey.from_private_bytes(expanded[_MLKEM_SEED_BYTES:])
        try:
            mlkem = MLKEM768PrivateKey.from_seed_bytes(expanded[:_MLKEM_SEED_BYTES])
        except UnsupportedAlgorithm as error:
            raise _unsupported() from error
        self._key = MLKEM768X25519PrivateKey(mlkem, self._x25519)
        self._public = mlkem.public_key().public_bytes_raw() + self._x25519.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> HybridIdentity:
        """Return a fresh identity from the system's random generator."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def recipient(self) -> HybridRecipient:
        """The public half."""
        return HybridRecipient(self._public)

    def to_text(self) -> str:
        """Return ``AGE-SECRET-KEY-PQ-1…``; only to show or write it where the user asked for it."""
        return bech32.encode(HYBRID_SECRET_PREFIX, self._seed).upper()

    def unwrap(self, stanza: Stanza) -> FileKey | None:
        """Return the file key of ``stanza``, or None if it is not for this identity."""
        if stanza.kind != HYBRID_KIND:
            return None
        if len(stanza.arguments) != 2:
            raise malformed("a post-quantum stanza has the wrong number of arguments")
        encapsulated = decode_base64(stanza.arguments[1])
        if len(encapsulated) != _ENCAPSULATED_BYTES:
            raise malformed("a post-quantum stanza has an encapsulated key of the wrong length")
        check_body(stanza.body)
        # HPKE reports every failure alike; a share of low order is a malformed stanza, not another's.
        try:
            self._x25519.exchange(X25519PublicKey.from_public_bytes(encapsulated[_MLKEM_CIPHERTEXT_BYTES:]))
        except ValueError as error:
            raise malformed("a post-quantum stanza has an X25519 share of low order") from error
        try:
            return FileKey(_suite().decrypt(encapsulated + stanza.body, self._key, info=_INFO))
        except InvalidTag:
            return None

    def __eq__(self, other: object) -> bool:
        return isinstance(other, HybridIdentity) and hmac.compare_digest(self._seed, other._seed)

    def __hash__(self) -> int:
        return hash(self._public)

    def __repr__(self) -> str:
        return f"HybridIdentity(of {self.recipient.to_text()[:20]}…)"
