"""What an answer of S3, or none, means: every exception of the SDK as one of ours.

Messages are our own words and the service's error code. The SDK's text is never repeated: it holds the
endpoint, which may hold credentials.
"""

from __future__ import annotations

import re
from datetime import timedelta
from email.utils import parsedate_to_datetime
from typing import Any

from ecogsafe.core.clock import utc_now
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

_ASK_AWS = "ask the administrator of the account"
_CREDENTIALS_NEXT = "check the access key, its secret and the profile (aws sts get-caller-identity)"

#: error codes that mean "no" until a person changes something: problem, next
_REFUSED = {
    "NoSuchBucket": ("there is no such bucket", "create it or correct the URL"),
    "InvalidBucketName": ("this is not a bucket name", "correct the URL"),
    "AllAccessDisabled": ("the bucket is disabled", _ASK_AWS),
    "AccountProblem": ("the account has a problem", _ASK_AWS),
    "NotSignedUp": ("the account has no S3", _ASK_AWS),
    "PermanentRedirect": ("the bucket is in another region", "set AWS_DEFAULT_REGION to the bucket's region"),
    "AuthorizationHeaderMalformed": (
        "the bucket is in another region",
        "set AWS_DEFAULT_REGION to the bucket's region",
    ),
    "IllegalLocationConstraintException": (
        "the bucket is in another region",
        "set AWS_DEFAULT_REGION to the bucket's region",
    ),
    "InvalidStorageClass": ("the store has no such storage class", "correct storage_class"),
    "MethodNotAllowed": ("the store does not offer what was asked", _ASK_AWS),
    "NotImplemented": ("the store does not offer what was asked", _ASK_AWS),
    "EntityTooLarge": ("the store does not take objects this large", "choose another store"),
    "KeyTooLongError": ("the store does not take names this long", "rename the file"),
    "InvalidRequest": ("the store does not take this request", _ASK_AWS),
    "InvalidArgument": ("the store does not take this request", _ASK_AWS),
}
_CREDENTIALS = frozenset(
    {
        "InvalidAccessKeyId",
        "SignatureDoesNotMatch",
        "InvalidToken",
        "InvalidClientTokenId",
        "UnrecognizedClientException",
        "CredentialsNotSupported",
        "MissingSecurityHeader",
        "MissingAuthenticationToken",
    }
)
#: temporary credentials that were good once
EXPIRED = frozenset({"ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired"})
#: how far the time in a signature may be off; https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html
_SIGNED_FOR = timedelta(minutes=15)
_CLOCK = frozenset({"RequestTimeTooSkewed", "RequestExpired", "RequestInTheFuture"})
#: fewer requests are wanted
_BUSY = frozenset(
    {
        "SlowDown",
        "ServiceUnavailable",
        "Throttling",
        "ThrottlingException",
        "RequestLimitExceeded",
        "TooManyRequests",
        "BandwidthLimitExceeded",
    }
)
_FAULT = frozenset(
    {
        "RequestTimeout",
        "InternalError",
        "OperationAborted",
        # Another conditional write of the same key was under way: the answer comes when asked again.
        "ConditionalRequestConflict",
    }
)
_FULL = frozenset({"QuotaExceeded", "InsufficientStorage", "XMinioStorageFull", "InsufficientCapacity"})
_CHECKSUM = frozenset({"BadDigest", "InvalidDigest", "XAmzContentSHA256Mismatch", "XAmzContentChecksumMismatch"})
#: parts that never make the whole, as a wrong checksum of it does
_PARTS = {
    "InvalidPart": "a part of the upload is missing or changed",
    "InvalidPartOrder": "the parts of the upload are out of order",
    "EntityTooSmall": "a part of the upload is too small",
}
_COLD = frozenset({"InvalidObjectState", "ObjectNotInActiveTierError"})
_CODE = re.compile(r"[A-Za-z0-9.]{1,60}")

#: SDK exceptions of a connection that failed or broke: trying again can help
_BROKEN = (
    "EndpointConnectionError",
    "ConnectionClosedError",
    "ConnectTimeoutError",
    "ReadTimeoutError",
    "ProxyConnectionError",
    "ResponseStreamingError",
    "IncompleteReadError",
    "HTTPClientError",
    "SSLError",
    "CapacityNotAvailableError",
)
#: SDK exceptions of credentials that are missing, incomplete or could not be fetched
_NO_CREDENTIALS = (
    "NoCredentialsError",
    "PartialCredentialsError",
    "CredentialRetrievalError",
    "MetadataRetrievalError",
    "UnknownCredentialError",
    "ProfileNotFound",
    "ConfigNotFound",
    "ConfigParseError",
    "InvalidConfigError",
    "SSOError",
    "LoginError",
    "TokenRetrievalError",
    "NoAuthTokenError",
    "RefreshWithMFAUnsupportedError",
)


def _clocks_differ(response: dict[str, Any]) -> bool:
    """Return whether the answer's time is so far from ours that nothing signed here can be taken."""
    try:
        date = parsedate_to_datetime(str(response["ResponseMetadata"]["HTTPHeaders"]["date"]))
        return abs(date - utc_now()) > _SIGNED_FOR
    except (KeyError, TypeError, ValueError):
        return False


