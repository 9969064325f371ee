"""Small frames, so that volumes may be small."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.transfer.archive import frames

from ..bench import Bench
from .volumes_bench import ALONE, FRAME, VolumeBench


@pytest.fixture
def volumes(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> VolumeBench:
    monkeypatch.setattr(frames, "FRAME_BYTES", FRAME)
    monkeypatch.setattr(frames, "OWN_FRAMES_FROM", ALONE)
    made = VolumeBench(bench, tmp_path)
    made.usual()
    return made
