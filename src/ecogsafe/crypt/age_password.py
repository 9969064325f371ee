"""A password as the one recipient of a file (the age ``scrypt`` type).

References
----------
C2SP age, "The scrypt recipient type": https://c2sp.org/age
"""

from __future__ import annotations

import re
import secrets

from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from ecogsafe.core.errors import LabKeyError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_header import Stanza, decode_base64, encode_base64, malformed
from ecogsafe.crypt.age_recipients import PASSWORD_KIND, check_body, unwrap_body
from ecogsafe.crypt.file_key import ZERO_NONCE, FileKey

#: base-two logarithm of scrypt's N for what we write: about a second, as stock age
DEFAULT_WORK_FACTOR = 18
#: refused above, when reading: 22 takes 4 GiB and some 15 seconds
MAX_WORK_FACTOR = 22

_SALT_LABEL = b"age-encryption.org/v1/scrypt"
_SALT_BYTES = 16
_WORK_FACTOR = re.compile(r"[1-9][0-9]*")


def _scrypt_key(password: Secret, salt: bytes, work_factor: int) -> bytes:
    kdf = Scrypt(salt=_SALT_LABEL + salt, length=32, n=1 << work_factor, r=8, p=1)
    try:
        return kdf.derive(password.reveal())
    except MemoryError as error:
        needed = f"{1 << max(work_factor - 20, 0)} GiB"
        raise LabKeyError("password", f"checking it takes {needed} of memory, more than there is") from error


def _check_password(password: Secret) -> Secret:
    if not password.reveal():
        raise LabKeyError("password", "is empty")
    return password


class ScryptRecipient:
    """A password to seal with; it must be the only recipient of its file.

    Parameters
    ----------
    work_factor
        Base-two logarithm of scrypt's N, 1 to 22; memory is 1 KiB times N.
    """

    kind = PASSWORD_KIND

    def __init__(self, password: Secret, *, work_factor: int = DEFAULT_WORK_FACTOR) -> None:
        if not 1 <= work_factor <= MAX_WORK_FACTOR:
            raise LabKeyError("password", f"the work factor must be 1 to {MAX_WORK_FACTOR}")
        self._password = _check_password(password)
        self._work_factor = work_factor

    def wrap(self, file_key: FileKey) -> Stanza:
        """Return a new stanza that holds ``file_key``."""
        salt = secrets.token_bytes(_SALT_BYTES)
        key = _scrypt_key(self._password, salt, self._work_factor)
        body = ChaCha20Poly1305(key).encrypt(ZERO_NONCE, file_key.reveal(), None)
        return Stanza((self.kind, encode_base64(salt), str(self._work_factor)), body)


class ScryptIdentity:
    """A password to open with."""

    def __init__(self, password: Secret) -> None:
        self._password = _check_password(password)

    def unwrap(self, stanza: Stanza) -> FileKey | None:
        """Return the file key of ``stanza``, or None if it is not sealed by this password."""
        if stanza.kind != PASSWORD_KIND:
            return None
        if len(stanza.arguments) != 3:
            raise malformed("a password stanza has the wrong number of arguments")
        salt = decode_base64(stanza.arguments[1])
        if len(salt) != _SALT_BYTES:
            raise malformed("a password stanza has a salt of the wrong length")
        factor = stanza.arguments[2]
        if not _WORK_FACTOR.fullmatch(factor):
            raise malformed("a password stanza has a malformed work factor")
        # The length first: the conversion of thousands of digits would itself be an attack.
        if len(factor) > 2 or int(factor) > MAX_WORK_FACTOR:
            raise malformed(f"a password stanza asks for more work than 2^{MAX_WORK_FACTOR}")
        check_body(stanza.body)
        return unwrap_body(_scrypt_key(self._password, salt, int(factor)), stanza.body)