def _answered(response: dict[str, Any], store: str, item: str) -> EcogsafeError:
    """Return what an error answer of the service means."""
    code = str(response.get("Error", {}).get("Code", ""))
    status = int(response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0))
    shown = f" ({code})" if _CODE.fullmatch(code) else f" ({status})"
    if code == "NoSuchUpload":
        return UploadGoneError(item, "the upload is no longer open there", safe="Other objects are intact")
    if code in _CHECKSUM:
        return ChecksumRefusedError(
            item, f"the bytes that arrived have another checksum{shown}", safe="Nothing was stored"
        )
    if code in _PARTS:
        again = "run again, the upload starts anew"
        return ChecksumRefusedError(item, f"{_PARTS[code]}{shown}", safe="Nothing was stored", next=again)
    if code in _COLD:
        return StillColdError(
            item,
            "is in cold storage and must be thawed first",
            safe="It is intact",
            next="ecogsafe restore thaws it, after showing what that costs",
        )
    if code in _REFUSED:
        problem, step = _REFUSED[code]
        return StoreRefusedError(store, f"{problem}{shown}", next=step)
    if code in _CREDENTIALS:
        return StoreCredentialsError(store, f"the credentials were refused{shown}", next=_CREDENTIALS_NEXT)
    if code in EXPIRED:
        return StoreCredentialsError(
            store,
            f"the credentials have expired{shown}",
            safe="What was sent is kept",
            next="get new ones (such as aws sso login), then run the same command again: it goes on where it stopped",
        )
    if code in _CLOCK or (code == "403" and _clocks_differ(response)):
        return StoreRefusedError(
            store, f"the clock here differs too much from the store's{shown}", next="set the clock, run again"
        )
    if code in _FULL or status == 507:
        return StoreFullError(store, f"no space or quota left{shown}", next="make room there and run again")
    if code == "PreconditionFailed" or status == 412:
        return ObjectExistsError(item, "is already there", safe="It was not changed")
    if code in _BUSY or status in (429, 503):
        return StoreBusyError(store, f"is busy{shown}", next="run again later")
    # a conflict of which the answer lost its name is one of two writes, and ours may have come first: it is asked again
    if code in _FAULT or status >= 500 or status == 408 or code == "409":
        return StoreUnreachableError(store, f"has a fault{shown}", next="run again later")
    if code in ("NoSuchKey", "NoSuchVersion", "404") or status == 404:
        return ObjectMissingError(item, "is not there")
    if status in (401, 403):
        return StoreForbiddenError(
            store,
            f"refuses access{shown}: the credentials, or what they may do (list, read and write are needed)",
            next=_CREDENTIALS_NEXT,
        )
    if status in (301, 307):
        problem, step = _REFUSED["PermanentRedirect"]
        return StoreRefusedError(store, problem, next=step)
    return StoreRefusedError(store, f"refused{shown}", next=_ASK_AWS)


def s3_error(error: Exception, store: str, key: str | None = None) -> EcogsafeError:
    """Return what ``error`` of the SDK means.

    Parameters
    ----------
    store
        The store's URL; named for failures of the store, with ``key`` for those of one object.
    """
    from botocore import exceptions as sdk
    from urllib3 import exceptions as http

    if isinstance(error, sdk.ClientError):
        return _answered(dict(error.response), store, store if key is None else f"{store}/{key}")
    if isinstance(error, sdk.SSLError | http.SSLError) and "certificate" in str(error).lower():
        return StoreRefusedError(store, "the certificate of its secure connection is not trusted", next=_ASK_AWS)
    unanswered = (*_named(_BROKEN), TimeoutError, http.TimeoutError, http.NewConnectionError, http.ProxyError)
    if isinstance(error, unanswered):
        return StoreUnreachableError(store, "no answer", next=f"check the network, or {_ASK_AWS}")
    if isinstance(error, sdk.FlexibleChecksumError | sdk.ChecksumError):
        return StoreUnreachableError(store, "an answer was damaged on its way", next="run again")
    if isinstance(error, _named(_NO_CREDENTIALS)):
        return StoreCredentialsError(store, "there are no usable credentials for it", next=_CREDENTIALS_NEXT)
    if isinstance(error, sdk.BotoCoreError):
        return StoreRefusedError(store, f"cannot be asked ({type(error).__name__})", next=_ASK_AWS)
    return StoreUnreachableError(store, "the connection broke", next=f"check the network, or {_ASK_AWS}")


def _named(names: tuple[str, ...]) -> tuple[type[Exception], ...]:
    """Return the SDK's exceptions of these names; some are younger than the oldest SDK we work with."""
    from botocore import exceptions as sdk

    return tuple(getattr(sdk, name) for name in names if hasattr(sdk, name))


class s3_errors:  # noqa: N801 - it is what follows ``with``
    """Turn the SDK's exceptions of the block into ours; `s3_error` says which."""

    __slots__ = ("_key", "_store")

    def __init__(self, store: str, key: str | None = None) -> None:
        self._store = store
        self._key = key

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if error is None:
            return
        from http.client import HTTPException

        from botocore.exceptions import BotoCoreError, ClientError
        from urllib3.exceptions import HTTPError

        if isinstance(error, ClientError | BotoCoreError | HTTPError | HTTPException | OSError):
            raise s3_error(error, self._store, self._key) from error
