"""``ecogsafe backup``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.backup import BackupRequest
from ecogsafe.service.nightly import backup_and_notify
from ecogsafe.ui.cli.shell import Shell


@click.command("backup")
@click.argument("folder", required=False, type=click.Path(path_type=Path), metavar="[DIR]")
@click.pass_obj
def command(shell: Shell, folder: Path | None) -> int:
    """Fill every destination of the config from one read of DIR (default: the outbox). Safe to run every night."""
    request = BackupRequest(folder=folder)
    return shell.show("backup", lambda emit: backup_and_notify(shell.home, request, emit, stop=shell.stop))
