"""Labs in several stages, each made once and copied for the test that asks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.synthetic.export import ExportScale, Form, write_export
from tests.cli.lab import Lab

SEED = 11


def hand_over(lab: Lab, form: Form) -> None:
    """Put a synthetic export into the lab."""
    lab.export.parent.mkdir()
    lab.ledger = write_export(lab.export, form=form, scale=ExportScale.tiny(), seed=SEED)


@pytest.fixture(scope="session")
def made_lab(tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab with a home and nothing else; copied, never used itself."""
    lab = Lab(tmp_path_factory.mktemp("made"))
    lab.initialise()
    return lab


@pytest.fixture(scope="session")
def applied_lab(made_lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """A lab whose two patients are de-identified; copied, never used itself.

    It is moved away afterwards, so that a copy whose journals still name its paths can touch nothing of it.
    """
    top = tmp_path_factory.mktemp("applied")
    lab = made_lab.copy_to(top / "here")
    hand_over(lab, "mixed")
    for key in ("a", "b"):
        lab.apply(key)
    lab.folder = lab.folder.rename(top / "moved")
    return lab


@pytest.fixture
def lab(made_lab: Lab, tmp_path: Path) -> Lab:
    """A fresh lab with a home."""
    return made_lab.copy_to(tmp_path)


@pytest.fixture
def applied(applied_lab: Lab, tmp_path: Path) -> Lab:
    """A lab whose outbox holds two de-identified patients; `deid undo` has no way back here."""
    return applied_lab.copy_to(tmp_path)


@pytest.fixture
def handed_over(lab: Lab) -> Lab:
    """A lab that was just handed an export of two patients."""
    hand_over(lab, "mixed")
    return lab
