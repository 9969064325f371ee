"""``ecogsafe``: global options, lazily loaded commands, and the one place where a failure becomes an exit status."""

from __future__ import annotations

import gc
import importlib
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import click

from ecogsafe import __version__
from ecogsafe.core.errors import EcogsafeError, ExitStatus
from ecogsafe.core.events import ErrorEvent
from ecogsafe.ui.cli.ahead import unlock_ahead

#: command name -> module below this package; a module's ``command`` is the click command
COMMANDS = {
    "init": "cmd_init",
    "demo": "cmd_demo",
    "doctor": "cmd_doctor",
    "deid": "cmd_deid",
    "subjects": "cmd_subjects",
    "share": "cmd_share",
    "upload": "cmd_upload",
    "archive": "cmd_archive",
    "backup": "cmd_backup",
    "download": "cmd_download",
    "restore": "cmd_restore",
    "inventory": "cmd_inventory",
    "audit": "cmd_audit",
    "catalog": "cmd_catalog",
    "key": "cmd_key",
    "decrypt": "cmd_decrypt",
    "modernise": "cmd_modernise",
    "verify": "cmd_verify",
    "status": "cmd_status",
    "cost": "cmd_cost",
    "free": "cmd_free",
}
#: the one-line help of each, so that ``--help`` loads none of them
SUMMARIES = {
    "init": "Make the home: lab key, recovery key and sheet, catalogue, settings.",
    "demo": "A synthetic export, then the whole job on folders, printing each step.",
    "doctor": "What works here and what does not, place by place, and what to fix.",
    "deid": "De-identify an export: plan, apply, undo, scan, reidentify.",
    "subjects": "Who has which code: list, show, add, import, export, withdraw.",
    "share": "Give a group access to a folder, instead of chmod -R 777; undoable.",
    "upload": "Send one kind of data to one store, encrypted or cleared.",
    "archive": "Stream subjects into sealed volumes for cold storage, resumable.",
    "backup": "Every destination of the config from one read of the data; for every night.",
    "download": "Bring data back from a store, opened and proven.",
    "restore": "Bring a subject back out of archives and cold storage, with price and time first.",
    "inventory": "What a store really holds, against the catalogue; unfinished uploads and what they cost.",
    "audit": "Who did what, when and where to; and whether that record is as it was written.",
    "catalog": "Snapshots of the catalogue, and a lost catalogue rebuilt from one: backup, rebuild.",
    "key": "The lab key: show, export, import, change-password, add-recipient, rotate.",
    "decrypt": "Open files of age, or the lab's old OpenSSL DES files.",
    "modernise": "Old copies in, sealed and recorded copies at today's destinations out.",
    "verify": "Check every copy: by the store's checksum, or by reading it all.",
    "status": "Which subject is where, and how it was proven.",
    "cost": "What the copies cost a month, and what bringing them back would.",
    "free": "Delete local files whose copies elsewhere are proven at that very moment.",
}
_EPILOG = (
    "Exit status: 0 done, 1 a bug in us, 2 usage, 3 some items skipped or failed, 4 plan has conflicts, "
    "10 store unreachable or refused, 11 locked, 12 key or password, 20 identifiers found or not cleared, "
    "21 files not understood, 22 a source changed, 30 verification failed, 31 still cold, 130 interrupted."
)
#: in a context, the lab key that is being opened
_AHEAD = "ecogsafe.ahead"


