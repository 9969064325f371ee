"""Two recordings of one subject, sent to a store in memory: where the tests of presence begin."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.memory import MemoryStore
from tests.service.small_lab import (
    CODES,
    URL,
    Ended,
    Made,
    SmallLab,
)

CODE = CODES[0]
FIRST = f"{CODE}_edf/{CODE}_1.edf"
SECOND = f"{CODE}_edf/{CODE}_2.edf"
PARAMETERS = pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "sealed"])


@pytest.fixture(scope="session")
def made_recordings(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        small.edf(number=1)
        small.edf(number=2)
        small.clear(CODE)
        assert send(small).keys("done") == [FIRST, SECOND]

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def recordings(made_recordings: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two recordings at the store, plain."""
    return made_recordings.copy_to(small_lab, store)


def send(small: SmallLab, **wishes: Any) -> Ended:
    return small.upload("e", URL, **wishes)


def change(small: SmallLab, text: str = "changed", number: int = 1) -> bytes:
    """Change a recording, and clear it again."""
    path = small.edf(number=number, text=text)
    small.clear(CODE)
    return path.read_bytes()


def puts(store: Faulty) -> list[str]:
    return [key for method, key in store.calls if method == "put" and not key.startswith("_ecogsafe/")]
