"""Labs of the command-line tests, for the services behind the commands."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.conftest import applied, applied_lab, hand_over, lab, made_lab
from tests.cli.lab import Lab
from tests.service.key_places import places
from tests.service.nightly_lab import backing_up, stores
from tests.service.places_apart import disks_apart
from tests.service.recordings_sent import made_recordings, recordings
from tests.service.small_lab import in_memory, made_home, small_lab, store

__all__ = [
    "applied",
    "applied_lab",
    "backing_up",
    "disks_apart",
    "in_memory",
    "lab",
    "made_home",
    "made_lab",
    "made_recordings",
    "places",
    "recordings",
    "small_lab",
    "store",
    "stores",
]


@pytest.fixture(scope="session")
def handed_lab(made_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab that was handed an export of two patients; copied, never used itself."""
    lab = made_lab.copy_to(tmp_path_factory.mktemp("handed"))
    hand_over(lab, "mixed")
    return lab


@pytest.fixture
def handed_over(handed_lab: Lab, tmp_path: Path) -> Lab:
    """A lab that was just handed an export of two patients."""
    return handed_lab.copy_to(tmp_path)
