"""Who is meant, on the command line: options, a TOML file, standard input, or questions on the terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from ecogsafe.service.deid_planning import Identifiers, read_identifiers_file
from ecogsafe.ui.cli.shell import Shell

F = TypeVar("F", bound=Callable[..., Any])

#: field and question
_QUESTIONS = (
    ("last_name", "Last name"),
    ("first_name", "First name"),
    ("middle_name", "Middle name"),
    ("mrn", "Medical record number"),
    ("birth_date", "Birth date (YYYY-MM-DD)"),
    ("also", "Anything else that identifies the person, | between"),
)


def person_options(function: F) -> F:
    """Add the options that say who is meant."""
    options = (
        click.option("--identifiers", metavar="FILE|-", help="TOML file (mode 0600) or - for standard input."),
        click.option("--last-name", default="", metavar="L", help="Prefer --identifiers -: arguments can be seen."),
        click.option("--first-name", default="", metavar="F"),
        click.option("--mrn", default="", metavar="M"),
        click.option("--birth-date", default="", metavar="YYYY-MM-DD"),
        click.option("--also", multiple=True, metavar="TEXT", help="Anything else that identifies the person."),
        click.option("--subject", "code", metavar="CODE", help="A code used before."),
    )
    for option in reversed(options):
        function = option(function)
    return function


def given_identifiers(
    source: str | None, last: str, first: str, mrn: str, birth: str, also: tuple[str, ...]
) -> Identifiers:
    """Return what the options say; empty where they say nothing."""
    flags = Identifiers(last_name=last, first_name=first, mrn=mrn, birth_date=birth, also=also)
    if source is None:
        if not flags.is_empty:
            note_visible_identifiers()
        return flags
    if source == "-" and sys.stdin.isatty():
        click.echo(
            'Identifiers as TOML (last_name = "…", first_name, mrn, birth_date, also = […]); end with Ctrl-D:', err=True
        )
    given = Identifiers.from_toml(sys.stdin.read()) if source == "-" else read_identifiers_file(Path(source))
    return given.merge(flags)


def note_visible_identifiers() -> None:
    """Say that arguments can be seen."""
    click.echo("note: identifiers on the command line can be seen by others; prefer --identifiers -", err=True)


def ask_identifiers(shell: Shell) -> Identifiers:
    """Return what is typed on the terminal; empty where nobody is there."""
    if not shell.has_terminal:
        return Identifiers()
    with shell.renderer.paused():
        typed = {
            name: click.prompt(question, default="", show_default=False, err=True) for name, question in _QUESTIONS
        }
    also = tuple(typed.pop("also").split("|"))
    return Identifiers(**typed, also=also)
