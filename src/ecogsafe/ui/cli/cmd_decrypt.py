"""``ecogsafe decrypt``."""

from __future__ import annotations

from pathlib import Path

import click

from ecogsafe.service.decrypt_run import decrypt_alone, decrypt_in
from ecogsafe.service.decrypting import DecryptRequest
from ecogsafe.service.unlock_keys import unlock_keys
from ecogsafe.ui.cli.shell import Shell


@click.command("decrypt")
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="FILE…")
@click.option("-o", "out", type=click.Path(path_type=Path), metavar="OUT", help="The file, with --untar the folder.")
@click.option("--untar", is_flag=True, help="Unpack the tar file inside (gzip, zstd or plain): all of it or nothing.")
@click.option(
    "-i",
    "identity_file",
    type=click.Path(path_type=Path),
    metavar="KEYFILE",
    help="A recovery key or lab-key.age, instead of the home's.",
)
@click.pass_obj
def command(shell: Shell, files: tuple[Path, ...], out: Path | None, untar: bool, identity_file: Path | None) -> int:  # noqa: FBT001
    """Open files locked with age, or with the lab's old OpenSSL DES; what they are is told from what they hold."""
    request = DecryptRequest(files=files, out=out, untar=untar)
    keys = unlock_keys(
        shell.home, password=shell.password, old_password=shell.old_password, identity_file=identity_file
    )
    if shell.home.is_initialised:
        return shell.carry_out("decrypt", lambda run: decrypt_in(run, request, keys))
    return shell.show("decrypt", lambda emit: decrypt_alone(request, keys, emit, shell.stop))
