"""What an answer of Azure, or none, means: every exception of the SDK as one of ours.

Messages are our own words and the service's error code. The SDK's text is never repeated: it holds the
address of the request, which may hold a shared access signature.

References
----------
https://learn.microsoft.com/en-us/rest/api/storageservices/blob-service-error-codes
https://learn.microsoft.com/en-us/rest/api/storageservices/common-rest-api-error-codes
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    EcogsafeError,
    ObjectExistsError,
    ObjectMissingError,
    StillColdError,
    StoreBusyError,
    StoreCredentialsError,
    StoreForbiddenError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadGoneError,
)

_ASK = "ask the administrator of the storage account"
CREDENTIALS_NEXT = (
    "set AZURE_STORAGE_CONNECTION_STRING, or AZURE_STORAGE_ACCOUNT with AZURE_STORAGE_SAS_TOKEN or AZURE_STORAGE_KEY, "
    "or sign in (az login)"
)
_RIGHTS = "it needs to read, list, create and write blobs: as a role, Storage Blob Data Contributor"

#: error codes that mean "no" until a person changes something: problem, next
_REFUSED = {
    "ContainerNotFound": ("there is no such container", "create it or correct the URL"),
    "ContainerBeingDeleted": ("the container is being deleted", _ASK),
    "ContainerDisabled": ("the container is disabled", _ASK),
    "InvalidResourceName": ("this is not a container name", "correct the URL"),
    "AccountIsDisabled": ("the storage account is disabled", _ASK),
    "AuthorizationFailure": ("refuses access: a network rule, or what the credentials may do", _RIGHTS),
    "AuthorizationPermissionMismatch": ("refuses access: the credentials may not do this", _RIGHTS),
    "AuthorizationServiceMismatch": ("refuses access: the signature is not for blobs", _RIGHTS),
    "AuthorizationResourceTypeMismatch": ("refuses access: the signature is not for containers and blobs", _RIGHTS),
    "AuthorizationProtocolMismatch": ("refuses access: the signature asks for https", "use the https endpoint"),
    "AuthorizationSourceIPMismatch": ("refuses access from this address", _ASK),
    "InsufficientAccountPermissions": ("refuses access: the credentials may not do this", _RIGHTS),
    "KeyBasedAuthenticationNotPermitted": ("takes no account key", "sign in (az login), or use a signature (SAS)"),
    "PublicAccessNotPermitted": ("there are no usable credentials for it", CREDENTIALS_NEXT),
    "BlobImmutableDueToPolicy": ("the blob may not be changed there", "nothing needs doing for the blob itself"),
    "InvalidBlobTier": ("the store has no such storage class", "correct storage_class"),
    "BlobTierInadequateForContentLength": ("the storage class does not take this size", "correct storage_class"),
    "FeatureVersionMismatch": ("the store does not offer what was asked", _ASK),
    "UnsupportedHeader": ("the store does not offer what was asked", _ASK),
    "InvalidBlobOrBlock": ("another program is uploading the same blob", "wait until it has ended, or a week"),
    "InvalidBlobType": ("a blob of another kind has this name", _ASK),
    "RequestBodyTooLarge": ("the store does not take objects this large", "choose another store"),
    "BlockCountExceedsLimit": ("too many unfinished blocks wait there", "run again in a week, Azure drops them then"),
}
_CREDENTIALS = frozenset({"AuthenticationFailed", "InvalidAuthenticationInfo", "NoAuthenticationInformation"})
_COLD = frozenset({"BlobArchived", "BlobBeingRehydrated", "CannotChangeToLowerTier"})
_THERE = frozenset({"BlobAlreadyExists", "ConditionNotMet", "TargetConditionNotMet", "ResourceAlreadyExists"})
_GONE = frozenset({"InvalidBlockList", "InvalidBlockId"})
_CHECKSUM = frozenset({"Md5Mismatch", "Crc64Mismatch", "InvalidMd5"})
_MISSING = frozenset({"BlobNotFound", "ResourceNotFound"})
_BUSY = frozenset({"ServerBusy", "TooManyRequests"})
_FULL = frozenset({"InsufficientStorage", "AccountCapacityLimitExceeded"})
_CODE = re.compile(r"[A-Za-z0-9]{1,60}")


def error_code(error: Exception) -> str:
    """Return the service's own code for what went wrong, the empty text where there is none."""
    response = getattr(error, "response", None)
    told = response.headers.get("x-ms-error-code") if response is not None else None
    code = str(told or getattr(error, "error_code", None) or "").rpartition(".")[2]
    return code if _CODE.fullmatch(code) else ""


