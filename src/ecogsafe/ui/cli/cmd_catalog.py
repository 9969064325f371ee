"""``ecogsafe catalog``: backup, rebuild."""

from __future__ import annotations

import click

from ecogsafe.ui.cli.shell import Shell


@click.group("catalog")
def command() -> None:
    """The catalogue itself: sealed snapshots of it, and the way back from one."""


@command.command("backup")
@click.pass_obj
def backup_command(shell: Shell) -> int:
    """Put a sealed snapshot of the catalogue into every destination, now."""
    from ecogsafe.service.catalog_backup import back_up

    return shell.carry_out("catalog backup", back_up)


@command.command("rebuild")
@click.option("--from", "url", required=True, metavar="URL", help="The store that holds snapshots.")
@click.option("--snapshot", metavar="NAME", help="Take this one, not the newest that opens.")
@click.pass_obj
def rebuild_command(shell: Shell, url: str, snapshot: str | None) -> int:
    """Make a lost or damaged catalogue anew from the newest snapshot that opens, then list the store."""
    from ecogsafe.service.catalog_rebuild import rebuild

    return shell.show(
        "catalog rebuild",
        lambda emit: rebuild(shell.home, url, shell.password, shell.confirm, emit, shell.stop, snapshot=snapshot),
    )
