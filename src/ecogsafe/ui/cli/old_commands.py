"""The lab's old commands under their old names, with their old flags; today's commands do the work.

Each says once, on standard error, what to type now. It repeats a bucket and a kind of data, never a folder,
a file or a name: those may tell of a person, and what a scheduled job says is kept.
"""

from __future__ import annotations

import shlex
from pathlib import Path

import click

from ecogsafe.core.errors import UsageError
from ecogsafe.service.deid_planning import DeidRequest, Identifiers
from ecogsafe.ui.cli.cmd_archive import command as archive_command
from ecogsafe.ui.cli.cmd_deid import carry_out_apply, show_plan
from ecogsafe.ui.cli.cmd_download import command as download_command
from ecogsafe.ui.cli.cmd_upload import command as upload_command
from ecogsafe.ui.cli.old_objects import wished
from ecogsafe.ui.cli.person_options import note_visible_identifiers
from ecogsafe.ui.cli.shell import Shell

_CONTEXT = {"help_option_names": ["-h", "--help"]}
#: what the old script took for "no code yet"
_NO_CODE = "NONE"
_DIR = click.Path(path_type=Path)


def _say_today(command: str, *words: str, remark: str = "") -> None:
    """Tell the new command line; ``words`` are shown as they are, so they hold nothing private."""
    line = " ".join(("ecogsafe", command, *words))
    click.echo(f"this is now:  {line}{f'   ({remark})' if remark else ''}", err=True)


def _shell() -> Shell:
    return Shell(home=None, as_json=False, quiet=False, verbose=False, yes=False)


@click.command(context_settings=_CONTEXT)
@click.option("-d", "--data_source", "folder", type=_DIR, required=True, help="The folder above the subjects.")
@click.option("-b", "--bucket_name", "bucket", required=True)
@click.option("-t", "--type", "kind", type=click.Choice(["v", "e"]), required=True, help="e: ecog, v: video.")
@click.pass_context
def _upload_to_s3(ctx: click.Context, folder: Path, bucket: str, kind: str) -> int:
    """Send the subjects below a folder to S3, as the old script did. Asks no password."""
    _say_today("upload", "-d DIR -b", shlex.quote(bucket), "-t", kind)
    ctx.obj = _shell()
    return int(ctx.invoke(upload_command, folder=folder, bucket=bucket, data_type=kind))


@click.command(context_settings=_CONTEXT)
@click.option("-d", "--dir", "folder", type=_DIR, required=True, help="One subject's video or EDF folder.")
@click.option("-td", "--tmp_dir", "scratch", type=_DIR, help="No longer needed: nothing is written there.")
@click.option("-t", "--type", "kind", type=click.Choice(["vid", "edf"]), required=True)
@click.pass_context
def _upload_glacier(ctx: click.Context, folder: Path, scratch: Path | None, kind: str) -> int:
    """Put one subject into the archive of config.toml. No tarball, no temporary folder, no password."""
    ctx.obj = shell = _shell()
    url = _archive_url(shell, kind)
    remark = "no temporary folder is needed" if scratch is not None else ""
    _say_today("archive", "-d DIR --to", shlex.quote(url), "-t", kind, remark=remark)
    return int(ctx.invoke(archive_command, folders=(folder,), url=url, kind=kind))


def _archive_url(shell: Shell, kind: str) -> str:
    """Return the one archive destination of config.toml that takes this kind of data.

    Raises
    ------
    UsageError
        There is none, or more than one.
    """
    shell.home.require()
    letter = {"vid": "v", "edf": "e"}[kind]
    fitting = [d for d in shell.home.settings().destination if d.archive and letter in d.types]
    if len(fitting) == 1:
        return fitting[0].url
    if fitting:
        problem = f"has {len(fitting)} archive destinations for {kind}, and the old command names none"
        step = f"choose: ecogsafe archive -d DIR --to {fitting[0].url} -t {kind}"
    else:
        problem = f"has no [[destination]] with archive = true for {kind}"
        step = 'add one (name = "deep", url = "s3://…", archive = true) and run the same command again'
    raise UsageError("config.toml", problem, safe="Nothing was sent", next=step)


