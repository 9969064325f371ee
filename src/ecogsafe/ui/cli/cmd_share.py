"""``ecogsafe share``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.sharing import share, undo_share
from ecogsafe.ui.cli.shell import Shell


@click.command("share")
@click.argument("folder", type=click.Path(path_type=Path), metavar="DIR")
@click.option("--group", metavar="G", help="The group that gets access.")
@click.option("--undo", is_flag=True, help="Give back the rights of before the newest share (asks the password).")
@click.pass_obj
def command(shell: Shell, folder: Path, group: str | None, undo: bool) -> int:  # noqa: FBT001
    """Give a group access to DIR and take it from everybody else, instead of chmod -R 777."""
    if undo == (group is not None):
        raise click.UsageError("Give one of --group G and --undo.")
    if group is None:
        return shell.carry_out("share", lambda run: undo_share(run, folder, shell.password))
    return shell.carry_out("share", lambda run: share(run, folder, group, shell.confirm))
