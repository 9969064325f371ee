"""``ecogsafe archive``."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import click

from ecogsafe.service.archive import archive
from ecogsafe.service.archive_request import CLASSES, ArchiveRequest
from ecogsafe.ui.cli.shell import Shell
from ecogsafe.ui.cli.store_option import store_url


@click.command("archive")
@click.option(
    "-d",
    "folders",
    type=click.Path(path_type=Path),
    required=True,
    multiple=True,
    metavar="DIR",
    help="OUT, OUT/video, OUT/edf or one subject's folder; may be given several times.",
)
@click.argument("more", nargs=-1, type=click.Path(path_type=Path), metavar="[DIR]...")
@click.option(
    "--to",
    "url",
    metavar="URL",
    required=True,
    help="s3://bucket[/prefix], azure://container[/prefix] or file:///path.",
)
@click.option(
    "-t",
    "kind",
    type=click.Choice(["vid", "edf"]),
    required=True,
    help="vid: video, Natus files, text; edf: EDF and BDF. Both are sealed.",
)
@click.option(
    "--storage-class",
    type=click.Choice(CLASSES),
    help="Storage class of S3, or access tier of Azure; default: as in config.toml.",
)
@click.option("--index-to", "index_url", metavar="URL", help="Where the indexes go: a place that is read at once.")
@click.option("--dry-run", is_flag=True, help="Show volumes, bytes and money; send nothing.")
@click.pass_obj
def command(
    shell: Shell,
    folders: tuple[Path, ...],
    more: tuple[Path, ...],
    url: str,
    kind: Literal["vid", "edf"],
    storage_class: str | None,
    index_url: str | None,
    dry_run: bool,  # noqa: FBT001
) -> int:
    """Stream the subjects below DIR into sealed volumes. Run it again to continue, or to add what is new."""
    request = ArchiveRequest(
        folders=(*folders, *more),
        url=store_url(None, url, "--to"),
        kind=kind,
        storage_class=storage_class,
        index_url=None if index_url is None else store_url(None, index_url, "--index-to"),
        dry_run=dry_run,
    )
    return shell.carry_out("archive", lambda run: archive(run, request))
