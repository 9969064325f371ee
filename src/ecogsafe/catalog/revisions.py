"""Sets of identifiers that are about to grow: announced before the linking key changes, so that clearances lapse first.

The linking key and the catalogue are two files. A kill between the two must not leave a catalogue behind in which
files are cleared that were never searched for what the linking key knows by now. So the revision to come is announced
here first, and forgotten when the catalogue has reached it, or when the linking key shows that it never came.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Transaction

#: name in the table ``meta``, followed by the code; the value is ``<revision> <random>``, empty when it is settled
_ANNOUNCED = "identifiers-grow "


def announce(tx: Transaction, revisions: Iterable[tuple[str, int]]) -> None:
    """Note that the identifiers of these subjects, by code, are about to have these revisions."""
    for code, revision in revisions:
        meta.set(tx, f"{_ANNOUNCED}{code}", f"{revision} {secrets.token_hex(8)}")


def announced(tx: Transaction) -> dict[str, str]:
    """Return what is announced and not settled, by code; each announcement is a text of its own."""
    found = meta.starting_with(tx, _ANNOUNCED)
    return {name.removeprefix(_ANNOUNCED): value for name, value in found.items() if value}


def is_announced(tx: Transaction, code: str) -> bool:
    """Return whether nothing that was searched for ``code`` counts, because more may be known of it."""
    return bool(meta.get(tx, f"{_ANNOUNCED}{code}"))


def reached(tx: Transaction, code: str, revision: int) -> None:
    """Forget what was announced of ``code`` if the catalogue has this revision, which is that one or a later one."""
    value = meta.get(tx, f"{_ANNOUNCED}{code}")
    if value and int(value.split()[0]) <= revision:
        meta.set(tx, f"{_ANNOUNCED}{code}", "")


def withdraw(tx: Transaction, seen: Mapping[str, str]) -> None:
    """Forget the announcements ``seen``, which came to nothing; one that was made since stays."""
    for code, value in seen.items():
        if meta.get(tx, f"{_ANNOUNCED}{code}") == value:
            meta.set(tx, f"{_ANNOUNCED}{code}", "")
