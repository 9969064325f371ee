"""``ecogsafe free``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.free import FreeRequest, free
from ecogsafe.ui.cli.shell import Shell


@click.command("free")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--dry-run", is_flag=True, help="Ask the stores and show what would be deleted; delete nothing.")
@click.pass_obj
def command(shell: Shell, folder: Path, dry_run: bool) -> int:  # noqa: FBT001
    """Delete the files below DIR whose copies elsewhere meet the policy, proven at that very moment."""
    request = FreeRequest(folder=folder, dry_run=dry_run)
    return shell.carry_out("free", lambda run: free(run, request, shell.confirm))
