"""Who runs: host, boot and process, so that the lease of a dead process can be taken over at once."""

from __future__ import annotations

import getpass
import os
import platform
import secrets
from pathlib import Path

from ecogsafe import __version__
from ecogsafe.transfer.context import Actor

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


def _boot() -> str:
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip().replace("-", "")[:12]
    except OSError:
        return "unknown"


def _process_start(pid: int) -> str | None:
    """Return when process ``pid`` began, in the kernel's own words; None if it is not there."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return None if Path("/proc/self").exists() else "unknown"
    return text.rpartition(")")[2].split()[19]


def owner_here() -> str:
    """Return an owner text for one run of this process: ``host/boot/pid/start/random``."""
    return f"{platform.node()}/{_boot()}/{os.getpid()}/{_process_start(os.getpid())}/{secrets.token_hex(8)}"


def is_dead(owner: str) -> bool:
    """Return whether the process behind ``owner`` is certainly gone; in doubt False."""
    try:
        host, boot, pid_text, start, _ = owner.split("/")
        pid = int(pid_text)
    except ValueError:
        return False
    if host != platform.node():
        return False
    if boot != _boot():
        return True
    now = _process_start(pid)
    if now == "unknown":
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return True
        except PermissionError:
            return False
        return False
    return now is None or now != start


def actor_here() -> Actor:
    """Return who acts, for the audit chain: login, host and version of the tool."""
    try:
        who = getpass.getuser()
    except (KeyError, OSError):
        who = f"uid {os.getuid()}"
    return Actor(who=who, host=platform.node(), version=__version__)
