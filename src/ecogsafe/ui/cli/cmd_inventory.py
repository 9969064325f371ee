"""``ecogsafe inventory``."""

from __future__ import annotations

import click

from ecogsafe.service.inventory import LOST_AFTER_DAYS, InventoryRequest, inventory
from ecogsafe.ui.cli.shell import Shell


@click.command("inventory")
@click.argument("url", metavar="URL")
@click.option("--adopt", is_flag=True, help="Record objects that the catalogue does not know, content unknown.")
@click.option("--known", is_flag=True, help="Answer from the catalogue alone, with the age of its evidence.")
@click.option("--abort-orphans", is_flag=True, help="Abort unfinished uploads that nobody continues (asks).")
@click.option(
    "--older-than",
    "days",
    type=click.IntRange(min=1),
    default=LOST_AFTER_DAYS,
    show_default=True,
    metavar="DAYS",
    help="Of unfinished uploads that the catalogue does not know, abort only older ones.",
)
@click.pass_obj
def command(shell: Shell, url: str, adopt: bool, known: bool, abort_orphans: bool, days: int) -> int:  # noqa: FBT001
    """List what the store at URL really holds, against the catalogue: same, missing, different, unknown."""
    request = InventoryRequest(url=url, adopt=adopt, known=known, abort_orphans=abort_orphans, older_than_days=days)
    return shell.carry_out("inventory", lambda run: inventory(run, request, shell.confirm))
