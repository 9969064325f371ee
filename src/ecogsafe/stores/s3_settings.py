"""How a bucket is set up: versions, Object Lock, public access, lifecycle rules. Read only.

Each setting needs a permission of its own (``s3:GetBucketVersioning``, ``s3:GetBucketObjectLockConfiguration``,
``s3:GetBucketPublicAccessBlock``, ``s3:GetLifecycleConfiguration``), and not every server has each of them. What
is not told is None, never a guess.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ecogsafe.stores.open import StoreAddress, parse_store_url
from ecogsafe.stores.s3_connect import sdk_client
from ecogsafe.stores.s3_errors import s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: answers that mean "not set up", by what was asked
_ABSENT = {
    "get_object_lock_configuration": ("ObjectLockConfigurationNotFoundError",),
    "get_public_access_block": ("NoSuchPublicAccessBlockConfiguration",),
    "get_bucket_lifecycle_configuration": ("NoSuchLifecycleConfiguration",),
}
#: answers that tell nothing of the bucket
_NOT_TOLD = frozenset(
    {
        "AccessDenied",
        "AllAccessDisabled",
        "AccessDeniedException",
        "UnauthorizedAccess",
        "MethodNotAllowed",
        "NotImplemented",
        "UnsupportedOperation",
        "InvalidRequest",
        "NoSuchKey",
        "403",
        "405",
        "501",
    }
)
_BLOCKS = ("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets")


@dataclass(frozen=True, slots=True, kw_only=True)
class LifecycleRule:
    """One enabled rule; ``days`` fields are None where the rule has no such action."""

    name: str
    #: objects whose whole key begins with it; empty for all
    prefix: str
    #: it asks for tags or sizes too, so that not everything below the prefix is meant
    is_narrowed: bool = False
    #: current versions are deleted; 0 for a rule with a date
    expires_days: int | None = None
    #: versions that were replaced or deleted are removed
    noncurrent_days: int | None = None
    #: unfinished uploads are aborted
    abort_days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectLock:
    """The lock that new objects get; ``mode`` is None where there is no default."""

    mode: str | None = None
    days: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BucketSettings:
    """What the server tells of a bucket; None: not told."""

    #: ``Enabled``, ``Suspended`` or ``off``
    versioning: str | None = None
    #: False: none on this bucket
    object_lock: ObjectLock | bool | None = None
    #: all four blocks of public access are on
    blocks_public: bool | None = None
    rules: tuple[LifecycleRule, ...] | None = None


def bucket_settings(client: S3Client, bucket: str) -> BucketSettings:
    """Ask for the settings of ``bucket``.

    Raises
    ------
    StoreUnreachableError
        No answer.
    StoreRefusedError
        There is no such bucket, or the credentials are no good at all.
    """
    versioning = _asked(client, "get_bucket_versioning", bucket)
    lock = _asked(client, "get_object_lock_configuration", bucket)
    public = _asked(client, "get_public_access_block", bucket)
    lifecycle = _asked(client, "get_bucket_lifecycle_configuration", bucket)
    return BucketSettings(
        versioning=None if versioning is None else versioning.get("Status", "off"),
        object_lock=None if lock is None else _lock(lock.get("ObjectLockConfiguration", {})),
        blocks_public=None
        if public is None
        else all(public.get("PublicAccessBlockConfiguration", {}).get(block, False) for block in _BLOCKS),
        rules=None
        if lifecycle is None
        else tuple(_rule(r) for r in lifecycle.get("Rules", ()) if r.get("Status") == "Enabled"),
    )


def _asked(client: S3Client, method: str, bucket: str) -> Mapping[str, Any] | None:
    """Return the answer; an empty one where nothing is set up, None where the server does not tell."""
    from botocore.exceptions import ClientError

    ask: Callable[..., Mapping[str, Any]] = getattr(client, method)
    with s3_errors(f"s3://{bucket}"):
        try:
            return ask(Bucket=bucket)
        except ClientError as error:
            code = str(error.response.get("Error", {}).get("Code", ""))
            if code in _ABSENT.get(method, ()):
                return {}
            if code in _NOT_TOLD:
                return None
            raise


def _lock(configuration: Mapping[str, Any]) -> ObjectLock | bool:
    if configuration.get("ObjectLockEnabled") != "Enabled":
        return False
    default = configuration.get("Rule", {}).get("DefaultRetention", {})
    years = default.get("Years")
    return ObjectLock(mode=default.get("Mode"), days=default.get("Days") if years is None else 365 * years)


def _rule(rule: Mapping[str, Any]) -> LifecycleRule:
    chosen = rule.get("Filter", {})
    both = chosen.get("And", {})
    expiration = rule.get("Expiration", {})
    return LifecycleRule(
        name=rule.get("ID", ""),
        prefix=rule.get("Prefix") or chosen.get("Prefix") or both.get("Prefix") or "",
        is_narrowed=bool((set(chosen) | set(both)) - {"Prefix", "And"}),
        expires_days=0 if "Date" in expiration else expiration.get("Days"),
        noncurrent_days=rule.get("NoncurrentVersionExpiration", {}).get("NoncurrentDays"),
        abort_days=rule.get("AbortIncompleteMultipartUpload", {}).get("DaysAfterInitiation"),
    )


def settings_of(url: str) -> tuple[StoreAddress, BucketSettings]:
    """Ask for the settings of the bucket of an ``s3://`` URL, with the SDK's own credentials.

    Raises
    ------
    StoreError
        As `bucket_settings`.
    """
    address = parse_store_url(url)
    client = sdk_client(address.bucket)
    try:
        return address, bucket_settings(client, address.bucket)
    finally:
        client.close()
