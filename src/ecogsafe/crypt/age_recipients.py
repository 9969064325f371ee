"""Who can open a file: recipients and identities, X25519 keys, and the header made for them.

References
----------
C2SP age, "Header", "The X25519 recipient type": https://c2sp.org/age
"""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from ecogsafe.core.errors import LabKeyError
from ecogsafe.crypt import bech32
from ecogsafe.crypt.age_header import (
    Header,
    Stanza,
    decode_base64,
    encode_base64,
    malformed,
    marshal_covered,
    marshal_mac_line,
)
from ecogsafe.crypt.errors import SEALED_DATA, HmacError, NoMatchError
from ecogsafe.crypt.file_key import FILE_KEY_BYTES, ZERO_NONCE, FileKey, hkdf_sha256

#: the stanza kind of a password (age_password.py), which never shares a file
PASSWORD_KIND = "scrypt"  # noqa: S105
X25519_PREFIX = "age"
X25519_SECRET_PREFIX = "age-secret-key-"  # noqa: S105
KEY_BYTES = 32

_X25519_INFO = b"age-encryption.org/v1/X25519"
WRAPPED_BYTES = FILE_KEY_BYTES + 16


class Recipient(Protocol):
    """Someone a file can be sealed to."""

    @property
    def kind(self) -> str:
        """The first argument of the stanzas it makes."""

    def wrap(self, file_key: FileKey) -> Stanza:
        """Return a new stanza that holds ``file_key``; never the same twice."""


class Identity(Protocol):
    """Something that can open a file."""

    def unwrap(self, stanza: Stanza) -> FileKey | None:
        """Return the file key of ``stanza``, or None if it is not for this identity.

        Raises
        ------
        HeaderError
            The stanza is of this identity's kind but malformed.
        """


def unwrap_body(key: bytes, body: bytes) -> FileKey | None:
    """Return the file key that ``body`` holds under the wrap ``key``; None if it is another's."""
    check_body(body)
    try:
        return FileKey(ChaCha20Poly1305(key).decrypt(ZERO_NONCE, body, None))
    except InvalidTag:
        return None


def check_body(body: bytes) -> None:
    """Refuse a stanza body that does not hold exactly one file key.

    The length is checked before anything is decrypted: a longer one could be made to open under many keys.
    """
    if len(body) != WRAPPED_BYTES:
        raise malformed("a recipient stanza holds something else than a file key")


def check_key_length(data: bytes, expected: int) -> None:
    """Refuse key material that has not exactly ``expected`` bytes."""
    if len(data) != expected:
        raise LabKeyError("key", f"holds {len(data)} bytes, not {expected}")


@lru_cache(maxsize=16)
def _public_key(public: bytes) -> X25519PublicKey:
    """Return a recipient's key as the library wants it; a run seals every file to the same few."""
    return X25519PublicKey.from_public_bytes(public)


class X25519Recipient:
    """The public half of an X25519 identity: ``age1…``."""

    kind = "X25519"

    def __init__(self, public: bytes) -> None:
        check_key_length(public, KEY_BYTES)
        self._public = bytes(public)

    def to_text(self) -> str:
        """Return ``age1…``."""
        return bech32.encode(X25519_PREFIX, self._public)

    def wrap(self, file_key: FileKey) -> Stanza:
        """Return a new stanza that holds ``file_key``.

        Raises
        ------
        LabKeyError
            The public key is one of the few points of low order, for which no secret exists.
        """
        # from the system itself, not from a generator in this process: what is forked shares no chance with others
        ephemeral = X25519PrivateKey.from_private_bytes(secrets.token_bytes(KEY_BYTES))
        share = ephemeral.public_key().public_bytes_raw()
        try:
            shared = ephemeral.exchange(_public_key(self._public))
        except ValueError as error:
            raise LabKeyError("recipient", "is a point of low order, not a key") from error
        key = hkdf_sha256(shared, salt=share + self._public, info=_X25519_INFO)
        body = ChaCha20Poly1305(key).encrypt(ZERO_NONCE, file_key.reveal(), None)
        return Stanza((self.kind, encode_base64(share)), body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, X25519Recipient) and self._public == other._public

    def __hash__(self) -> int:
        return hash(self._public)

    def __repr__(self) -> str:
        return f"X25519Recipient({self.to_text()})"


