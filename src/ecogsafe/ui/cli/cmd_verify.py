"""``ecogsafe verify``."""

from __future__ import annotations

import click

from ecogsafe.service.verify import VerifyRequest, verify
from ecogsafe.ui.cli.shell import Shell


@click.command("verify")
@click.argument("code", required=False)
@click.option("--store", "url", metavar="URL", help="Only this store.")
@click.option("--deep", is_flag=True, help="Download, decrypt and compare digests (asks the password).")
@click.pass_obj
def command(shell: Shell, code: str | None, url: str | None, deep: bool) -> int:  # noqa: FBT001
    """Check that every recorded copy is there, whole and ours."""
    request = VerifyRequest(subject=code, url=url, deep=deep)
    return shell.carry_out("verify", lambda run: verify(run, request, shell.password))
