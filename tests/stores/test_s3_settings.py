"""What a server says of a bucket, read: set up, not set up, not told."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from unittest import mock

import pytest
from botocore.exceptions import ClientError, EndpointConnectionError

from ecogsafe.core.errors import StoreRefusedError, StoreUnreachableError
from ecogsafe.stores.s3_settings import BucketSettings, LifecycleRule, ObjectLock, bucket_settings, settings_of
from tests.servers.seaweed import SeaweedServer

METHODS = (
    "get_bucket_versioning",
    "get_object_lock_configuration",
    "get_public_access_block",
    "get_bucket_lifecycle_configuration",
)
ABSENT = {
    "get_bucket_versioning": {},
    "get_object_lock_configuration": "ObjectLockConfigurationNotFoundError",
    "get_public_access_block": "NoSuchPublicAccessBlockConfiguration",
    "get_bucket_lifecycle_configuration": "NoSuchLifecycleConfiguration",
}
BLOCKED = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)


def asked(answers: Mapping[str, Any]) -> BucketSettings:
    """Ask a client that answers with a record, or with the error code that a text names."""
    client = mock.Mock()
    for method in METHODS:
        answer = answers.get(method, ABSENT[method])
        error = ClientError({"Error": {"Code": answer}}, method) if isinstance(answer, str) else answer
        getattr(client, method).configure_mock(
            **({"side_effect": error} if isinstance(error, Exception) else {"return_value": answer})
        )
    return bucket_settings(client, "bucket")


def test_nothing_is_set_up() -> None:
    assert asked({}) == BucketSettings(versioning="off", object_lock=False, blocks_public=False, rules=())


@pytest.mark.parametrize("code", ["AccessDenied", "NotImplemented", "MethodNotAllowed", "403"])
def test_what_may_not_be_asked_is_not_told(code: str) -> None:
    assert asked(dict.fromkeys(METHODS, code)) == BucketSettings()


@pytest.mark.parametrize("method", METHODS)
def test_one_permission_that_is_missing_hides_one_answer(method: str) -> None:
    told = asked({method: "AccessDenied"})
    answers = (told.versioning, told.object_lock, told.blocks_public, told.rules)
    assert [a is None for a in answers] == [m == method for m in METHODS]


def test_everything_is_set_up() -> None:
    rules = [
        {"ID": "a", "Status": "Enabled", "Filter": {}, "AbortIncompleteMultipartUpload": {"DaysAfterInitiation": 7}},
        {"ID": "b", "Status": "Enabled", "Filter": {"Prefix": "x/"}, "Expiration": {"Days": 30}},
        {"ID": "c", "Status": "Disabled", "Filter": {"Prefix": ""}, "Expiration": {"Days": 1}},
        {"Status": "Enabled", "Prefix": "old/", "NoncurrentVersionExpiration": {"NoncurrentDays": 3}},
        {
            "ID": "e",
            "Status": "Enabled",
            "Filter": {"And": {"Prefix": "y/", "Tags": []}},
            "Expiration": {"Date": "2030-01-01"},
        },
    ]
    lock = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "GOVERNANCE", "Years": 2}}}
    told = asked(
        {
            "get_bucket_versioning": {"Status": "Enabled"},
            "get_object_lock_configuration": {"ObjectLockConfiguration": lock},
            "get_public_access_block": {"PublicAccessBlockConfiguration": BLOCKED},
            "get_bucket_lifecycle_configuration": {"Rules": rules},
        }
    )
    assert told == BucketSettings(
        versioning="Enabled",
        object_lock=ObjectLock(mode="GOVERNANCE", days=730),
        blocks_public=True,
        rules=(
            LifecycleRule(name="a", prefix="", abort_days=7),
            LifecycleRule(name="b", prefix="x/", expires_days=30),
            LifecycleRule(name="", prefix="old/", noncurrent_days=3),
            LifecycleRule(name="e", prefix="y/", is_narrowed=True, expires_days=0),
        ),
    )


@pytest.mark.parametrize("missing", BLOCKED)
def test_three_of_four_blocks_are_not_enough(missing: str) -> None:
    blocks = {**BLOCKED, missing: False}
    assert asked({"get_public_access_block": {"PublicAccessBlockConfiguration": blocks}}).blocks_public is False


def test_a_bucket_that_is_not_there_and_a_server_that_does_not_answer() -> None:
    with pytest.raises(StoreRefusedError, match="no such bucket"):
        asked({"get_bucket_versioning": "NoSuchBucket"})
    with pytest.raises(StoreUnreachableError):
        asked({"get_bucket_versioning": EndpointConnectionError(endpoint_url="http://x")})


@pytest.mark.server
def test_a_real_server_tells(s3_server: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    bucket, client = s3_server.new_bucket(), s3_server.client()
    address, before = settings_of(f"s3://{bucket}/lab")
    assert (address.bucket, address.prefix) == (bucket, "lab")
    assert (before.versioning, before.rules) == ("off", ())
    client.put_bucket_versioning(Bucket=bucket, VersioningConfiguration={"Status": "Enabled"})
    rule = {"ID": "r", "Status": "Enabled", "Filter": {"Prefix": "lab/"}, "Expiration": {"Days": 30}}
    client.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": [rule]})
    _, after = settings_of(f"s3://{bucket}/lab")
    assert after.versioning == "Enabled"
    assert after.rules is not None
    assert [(r.prefix, r.expires_days) for r in after.rules] == [("lab/", 30)]
