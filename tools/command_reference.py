"""Writes docs/commands.md from the command line itself: ``python tools/command_reference.py [--check]``."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path

import click

from ecogsafe.core import events
from ecogsafe.ui.cli import ahead, shell
from ecogsafe.ui.cli.main import cli

TARGET = Path(__file__).resolve().parents[1] / "docs" / "commands.md"
COMMAND = "python tools/command_reference.py"

_INTRO = """\
# Commands

Generated from the code by `{command}`. Do not edit it by hand; a test fails when it is stale.

How to begin is in the [README](../README.md). What a command ends with is in [errors.md](errors.md).
The global options may stand anywhere on the line. Every command and group has `--help`.

A command that asks ends with status 2 and does nothing where there is no terminal and no `--yes`.
One Ctrl-C lets the parts in flight finish and ends with 130; a second one ends at once.
Run the same command again to continue.
"""

_ENVIRONMENT = f"""\
## Environment

| variable | meaning |
|---|---|
| `{ahead.HOME}` | The home folder, if `--home` is not given. Default: the user data folder of the platform. |
| `{ahead.PASSWORD_FILE}` | A file (mode 0600) whose first line is the lab password. Without it the password is asked. |
| `{shell.OLD_PASSWORD_FILE}` | The same for the old lab password, of files locked with OpenSSL. |
| `{shell.NEW_PASSWORD_FILE}` | The same for the new password of `key change-password`. |
| `{shell.CATALOG_URL}` | The catalogue, if it is not `catalog.sqlite` in the home: an SQLAlchemy URL. |
| `AWS_ENDPOINT_URL_S3`, `AWS_PROFILE`, `AWS_ACCESS_KEY_ID`, … | Read by the AWS SDK itself, with its own profiles. |
"""

_JSON = """\
## JSON Lines

`--json` prints one JSON object a line on standard output. `message_type` names its type. Fields are only
ever added. An `item` leaves out the fields that it has no value for. The last line is the `summary`.

| message_type | fields |
|---|---|
"""

#: what a person should know of a command that its options do not say
NOTES = {
    "init": "Asks the new lab password twice and, on a terminal, the time zone of the recording site, "
    "the folder of outgoing data and the places of copies; Enter leaves each for later. "
    "With `--recover` it asks the lab password once.",
    "doctor": "Asks no password without `--open-key`. Writes a probe of 4096 bytes to each place, one a day, and mends "
    "nothing. 3 where something is to be fixed, 10 where no place can be used. See [doctor](doctor.md).",
    "demo": "Uses a home, a password and keys of its own inside DIR. "
    "DIR must be new, empty, or an earlier demonstration, which is replaced.",
    "deid plan": "Changes nothing. Asks the password only where a linking key exists, to recognise a returning "
    "patient. Without identifiers it takes them from EXPORT, if EXPORT holds one person only.",
    "deid apply": "Asks the password. Run it again to continue after an interruption. "
    "Asks before it gives a person of a known name a new code.",
    "deid undo": "Asks the password. Asks before it goes on where copies of the subject stand in stores. "
    "It does not touch those copies.",
    "deid reidentify": "Asks the password. Makes copies with the original names and bytes. OUT is not touched.",
    "subjects show": "Asks the password. Names show in full on a terminal only.",
    "deid scan": "Asks the password, unless only `--term` is given.",
    "upload": "Never asks the password. What goes out unencrypted must be cleared by `deid apply` or "
    "`deid scan --subject`. Nothing is ever replaced in a store.",
    "download": "Asks the password if sealed objects are to be opened. DIR is made if the folder above it stands. "
    "A file here that differs is never replaced (status 3).",
    "inventory": "Never asks the password, and reads listings only; of what a listing leaves in doubt the store is "
    "asked (a folder then reads that file). 0 all recorded copies are there, also with unknown objects beside them; "
    "30 copies are missing, different or bad; 3 something of a withdrawn subject is still there. "
    "The list of an old vault (`glacier://NAME`) takes hours: 31, and a later run reads it ([vaults](vaults.md)).",
    "audit": "Asks the password with `--from` only. 30: the record is not as it was written. What a check can see, and "
    "what it cannot: [audit](audit.md).",
    "catalog backup": "Never asks the password. Without a `[[destination]]` it goes to every store that this catalogue "
    "has met. Nothing in a store is replaced or removed.",
    "catalog rebuild": "Asks the password. Never replaces a catalogue that opens and holds work; any other is kept "
    "beside the new one. 3: the newest snapshot could not be used, an older one was taken. See "
    "[the computer is lost](disaster.md).",
    "key show": "Asks the password.",
    "key export": "Asks the password. FILE must be new, and outside the home. See [keys](keys.md).",
    "key change-password": "Asks the present password once and the new one twice. See [keys](keys.md).",
    "key add-recipient": "Asks the password. It does not open what was stored before. See [keys](keys.md).",
    "decrypt": "Asks the old lab password for OpenSSL files, the lab password for sealed ones. Needs no home for the "
    "former. What stands under the name is compared and never replaced (3). See [old copies](old-copies.md).",
    "modernise": "Asks the old lab password. Never changes an old copy. Everything goes sealed; destinations that are "
    "`plain` or archives are passed over. See [old copies](old-copies.md).",
    "verify": "Without `--deep` it asks no password and reads no data, except in a folder, where it reads every file; "
    "`--repair` asks it if a sealed copy of another store has to be opened. See [proof](proof.md).",
    "share": "Asks before it begins. Refuses `/`, mount points, home folders, the home of ecogsafe, and links that "
    "lead out of DIR.",
    "status": "Never asks the password, and asks no store.",
}


def walk(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command below ``group`` with its name, such as ``deid plan``, in the order of ``--help``."""
    with click.Context(group, info_name="ecogsafe", **cli.context_settings) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            if command is None:
                raise LookupError(name)
            if isinstance(command, click.Group):
                yield from walk(command, (*path, name))
            else:
                yield " ".join((*path, name)), command


