"""What takes a bad copy's name off the list of bad ones: bad stays bad until proven good (DESIGN 5.10)."""

from __future__ import annotations

from ecogsafe.catalog.copies import CopyRow, Level

#: how a reason begins that only a full read can take back: a store's checksum was right about other bytes
CONTENT = "its content"


def is_proven_good(copy: CopyRow, level: Level) -> bool:
    """Return whether evidence of ``level`` makes ``copy`` count: always, unless it was called bad before."""
    if copy.bad_at is None or level == "restored":
        return True
    return level == "checksum" and not (copy.bad_reason or "").startswith(CONTENT)
