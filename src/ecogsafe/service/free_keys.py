"""Without a second copy of the linking key nothing is deleted: names could be lost with this computer (DESIGN 5.7)."""

from __future__ import annotations

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.core.events import ErrorEvent
from ecogsafe.service.connections import connected
from ecogsafe.service.key_backup import key_copies
from ecogsafe.service.running import Run


def linking_key_is_elsewhere(run: Run) -> bool:
    """Return whether a key backup place holds, just now, the linking key as it is; true where there is none yet."""
    home = run.home
    if not home.linking_key.exists():
        return True
    present = home.linking_key.read_bytes()
    for url in home.settings().key_backup_urls():
        try:
            with connected(run.catalog, url, to_write=False, stop=run.stop, tell=run.tell) as connection:
                there = key_copies(connection.store, "linking-key")
                if there and b"".join(connection.store.read(there[-1].key)) == present:
                    return True
        except EcogsafeError as error:
            run.tell(ErrorEvent.of(error))
    return False
