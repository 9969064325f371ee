"""Commands under real limits: permissions that hold for root too, a full disk, a read-only folder.

Tests often run as root, who may read everything: the command then runs without that capability.
Mounts are made in a mount namespace of the command's own and vanish with it.
"""

from __future__ import annotations

import functools
import os
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

_OVERRIDE = "-dac_override,-dac_read_search"


def without_override() -> list[str]:
    """Return what to put before a command so that file permissions hold for it."""
    if os.geteuid() != 0:
        return []
    return ["setpriv", "--inh-caps", _OVERRIDE, "--bounding-set", _OVERRIDE, "--"]


def _works(command: Sequence[str]) -> bool:
    try:
        return subprocess.run(command, capture_output=True, check=False, timeout=20).returncode == 0
    except OSError:
        return False


NEEDS_SETPRIV = pytest.mark.skipif(
    os.geteuid() == 0 and shutil.which("setpriv") is None,
    reason="running as root without setpriv: permissions would not hold",
)


def _namespace() -> list[str]:
    return ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--mount", "--map-root-user"]


@functools.cache
def can_mount() -> bool:
    """Return whether this machine lets us mount in a namespace of our own."""
    return _works([*_namespace(), "sh", "-c", "mount -t tmpfs none /mnt"])


def need_mounts() -> None:
    """Skip the test where nothing can be mounted, and say so."""
    if not can_mount():
        pytest.skip("neither root nor user namespaces: no small disk can be mounted here")


def small_disk(folder: Path, size: str, listing: Path) -> list[str]:
    """Return a prefix that runs a command with a disk of ``size`` at ``folder``.

    What lies there at the end goes to ``listing``, since it vanishes with the namespace.
    """
    place = shlex.quote(str(folder))
    script = (
        f"mount -t tmpfs -o size={size} none {place} || exit 99; "
        f'"$@"; status=$?; find {place} -type f > {shlex.quote(str(listing))}; exit $status'
    )
    return [*_namespace(), "sh", "-c", script, "sh"]


def full_disk(folder: Path, room_bytes: int) -> list[str]:
    """Return a prefix that runs a command with what ``folder`` holds on a disk that has only so much room left.

    What the command writes there vanishes with the namespace.
    """
    place, aside = shlex.quote(str(folder)), shlex.quote(str(folder.with_name("aside")))
    script = (
        f"mkdir -p {aside} && mount --bind {place} {aside} && mount -t tmpfs -o size=4m none {place} || exit 99; "
        f"cp -a {aside}/. {place} && head -c {room_bytes} /dev/zero > {place}/room || exit 99; "
        f'cat /dev/zero > {place}/rest 2> /dev/null; rm {place}/room; exec "$@"'
    )
    return [*_namespace(), "sh", "-c", script, "sh"]


def read_only(folder: Path) -> list[str]:
    """Return a prefix that runs a command with ``folder`` mounted read-only."""
    place = shlex.quote(str(folder))
    script = f'mount --bind {place} {place} && mount -o remount,bind,ro {place} || exit 99; exec "$@"'
    return [*_namespace(), "sh", "-c", script, "sh"]
