"""Failures on their way to the user: one clear message, never a traceback, never a private value."""

from __future__ import annotations

import traceback
from pathlib import Path
from typing import Any

import click

from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.events import ErrorEvent, Summary
from ecogsafe.ui.cli.json_lines import write_line
from ecogsafe.ui.cli.words import line_of


def report_usage(error: click.ClickException, *, as_json: bool) -> None:
    """Tell of a command line that does not fit; option values are not repeated, they may be private."""
    if as_json:
        message = _without_values(error)
        write_line(
            ErrorEvent(
                code="usage", exit_status=2, item="command line", message=message, safe="Nothing was changed", next=""
            )
        )
        write_line(Summary(command="", exit_status=2, files={}, bytes=0, seconds=0.0, message=message))
        return
    context = getattr(error, "ctx", None)
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
        return
    click.echo(f"ecogsafe: {_without_values(error)}", err=True)
    if context is not None:
        click.echo(f"Try: {context.command_path} --help", err=True)


def _without_values(error: click.ClickException) -> str:
    if isinstance(error, click.BadParameter) and not isinstance(error, click.MissingParameter):
        name = error.param.opts[0] if error.param is not None else "an option"
        expected = "another value" if error.param is None else _expected(error.param.type)
        return f"{name}: the value given does not fit (expected: {expected})"
    if isinstance(error, click.UsageError) and error.message.startswith("No such command"):
        return "there is no such command"
    if isinstance(error, click.UsageError) and "unexpected extra argument" in error.message:
        return "there are more arguments than this command takes"
    return error.format_message()


def _expected(kind: click.ParamType[Any]) -> str:
    """Return in a person's words what values an option takes."""
    if isinstance(kind, click.Choice):
        return " or ".join(str(choice) for choice in kind.choices)
    for start, text in (("integer", "a whole number"), ("float", "a number")):
        if kind.name.startswith(start):
            least = getattr(kind, "min", None)
            return text if least is None else f"{text} of at least {least}"
    return kind.name


def report_failure(event: ErrorEvent, *, as_json: bool) -> None:
    """Tell of a failure outside the work of a command, where there is no renderer yet."""
    if as_json:
        write_line(event)
        write_line(Summary(command="", exit_status=event.exit_status, files={}, bytes=0, seconds=0.0))
    else:
        click.echo(line_of(event), err=True)


def bug_event(error: BaseException) -> ErrorEvent:
    """Return what is told of a bug in us: its kind and our line, not its text, which may hold a name."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = [f for f in frames if "ecogsafe" in f.filename]
    where = f"{Path(ours[-1].filename).name}:{ours[-1].lineno}" if ours else "outside ecogsafe"
    return ErrorEvent(
        code="bug",
        exit_status=int(ExitStatus.BUG),
        item="ecogsafe",
        message=f"a bug in ecogsafe ({type(error).__name__} at {where})",
        safe="Originals and copies already proven are not affected; the same command can be run again",
        next="report this line to the developers",
    )
