"""Fixtures of this room."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.deid.bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    """A fresh export, OUT and home."""
    return Bench(tmp_path)
