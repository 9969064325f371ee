"""What S3 may answer, or not: canned answers, so that none has to be provoked."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.response import StreamingBody
from botocore.stub import Stubber

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    EcogsafeError,
    ObjectExistsError,
    ObjectMissingError,
    StillColdError,
    StoreError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadGoneError,
)
from ecogsafe.core.private import Secret
from ecogsafe.stores.bodies import body_crc64, crc64_to_text
from ecogsafe.stores.check import got, put
from ecogsafe.stores.protocol import UploadedPart
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_connect import connect
from ecogsafe.stores.s3_errors import s3_error

URL = "s3://lab-video/eeg"
KEY = "abcd1234/abcd1234_1.edf"
DATA = b"data" * 100
CRC = body_crc64(DATA)
CRC_TEXT = crc64_to_text(CRC)


def make(endpoint_url: str | None = "http://127.0.0.1:9", **more: Any) -> S3Store:
    return connect(
        "lab-video",
        "eeg",
        endpoint_url=endpoint_url,
        access_key="access",
        secret_key=Secret(b"hidden"),
        region="us-west-2",
        **more,
    )


@pytest.fixture
def store() -> Iterator[S3Store]:
    made = make()
    yield made
    made.close()


@pytest.fixture
def stub(store: S3Store) -> Iterator[Stubber]:
    with Stubber(store._client) as stubber:
        yield stubber


def client_error(code: str, status: int) -> sdk.ClientError:
    response: Any = {"Error": {"Code": code, "Message": "hidden"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    return sdk.ClientError(response, "PutObject")


@pytest.mark.parametrize(
    ("code", "status", "kind"),
    [
        ("NoSuchKey", 404, ObjectMissingError),
        ("404", 404, ObjectMissingError),
        ("NoSuchUpload", 404, UploadGoneError),
        ("NoSuchBucket", 404, StoreRefusedError),
        ("PreconditionFailed", 412, ObjectExistsError),
        ("412", 412, ObjectExistsError),
        ("ConditionalRequestConflict", 409, StoreUnreachableError),
        ("BadDigest", 400, ChecksumRefusedError),
        ("XAmzContentChecksumMismatch", 400, ChecksumRefusedError),
        ("InvalidObjectState", 403, StillColdError),
        ("AccessDenied", 403, StoreRefusedError),
        ("403", 403, StoreRefusedError),
        ("InvalidAccessKeyId", 403, StoreRefusedError),
        ("SignatureDoesNotMatch", 403, StoreRefusedError),
        ("ExpiredToken", 400, StoreRefusedError),
        ("RequestTimeTooSkewed", 403, StoreRefusedError),
        ("SlowDown", 503, StoreUnreachableError),
        ("503", 503, StoreUnreachableError),
        ("TooManyRequests", 429, StoreUnreachableError),
        ("InternalError", 200, StoreUnreachableError),
        ("RequestTimeout", 400, StoreUnreachableError),
        ("QuotaExceeded", 403, StoreFullError),
        ("507", 507, StoreFullError),
        ("PermanentRedirect", 301, StoreRefusedError),
        ("301", 301, StoreRefusedError),
        ("NotImplemented", 501, StoreRefusedError),
        ("InvalidPart", 400, StoreRefusedError),
        ("EntityTooSmall", 400, StoreRefusedError),
        ("SomethingNew", 400, StoreRefusedError),
        ("<hidden host='x'>", 418, StoreRefusedError),
    ],
)
def test_error_answers(code: str, status: int, kind: type[EcogsafeError]) -> None:
    error = s3_error(client_error(code, status), URL, KEY)
    assert type(error) is kind
    assert error.item in (URL, f"{URL}/{KEY}")
    assert "hidden" not in str(error)
    assert error.next or kind in (ObjectMissingError, ObjectExistsError, UploadGoneError, ChecksumRefusedError)


SECRET_ENDPOINT = "https://user:hidden@minio.example.org"


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (sdk.EndpointConnectionError(endpoint_url=SECRET_ENDPOINT), StoreUnreachableError),
        (sdk.ConnectTimeoutError(endpoint_url=SECRET_ENDPOINT), StoreUnreachableError),
        (sdk.ReadTimeoutError(endpoint_url=SECRET_ENDPOINT), StoreUnreachableError),
        (sdk.ConnectionClosedError(endpoint_url=SECRET_ENDPOINT), StoreUnreachableError),
        (sdk.ProxyConnectionError(proxy_url=SECRET_ENDPOINT), StoreUnreachableError),
        (sdk.HTTPClientError(error=SECRET_ENDPOINT), StoreUnreachableError),
        (sdk.ResponseStreamingError(error="hidden"), StoreUnreachableError),
        (sdk.IncompleteReadError(actual_bytes=1, expected_bytes=2), StoreUnreachableError),
        (sdk.FlexibleChecksumError(error_msg="hidden"), StoreUnreachableError),
        (sdk.SSLError(endpoint_url=SECRET_ENDPOINT, error="certificate verify failed"), StoreRefusedError),
        (sdk.SSLError(endpoint_url=SECRET_ENDPOINT, error="EOF occurred"), StoreUnreachableError),
        (sdk.NoCredentialsError(), StoreRefusedError),
        (sdk.PartialCredentialsError(provider="env", cred_var="hidden"), StoreRefusedError),
        (sdk.ProfileNotFound(profile="hidden"), StoreRefusedError),
        (sdk.SSOTokenLoadError(error_msg="hidden"), StoreRefusedError),
        (sdk.ParamValidationError(report="hidden"), StoreRefusedError),
        (ConnectionResetError("hidden"), StoreUnreachableError),
    ],
)
def test_errors_of_the_sdk(error: Exception, kind: type[StoreError]) -> None:
    ours = s3_error(error, URL, KEY)
    assert type(ours) is kind
    assert ours.item == URL
    assert "hidden" not in str(ours) and "minio" not in str(ours)
    assert ours.next


def head_answer(**more: Any) -> dict[str, Any]:
    return {"ContentLength": len(DATA), "ETag": '"e"', "ChecksumCRC64NVME": CRC_TEXT} | more


@pytest.mark.parametrize(
    ("answer", "crc64"),
    [
        (head_answer(), CRC),
        (head_answer(ChecksumType="FULL_OBJECT"), CRC),
        (head_answer(ChecksumType="COMPOSITE"), None),
        (head_answer(ChecksumCRC64NVME=f"{CRC_TEXT}-2"), None),
        ({"ContentLength": len(DATA), "ETag": '"e"'}, None),
        ({"ContentLength": len(DATA), "ETag": '"e"', "ChecksumCRC32": "AAAAAA=="}, None),
    ],
)
def test_only_a_checksum_of_the_whole_object_is_believed(
    store: S3Store, stub: Stubber, answer: dict[str, Any], crc64: int | None
) -> None:
    asked = {"Bucket": "lab-video", "Key": f"eeg/{KEY}", "ChecksumMode": "ENABLED"}
    stub.add_response("head_object", answer, asked)
    info = store.head(KEY)
    assert info is not None and info.crc64 == crc64 and info.size == len(DATA)


def test_evidence_holds_both_clocks_and_the_version(store: S3Store, stub: Stubber) -> None:
    date = {"HTTPHeaders": {"date": "Mon, 02 Mar 2026 10:00:00 GMT"}}
    told = {"Metadata": {"ecogsafe-upload": "tok"}, "VersionId": "v1", "StorageClass": "DEEP_ARCHIVE"}
    stub.add_response("head_object", head_answer(ResponseMetadata=date, **told))
    stub.add_response("head_object", head_answer(ResponseMetadata={"HTTPHeaders": {"date": "no date"}}))
    info, other = store.head(KEY), store.head(KEY)
    assert info is not None and info.store_date is not None and info.checked_at is not None
    assert info.store_date.isoformat() == "2026-03-02T10:00:00+00:00"
    assert (info.token, info.version_id, info.storage_class) == ("tok", "v1", "DEEP_ARCHIVE")
    assert other is not None and other.store_date is None


def test_a_missing_bucket_is_not_a_missing_object(store: S3Store, stub: Stubber) -> None:
    stub.add_client_error("head_object", "404", http_status_code=404)
    stub.add_client_error("head_bucket", "404", http_status_code=404)
    with pytest.raises(StoreRefusedError) as caught:
        store.head(KEY)
    assert "no such bucket" in caught.value.problem
    stub.add_client_error("head_object", "404", http_status_code=404)
    stub.add_response("head_bucket", {})
    stub.add_client_error("head_object", "404", http_status_code=404)
    assert store.head(KEY) is None
    assert store.head(KEY) is None, "the bucket is asked for once only"
    stub.assert_no_pending_responses()


def test_a_put_asks_for_checksum_token_and_no_replacing(store: S3Store, stub: Stubber) -> None:
    stub.add_response(
        "put_object",
        {"ETag": '"e"', "ChecksumCRC64NVME": CRC_TEXT, "VersionId": "v2"},
        {
            "Bucket": "lab-video",
            "Key": f"eeg/{KEY}",
            "Body": DATA,
            "ContentLength": len(DATA),
            "Metadata": {"ecogsafe-upload": "tok"},
            "ChecksumAlgorithm": "CRC64NVME",
            "ChecksumCRC64NVME": CRC_TEXT,
            "IfNoneMatch": "*",
            "StorageClass": "GLACIER_IR",
        },
    )
    info = store.put(KEY, DATA, crc64=CRC, token="tok", storage_class="GLACIER_IR")
    assert (info.crc64, info.token, info.version_id, info.size) == (CRC, "tok", "v2", len(DATA))
    stub.assert_no_pending_responses()


@pytest.mark.parametrize(
    ("sse", "asked"),
    [
        ("AES256", {"ServerSideEncryption": "AES256"}),
        ("aws:kms", {"ServerSideEncryption": "aws:kms"}),
        ("aws:kms:arn:aws:kms:x", {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": "arn:aws:kms:x"}),
    ],
)
def test_encryption_by_the_store_is_asked_for(sse: str, asked: dict[str, str]) -> None:
    store = make(sse=sse)
    with Stubber(store._client) as stub:
        wanted = {
            "Bucket": "lab-video",
            "Key": f"eeg/{KEY}",
            "Metadata": {"ecogsafe-upload": "tok"},
            "ChecksumAlgorithm": "CRC64NVME",
            "ChecksumType": "FULL_OBJECT",
        }
        stub.add_response("create_multipart_upload", {"UploadId": "u"}, wanted | asked)
        assert store.begin_upload(KEY, token="tok", size=10) == "u"
    store.close()


def test_a_store_that_tells_no_checksum_is_asked_once_more_and_then_no_more(store: S3Store, stub: Stubber) -> None:
    silent = {"ContentLength": len(DATA), "ETag": '"e"', "Metadata": {"ecogsafe-upload": "check"}}
    stub.add_response("put_object", {"ETag": '"e"'})
    stub.add_response("head_object", silent)
    stub.add_response("put_object", {"ETag": '"f"'})
    assert put(store, KEY, DATA).crc64 is None
    assert put(store, KEY, DATA).etag == '"f"'
    stub.assert_no_pending_responses()


def test_a_checksum_that_only_head_tells_is_taken_if_the_object_is_ours(store: S3Store, stub: Stubber) -> None:
    for token, crc64 in (("check", CRC), ("another", None)):
        stub.add_response("put_object", {"ETag": '"e"'})
        stub.add_response("head_object", head_answer(Metadata={"ecogsafe-upload": token}))
        assert put(store, KEY, DATA).crc64 == crc64


def test_a_finish_names_every_part_the_size_and_the_whole_checksum(store: S3Store, stub: Stubber) -> None:
    parts = (
        UploadedPart(number=2, size=1, etag='"b"', crc64=None),
        UploadedPart(number=1, size=9, etag='"a"', crc64=CRC),
    )
    stub.add_response(
        "complete_multipart_upload",
        {"ETag": '"x-2"', "ChecksumCRC64NVME": CRC_TEXT, "ChecksumType": "FULL_OBJECT"},
        {
            "Bucket": "lab-video",
            "Key": f"eeg/{KEY}",
            "UploadId": "u",
            "MultipartUpload": {
                "Parts": [
                    {"PartNumber": 1, "ETag": '"a"', "ChecksumCRC64NVME": CRC_TEXT},
                    {"PartNumber": 2, "ETag": '"b"'},
                ]
            },
            "ChecksumCRC64NVME": CRC_TEXT,
            "ChecksumType": "FULL_OBJECT",
            "MpuObjectSize": 10,
            "IfNoneMatch": "*",
        },
    )
    info = store.finish_upload(KEY, "u", parts, crc64=CRC, size=10, token="tok")
    assert (info.size, info.crc64, info.token) == (10, CRC, "tok")


def test_a_listing_of_uploads_that_does_not_go_on_is_an_error(store: S3Store, stub: Stubber) -> None:
    page = {"IsTruncated": True, "Uploads": [{"Key": f"eeg/{KEY}", "UploadId": "u"}], "NextKeyMarker": f"eeg/{KEY}"}
    stub.add_response("list_multipart_uploads", page)
    stub.add_response("list_multipart_uploads", page)
    uploads = store.list_uploads()
    assert next(uploads).key == KEY
    with pytest.raises(StoreUnreachableError):
        list(uploads)


def test_folder_markers_are_no_objects(store: S3Store, stub: Stubber) -> None:
    contents = [{"Key": key, "Size": size} for key, size in (("eeg/", 0), ("eeg/a/", 0), ("eeg/a/b.edf", 3))]
    stub.add_response("list_objects_v2", {"IsTruncated": False, "Contents": contents})
    assert [info.key for info in store.list()] == ["a/b.edf"]


def streaming(data: bytes, announced: int) -> StreamingBody:
    return StreamingBody(io.BytesIO(data), announced)


def test_a_body_that_ends_early_is_an_error(store: S3Store, stub: Stubber) -> None:
    stub.add_response("get_object", {"Body": streaming(DATA[:-1], len(DATA)), "ContentLength": len(DATA)})
    with pytest.raises(StoreUnreachableError):
        got(store, KEY)


def test_a_server_that_ignores_ranges_is_noticed(store: S3Store, stub: Stubber) -> None:
    stub.add_response("get_object", {"Body": streaming(DATA, len(DATA)), "ContentLength": len(DATA)})
    with pytest.raises(StoreRefusedError):
        got(store, KEY, 10, 20)
    stub.add_response("get_object", {"Body": streaming(DATA, len(DATA)), "ContentLength": len(DATA)})
    assert got(store, KEY, 0, 20) == DATA[:20]
    assert got(store, KEY, 20, 20) == b""


def test_a_frozen_object_says_so(store: S3Store, stub: Stubber) -> None:
    stub.add_client_error("get_object", "InvalidObjectState", http_status_code=403)
    with pytest.raises(StillColdError) as caught:
        got(store, KEY)
    assert caught.value.item == f"{URL}/{KEY}"


@pytest.mark.parametrize(
    ("endpoint_url", "host", "signed"),
    [
        (None, "https://lab-video.s3.us-west-2.amazonaws.com/eeg/", False),
        ("https://minio.example.org", "https://minio.example.org/lab-video/eeg/", False),
        ("http://minio.example.org:9000", "http://minio.example.org:9000/lab-video/eeg/", True),
    ],
)
def test_where_and_how_a_body_is_sent(
    endpoint_url: str | None, host: str, signed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("AWS_ENDPOINT_URL_S3", raising=False)
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    store = make(endpoint_url)
    sent: list[Any] = []

    class Stop(Exception):
        pass

    def look(request: Any, **_: Any) -> None:
        sent.append(request)
        raise Stop

    store._client.meta.events.register("before-send.s3.PutObject", look)
    with pytest.raises(Stop):
        store.put(KEY, [DATA, memoryview(DATA)], crc64=body_crc64([DATA, DATA]), token="tok")
    request = sent[0]
    headers = {name.lower(): _text(value) for name, value in request.headers.items()}
    assert request.url == host + KEY
    assert (headers["x-amz-content-sha256"] != "UNSIGNED-PAYLOAD") is signed
    assert headers["x-amz-checksum-crc64nvme"] == crc64_to_text(body_crc64([DATA, DATA]))
    assert headers["content-length"] == str(2 * len(DATA))
    assert headers["if-none-match"] == "*"
    assert not [name for name in headers if name.startswith("x-amz-checksum") and "crc64" not in name]
    assert {name for name in headers if name.startswith("x-amz-meta-")} == {"x-amz-meta-ecogsafe-upload"}
    store.close()


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value
