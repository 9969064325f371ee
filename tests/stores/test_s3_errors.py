"""What an answer of S3 that is an error means."""

from __future__ import annotations

from typing import Any

from botocore.exceptions import ClientError

from ecogsafe.core.errors import StoreUnreachableError
from ecogsafe.stores.s3_errors import s3_error


def test_a_conflict_that_lost_its_name_is_asked_again() -> None:
    """One of two writes came first, perhaps ours: that it was refused says nothing of what stands there."""
    nameless: Any = {"Error": {"Code": "409"}, "ResponseMetadata": {"HTTPStatusCode": 409}}
    assert isinstance(s3_error(ClientError(nameless, "Wire"), "s3://b"), StoreUnreachableError)
    named: Any = {"Error": {"Code": "InvalidBucketState"}, "ResponseMetadata": {"HTTPStatusCode": 409}}
    assert not isinstance(s3_error(ClientError(named, "Wire"), "s3://b"), StoreUnreachableError)
