"""Our signature is the SDK's, byte for byte."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from botocore import auth
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.credentials import Credentials, ReadOnlyCredentials
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.stores.s3_signing import Signer, path_of, query_of

NOW = datetime(2026, 3, 2, 10, 0, 7, tzinfo=UTC)
HOST = "lab-video.s3.us-west-2.amazonaws.com"
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)


@pytest.fixture(scope="module", autouse=True)
def clock() -> Any:
    """Let the SDK have the time of these tests."""
    patch = pytest.MonkeyPatch()
    patch.setattr(auth, "get_current_datetime", lambda: NOW)
    yield
    patch.undo()


def by_the_sdk(
    method: str, host: str, path: str, query: str, headers: dict[str, str], keys: Credentials, region: str
) -> dict[str, str]:
    request = AWSRequest(method, f"https://{host}{path}" + (f"?{query}" if query else ""), headers=headers)
    request.context["client_config"] = Config(s3={"payload_signing_enabled": False})
    auth.S3SigV4Auth(keys, "s3", region).add_auth(request)
    return {name.lower(): value for name, value in request.headers.items()}


def ours(
    method: str, host: str, path: str, query: str, headers: dict[str, str], keys: Credentials, region: str
) -> dict[str, str]:
    signed = Signer(host, region).signed(method, path, query, headers, keys.get_frozen_credentials(), now=NOW)
    assert signed.pop("host") == host
    return signed


@settings(max_examples=60, deadline=None)
@given(
    key=st.lists(TEXT | st.sampled_from(["a b", "a+b", "~", "é", "a%2Fb", "脳波", "=&?#", "e\u0301"]), min_size=1).map(
        "/".join
    ),
    parameters=st.none() | st.fixed_dictionaries({"partNumber": st.integers(1, 10_000).map(str), "uploadId": TEXT}),
    version=st.none() | TEXT,
    headers=st.dictionaries(
        st.sampled_from(
            ["if-none-match", "x-amz-meta-ecogsafe-upload", "content-length", "range", "x-amz-storage-class"]
        ),
        st.text("ab *=-  /", min_size=1),
    ),
    token=st.none() | st.text("abc+/=", min_size=1),
    method=st.sampled_from(["GET", "PUT", "HEAD"]),
    region=st.sampled_from(["us-east-1", "eu-central-2"]),
)
def test_signatures_are_those_of_the_sdk(
    key: str,
    parameters: dict[str, str] | None,
    version: str | None,
    headers: dict[str, str],
    token: str | None,
    method: str,
    region: str,
) -> None:
    asked = dict(parameters or {}) | ({"versionId": version} if version else {})
    request = (
        method,
        HOST,
        f"/{path_of(key)}",
        query_of(asked),
        headers,
        Credentials("AKID", "s/ecr+et", token),
        region,
    )
    assert ours(*request) == by_the_sdk(*request)


@pytest.mark.parametrize(
    ("key", "path"),
    [
        ("a b/c~d_e-f.edf", "a%20b/c~d_e-f.edf"),
        ("é+1", "%C3%A9%2B1"),
        ("50%25/x", "50%2525/x"),
        ("a:@!$&'()*,;=", None),
    ],
)
def test_paths_are_those_of_the_sdk(key: str, path: str | None) -> None:
    from botocore.utils import percent_encode

    assert path_of(key) == percent_encode(key, safe="/~")
    assert path is None or path_of(key) == path


def test_a_signing_key_is_made_anew_for_another_day_and_other_credentials() -> None:
    signer = Signer(HOST, "us-west-2")
    days = [NOW, NOW.replace(day=3), NOW]
    keys = [ReadOnlyCredentials("AKID", secret, None) for secret in ("one", "two")]
    seen = {
        (day, key.secret_key): signer.signed("GET", "/k", "", {}, key, now=day)["authorization"]
        for key in keys
        for day in days
    }
    assert len(set(seen.values())) == 4
    for (day, secret), authorization in seen.items():
        key = ReadOnlyCredentials("AKID", secret, None)
        assert Signer(HOST, "us-west-2").signed("GET", "/k", "", {}, key, now=day)["authorization"] == authorization


def test_no_secret_is_in_what_a_signer_prints() -> None:
    signer = Signer(HOST, "us-west-2")
    signer.signed("GET", "/", "", {}, ReadOnlyCredentials("access", "a-hidden-secret", None), now=NOW)
    assert "hidden" not in repr(signer)
