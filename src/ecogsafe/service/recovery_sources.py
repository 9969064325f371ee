"""Where a lost home comes back from: the printed sheet, or the key copies in a store."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.core.errors import UsageError
from ecogsafe.crypt.recovery_sheet import read_sheet
from ecogsafe.deid.layout import CODE
from ecogsafe.service.key_backup import JOURNALS, SHARES, key_copies
from ecogsafe.service.recipient_lines import from_labels
from ecogsafe.stores.open import open_store
from ecogsafe.stores.protocol import Store

#: what may be written into ``journals/``; a store can hold any name
_JOURNAL = re.compile(rf"{CODE}-[0-9]{{4,}}-[0-9a-f]{{8}}\.(?:age|marks)")


_SHARE = re.compile(r"[0-9]{8}T[0-9]{12}Z-[0-9a-f]{8}\.age")


@dataclass(frozen=True, slots=True)
class KeySource:
    """What a source holds, the newest of each kind first."""

    lab_keys: tuple[bytes, ...]
    recipients: tuple[bytes, ...]
    linking_keys: tuple[bytes, ...] = ()
    #: by file name
    journals: Mapping[str, bytes] = field(default_factory=dict)
    #: ways back of ``share``, by file name
    shares: Mapping[str, bytes] = field(default_factory=dict)
    is_sheet: bool = False


def from_sheet(path: Path) -> KeySource:
    """Return what the recovery sheet at ``path`` holds.

    Raises
    ------
    UsageError
        It cannot be read.
    LabKeyError
        It is no sheet, or a character is wrong.
    """
    try:
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise UsageError(
            "the recovery sheet", f"cannot be read ({os.strerror(error.errno or 0)})", next="check the path"
        ) from error
    sheet = read_sheet(text)
    return KeySource((sheet.lab_key_age,), (from_labels(sheet.recipients).encode(),), is_sheet=True)


def from_store(url: str) -> KeySource:
    """Return the key copies that the store at ``url`` holds.

    Raises
    ------
    UsageError
        There are none.
    StoreError
        It cannot be reached or refuses.
    """
    store = open_store(url)
    try:
        lab_keys, recipients = _all(store, "lab-key"), _all(store, "recipients")
        if not lab_keys or not recipients:
            raise UsageError(url, "holds no key copies", next="use the recovery sheet, or another store")
        journals, shares = _named(store, JOURNALS, _JOURNAL), _named(store, SHARES, _SHARE)
        return KeySource(lab_keys, recipients, _all(store, "linking-key"), journals, shares)
    finally:
        store.close()


def _named(store: Store, prefix: str, form: re.Pattern[str]) -> dict[str, bytes]:
    """Return what stands below ``prefix`` under names of ours, by name."""
    names = {info.key: info.key.removeprefix(prefix) for info in store.list(prefix)}
    return {name: b"".join(store.read(key)) for key, name in names.items() if form.fullmatch(name)}


def _all(store: Store, stem: str) -> tuple[bytes, ...]:
    """Return the copies of one kind, the newest first; a damaged newest linking key stays, so that it is missed."""
    return tuple(b"".join(store.read(copy.key)) for copy in reversed(key_copies(store, stem)))
