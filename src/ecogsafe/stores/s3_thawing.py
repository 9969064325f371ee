"""Cold storage classes of S3: what ``x-amz-restore`` says, and RestoreObject.

References
----------
https://docs.aws.amazon.com/AmazonS3/latest/API/API_HeadObject.html (x-amz-restore)
https://docs.aws.amazon.com/AmazonS3/latest/API/API_RestoreObject.html
"""

from __future__ import annotations

import re
from datetime import UTC
from typing import TYPE_CHECKING

from botocore.exceptions import ClientError

from ecogsafe.core.errors import EcogsafeError, StoreRefusedError
from ecogsafe.stores.s3_errors import s3_error
from ecogsafe.stores.s3_wire import date_of
from ecogsafe.stores.thawing import COLD_CLASSES, Thaw, ThawState, Tier

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_ONGOING = re.compile(r'ongoing-request="(true|false)"')
_EXPIRES = re.compile(r'expiry-date="([^"]{1,60})"')
#: asked before, or readable already: both are what was wanted
_FINE = frozenset({"RestoreAlreadyInProgress", "ObjectAlreadyInActiveTierError"})
#: code: problem, next
_REFUSED = {
    "GlacierExpeditedRetrievalNotAvailable": (
        "has no room for Expedited requests now",
        "ecogsafe restore with --tier Standard or Bulk, or later",
    ),
    "InvalidArgument": ("does not offer this tier for this object", "ecogsafe restore with --tier Standard or Bulk"),
    "InvalidTier": ("does not offer this tier for this object", "ecogsafe restore with --tier Standard or Bulk"),
    "MethodNotAllowed": ("does not thaw objects", "ask the administrator of the store how cold objects come back"),
    "NotImplemented": ("does not thaw objects", "ask the administrator of the store how cold objects come back"),
}


def thaw_of(storage_class: str | None, restore: str | None) -> Thaw | None:
    """Return the state of an object, None for one of a class that is always readable.

    Parameters
    ----------
    restore
        The header ``x-amz-restore`` of HEAD; None where there was none.
    """
    if storage_class not in COLD_CLASSES:
        return None
    ongoing = _ONGOING.search(restore or "")
    if ongoing is None:
        return Thaw(ThawState.FROZEN)
    if ongoing[1] == "true":
        return Thaw(ThawState.THAWING)
    expires = _EXPIRES.search(restore or "")
    when = date_of(expires[1]) if expires else None
    return Thaw(ThawState.THAWED, when.replace(tzinfo=UTC) if when is not None and when.tzinfo is None else when)


def request_thaw(client: S3Client, bucket: str, key: str, *, tier: Tier, days: int, store: str, item: str) -> None:
    """Send RestoreObject; see `ecogsafe.stores.thawing.ThawingStore.request_thaw`.

    Parameters
    ----------
    store, item
        What messages call the store and the object.
    """
    wish = {"Days": days, "GlacierJobParameters": {"Tier": tier}}
    try:
        client.restore_object(Bucket=bucket, Key=key, RestoreRequest=wish)  # type: ignore[arg-type]
    except ClientError as error:
        code = str(error.response.get("Error", {}).get("Code", ""))
        if code in _FINE:
            return
        raise _refused(code, error, store, item) from error


def _refused(code: str, error: ClientError, store: str, item: str) -> EcogsafeError:
    if code not in _REFUSED:
        return s3_error(error, store, item)
    problem, step = _REFUSED[code]
    return StoreRefusedError(store, f"{problem} ({code})", safe="The object is intact", next=step)
