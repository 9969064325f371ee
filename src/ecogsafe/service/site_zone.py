"""The time zone of this machine, as a proposal for that of the recording site."""

from __future__ import annotations

from pathlib import Path

from ecogsafe.core.config import clinical_zone
from ecogsafe.core.errors import ConfigError


def machine_zone() -> str | None:
    """Return the IANA name that /etc/localtime points to, None if it tells none.

    A machine set to UTC tells nothing of where the recordings were made, so UTC is never proposed.
    """
    target = Path("/etc/localtime").resolve().as_posix()
    _, found, name = target.partition("/zoneinfo/")
    if not found or name.rsplit("/", 1)[-1] in ("UTC", "UCT", "Universal", "Zulu", "GMT", "Greenwich"):
        return None
    try:
        clinical_zone(name)
    except ConfigError:
        return None
    return name
