"""``ecogsafe init``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import EventSink, Item, Summary
from ecogsafe.service.initialise import check_can_initialise, check_password, initialise
from ecogsafe.service.recover import recover
from ecogsafe.service.site_zone import machine_zone
from ecogsafe.ui.cli.init_questions import ask_destinations, ask_outbox
from ecogsafe.ui.cli.shell import Shell


@click.command("init")
@click.option(
    "--recovery-file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Write the recovery key here (a USB stick); needed without a terminal.",
)
@click.option("--recover", "source", metavar="SHEET|URL", help="Make this home anew from a recovery sheet or a store.")
@click.pass_obj
def command(shell: Shell, recovery_file: Path | None, source: str | None) -> int:
    """Make the home: lab key (asks a password twice), recovery key and sheet, catalogue, settings."""
    if source is not None:
        return shell.show("init", lambda emit: recover(shell.home, source, shell.password, emit))
    return shell.show("init", lambda emit: _initialise(shell, recovery_file, emit))


def _initialise(shell: Shell, recovery_file: Path | None, emit: EventSink) -> Summary:
    home = shell.home
    check_can_initialise(home, recovery_file)
    if recovery_file is None and not shell.has_terminal:
        raise UsageError(
            "--recovery-file",
            "is needed where there is no terminal to show the recovery key on",
            next="ecogsafe init --recovery-file FILE, FILE on another disk or a USB stick",
        )
    began = monotonic()
    password = shell.new_password()
    check_password(password)
    zone = _ask_zone(shell)
    is_new = shell.has_terminal and not home.config.exists()
    outbox = ask_outbox(shell) if is_new else None
    places = ask_destinations(shell) if is_new else ()

    def show(recovery: str) -> None:
        with shell.asking():
            _show_recovery_key(recovery)

    made = initialise(
        home,
        password,
        recovery_file=recovery_file,
        time_zone=zone,
        outbox=outbox,
        destinations=places,
        hand_over=show,
    )
    if recovery_file is not None:
        emit(Item(action="init", status="done", message="recovery key written; keep that file away from this computer"))
    emit(
        Item(action="init", status="done", path=made.sheet.name, message="recovery sheet in the home folder: print it")
    )
    message = "Next: look through config.toml, then ecogsafe doctor, then ecogsafe deid plan EXPORT"
    emit(Item(action="init", status="note", message=message))
    return Summary(
        command="init",
        exit_status=0,
        files={},
        bytes=0,
        seconds=round(monotonic() - began, 1),
        message="the home is ready",
    )


def _show_recovery_key(text: str) -> None:
    """Show the recovery identity until the person says that they have it; Ctrl-C ends ``init`` with nothing made."""
    while True:
        click.echo("\nThe recovery key, shown this once. Write it down or print it.", err=True)
        click.echo(
            "Keep it away from this computer: with it everything can be opened, without the password.\n", err=True
        )
        click.echo(text, err=True)
        if click.confirm("Is it written down?", err=True):
            return


def _ask_zone(shell: Shell) -> str | None:
    """Return the site's zone as the user confirms it; without a terminal nothing is guessed."""
    if not shell.has_terminal:
        return None
    found = machine_zone()
    with shell.asking():
        answer = click.prompt("Time zone of the recording site (- for later)", default=found or "-", err=True).strip()
    return None if answer in ("", "-") else str(answer)
