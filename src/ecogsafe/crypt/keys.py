"""Keys as people hold them: lines of ``recipients.txt`` and of identity files.

The forms are those of ``age -R`` and ``age -i``: one key a line, empty lines and ``#`` comments between.
"""

from __future__ import annotations

from collections.abc import Iterator

from ecogsafe.core.errors import LabKeyError
from ecogsafe.crypt import bech32
from ecogsafe.crypt.age_hybrid import HYBRID_PREFIX, HYBRID_SECRET_PREFIX, HybridIdentity, HybridRecipient
from ecogsafe.crypt.age_recipients import (
    X25519_PREFIX,
    X25519_SECRET_PREFIX,
    X25519Identity,
    X25519Recipient,
    check_together,
)
from ecogsafe.crypt.file_key import FileKey

PublicKey = X25519Recipient | HybridRecipient
SecretKey = X25519Identity | HybridIdentity


def generate_identity() -> X25519Identity:
    """Return a fresh X25519 identity."""
    return X25519Identity.new()


def parse_recipient(text: str) -> PublicKey:
    """Return the recipient ``age1…`` or ``age1pq1…``; it has been tried once, so that it can be sealed to.

    Raises
    ------
    LabKeyError
        It is no such key, has a typing error, or nothing can be sealed to it.
    """
    prefix, data = bech32.decode(text.strip())
    recipient: PublicKey
    if prefix == X25519_PREFIX:
        recipient = X25519Recipient(data)
    elif prefix == HYBRID_PREFIX:
        recipient = HybridRecipient(data)
    elif prefix in (X25519_SECRET_PREFIX, HYBRID_SECRET_PREFIX):
        raise LabKeyError("recipient", "is a secret key; give its public key, which begins with age1")
    else:
        raise LabKeyError("recipient", "is not an age public key, which begins with age1 or age1pq1")
    recipient.wrap(FileKey.new())
    return recipient


def parse_identity(text: str) -> SecretKey:
    """Return the identity ``AGE-SECRET-KEY-1…`` or ``AGE-SECRET-KEY-PQ-1…`` (any one case).

    Raises
    ------
    LabKeyError
        It is no such key or has a typing error. The message never holds the text.
    """
    prefix, data = bech32.decode(text.strip())
    if prefix == X25519_SECRET_PREFIX:
        return X25519Identity(data)
    if prefix == HYBRID_SECRET_PREFIX:
        return HybridIdentity(data)
    if prefix in (X25519_PREFIX, HYBRID_PREFIX):
        raise LabKeyError("key", "is a public key; give its secret key, which begins with AGE-SECRET-KEY-")
    raise LabKeyError("key", "is not an age secret key, which begins with AGE-SECRET-KEY-")


def _key_lines(text: str) -> Iterator[tuple[int, str]]:
    for number, line in enumerate(text.splitlines(), start=1):
        stripped = line.strip()
        if stripped and not stripped.startswith("#"):
            yield number, stripped


def parse_recipients(text: str, *, name: str = "recipients.txt") -> list[PublicKey]:
    """Return the recipients of ``text``, in order, each once.

    Raises
    ------
    LabKeyError
        A line is no recipient (the message names ``name`` and the line's number), there is none, or they
        cannot share a file (`check_together`).
    """
    recipients: list[PublicKey] = []
    for number, line in _key_lines(text):
        try:
            recipient = parse_recipient(line)
        except LabKeyError as error:
            raise LabKeyError(name, f"line {number}: {error.problem}", next=error.next) from error
        if recipient not in recipients:
            recipients.append(recipient)
    check_together(recipients)
    return recipients


def parse_identities(text: str, *, name: str = "identity file") -> list[SecretKey]:
    """Return the identities of ``text``, in order.

    Raises
    ------
    LabKeyError
        A line is no identity (the message names ``name`` and the line's number, never the line), or there
        is none.
    """
    identities: list[SecretKey] = []
    for number, line in _key_lines(text):
        try:
            identities.append(parse_identity(line))
        except LabKeyError as error:
            raise LabKeyError(name, f"line {number}: {error.problem}", next=error.next) from error
    if not identities:
        raise LabKeyError(name, "holds no secret key")
    return identities
