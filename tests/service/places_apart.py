"""Every folder store as if it were a disk of its own: the folders of a test all lie on one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from unittest import mock

import pytest

from ecogsafe.stores.open import open_store
from ecogsafe.stores.protocol import Store


@pytest.fixture
def disks_apart() -> Iterator[None]:
    """Give every store that is opened a place of its own, told by its URL."""

    def open_apart(url: str, **options: Any) -> Store:
        store = open_store(url, **options)
        innermost: Any = store
        while hasattr(innermost, "inner"):
            innermost = innermost.inner
        innermost.place = f"device:{url}"
        return store

    with mock.patch("ecogsafe.service.connections.open_store", open_apart):
        yield
