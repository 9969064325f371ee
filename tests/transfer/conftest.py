"""A bench to send files on; parts of 100 kB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.catalog.database import Catalog
from ecogsafe.transfer import file_job, unfinished

from .bench import PART, SMALL, Bench


@pytest.fixture(scope="session")
def empty_catalogue(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue to copy: making one takes longer than most tests."""
    path = tmp_path_factory.mktemp("catalogue") / "catalog.sqlite"
    Catalog.open(path, create=True).close()
    return path


@pytest.fixture
def bench(tmp_path: Path, empty_catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(unfinished, "part_size_for", lambda size: PART)
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", SMALL)
    made = Bench(tmp_path, empty_catalogue)
    yield made
    made.close()
