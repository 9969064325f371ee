"""``ecogsafe audit``."""

from __future__ import annotations

import click

from ecogsafe.service.auditing import AuditRequest, audit_acts
from ecogsafe.ui.cli.shell import Shell


@click.command("audit")
@click.option("--check", is_flag=True, help="Find acts that were changed, removed or put in another order.")
@click.option("--from", "url", metavar="URL", help="With --check: against the newest sealed snapshot there.")
@click.option("--object", "item", metavar="KEY", help="Only acts on this key, or path below OUT.")
@click.option(
    "--last", type=click.IntRange(min=1), default=50, show_default=True, metavar="N", help="The newest N acts."
)
@click.pass_obj
def command(shell: Shell, *, check: bool, url: str | None, item: str | None, last: int) -> int:
    """Show who did what, what left, when and where to; or check that the record is as it was written."""
    request = AuditRequest(check=check, url=url, object=item, last=last)
    return shell.carry_out("audit", lambda run: audit_acts(run, request, shell.password))