def _answered(code: str, status: int, store: str, item: str) -> EcogsafeError:
    shown = f" ({code or status})"
    if code in _CHECKSUM:
        return ChecksumRefusedError(
            item, f"the bytes that arrived have another checksum{shown}", safe="Nothing was stored"
        )
    if code in _COLD:
        return StillColdError(
            item,
            "is in cold storage and must be thawed first",
            safe="It is intact",
            next="ecogsafe restore thaws it",
        )
    if code in _REFUSED:
        problem, step = _REFUSED[code]
        kind = StoreForbiddenError if step == _RIGHTS else StoreRefusedError
        return kind(store, f"{problem}{shown}", next=step)
    if code in _CREDENTIALS or status == 401:
        return StoreCredentialsError(
            store,
            f"the credentials were refused{shown}: wrong, expired, or the clock here is wrong",
            safe="What was sent is kept",
            next=CREDENTIALS_NEXT,
        )
    if code in _THERE:
        return ObjectExistsError(item, "is already there", safe="It was not changed")
    if code in _GONE:
        return UploadGoneError(item, "the upload is no longer open there", safe="Other objects are intact")
    if code in _FULL or status == 507:
        return StoreFullError(store, f"no space or quota left{shown}", next="make room there and run again")
    if code in _BUSY or status in (429, 503):
        return StoreBusyError(store, f"is busy{shown}", next="run again later")
    if status >= 500 or status == 408:
        return StoreUnreachableError(store, f"has a fault{shown}", next="run again later")
    if code in _MISSING or status == 404:
        return ObjectMissingError(item, "is not there")
    if status == 403:
        return StoreForbiddenError(store, f"refuses access{shown}", next=_RIGHTS)
    return StoreRefusedError(store, f"refused{shown}", next=_ASK)


def azure_error(error: Exception, store: str, key: str | None = None) -> EcogsafeError:
    """Return what ``error`` of the SDK means.

    Parameters
    ----------
    store
        The store's URL; named for failures of the store, with ``key`` for those of one object.
    """
    from azure.core import exceptions as sdk

    item = store if key is None else f"{store}/{key}"
    if isinstance(error, sdk.HttpResponseError) and error.status_code is not None and error.response is not None:
        return _answered(error_code(error), error.status_code, store, item)
    if isinstance(error, sdk.ClientAuthenticationError):
        return StoreCredentialsError(store, "there are no usable credentials for it", next=CREDENTIALS_NEXT)
    if isinstance(error, sdk.ServiceRequestError) and "certificate" in str(error).lower():
        return StoreRefusedError(store, "the certificate of its secure connection is not trusted", next=_ASK)
    if isinstance(error, sdk.ServiceRequestError | sdk.ServiceResponseError):
        return StoreUnreachableError(store, "no answer", next=f"check the network, or {_ASK}")
    if isinstance(error, sdk.DecodeError | sdk.IncompleteReadError):
        return StoreUnreachableError(store, "an answer was damaged on its way", next="run again")
    return StoreUnreachableError(store, "the connection broke", next=f"check the network, or {_ASK}")


@contextmanager
def azure_errors(store: str, key: str | None = None) -> Iterator[None]:
    """Turn the SDK's exceptions of the block into ours; `azure_error` says which."""
    from azure.core.exceptions import AzureError
    from requests.exceptions import RequestException

    try:
        yield
    except (AzureError, RequestException, OSError) as error:
        raise azure_error(error, store, key) from error


@contextmanager
def writing() -> Iterator[None]:
    """Of a new object: a frozen one with the same name is one that is there."""
    try:
        yield
    except StillColdError as error:
        raise ObjectExistsError(error.item, "is already there", safe="It was not changed") from error