class X25519Identity:
    """A secret key: ``AGE-SECRET-KEY-1…``. It never prints."""

    def __init__(self, secret: bytes) -> None:
        check_key_length(secret, KEY_BYTES)
        self._secret = bytes(secret)
        self._private = X25519PrivateKey.from_private_bytes(self._secret)
        self._public = self._private.public_key().public_bytes_raw()

    @classmethod
    def new(cls) -> X25519Identity:
        """Return a fresh identity from the system's random generator."""
        return cls(secrets.token_bytes(KEY_BYTES))

    @property
    def recipient(self) -> X25519Recipient:
        """The public half."""
        return X25519Recipient(self._public)

    def to_text(self) -> str:
        """Return ``AGE-SECRET-KEY-1…``; only to show or write it where the user asked for it."""
        return bech32.encode(X25519_SECRET_PREFIX, self._secret).upper()

    def unwrap(self, stanza: Stanza) -> FileKey | None:
        """Return the file key of ``stanza``, or None if it is not for this identity."""
        if stanza.kind != X25519Recipient.kind:
            return None
        if len(stanza.arguments) != 2:
            raise malformed("an X25519 stanza has the wrong number of arguments")
        share = decode_base64(stanza.arguments[1])
        if len(share) != KEY_BYTES:
            raise malformed("an X25519 share has the wrong length")
        check_body(stanza.body)
        try:
            shared = self._private.exchange(X25519PublicKey.from_public_bytes(share))
        except ValueError as error:
            raise malformed("an X25519 share is a point of low order") from error
        key = hkdf_sha256(shared, salt=share + self._public, info=_X25519_INFO)
        return unwrap_body(key, stanza.body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, X25519Identity) and hmac.compare_digest(self._secret, other._secret)

    def __hash__(self) -> int:
        return hash(self._public)

    def __repr__(self) -> str:
        return f"X25519Identity(of {self.recipient.to_text()})"


def check_together(recipients: Sequence[Recipient]) -> None:
    """Refuse recipients that cannot share a file.

    Raises
    ------
    LabKeyError
        There are none; a password is not alone; or post-quantum keys are mixed with others, so that the
        file would be no safer than the weaker (stock age refuses this too).
    """
    kinds = {recipient.kind for recipient in recipients}
    if not kinds:
        raise LabKeyError("recipients", "there is nobody to seal to")
    if PASSWORD_KIND in kinds and len(recipients) > 1:
        raise LabKeyError("recipients", "a password must be the only recipient of a file")
    if len(kinds) > 1:
        raise LabKeyError("recipients", "post-quantum keys (age1pq1…) cannot be mixed with others (age1…)")


def seal_header(file_key: FileKey, recipients: Sequence[Recipient]) -> bytes:
    """Return the whole age header that gives ``file_key`` to ``recipients``, MAC line and newline included.

    Raises
    ------
    LabKeyError
        As `check_together`, or a recipient is no usable key.
    """
    check_together(recipients)
    covered = marshal_covered(recipient.wrap(file_key) for recipient in recipients)
    return covered + marshal_mac_line(file_key.header_mac(covered))


def open_header(header: Header, identities: Sequence[Identity]) -> FileKey:
    """Return the file key of ``header`` and check the header's MAC with it.

    Raises
    ------
    HeaderError
        A stanza is malformed, or a password stanza is not alone.
    NoMatchError
        None of ``identities`` opens it.
    HmacError
        The header was changed after it was sealed.
    """
    kinds = [stanza.kind for stanza in header.stanzas]
    if PASSWORD_KIND in kinds and len(kinds) > 1:
        raise malformed("a password stanza is not alone")
    for identity in identities:
        for stanza in header.stanzas:
            file_key = identity.unwrap(stanza)
            if file_key is None:
                continue
            if not hmac.compare_digest(file_key.header_mac(header.covered), header.mac):
                raise HmacError(SEALED_DATA, "the header was changed after it was sealed")
            return file_key
    raise NoMatchError(
        SEALED_DATA, "is sealed to other keys", next="give the lab key or the recovery key it was sealed to"
    )
