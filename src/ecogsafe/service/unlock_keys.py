"""Where the keys for locked files come from: the home, an identity file, what somebody types."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path

from ecogsafe.core.errors import LabKeyError
from ecogsafe.crypt.age_header import VERSION_LINE
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.armor import is_armored
from ecogsafe.crypt.keys import parse_identities
from ecogsafe.crypt.lab_key import open_identities, open_lab_key
from ecogsafe.service.home import Home, PasswordSource
from ecogsafe.service.unlocking import UnlockKeys

_MOST_KEY_BYTES = 1 << 20


def unlock_keys(
    home: Home, *, password: PasswordSource, old_password: PasswordSource, identity_file: Path | None = None
) -> UnlockKeys:
    """Return the keys of one command; nothing is asked before a file needs it.

    Parameters
    ----------
    password
        Opens the lab key, or age files that are locked with a password.
    identity_file
        Instead of the home's lab key: a recovery key, or an identity file of age, locked or not.
    """
    identities: Callable[[], Sequence[Identity]]
    if identity_file is not None:
        file = identity_file

        def identities() -> Sequence[Identity]:
            return _identities_in(file, password)
    else:

        def identities() -> Sequence[Identity]:
            try:
                sealed = home.lab_key.read_bytes()
            except OSError as error:
                problem = f"is needed and cannot be read ({os.strerror(error.errno or 0)})"
                raise LabKeyError(
                    "lab-key.age", problem, next="name a key file with -i, or run ecogsafe init --recover SHEET"
                ) from error
            return [open_lab_key(sealed, password())]

    return UnlockKeys(identities=identities, file_password=password, old_password=old_password)


def _identities_in(file: Path, password: PasswordSource) -> Sequence[Identity]:
    name = "the key file (-i)"
    try:
        with file.open("rb") as opened:
            data = opened.read(_MOST_KEY_BYTES)
    except OSError as error:
        raise LabKeyError(
            name, f"cannot be read ({os.strerror(error.errno or 0)})", next="check the path given with -i"
        ) from error
    if is_armored(data) or data.startswith(VERSION_LINE):
        return open_identities(data, password(), name=name)
    try:
        return parse_identities(data.decode("utf-8"), name=name)
    except UnicodeDecodeError as error:
        raise LabKeyError(name, "is no key file", next="give recovery-key.txt or lab-key.age") from error
