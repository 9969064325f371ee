"""Second copies of what must not be lost: linking key, journals, lab key, recipients (DESIGN 5.7).

Everything is sealed already (the recipients are public keys). Names carry the digest, so that nothing is
ever overwritten and the same content is stored once.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterator
from dataclasses import dataclass

from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import EcogsafeError, VerificationError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.connections import connected
from ecogsafe.service.home import Home
from ecogsafe.stores.protocol import Store

PREFIX = "_ecogsafe/keys/"


@dataclass(frozen=True, slots=True)
class KeyCopies:
    """Where key copies stand after `back_up_keys`."""

    #: URLs that hold all of them, read back and equal
    complete: tuple[str, ...]
    #: (URL, what went wrong)
    failed: tuple[tuple[str, str], ...]


def _precious(home: Home) -> Iterator[tuple[str, bytes]]:
    def named(stem: str, ending: str, data: bytes) -> tuple[str, bytes]:
        return f"{PREFIX}{stem}-{hashlib.sha256(data).hexdigest()[:16]}{ending}", data

    if home.lab_key.exists():
        yield named("lab-key", ".age", home.lab_key.read_bytes())
    yield named("recipients", ".txt", home.recipient_lines())
    if home.linking_key.exists():
        # the time sorts: the newest linking key is the last name
        data = home.linking_key.read_bytes()
        stamp = home.linking_key.stat().st_mtime_ns
        yield named(f"linking-key-{stamp:020d}", ".age", data)
    for journal in sorted(home.journals.glob("*.age")):
        yield f"{PREFIX}journals/{journal.name}", journal.read_bytes()


def back_up_keys(home: Home, catalog: Catalog) -> KeyCopies:
    """Put the present keys and journals into every key backup place, and read each back."""
    complete: list[str] = []
    failed: list[tuple[str, str]] = []
    for url in home.settings().key_backup_urls():
        try:
            with connected(catalog, url) as connection:
                for key, data in _precious(home):
                    _put(connection.store, key, data)
            complete.append(url)
        except EcogsafeError as error:
            failed.append((url, str(error)))
    return KeyCopies(tuple(complete), tuple(failed))


def _put(store: Store, key: str, data: bytes) -> None:
    info = store.head(key)
    if info is None:
        store.put(key, data, crc64=crc64nvme(data), token=secrets.token_hex(16))
    if b"".join(store.read(key)) != data:
        raise VerificationError(key, "a key copy could not be read back as it was written", safe="The home's is intact")
