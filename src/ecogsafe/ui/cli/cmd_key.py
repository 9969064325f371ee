"""``ecogsafe key``: show, export, import, change-password, add-recipient, rotate."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.ui.cli.shell import Shell


@click.group("key")
def command() -> None:
    """The lab key: who can open what is stored, its password, and the sheet to print."""


@command.command("show")
@click.pass_obj
def show_command(shell: Shell) -> int:
    """Show to which keys everything is sealed, and prove that the lab key opens."""
    from ecogsafe.service.lab_keys import show_keys

    return shell.carry_out("key show", lambda run: show_keys(run, shell.password))


@command.command("export")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.pass_obj
def export_command(shell: Shell, file: Path) -> int:
    """Write a dated recovery sheet to FILE, from which `init --recover FILE` makes this home anew."""
    from ecogsafe.service.lab_keys import export_keys

    return shell.carry_out("key export", lambda run: export_keys(run, file, shell.password))


@command.command("import")
@click.argument("file", type=click.Path(path_type=Path), metavar="FILE")
@click.pass_obj
def import_command(shell: Shell, file: Path) -> int:
    """Add the keys in FILE (a sheet, a lab-key.age, a linking-key.age) to this home; nothing is replaced."""
    from ecogsafe.service.key_importing import import_key

    return shell.carry_out(
        "key import", lambda run: import_key(run, file, shell.password, shell.import_password, shell.confirm)
    )


@command.command("change-password")
@click.pass_obj
def change_password_command(shell: Shell) -> int:
    """Give the lab key another password; what is stored stays as it is."""
    from ecogsafe.service.lab_keys import change_password

    return shell.carry_out(
        "key change-password", lambda run: change_password(run, shell.password, shell.changed_password)
    )


@command.command("add-recipient")
@click.argument("key", metavar="KEY")
@click.option("--label", default="added key", show_default=True, metavar="WORDS", help="What the sheet calls it.")
@click.pass_obj
def add_recipient_command(shell: Shell, key: str, label: str) -> int:
    """Let the public key KEY (age1…) open what is sealed from now on."""
    from ecogsafe.service.lab_keys import add_recipient

    return shell.carry_out("key add-recipient", lambda run: add_recipient(run, key, label, shell.password))


@command.command("rotate")
@click.pass_obj
def rotate_command(shell: Shell) -> int:
    """Make a new lab key for what is sealed from now on; the old one stays, for what was sealed before."""
    from ecogsafe.service.key_rotating import rotate

    return shell.carry_out("key rotate", lambda run: rotate(run, shell.password))
