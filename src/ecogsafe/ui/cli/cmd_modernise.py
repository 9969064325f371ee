"""``ecogsafe modernise``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.modernising import ModerniseRequest, modernise
from ecogsafe.service.unlock_keys import unlock_keys
from ecogsafe.ui.cli.shell import Shell


@click.command("modernise")
@click.argument("sources", nargs=-1, required=True, metavar="SOURCE…")
@click.option(
    "-d",
    "folder",
    type=click.Path(path_type=Path),
    required=True,
    metavar="OUT",
    help="Where the old copies are laid out; must exist.",
)
@click.option("--to", "urls", multiple=True, metavar="URL", help="Send here; default: the destinations of config.toml.")
@click.option("--dry-run", is_flag=True, help="Show which old copies would be opened.")
@click.pass_obj
def command(shell: Shell, sources: tuple[str, ...], folder: Path, urls: tuple[str, ...], dry_run: bool) -> int:  # noqa: FBT001
    """Bring old copies (files, folders, store URLs) into today's form: opened, sealed anew, sent, recorded."""
    request = ModerniseRequest(sources=sources, folder=folder, urls=urls, dry_run=dry_run)
    keys = unlock_keys(shell.home, password=shell.password, old_password=shell.old_password)
    return shell.carry_out("modernise", lambda run: modernise(run, request, keys))
