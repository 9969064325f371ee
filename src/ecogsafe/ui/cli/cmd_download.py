"""``ecogsafe download``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.download import download
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.ui.cli.shell import Shell
from ecogsafe.ui.cli.store_option import store_url


@click.command("download")
@click.option("-b", "bucket", metavar="BUCKET", help="Short for --from s3://BUCKET.")
@click.option("--from", "url", metavar="URL", help="s3://bucket[/prefix], azure://container[/prefix] or file:///path.")
@click.option(
    "-d",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="Where to; made if the folder above it stands.",
)
@click.option("-s", "subjects", multiple=True, metavar="CODE", help="Only these subjects.")
@click.option("-f", "globs", multiple=True, metavar="GLOB", help="Only these paths.")
@click.option(
    "--missing-in", type=click.Path(path_type=Path), metavar="DIR", help="Only what does not stand below this folder."
)
@click.option(
    "--decrypt", is_flag=True, help="Also open and unpack what the old scripts stored (.enc), with the old password."
)
@click.option("--no-decrypt", is_flag=True, help="Keep sealed objects sealed (.age).")
@click.option("--jobs", type=click.IntRange(1, 64), default=8, show_default=True, help="Requests at once; 16 at most.")
@click.option("--limit-rate", metavar="RATE", help="Bytes per second, as 20M (20,000,000) or 20Mi.")
@click.option("--between", metavar="TIMES", help="Fetch in these hours only, as 18:00-06:00 at the recording site.")
@click.option("--dry-run", is_flag=True, help="Show what would be fetched.")
@click.pass_obj
def command(
    shell: Shell,
    bucket: str | None,
    url: str | None,
    folder: Path,
    subjects: tuple[str, ...],
    globs: tuple[str, ...],
    missing_in: Path | None,
    decrypt: bool,  # noqa: FBT001
    no_decrypt: bool,  # noqa: FBT001
    jobs: int,
    limit_rate: str | None,
    between: str | None,
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Bring files back under the names they had. What is here and right is kept; what differs is never replaced."""
    if decrypt and no_decrypt:
        raise click.UsageError("--decrypt contradicts --no-decrypt.")
    request = DownloadRequest(
        folder=folder,
        url=store_url(bucket, url, "--from"),
        subjects=subjects,
        globs=globs,
        missing_in=missing_in,
        decrypt=not no_decrypt,
        old_locks=decrypt,
        jobs=jobs,
        limit_rate=limit_rate,
        between=between,
        dry_run=dry_run,
    )
    return shell.carry_out(
        "download",
        lambda run: download(
            run,
            request,
            shell.password,
            old_password=shell.old_password,
            password_at_hand=shell.has_password_at_hand,
        ),
    )
