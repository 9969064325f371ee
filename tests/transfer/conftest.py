"""A bench to send files on; parts of 100 kB."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.transfer import file_job, unfinished

from .bench import PART, SMALL, Bench


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(unfinished, "part_size_for", lambda size: PART)
    monkeypatch.setattr(file_job, "SINGLE_REQUEST_LIMIT", SMALL)
    made = Bench(tmp_path)
    yield made
    made.close()
