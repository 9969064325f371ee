"""``ecogsafe doctor``."""

from __future__ import annotations

import click

from ecogsafe.service.doctor import doctor
from ecogsafe.ui.cli.shell import Shell


@click.command("doctor")
@click.option("--open-key", "opens_key", is_flag=True, help="Ask the lab password and open the lab key with it.")
@click.pass_obj
def command(shell: Shell, opens_key: bool) -> int:  # noqa: FBT001
    """Check this machine, the home and every destination for real, and say what to fix."""
    password = shell.password if opens_key else None
    return shell.show("doctor", lambda emit: doctor(shell.home, emit, password=password, stop=shell.stop))
