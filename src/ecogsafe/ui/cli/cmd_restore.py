"""``ecogsafe restore``."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

import click

from ecogsafe.service.restore import restore
from ecogsafe.service.restore_request import DEFAULT_DAYS, RestoreRequest, TierName
from ecogsafe.ui.cli.shell import Shell
from ecogsafe.ui.cli.store_option import store_url


@click.command("restore")
@click.argument("subject", metavar="CODE")
@click.option("-b", "bucket", metavar="BUCKET", help="Short for --from s3://BUCKET.")
@click.option("--from", "url", metavar="URL", help="s3://bucket[/prefix], azure://…, file:///path or glacier://VAULT.")
@click.option(
    "-d",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where to; made if the folder above it stands.",
)
@click.option("-f", "globs", multiple=True, metavar="PATH", help="Only these files (patterns); may be repeated.")
@click.option("--tier", type=click.Choice(get_args(TierName)), help="How fast objects are thawed; default: cheapest.")
@click.option("--days", type=int, default=DEFAULT_DAYS, show_default=True, help="How long thawed copies stay.")
@click.option("--wait", is_flag=True, help="Stay until everything is thawed and fetched.")
@click.option("--jobs", type=click.IntRange(1, 16), default=8, show_default=True, help="Requests at once.")
@click.pass_obj
def command(
    shell: Shell,
    subject: str,
    bucket: str | None,
    url: str | None,
    folder: Path,
    globs: tuple[str, ...],
    tier: TierName | None,
    days: int,
    wait: bool,  # noqa: FBT001
    jobs: int,
) -> int:
    """Bring a subject back out of archives and cold storage. Shows what it costs, asks, and can be run again."""
    request = RestoreRequest(
        subject=subject,
        url=store_url(bucket, url, "--from"),
        folder=folder,
        globs=globs,
        tier=tier,
        days=days,
        wait=wait,
        jobs=jobs,
    )
    return shell.carry_out("restore", lambda run: restore(run, request, shell.password, shell.confirm))
