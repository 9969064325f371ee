"""``ecogsafe cost``."""

from __future__ import annotations

import click

from ecogsafe.ui.cli.shell import Shell


@click.command("cost")
@click.argument("code", required=False)
@click.option("--restore", is_flag=True, help="What bringing all of it back would cost and take, store by store.")
@click.pass_obj
def command(shell: Shell, code: str | None, *, restore: bool) -> int:
    """Tell what the recorded copies cost a month by store, class and subject; list prices, with their date."""
    from ecogsafe.service.costing import CostRequest, tell_cost

    request = CostRequest(subject=code, restore=restore)
    return shell.carry_out("cost", lambda run: tell_cost(run, request))
