"""``ecogsafe upload``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.upload import upload
from ecogsafe.service.upload_request import UploadRequest
from ecogsafe.ui.cli.shell import Shell
from ecogsafe.ui.cli.store_option import store_url


@click.command("upload")
@click.option(
    "-d",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="DIR",
    help="OUT, OUT/video, OUT/edf or one subject's folder.",
)
@click.option("-b", "bucket", metavar="BUCKET", help="Short for --to s3://BUCKET.")
@click.option("--to", "url", metavar="URL", help="s3://bucket[/prefix], azure://container[/prefix] or file:///path.")
@click.option(
    "-t",
    "data_type",
    type=click.Choice(["v", "e"]),
    required=True,
    help="v: video, Natus files, text (sealed); e: EDF and BDF.",
)
@click.option("--encrypt", is_flag=True, help="Seal EDF and BDF too.")
@click.option("--plain", is_flag=True, help="Leave them unencrypted (video only into a folder).")
@click.option(
    "--jobs",
    type=click.IntRange(1, 64),
    default=16,
    show_default=True,
    help="Requests at once, at most; how many are worth it is found out.",
)
@click.option("--limit-rate", metavar="RATE", help="Bytes per second, as 20M (20,000,000) or 20Mi.")
@click.option("--between", metavar="TIMES", help="Send in these hours only, as 18:00-06:00 at the recording site.")
@click.option("--storage-class", metavar="C", help="S3 storage class.")
@click.option("--exclude", multiple=True, metavar="GLOB", help="Leave these paths or names out.")
@click.option("--new-version", is_flag=True, help="Send changed content as NAME~2.EXT; nothing is ever replaced.")
@click.option("--dry-run", is_flag=True, help="Show what would be sent.")
@click.pass_obj
def command(
    shell: Shell,
    folder: Path,
    bucket: str | None,
    url: str | None,
    data_type: str,
    encrypt: bool,  # noqa: FBT001
    plain: bool,  # noqa: FBT001
    jobs: int,
    limit_rate: str | None,
    between: str | None,
    storage_class: str | None,
    exclude: tuple[str, ...],
    new_version: bool,  # noqa: FBT001
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Send the subjects below DIR to one store. Run it again to continue: what is there is not sent twice."""
    request = UploadRequest(
        folder=folder,
        url=store_url(bucket, url, "--to"),
        data_type=data_type,
        encrypt=encrypt,
        plain=plain,
        jobs=jobs,
        limit_rate=limit_rate,
        between=between,
        storage_class=storage_class,
        exclude=exclude,
        new_version=new_version,
        dry_run=dry_run,
    )
    return shell.carry_out("upload", lambda run: upload(run, request))
