"""The lab key at rest: an ordinary age identity file, sealed by the lab password, in the text form.

Stock ``age -d -i lab-key.age FILE`` asks for the password and works with it as it is. After a rotation the
file holds the earlier keys too, behind the newest: what was sealed to any of them opens.
"""

from __future__ import annotations

from collections.abc import Iterable

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import LabKeyError, VerificationError, WrongPasswordError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.age_header import Stanza
from ecogsafe.crypt.age_password import DEFAULT_WORK_FACTOR, ScryptIdentity, ScryptRecipient
from ecogsafe.crypt.age_recipients import Recipient, X25519Identity, X25519Recipient
from ecogsafe.crypt.errors import NoMatchError
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.keys import SecretKey, parse_identities

LAB_KEY_NAME = "lab-key.age"
_RESTORE = "put back a copy of lab-key.age, or run: ecogsafe init --recover SHEET"


class LabKey(X25519Identity):
    """The lab's secret keys: as an identity it is the newest, and it opens what was sealed to the others as well.

    Parameters
    ----------
    text
        The identity file it is read from; it is kept as it is, comments included.

    Raises
    ------
    LabKeyError
        The file holds no key, or one of another kind than X25519.
    """

    def __init__(self, text: str, *, name: str = LAB_KEY_NAME) -> None:
        identities = parse_identities(text, name=name)
        kept = [identity for identity in identities if isinstance(identity, X25519Identity)]
        if len(kept) != len(identities):
            raise LabKeyError(name, "holds a key that is not an X25519 key", next=_RESTORE)
        super().__init__(kept[0]._secret)
        #: the newest first
        self.identities = tuple(dict.fromkeys(kept))
        #: the identity file; it never prints
        self.text = text

    def unwrap(self, stanza: Stanza) -> FileKey | None:
        """Return the file key of ``stanza``, or None if it is for none of these keys."""
        for identity in self.identities:
            file_key = identity.unwrap(stanza)
            if file_key is not None:
                return file_key
        return None

    def listed(self, recipients: Iterable[Recipient]) -> X25519Identity | None:
        """Return the newest of the keys that is among ``recipients``: the one that data are sealed to now."""
        public = {recipient.to_text() for recipient in recipients if isinstance(recipient, X25519Recipient)}
        return next((key for key in self.identities if key.recipient.to_text() in public), None)

    def with_newer(self, identity: X25519Identity) -> LabKey:
        """Return the lab key with ``identity`` in front."""
        return LabKey(identity_text(identity) + self.text)

    def with_others(self, other: LabKey, *, at: str) -> LabKey:
        """Return the lab key with those keys of ``other`` that it lacks behind its own; itself if there are none.

        Parameters
        ----------
        at
            The time for the comment.
        """
        missing = [identity for identity in other.identities if identity not in self.identities]
        if not missing:
            return self
        blocks = (f"# imported: {at}\n{identity_text(identity, created='unknown')}" for identity in missing)
        text = self.text if self.text.endswith("\n") else f"{self.text}\n"
        return LabKey(text + "".join(blocks))


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
    text = identity.text if isinstance(identity, LabKey) else identity_text(identity, created=created)
    return seal(text.encode("utf-8"), [recipient], armored=True)


def open_identities(data: bytes, password: Secret, *, name: str = LAB_KEY_NAME) -> list[SecretKey]:
    """Return the identities in the password-sealed identity file ``data``.

    Raises
    ------
    WrongPasswordError
        The password does not open it.
    LabKeyError
        The file is damaged, or holds something else.
    """
    return parse_identities(_open(data, password, name), name=name)


def _open(data: bytes, password: Secret, name: str) -> str:
    try:
        return open_sealed(data, [ScryptIdentity(password)]).decode("utf-8")
    except NoMatchError as error:
        raise WrongPasswordError(name, "the password does not open it", next="type the lab password again") from error
    except (VerificationError, UnicodeDecodeError) as error:
        problem = error.problem if isinstance(error, VerificationError) else "holds no key"
        raise LabKeyError(name, f"is damaged: {problem}", next=_RESTORE) from error


def open_lab_key(data: bytes, password: Secret, *, name: str = LAB_KEY_NAME) -> LabKey:
    """Return the lab key that `protect`, or stock ``age -p``, sealed, with the keys of before.

    Raises
    ------
    WrongPasswordError
        The password does not open it.
    LabKeyError
        The file is damaged, or holds another kind of key than X25519.
    """
    return LabKey(_open(data, password, name), name=name)
