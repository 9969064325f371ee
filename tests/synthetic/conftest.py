"""One tiny export of each form, written once."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.synthetic.export import ExportScale, Ledger, write_export

Export = tuple[Path, Ledger]


@pytest.fixture(scope="session")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Export:
    folder = tmp_path_factory.mktemp("mixed") / "export"
    return folder, write_export(folder, form="mixed", scale=ExportScale.tiny(), seed=1)