def options_of(command: click.Command) -> list[click.Option]:
    """Return the options of ``command``, without ``--help``."""
    return [p for p in command.params if isinstance(p, click.Option)]


def _help(text: str | None) -> str:
    return " ".join(inspect.cleandoc(text or "").split()).replace("|", "\\|")


def _spelling(option: click.Option) -> str:
    names = ", ".join((*option.opts, *option.secondary_opts))
    if option.is_flag:
        return f"`{names}`"
    if isinstance(option.type, click.Choice):
        value = "|".join(str(choice) for choice in option.type.choices)
    else:
        value = option.metavar or option.type.name.upper().replace(" RANGE", "")
    return f"`{names} {value}`".replace("|", "\\|")


def _facts(option: click.Option) -> str:
    facts = [_help(option.help)]
    if option.required:
        facts.append("Required.")
    if option.multiple:
        facts.append("May be given several times.")
    if option.show_default and option.default is not None:
        facts.append(
            f"Default: {option.default:g}." if isinstance(option.default, float) else f"Default: {option.default}."
        )
    return " ".join(fact for fact in facts if fact)


def _table(options: list[click.Option]) -> list[str]:
    if not options:
        return []
    return ["| option | meaning |", "|---|---|", *(f"| {_spelling(o)} | {_facts(o)} |" for o in options), ""]


def _usage(name: str, command: click.Command) -> str:
    # with the settings of the real command line: click remembers the help option it made first
    context = click.Context(command, info_name=name, **cli.context_settings)
    pieces = [piece.strip() for piece in command.collect_usage_pieces(context)]
    return f"ecogsafe {name} {' '.join(pieces)}"


def _section(name: str, command: click.Command) -> list[str]:
    lines = [f"## {name}", "", "```", _usage(name, command), "```", "", _help(command.help), ""]
    if name in NOTES:
        lines += [NOTES[name], ""]
    return lines + _table(options_of(command))


def _events() -> list[str]:
    kinds = [v for v in vars(events).values() if is_dataclass(v) and isinstance(v, type) and hasattr(v, "message_type")]
    return [f"| `{k.message_type}` | {', '.join(f'`{f.name}`' for f in fields(k))} |" for k in kinds]


def render() -> str:
    """Return the whole page."""
    lines = [_INTRO.format(command=COMMAND), "## Global options", "", *_table(options_of(cli))]
    for name, command in walk(cli):
        lines += _section(name, command)
    return "\n".join([*lines, _ENVIRONMENT, _JSON + "\n".join(_events()), ""])


def main(arguments: list[str]) -> int:
    """Write the page; with ``--check`` only say whether it is stale (1)."""
    text = render()
    if arguments == ["--check"]:
        stale = not TARGET.exists() or TARGET.read_text(encoding="utf-8") != text
        if stale:
            print(f"docs/{TARGET.name} is stale: {COMMAND}")
        return int(stale)
    TARGET.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
