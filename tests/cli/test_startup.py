"""What a command loads before it works: a run of a few files shall not take a second for that."""

from __future__ import annotations

import subprocess
import sys

import pytest

#: each costs 20 to 200 ms of processor, and none of it is needed for what is sealed
NEEDLESS = (
    "alembic",
    "awscrt",
    "azure",
    "boto3",
    "botocore.client",
    "botocore.session",
    "ecogsafe.deid.scan",
    "ecogsafe.formats.edf_header",
    "multiprocessing",
    "rapidfuzz",
    "s3transfer",
    "sqlalchemy.dialects.postgresql",
    "sqlalchemy.orm",
)


def _loaded_by(code: str) -> list[str]:
    command = [sys.executable, "-c", f"import sys; {code}; print(*sys.modules)"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize("command", ["cmd_upload", "cmd_status"])
def test_a_command_loads_nothing_that_it_may_not_need(command: str) -> None:
    found = _loaded_by(f"import ecogsafe.ui.cli.main, ecogsafe.ui.cli.{command}, ecogsafe.stores.s3")
    assert f"ecogsafe.ui.cli.{command}" in found
    assert [name for name in NEEDLESS if name in found] == []


def test_what_was_loaded_is_not_looked_at_for_garbage_again() -> None:
    code = (
        "import gc, click; from ecogsafe.ui.cli import main; gc.disable();"
        "assert main.cli.get_command(click.Context(main.cli), 'status') is not None;"
        "print(gc.isenabled(), gc.get_freeze_count() > 10_000)"
    )
    assert _loaded_by(code)[:2] == ["True", "True"]