@click.command(context_settings=_CONTEXT)
@click.option(
    "-d", "--data_source", "folder", type=_DIR, required=True, help="Where to; made if the folder above it stands."
)
@click.option("-b", "--bucket_name", "bucket", required=True)
@click.option("-t", "--type", "kind", type=click.Choice(["v", "e"]), required=True, help="e: ecog, v: video.")
@click.option("-f", "--file", "file", required=True, help="A file, a folder, a pattern, or a subject's code.")
@click.pass_context
def _download_from_s3(ctx: click.Context, folder: Path, bucket: str, kind: str, file: str) -> int:
    """Bring files back from S3, opened and proven."""
    wish = wished(file, kind)
    unlock = ["--decrypt"] if wish.is_locked else []
    _say_today("download", "-b", shlex.quote(bucket), "-d DIR", *["-f FILE"] * len(wish.globs), *unlock)
    ctx.obj = _shell()
    return int(ctx.invoke(download_command, bucket=bucket, folder=folder, globs=wish.globs, decrypt=wish.is_locked))


@click.command(context_settings=_CONTEXT)
@click.argument("folder", required=False, type=_DIR)
@click.argument("last_name", required=False)
@click.argument("code", required=False, metavar="[CODE|NONE]")
def _de_id(folder: Path | None, last_name: str | None, code: str | None) -> int:
    """Give one person's files a code. Asks for what is not given; the result goes to the outbox of config.toml."""
    shell = _shell()
    out = _outbox(shell)
    typed = folder is None or last_name is None
    folder, last_name = _person(shell, "de_id.py FOLDER LAST_NAME [CODE]", folder, last_name)
    if code is None and typed:
        code = _asked(shell, "Code, if the person has one (else Enter)")
    known = None if code in (None, "", _NO_CODE) else code
    again = ["--subject CODE"] if known else []
    _say_today("deid apply", "EXPORT --to OUT --identifiers -", *again)
    request = DeidRequest(export=folder, out=out, identifiers=Identifiers(last_name=last_name), code=known)
    return carry_out_apply(shell, lambda: request)


@click.command(context_settings=_CONTEXT)
@click.argument("folder", required=False, type=_DIR)
@click.argument("last_name", required=False)
def _remove_files_in_order(folder: Path | None, last_name: str | None) -> int:
    """Show one person's recordings in the order of their true start. Nothing is renamed: de_id.py does it all."""
    shell = _shell()
    out = _outbox(shell)
    folder, last_name = _person(shell, "removeFiles_inOrder.py FOLDER LAST_NAME", folder, last_name)
    remark = "nothing is renamed; ecogsafe deid apply numbers the files"
    _say_today("deid plan", "EXPORT --to OUT --identifiers -", remark=remark)
    request = DeidRequest(export=folder, out=out, identifiers=Identifiers(last_name=last_name))
    return show_plan(shell, lambda: request)


def _outbox(shell: Shell) -> Path:
    """Return where de-identified files go; the old scripts renamed them in place."""
    shell.home.require()
    outbox = shell.home.settings().outbox
    if outbox is None:
        raise UsageError(
            "config.toml",
            "has no outbox, the folder that de-identified files go to",
            next='add the line outbox = "/data/to_upload" above the first [[destination]], or use ecogsafe deid apply',
        )
    return Path(outbox)


def _person(shell: Shell, usage: str, folder: Path | None, last_name: str | None) -> tuple[Path, str]:
    """Return the folder and the last name, asked for where they were to be written into the old script."""
    if last_name is not None:
        note_visible_identifiers()
    elif not shell.has_terminal:
        raise UsageError("the command", "needs a folder and a last name, and nobody is there to be asked", next=usage)
    named = folder or Path(_asked(shell, "Folder with the export"))
    return named, last_name or _asked(shell, "Last name of the person")


def _asked(shell: Shell, question: str) -> str:
    with shell.asking():
        return str(click.prompt(question, default="", show_default=False, err=True)).strip()


#: the commands by the names under which they are installed
PROGRAMS = {
    "upload_to_s3.py": _upload_to_s3,
    "upload_glacier.py": _upload_glacier,
    "download_from_s3.py": _download_from_s3,
    "de_id.py": _de_id,
    "removeFiles_inOrder.py": _remove_files_in_order,
}
