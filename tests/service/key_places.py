"""Two key backup places in memory, and a home with something to put there."""

from __future__ import annotations

import pytest

from ecogsafe.crypt.age_file import seal
from ecogsafe.service.home import Home
from ecogsafe.service.key_backup import KeyCopies, back_up_keys, key_copies
from ecogsafe.stores.protocol import Store
from tests.service.small_lab import (
    CODES,
    SmallLab,
    StoresInMemory,
    bytes_in,
)

URLS = ("s3://first", "s3://second")
JOURNALS = (f"{CODES[0]}-0001-0a0b0c0d", f"{CODES[1]}-0001-1a1b1c1d")


@pytest.fixture
def places(small_lab: SmallLab, in_memory: StoresInMemory) -> tuple[Store, Store]:
    """Two key backup places, a linking key, two journals of which the first has ended."""
    configure(small_lab.home)
    new_linking_key(small_lab, b"generation 1")
    for name in JOURNALS:
        (small_lab.home.journals / f"{name}.age").write_bytes(sealed(small_lab, name.encode()))
        (small_lab.home.journals / f"{name}.marks").write_text("0\n1\nend\n" if name == JOURNALS[0] else "0\n")
    return in_memory.add(URLS[0]), in_memory.add(URLS[1])


def configure(home: Home, *urls: str) -> None:
    listed = ", ".join(f'"{url}"' for url in urls or URLS)
    home.config.write_text(f"[key_backup]\nurls = [{listed}]\n")


def sealed(small: SmallLab, plain: bytes) -> bytes:
    with small.catalog() as catalog:
        return seal(plain, small.home.recipients(catalog))


def new_linking_key(small: SmallLab, plain: bytes) -> bytes:
    data = sealed(small, plain)
    small.home.linking_key.write_bytes(data)
    return data


def back_up(small: SmallLab) -> KeyCopies:
    with small.catalog() as catalog:
        return back_up_keys(small.home, catalog)


def newest(store: Store, stem: str) -> bytes:
    return bytes_in(store, key_copies(store, stem)[-1].key)
