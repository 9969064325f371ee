"""Group and mode of what is made in a folder store, as config.toml says."""

from __future__ import annotations

from ecogsafe.core.config import Destination, Settings
from ecogsafe.service.connections import one_url
from ecogsafe.stores.directory_access import SHARED_FILE_MODE, Access


def access_of(destination: Destination) -> Access | None:
    """Return group and mode that the config gives to what is made there; None where it says nothing."""
    if destination.group is None and destination.mode is None:
        return None
    mode = SHARED_FILE_MODE if destination.mode is None else int(destination.mode, 8)
    return Access(destination.group, mode)


def access_at(settings: Settings, url: str) -> Access | None:
    """Return the same for whichever destination of the config ``url`` is."""
    known = next((d for d in settings.destination if one_url(d.url) == one_url(url)), None)
    return None if known is None else access_of(known)
