"""``ecogsafe deid``: plan, apply, undo, scan."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Literal

import click

from ecogsafe.core.errors import UsageError
from ecogsafe.service.deid_planning import DeidRequest
from ecogsafe.service.home import PasswordSource
from ecogsafe.ui.cli.ahead import PASSWORD_FILE
from ecogsafe.ui.cli.cmd_reidentify import reidentify_command
from ecogsafe.ui.cli.person_options import given_identifiers, person_options
from ecogsafe.ui.cli.shell import Shell


@click.group("deid")
def command() -> None:
    """De-identify an export: look at the plan, apply it, take it back, search for what is left."""


command.add_command(reidentify_command)


@command.command("plan")
@click.argument("export", type=click.Path(path_type=Path))
@person_options
@click.option("--to", "out", type=click.Path(path_type=Path), metavar="OUT", help="Where apply would put the files.")
@click.option("--near", is_flag=True, help="Count spellings one letter off and short forms too, in free text.")
@click.option("--shift-dates", is_flag=True, help="Shift every date by one number of days, drawn for the subject.")
@click.option("--show-names", is_flag=True, help="Show source names (on a terminal only).")
@click.pass_obj
def plan_command(
    shell: Shell,
    export: Path,
    identifiers: str | None,
    last_name: str,
    first_name: str,
    mrn: str,
    birth_date: str,
    also: tuple[str, ...],
    code: str | None,
    out: Path | None,
    near: bool,  # noqa: FBT001
    shift_dates: bool,  # noqa: FBT001
    show_names: bool,  # noqa: FBT001
) -> int:
    """Show what apply would do: segments in order, pairs and how sure they are, what is missing or left behind."""

    def request() -> DeidRequest:
        if show_names and not sys.stdout.isatty():
            raise UsageError("--show-names", "works on a terminal only", next="leave it out")
        given = given_identifiers(identifiers, last_name, first_name, mrn, birth_date, also)
        return DeidRequest(export=export, out=out, identifiers=given, code=code, near=near, shift_dates=shift_dates)

    return show_plan(shell, request, show_names=show_names)


def show_plan(shell: Shell, request: Callable[[], DeidRequest], *, show_names: bool = False) -> int:
    """Run ``deid plan`` and draw the timeline; return the exit status."""
    from ecogsafe.service.deid_planning import plan, site_zone
    from ecogsafe.service.deid_telling import timeline_lines
    from ecogsafe.service.running import Run

    def work(run: Run) -> None:
        made, _ = plan(run, request(), _password_if_possible(shell))
        if not shell.as_json:
            utf8 = "utf" in (sys.stdout.encoding or "").lower()
            width = min(shutil.get_terminal_size().columns, 120)
            lines = timeline_lines(made, site_zone(run), width=width, is_ascii=not utf8)
            with shell.renderer.paused():
                click.echo("\n".join(["", *lines, ""]))
        if show_names:
            for move in made.moves:
                click.echo(f"{move.source.path}  ->  {move.place}")

    return shell.carry_out("deid plan", work)


def _password_if_possible(shell: Shell) -> PasswordSource | None:
    return shell.password if shell.has_terminal or os.environ.get(PASSWORD_FILE) else None


@command.command("apply")
@click.argument("export", type=click.Path(path_type=Path))
@person_options
@click.option("--to", "out", type=click.Path(path_type=Path), metavar="OUT", required=True, help="Where the files go.")
@click.option(
    "--annotations",
    type=click.Choice(["redact", "wipe", "keep"]),
    default="redact",
    show_default=True,
    help="Annotation text of EDF and BDF: identifiers go, all of it goes, or it stays. Natus notes always go whole.",
)
@click.option("--near", is_flag=True, help="Count spellings one letter off and short forms too, in free text.")
@click.option("--shift-dates", is_flag=True, help="Shift every date by one number of days, drawn for the subject.")
@click.option("--copy", is_flag=True, help="Leave EXPORT as it is; make clean copies.")
@click.option(
    "--keep-native-content", is_flag=True, help="Leave the contents of Natus files; they then only go sealed."
)
@click.option(
    "--settle",
    type=click.FloatRange(0),
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    help="Leave files modified more recently.",
)
@click.pass_obj
def apply_command(
    shell: Shell,
    export: Path,
    identifiers: str | None,
    last_name: str,
    first_name: str,
    mrn: str,
    birth_date: str,
    also: tuple[str, ...],
    code: str | None,
    out: Path,
    annotations: Literal["redact", "wipe", "keep"],
    near: bool,  # noqa: FBT001
    shift_dates: bool,  # noqa: FBT001
    copy: bool,  # noqa: FBT001
    keep_native_content: bool,  # noqa: FBT001
    settle: float,
) -> int:
    """Give the files of one person their code: names, headers, annotations, text; undoable, byte for byte."""

    def request() -> DeidRequest:
        given = given_identifiers(identifiers, last_name, first_name, mrn, birth_date, also)
        return DeidRequest(
            export=export,
            out=out,
            identifiers=given,
            code=code,
            annotations=annotations,
            near=near,
            shift_dates=shift_dates,
            copy=copy,
            keep_native_content=keep_native_content,
            settle_s=settle,
        )

    return carry_out_apply(shell, request)


def carry_out_apply(shell: Shell, request: Callable[[], DeidRequest]) -> int:
    """Run ``deid apply``; return the exit status."""
    from ecogsafe.service.deid_applying import apply

    return shell.carry_out("deid apply", lambda run: apply(run, request(), shell.password, shell.confirm))


@command.command("undo")
@click.argument("code")
@click.option("--journal", "journal_id", metavar="ID", help="Only if this is the newest.")
@click.pass_obj
def undo_command(shell: Shell, code: str, journal_id: str | None) -> int:
    """Take the newest apply of CODE back: names, bytes, modes and times as they were."""
    from ecogsafe.service.deid_undoing import undo

    return shell.carry_out("deid undo", lambda run: undo(run, code, journal_id, shell.password, shell.confirm))


@command.command("scan")
@click.argument("paths", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option(
    "--subject", "code", metavar="CODE", help="Search for this subject's identifiers, and clear what is clean."
)
@click.option("--term", "terms", multiple=True, metavar="TEXT", help="Search for this too.")
@click.option("--accept", "accepted", multiple=True, metavar="FINDING", help="A finding judged harmless (audited).")
@click.option("--near", is_flag=True, help="Count spellings one letter off and short forms too, in free text.")
@click.pass_obj
def scan_command(
    shell: Shell,
    paths: tuple[Path, ...],
    code: str | None,
    terms: tuple[str, ...],
    accepted: tuple[str, ...],
    near: bool,  # noqa: FBT001
) -> int:
    """Search files for identifiers: 0 clean, 20 found."""
    from ecogsafe.service.deid_scanning import scan

    return shell.carry_out(
        "deid scan",
        lambda run: scan(run, paths, code=code, terms=terms, accepted=accepted, password=shell.password, near=near),
    )
