"""Second copies of what must not be lost: linking key, journals, lab key, recipients (DESIGN 5.7).

Everything is sealed already (the recipients are public keys). Nothing is ever overwritten::

    _ecogsafe/keys/lab-key-<order>-<digest>.age         linking-key-<order>-<digest>.age
    _ecogsafe/keys/recipients-<order>-<digest>.txt      journals/<journal>.age, and .marks once it has ended
    _ecogsafe/keys/shares/<journal>.age                 the ways back of `share`

``<digest>`` is the first 16 hex digits of the SHA-256 of the file. ``<order>`` has 20 digits and only grows
within a store: nanoseconds of the clock, or one more than the highest there, whichever is larger. So the
last name is the newest file, whatever happened to clocks and file times.
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import dataclass

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    EcogsafeError,
    LabKeyError,
    ObjectExistsError,
    SourceUnreadableError,
    VerificationError,
)
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.connections import connected, one_url
from ecogsafe.service.folder_access import access_at
from ecogsafe.service.home import Home
from ecogsafe.stores.protocol import Store

PREFIX = "_ecogsafe/keys/"
JOURNALS = f"{PREFIX}journals/"
SHARES = f"{PREFIX}shares/"
_NAME = re.compile(
    rf"{PREFIX}(?P<stem>lab-key|linking-key|recipients)-(?P<order>\d{{20}})-(?P<digest>[0-9a-f]{{16}})\.(?:age|txt)"
)
#: name in the table ``meta`` of the digest of the linking key that a place holds
_HELD_AT = "key-backup-at "


@dataclass(frozen=True, slots=True)
class KeyCopies:
    """Where key copies stand after `back_up_keys`."""

    #: URLs that hold all of them, read back and equal
    complete: tuple[str, ...]
    #: (URL, what went wrong)
    failed: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class KeyCopy:
    """One key copy in a store, as its name tells."""

    key: str
    stem: str
    order: int
    digest: str

    def fits(self, data: bytes) -> bool:
        """Return whether ``data`` is what was stored under this name."""
        return _digest(data)[: len(self.digest)] == self.digest


def key_copies(store: Store, stem: str) -> list[KeyCopy]:
    """Return the copies of ``stem`` (``lab-key``, ``linking-key``, ``recipients``) in ``store``, the oldest first."""
    matches = (_NAME.fullmatch(info.key) for info in store.list(f"{PREFIX}{stem}-"))
    found = [KeyCopy(m.string, m["stem"], int(m["order"]), m["digest"]) for m in matches if m and m["stem"] == stem]
    return sorted(found, key=lambda copy: copy.order)


def back_up_keys(home: Home, catalog: Catalog) -> KeyCopies:
    """Put the present keys and journals into every key backup place, and read each back."""
    complete: list[str] = []
    failed: list[tuple[str, str]] = []
    for url in home.settings().key_backup_urls():
        try:
            linking_key = linking_key_digest(home)
            with connected(catalog, url, access=access_at(home.settings(), url)) as connection:
                for stem, ending, data in _precious(home):
                    _add(connection.store, stem, ending, data)
                for name, data in _journals(home):
                    _put(connection.store, f"{JOURNALS}{name}", data)
                for path in sorted(home.shares.glob("*.age")):
                    _put(connection.store, f"{SHARES}{path.name}", _read(home, f"{home.shares.name}/{path.name}"))
            with catalog.write() as tx:
                meta.set(tx, f"{_HELD_AT}{one_url(url)}", linking_key or "")
            complete.append(url)
        except EcogsafeError as error:
            failed.append((url, str(error)))
    return KeyCopies(tuple(complete), tuple(failed))


def back_up_stale_keys(home: Home, catalog: Catalog) -> KeyCopies:
    """Do `back_up_keys` if a place was out of reach when the linking key changed; else nothing."""
    urls = home.settings().key_backup_urls()
    linking_key = linking_key_digest(home)
    if linking_key is None:
        return KeyCopies((), ())
    with catalog.read() as tx:
        is_everywhere = len(places_with(tx, urls, linking_key)) == len(urls)
    return KeyCopies((), ()) if is_everywhere else back_up_keys(home, catalog)


def linking_key_digest(home: Home) -> str | None:
    """Return the SHA-256 of linking-key.age; None where there is none."""
    return _digest(_read(home, "linking-key.age")) if home.linking_key.exists() else None


def places_with(tx: Transaction, urls: Collection[str], linking_key: str) -> list[str]:
    """Return those of ``urls`` that were last given just this linking key, by its digest."""
    return [url for url in urls if meta.get(tx, f"{_HELD_AT}{one_url(url)}") == linking_key]


def _precious(home: Home) -> Iterator[tuple[str, str, bytes]]:
    yield "lab-key", ".age", _read(home, "lab-key.age")
    yield "recipients", ".txt", home.recipient_lines()
    if home.linking_key.exists():
        yield "linking-key", ".age", _read(home, "linking-key.age")


def _journals(home: Home) -> Iterator[tuple[str, bytes]]:
    # only here: every upload looks whether keys are to be copied, few find that they are
    from ecogsafe.deid.journal_files import JournalFolder

    folder = JournalFolder(home.journals, seal=_no_key, open_sealed=_no_key)
    for journal in sorted(home.journals.glob("*.age")):
        yield journal.name, _read(home, f"journals/{journal.name}")
        if folder.marks(journal.stem).ended:
            # now they change no more; without them a recovered home would take it for one that was cut
            marks = f"{journal.stem}.marks"
            yield marks, _read(home, f"journals/{marks}")


def _no_key(data: bytes) -> bytes:
    raise LabKeyError("the journals", "are only copied here, never opened")


def _read(home: Home, name: str) -> bytes:
    try:
        return (home.root / name).read_bytes()
    except OSError as error:
        raise SourceUnreadableError(
            name, f"cannot be read ({os.strerror(error.errno or 0)})", next="check the permissions of the home"
        ) from error


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _add(store: Store, stem: str, ending: str, data: bytes) -> None:
    """Make ``data`` the newest of its kind, unless it is; a copy that was damaged meanwhile does not count."""
    there = key_copies(store, stem)
    if there and there[-1].fits(data) and _holds(store, there[-1].key, data):
        return
    now_ns = int(utc_now().timestamp() * 1e9)
    order = max(now_ns, there[-1].order + 1 if there else 0)
    _put(store, f"{PREFIX}{stem}-{order:020d}-{_digest(data)[:16]}{ending}", data)


def _put(store: Store, key: str, data: bytes) -> None:
    if store.head(key) is None:
        # another run may be faster: what counts is what stands there in the end
        with suppress(ObjectExistsError):
            store.put(key, data, crc64=crc64nvme(data), token=secrets.token_hex(16))
    if not _holds(store, key, data):
        raise VerificationError(key, "a key copy could not be read back as it was written", safe="The home's is intact")


def _holds(store: Store, key: str, data: bytes) -> bool:
    return b"".join(store.read(key)) == data
