"""The time zone of this machine, as a proposal for that of the recording site."""

from __future__ import annotations

from pathlib import Path

from ecogsafe.core.config import clinical_zone
from ecogsafe.core.errors import ConfigError


def machine_zone() -> str | None:
    """Return the IANA name that /etc/localtime points to, None if it tells none."""
    target = Path("/etc/localtime").resolve().as_posix()
    _, found, name = target.partition("/zoneinfo/")
    if not found:
        return None
    try:
        clinical_zone(name)
    except ConfigError:
        return None
    return name
