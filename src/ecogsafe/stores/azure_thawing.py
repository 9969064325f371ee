"""The archive tier of Azure: whether a blob is readable, and the request that makes it so.

Azure thaws no copy for some days: the blob itself moves to the hot tier and stays there until somebody
moves it back.

References
----------
https://learn.microsoft.com/en-us/azure/storage/blobs/archive-rehydrate-overview
"""

from __future__ import annotations

from ecogsafe.core.errors import StillColdError
from ecogsafe.stores.azure_container import Container
from ecogsafe.stores.azure_errors import azure_errors
from ecogsafe.stores.thawing import Thaw, ThawState, Tier

ARCHIVE = "Archive"
_PENDING = "rehydrate-pending-to-"
#: Azure has two speeds: up to 15 hours, and under one for blobs below 10 GB
_PRIORITY = {"Bulk": "Standard", "Standard": "Standard", "Expedited": "High"}


def thaw_of(tier: str | None, archive_status: str | None) -> Thaw | None:
    """Return the state of a blob, None for one of a tier that is always readable."""
    if tier != ARCHIVE:
        return None
    return Thaw(ThawState.THAWING if (archive_status or "").startswith(_PENDING) else ThawState.FROZEN)


def request_thaw(container: Container, key: str, *, tier: Tier) -> None:
    """Ask that a blob move to the hot tier; see `ecogsafe.stores.thawing.ThawingStore.request_thaw`."""
    from azure.storage.blob import RehydratePriority

    blob = container.blob(key)
    with azure_errors(container.url, key):
        found = blob.get_blob_properties()
    thaw = thaw_of(str(found.blob_tier) if found.blob_tier else None, found.archive_status)
    if thaw is None or thaw.state is not ThawState.FROZEN:
        return
    try:
        with azure_errors(container.url, key):
            blob.set_standard_blob_tier("Hot", rehydrate_priority=RehydratePriority(_PRIORITY[tier]))
    except StillColdError:
        return  # asked by another meanwhile
