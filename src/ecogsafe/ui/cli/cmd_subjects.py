"""``ecogsafe subjects``: list, show, add, import, export, withdraw, statement."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from ecogsafe.core.events import EventSink, Item, Summary
from ecogsafe.service.running import Run
from ecogsafe.ui.cli.person_options import ask_identifiers, given_identifiers, person_options
from ecogsafe.ui.cli.render import LineRenderer
from ecogsafe.ui.cli.shell import Shell


@click.group("subjects")
def command() -> None:
    """Who has which code, and what the lab has of each. Codes need no password, names do."""


@command.command("list")
@click.pass_obj
def list_command(shell: Shell) -> int:
    """Show every code with its segments, files and copies; no names, no password."""
    return shell.show("subjects list", lambda emit: _list(shell, emit))


def _list(shell: Shell, emit: EventSink) -> Summary:
    from ecogsafe.service.subject_holdings import as_items, list_subjects
    from ecogsafe.ui.cli.subject_pages import list_lines

    found = list_subjects(shell.home)
    if shell.as_json:
        for item in as_items(found):
            emit(item)
    elif found:
        click.echo("\n".join(list_lines(found)))
    message = "" if found else "nobody yet: ecogsafe deid apply, or ecogsafe subjects add"
    return Summary(
        command="subjects list",
        exit_status=0,
        files={},
        bytes=0,
        seconds=0.0,
        counts={"subjects": len(found)},
        message=message,
    )


@command.command("show")
@click.argument("code")
@click.pass_obj
def show_command(shell: Shell, code: str) -> int:
    """Show one subject: who it is (on a terminal only), segments, copies, journals, what was cleared."""
    from ecogsafe.service.subject_showing import as_items, show_subject
    from ecogsafe.ui.cli.subject_pages import page_lines

    def work(run: Run) -> None:
        page = show_subject(run, code, shell.password)
        if shell.as_json:
            for item in as_items(page):
                run.tell(item)
            return
        with shell.renderer.paused():
            click.echo("\n".join(page_lines(page, reveal=sys.stdout.isatty())))

    return shell.carry_out("subjects show", work)


@command.command("add")
@person_options
@click.pass_obj
def add_command(
    shell: Shell,
    identifiers: str | None,
    last_name: str,
    first_name: str,
    mrn: str,
    birth_date: str,
    also: tuple[str, ...],
    code: str | None,
) -> int:
    """Give a person a code, or find the one they have; asked for on the terminal where no option says who."""
    from ecogsafe.service.subject_adding import add_subject

    def work(run: Run) -> None:
        given = given_identifiers(identifiers, last_name, first_name, mrn, birth_date, also)
        if given.is_empty and identifiers is None:
            given = ask_identifiers(shell)
        add_subject(run, given, code, shell.password, shell.confirm)

    return shell.carry_out("subjects add", work)


@command.command("import")
@click.argument("table", type=click.Path(path_type=Path), metavar="FILE.csv")
@click.option("--dry-run", is_flag=True, help="Only say what each row would do.")
@click.pass_obj
def import_command(shell: Shell, table: Path, dry_run: bool) -> int:  # noqa: FBT001
    """Take the lab's table of codes: columns code, last_name, first_name, mrn, birth_date, also. All rows or none."""
    from ecogsafe.service.subject_importing import import_subjects

    return shell.carry_out(
        "subjects import", lambda run: import_subjects(run, table, shell.password, shell.confirm, dry_run=dry_run)
    )


@command.command("export")
@click.option(
    "-o",
    "table",
    type=click.Path(path_type=Path),
    metavar="FILE",
    required=True,
    help="A new .csv or .xlsx file; XLSX keeps the zeros that record numbers begin with.",
)
@click.option("--with-names", is_flag=True, help="Names beside codes (asks the password, asks, warns).")
@click.pass_obj
def export_command(shell: Shell, table: Path, with_names: bool) -> int:  # noqa: FBT001
    """Write the table of subjects to a new file, readable by you only; without names unless asked for."""
    from ecogsafe.service.subject_exporting import export_subjects

    return shell.carry_out(
        "subjects export", lambda run: export_subjects(run, table, shell.password, shell.confirm, with_names=with_names)
    )


@command.command("withdraw")
@click.argument("code")
@click.option("--undo", is_flag=True, help="Take a withdrawal back.")
@click.pass_obj
def withdraw_command(shell: Shell, code: str, undo: bool) -> int:  # noqa: FBT001
    """Stop sending CODE, and list every copy with the command that removes it. Deletes nothing itself."""
    from ecogsafe.service.withdrawal import reinstate, withdraw
    from ecogsafe.ui.cli.subject_pages import removal_lines

    def work(run: Run) -> None:
        if undo:
            reinstate(run, code, shell.confirm)
            return
        withdrawal = withdraw(run, code, shell.confirm, tell=shell.as_json)
        if not shell.as_json:
            with shell.renderer.paused():
                click.echo("\n".join(removal_lines(withdrawal)))
                click.echo(f"ecogsafe: {run.message}", err=True)

    if isinstance(shell.renderer, LineRenderer) and not undo:
        # standard output is a script: nothing else may stand in it
        shell.renderer = LineRenderer(quiet=True)
    return shell.carry_out("subjects withdraw", work)


@command.command("statement")
@click.argument("code")
@click.option("-o", "output", type=click.Path(path_type=Path), metavar="FILE", help="Write it to a new file.")
@click.pass_obj
def statement_command(shell: Shell, code: str, output: Path | None) -> int:
    """Print a dated page for an ethics board: what was removed, searched, kept and left behind; no password."""
    from ecogsafe.service.statement import make_statement, page, write_page

    def work(run: Run) -> None:
        text = page(make_statement(run, code))
        if output is not None:
            write_page(text, output)
            run.message = "the statement is written"
            return
        if shell.as_json:
            run.tell(Item(action="statement", status="done", subject=code, message=text))
            return
        with shell.renderer.paused():
            click.echo(text)

    return shell.carry_out("subjects statement", work)
