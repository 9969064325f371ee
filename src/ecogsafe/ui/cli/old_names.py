"""What the lab's old command names start. The folder and the name leave the list of processes first of all."""

from __future__ import annotations

import sys


def run_old(name: str, arguments: list[str]) -> int:
    """Carry out the old command ``name`` and return its exit status."""
    # only now: what it loads takes most of a second
    from ecogsafe.ui.cli.main import run_cli
    from ecogsafe.ui.cli.old_commands import PROGRAMS

    return run_cli(arguments, PROGRAMS[name], name)


def _main(name: str) -> None:
    import setproctitle

    arguments = sys.argv[1:]
    setproctitle.setproctitle(name)
    sys.exit(run_old(name, arguments))


def upload_to_s3() -> None:
    """Run ``upload_to_s3.py``."""
    _main("upload_to_s3.py")


def upload_glacier() -> None:
    """Run ``upload_glacier.py``."""
    _main("upload_glacier.py")


def download_from_s3() -> None:
    """Run ``download_from_s3.py``."""
    _main("download_from_s3.py")


def de_id() -> None:
    """Run ``de_id.py``."""
    _main("de_id.py")


def remove_files_in_order() -> None:
    """Run ``removeFiles_inOrder.py``."""
    _main("removeFiles_inOrder.py")