class _LazyGroup(click.Group):
    """Loads a command's module only when that command is called: ``--help`` stays fast."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in COMMANDS:
            return None
        if ctx.resilient_parsing:
            return None
        module = importlib.import_module(f"ecogsafe.ui.cli.{COMMANDS[cmd_name]}")
        if not gc.isenabled():
            # what was loaded stays, and need not be looked at again and again
            gc.freeze()
            gc.enable()
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl(list(SUMMARIES.items()))

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name = args[0]
        if not name.startswith("-") and name not in COMMANDS:
            import difflib

            near = difflib.get_close_matches(name, COMMANDS, n=1)
            hint = f" Did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"There is no such command.{hint} See ecogsafe --help.")
        ctx.meta[_AHEAD] = unlock_ahead(name, args[1:], ctx.params.get("home"))
        return super().resolve_command(ctx, args)


@click.group(
    cls=_LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog=_EPILOG,
)
@click.version_option(__version__, prog_name="ecogsafe")
@click.option("--home", type=click.Path(path_type=Path), metavar="DIR", help="Home folder (or ECOGSAFE_HOME).")
@click.option("--json", "as_json", is_flag=True, help="JSON Lines on standard output.")
@click.option("-q", "--quiet", is_flag=True, help="Only what went wrong, and the verdict.")
@click.option("-v", "--verbose", is_flag=True, help="A line for every file.")
@click.option("--yes", is_flag=True, help="Answer yes where a command asks.")
@click.pass_context
def cli(ctx: click.Context, home: Path | None, as_json: bool, quiet: bool, verbose: bool, yes: bool) -> None:  # noqa: FBT001
    """De-identify, encrypt, copy to several places, prove it is there, bring it back."""
    from ecogsafe.ui.cli.shell import Shell

    ahead = ctx.meta.get(_AHEAD)
    ctx.obj = Shell(home=home, as_json=as_json, quiet=quiet, verbose=verbose, yes=yes, ahead=ahead)


def _hide_arguments(arguments: list[str]) -> None:
    """Take the arguments out of the process list: the paths of people's files, and identifiers, are private."""
    command = next((name for name in ("deid", "subjects", "share", "decrypt", "modernise") if name in arguments), None)
    if command is not None:
        import setproctitle

        setproctitle.setproctitle(f"ecogsafe {command}")


#: commands that may have processes of their own for files
_SENDING = frozenset({"upload", "backup"})
_DOING_NOTHING = frozenset({"-h", "--help", "--dry-run"})


def _processes_at_hand(arguments: list[str]) -> AbstractContextManager[None]:
    """Set a process aside that others are forked from: before anything else is loaded, or opened."""
    if not _SENDING & set(arguments) or _DOING_NOTHING & set(arguments):
        return nullcontext()
    from ecogsafe.service.processes_at_hand import processes_at_hand

    return processes_at_hand(to_s3="-b" in arguments or any("s3://" in argument for argument in arguments))


_GLOBAL_FLAGS = frozenset({"--json", "-q", "--quiet", "-v", "--verbose", "--yes"})


def _globals_first(arguments: list[str]) -> list[str]:
    """Return the arguments with the global options in front: they may stand anywhere before ``--``."""
    stop = arguments.index("--") if "--" in arguments else len(arguments)
    front: list[str] = []
    rest: list[str] = []
    waiting = iter(arguments[:stop])
    for argument in waiting:
        if argument in _GLOBAL_FLAGS or argument.startswith("--home="):
            front.append(argument)
        elif argument == "--home":
            front += [argument, *([value] if (value := next(waiting, None)) is not None else [])]
        else:
            rest.append(argument)
    return [*front, *rest, *arguments[stop:]]


def main(arguments: list[str] | None = None) -> None:
    """Run the command line and exit with its status; no traceback reaches a user."""
    # many thousand files are planned at once, and hardly anything of it is garbage: look for that less often, and
    # neither while modules are loaded nor at the end, when all of it goes; that is a fifth of a second of each run
    gc.set_threshold(20_000, 20, 20)
    gc.disable()
    arguments = sys.argv[1:] if arguments is None else arguments
    _hide_arguments(arguments)
    with _processes_at_hand(arguments):
        status = run_cli(arguments)
    gc.disable()
    gc.freeze()
    sys.exit(status)


def run_cli(arguments: list[str], program: click.Command = cli, name: str = "ecogsafe") -> int:
    """Carry out one command line of ``program`` and return its exit status."""
    from ecogsafe.ui.cli.failures import bug_event, report_failure, report_usage

    as_json = "--json" in arguments
    try:
        value: Any = program.main(args=_globals_first(arguments), prog_name=name, standalone_mode=False)
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return int(ExitStatus.INTERRUPTED)
    except click.ClickException as error:
        report_usage(error, as_json=as_json)
        return int(ExitStatus.USAGE)
    except EcogsafeError as error:
        report_failure(ErrorEvent.of(error), as_json=as_json)
        return int(error.exit_status)
    except Exception as error:  # noqa: BLE001  the border: a broken installation must not show a traceback either
        report_failure(bug_event(error), as_json=as_json)
        return int(ExitStatus.BUG)
    return value if isinstance(value, int) else int(ExitStatus.DONE)
