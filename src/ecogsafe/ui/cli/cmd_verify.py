"""``ecogsafe verify``."""

from __future__ import annotations

import click

from ecogsafe.service.verify import VerifyRequest, verify
from ecogsafe.ui.cli.shell import Shell


@click.command("verify")
@click.argument("code", required=False)
@click.option("--store", "url", metavar="URL", help="Only this store.")
@click.option("--deep", is_flag=True, help="Download, decrypt and compare digests (asks the password).")
@click.option(
    "--sample", type=float, metavar="PCT", help="Only so many percent, one of every kind, oldest proof first."
)
@click.option("--seed", type=int, metavar="N", help="Draw the same sample again; the run tells its number.")
@click.option("--max-age", "max_age_days", type=float, metavar="D", help="Only what was proven more than D days ago.")
@click.option("--max-duration", metavar="T", help="Stop after 30m, 2h, 1h30m; the next run goes on from there.")
@click.option("--repair", is_flag=True, help="Send what is bad again from a good copy, beside the bad one.")
@click.pass_obj
def command(
    shell: Shell,
    code: str | None,
    url: str | None,
    deep: bool,  # noqa: FBT001
    sample: float | None,
    seed: int | None,
    max_age_days: float | None,
    max_duration: str | None,
    repair: bool,  # noqa: FBT001
) -> int:
    """Check that every recorded copy is there, whole and ours."""
    request = VerifyRequest(
        subject=code,
        url=url,
        deep=deep,
        sample=sample,
        max_age_days=max_age_days,
        max_duration=max_duration,
        repair=repair,
        **({} if seed is None else {"seed": seed}),
    )
    return shell.carry_out("verify", lambda run: verify(run, request, shell.password))
