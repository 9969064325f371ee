"""What an answer of the vault service, or none, means: every exception of the SDK as one of ours.

Messages are our own words and the service's error code; the SDK's text is never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ecogsafe.core.errors import (
    EcogsafeError,
    ObjectMissingError,
    StillColdError,
    StoreBusyError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.stores.s3_errors import s3_error

_CODE = re.compile(r"[A-Za-z0-9.]{1,60}")
_BUSY = frozenset({"ThrottlingException", "LimitExceededException", "ServiceUnavailableException"})
_CREDENTIALS = frozenset({"InvalidSignatureException", "MissingAuthenticationTokenException", "AccessDeniedException"})


def vault_error(error: Exception, vault: str, item: str | None = None) -> EcogsafeError:
    """Return what ``error`` of the SDK means.

    Parameters
    ----------
    vault
        Its URL.
    item
        What was asked for within it: a job or an archive; None for the vault itself.
    """
    from botocore import exceptions as sdk

    if isinstance(error, sdk.NoRegionError):
        return StoreRefusedError(
            vault, "its region is not set", next="set AWS_DEFAULT_REGION to the region of the vault, such as us-west-2"
        )
    if not isinstance(error, sdk.ClientError):
        return s3_error(error, vault)
    code = str(error.response.get("Error", {}).get("Code", ""))
    shown = f" ({code})" if _CODE.fullmatch(code) else ""
    status = int(error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    if code == "ResourceNotFoundException":
        if item is not None:
            return ObjectMissingError(item, "is not there (any more)")
        return StoreRefusedError(
            vault,
            f"there is no such vault, or it has no inventory yet{shown}",
            next="check its name, the account and the region (aws glacier list-vaults --account-id -)",
        )
    if code == "PolicyEnforcedException":
        return StoreRefusedError(
            vault,
            f"the account's retrieval policy does not allow this much now{shown}",
            next="ask the administrator to raise it (aws glacier set-data-retrieval-policy), or try again later",
        )
    if code == "InsufficientCapacityException":
        return StoreRefusedError(
            vault, f"has no room for Expedited retrievals just now{shown}", next="choose --tier Standard"
        )
    if code == "NoLongerSupportedException":
        return StoreRefusedError(vault, f"the service no longer does this{shown}", next="ask AWS support")
    if code == "InvalidParameterValueException" and error.operation_name == "GetJobOutput" and item is not None:
        return StillColdError(item, f"is not ready to be read{shown}", safe="It is intact", next="come back later")
    if code == "RequestTimeoutException":
        return StoreUnreachableError(vault, f"the request took too long{shown}", next="run again")
    if code in _BUSY:
        return StoreBusyError(vault, f"is busy{shown}", next="run again later")
    if code in _CREDENTIALS:
        return StoreRefusedError(
            vault,
            f"refuses access{shown}",
            next="check the access key, its secret, the profile, and that it may glacier:InitiateJob, "
            "DescribeJob, ListJobs, GetJobOutput and DescribeVault",
        )
    if status < 500 and code in ("InvalidParameterValueException", "MissingParameterValueException"):
        return StoreRefusedError(vault, f"does not take this request{shown}", next="check the name of the vault")
    return s3_error(error, vault)


@contextmanager
def vault_errors(vault: str, item: str | None = None) -> Iterator[None]:
    """Turn the SDK's exceptions of the block into ours; `vault_error` says which."""
    from botocore.exceptions import BotoCoreError, ClientError
    from urllib3.exceptions import HTTPError

    try:
        yield
    except (ClientError, BotoCoreError, HTTPError, OSError) as error:
        raise vault_error(error, vault, item) from error
