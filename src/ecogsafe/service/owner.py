"""Who runs: machine, boot and process, so that the lease of a dead process can be taken over at once."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import secrets
from pathlib import Path

from ecogsafe import __version__
from ecogsafe.transfer.context import Actor

_PROC = Path("/proc")
_BOOT_ID = _PROC / "sys/kernel/random/boot_id"
_MACHINE_ID = Path("/etc/machine-id")
_UNKNOWN = "unknown"
#: a zombie does no more work, and nobody may come to reap it (a container without init)
_ENDED_STATES = ("Z", "X", "x")


def _machine() -> str:
    """Return a name of this machine: hosts of a lab may well all be called ``localhost``."""
    try:
        machine_id = _MACHINE_ID.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError):
        return platform.node()
    # machine-id(5): never shown as it is
    return f"{platform.node()}~{hashlib.sha256(f'ecogsafe {machine_id}'.encode()).hexdigest()[:12]}"


def _boot() -> str:
    """Return which start of the kernel this is, and in which process namespace we are."""
    try:
        boot = _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")[:12]
        # pid:[4026531836]
        return f"{boot}~{(_PROC / 'self/ns/pid').readlink().name.strip('pid:[]')}"
    except OSError:
        return _UNKNOWN


def _process_start(pid: int) -> str | None:
    """Return when process ``pid`` began, in the kernel's own words; None if it is certainly not there."""
    try:
        text = (_PROC / str(pid) / "stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        # no /proc here, or it hides the processes of others
        return _UNKNOWN if _is_there(pid) else None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] in _ENDED_STATES else fields[19]


def _is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def owner_here(word: str | None = None) -> str:
    """Return an owner text for one run of this process: ``machine/boot/pid/start/word``, a random word by default."""
    pid = os.getpid()
    return f"{_machine()}/{_boot()}/{pid}/{_process_start(pid)}/{word or secrets.token_hex(8)}"


def word_of(owner: str) -> str:
    """Return the word that `owner_here` was given."""
    return owner.rpartition("/")[2]


def is_dead(owner: str) -> bool:
    """Return whether the process behind ``owner`` is certainly gone; in doubt False."""
    try:
        machine, boot, pid_text, start, _ = owner.split("/")
        pid = int(pid_text)
    except ValueError:
        return False
    if machine != _machine():
        return False
    here = _boot()
    if boot != here:
        # another start of the same machine; another process namespace (a container) cannot be looked into
        return _UNKNOWN not in (boot, here) and boot.split("~")[0] != here.split("~")[0]
    now = _process_start(pid)
    return now is None or (_UNKNOWN not in (now, start) and now != start)


def actor_here() -> Actor:
    """Return who acts, for the audit chain: login, host and version of the tool."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = f"uid {os.getuid()}"
    return Actor(who=who, host=platform.node(), version=__version__)
