"""The lab key at rest: an ordinary age identity file, sealed by the lab password, in the text form.

Stock ``age -d -i lab-key.age FILE`` asks for the password and works with it as it is.
"""

from __future__ import annotations

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import LabKeyError, VerificationError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_password import DEFAULT_WORK_FACTOR, ScryptIdentity, ScryptRecipient
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.errors import NoMatchError
from ecogsafe.crypt.keys import SecretKey, parse_identities

LAB_KEY_NAME = "lab-key.age"
_RESTORE = "put back a copy of lab-key.age, or run: ecogsafe init --recover SHEET"


def identity_text(identity: SecretKey, *, created: str | None = None) -> str:
    """Return ``identity`` as ``age-keygen`` writes it: two comment lines and the secret key.

    Parameters
    ----------
    created
        The time for the comment, RFC 3339; now by default.
    """
    stamp = created or utc_now().strftime("%Y-%m-%dT%H:%M:%SZ")
    return f"# created: {stamp}\n# public key: {identity.recipient.to_text()}\n{identity.to_text()}\n"


def protect(
    identity: SecretKey,
    password: Secret,
    *,
    work_factor: int = DEFAULT_WORK_FACTOR,
    created: str | None = None,
) -> bytes:
    """Return the age file, text form, from which ``password`` gives ``identity`` back.

    Parameters
    ----------
    work_factor
        Base-two logarithm of scrypt's N; 18 costs about a second and 256 MiB.

    Raises
    ------
    LabKeyError
        The password is empty, or the work factor out of range.
    """
    recipient = ScryptRecipient(password, work_factor=work_factor)
    return seal(identity_text(identity, created=created).encode("ascii"), [recipient], armored=True)


def open_identities(data: bytes, password: Secret, *, name: str = LAB_KEY_NAME) -> list[SecretKey]:
    """Return the identities in the password-sealed identity file ``data``.

    Raises
    ------
    WrongPasswordError
        The password does not open it.
    LabKeyError
        The file is damaged, or holds something else.
    """
    try:
        text = open_sealed(data, [ScryptIdentity(password)]).decode("utf-8")
    except NoMatchError as error:
        raise WrongPasswordError(name, "the password does not open it", next="type the lab password again") from error
    except (VerificationError, UnicodeDecodeError) as error:
        problem = error.problem if isinstance(error, VerificationError) else "holds no key"
        raise LabKeyError(name, f"is damaged: {problem}", next=_RESTORE) from error
    return parse_identities(text, name=name)


def open_lab_key(data: bytes, password: Secret) -> X25519Identity:
    """Return the lab key that `protect`, or stock ``age -p``, sealed.

    Raises
    ------
    WrongPasswordError
        The password does not open it.
    LabKeyError
        The file is damaged, or does not hold exactly one X25519 identity.
    """
    identities = open_identities(data, password)
    if len(identities) != 1 or not isinstance(identities[0], X25519Identity):
        raise LabKeyError(LAB_KEY_NAME, "does not hold exactly one X25519 key", next=_RESTORE)
    return identities[0]
