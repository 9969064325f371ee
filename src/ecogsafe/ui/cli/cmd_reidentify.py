"""``ecogsafe deid reidentify``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.ui.cli.shell import Shell


@click.command("reidentify")
@click.argument("code")
@click.option("--to", "folder", type=click.Path(path_type=Path), metavar="DIR", required=True, help="A new folder.")
@click.option(
    "--from",
    "out",
    type=click.Path(path_type=Path),
    metavar="OUT",
    help="Where the files stand now, if not where apply put them: a moved OUT, or a folder that download filled.",
)
@click.pass_obj
def reidentify_command(shell: Shell, code: str, folder: Path, out: Path | None) -> int:
    """Make a copy of CODE that NeuroWorks opens, under the original names. DIR then holds names."""
    from ecogsafe.service.deid_reidentifying import reidentify

    return shell.carry_out("deid reidentify", lambda run: reidentify(run, code, folder, shell.password, out=out))
