"""``ecogsafe demo``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.demonstration import demonstrate
from ecogsafe.ui.cli.shell import Shell


@click.command("demo")
@click.argument("folder", type=click.Path(path_type=Path), default=Path("demo"), metavar="[DIR]")
@click.pass_obj
def command(shell: Shell, folder: Path) -> int:
    """Make a synthetic export and run the whole job on folders (DIR: default ./demo). Nothing else is touched."""
    return shell.show("demo", lambda emit: demonstrate(folder, emit))
