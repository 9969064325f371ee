"""What ``init`` asks for config.toml on a terminal; Enter leaves each for later."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.core.config import Destination
from ecogsafe.core.errors import EcogsafeError
from ecogsafe.service.first_places import destination_of, is_folder_url
from ecogsafe.ui.cli.shell import Shell


def ask_outbox(shell: Shell) -> str | None:
    """Return the folder that de-identified data waits in, as an absolute path."""
    with shell.asking():
        answer = _asked("Folder where de-identified data waits to be sent (Enter for later)")
        if not answer:
            return None
        folder = Path(answer).expanduser().absolute()
        if not folder.is_dir():
            click.echo("  it is not there yet: make it (mkdir) before the first deid apply", err=True)
    return str(folder)


def ask_destinations(shell: Shell) -> tuple[Destination, ...]:
    """Return the places that copies go to, asked for one after the other."""
    places: list[Destination] = []
    with shell.asking():
        while url := _asked(
            f"{'Another place' if places else 'A place'} for copies: s3://bucket, azure://container or a folder "
            f"(Enter for {'no more' if places else 'later'})"
        ):
            types = _asked("  What goes there: v (video and text), e (EDF), or both", default="ve")
            is_folder = is_folder_url(url)
            plain = is_folder and click.confirm("  Unencrypted, so that people can open it there?", err=True)
            cold = url.startswith("s3://") and click.confirm("  As an archive in cold storage (Glacier)?", err=True)
            taken = {place.name for place in places}
            try:
                places.append(destination_of(url, types=types, taken=taken, plain=plain, archive=cold))
            except EcogsafeError as error:
                click.echo(f"  {error.item} {error.problem}. {error.next}".rstrip(), err=True)
    return tuple(places)


def _asked(question: str, default: str = "") -> str:
    return str(click.prompt(question, default=default, show_default=bool(default), err=True)).strip()
