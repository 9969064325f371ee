"""What S3 may answer, or not: canned answers, so that none has to be provoked."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from email.utils import format_datetime
from typing import Any

import pytest
from botocore import exceptions as sdk
from botocore.stub import Stubber
from urllib3 import exceptions as http

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    EcogsafeError,
    ObjectExistsError,
    ObjectMissingError,
    StillColdError,
    StoreBusyError,
    StoreCredentialsError,
    StoreError,
    StoreForbiddenError,
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
from tests.servers.scripted import Answer, ScriptedServer, error

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
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def store(server: ScriptedServer) -> Iterator[S3Store]:
    made = make(server.url)
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
        ("AccessDenied", 403, StoreForbiddenError),
        ("403", 403, StoreForbiddenError),
        ("InvalidAccessKeyId", 403, StoreCredentialsError),
        ("SignatureDoesNotMatch", 403, StoreCredentialsError),
        ("ExpiredToken", 400, StoreCredentialsError),
        ("RequestTimeTooSkewed", 403, StoreRefusedError),
        ("SlowDown", 503, StoreBusyError),
        ("503", 503, StoreBusyError),
        ("TooManyRequests", 429, StoreBusyError),
        ("500", 500, StoreUnreachableError),
        ("InternalError", 200, StoreUnreachableError),
        ("RequestTimeout", 400, StoreUnreachableError),
        ("QuotaExceeded", 403, StoreFullError),
        ("507", 507, StoreFullError),
        ("PermanentRedirect", 301, StoreRefusedError),
        ("301", 301, StoreRefusedError),
        ("NotImplemented", 501, StoreRefusedError),
        ("InvalidPart", 400, ChecksumRefusedError),
        ("EntityTooSmall", 400, ChecksumRefusedError),
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


@pytest.mark.parametrize(("minutes", "is_told"), [(20, True), (-20, True), (3, False), (None, False)])
def test_a_refusal_without_a_word_is_laid_to_a_wrong_clock(minutes: int | None, *, is_told: bool) -> None:
    """The answer to HEAD has no code: what is signed at a wrong time looks like a wrong key."""
    error = client_error("403", 403)
    if minutes is not None:
        there = utc_now() + timedelta(minutes=minutes)
        error.response["ResponseMetadata"]["HTTPHeaders"] = {"date": format_datetime(there, usegmt=True)}
    found = s3_error(error, URL, KEY)
    assert ("the clock here" in found.problem) is is_told
    assert isinstance(found, StoreRefusedError)


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
        (sdk.NoCredentialsError(), StoreCredentialsError),
        (sdk.PartialCredentialsError(provider="env", cred_var="hidden"), StoreCredentialsError),
        (sdk.ProfileNotFound(profile="hidden"), StoreCredentialsError),
        (sdk.SSOTokenLoadError(error_msg="hidden"), StoreCredentialsError),
        (sdk.ParamValidationError(report="hidden"), StoreRefusedError),
        (ConnectionResetError("hidden"), StoreUnreachableError),
        (http.SSLError("certificate verify failed: hidden"), StoreRefusedError),
        (http.SSLError("EOF occurred hidden"), StoreUnreachableError),
        (http.ConnectTimeoutError("hidden"), StoreUnreachableError),
        (http.ProxyError("hidden", OSError("hidden")), StoreUnreachableError),
        (http.ProtocolError("hidden"), StoreUnreachableError),
    ],
)
def test_errors_of_the_sdk(error: Exception, kind: type[StoreError]) -> None:
    ours = s3_error(error, URL, KEY)
    assert type(ours) is kind
    assert ours.item == URL
    assert "hidden" not in str(ours) and "minio" not in str(ours)
    assert ours.next


def head_answer(**more: str) -> Answer:
    return Answer(announced=len(DATA), headers={"x-amz-checksum-crc64nvme": CRC_TEXT} | more)


@pytest.mark.parametrize(
    ("headers", "crc64"),
    [
        ({"x-amz-checksum-crc64nvme": CRC_TEXT}, CRC),
        ({"x-amz-checksum-crc64nvme": CRC_TEXT, "x-amz-checksum-type": "FULL_OBJECT"}, CRC),
        ({"x-amz-checksum-crc64nvme": CRC_TEXT, "x-amz-checksum-type": "COMPOSITE"}, None),
        ({"x-amz-checksum-crc64nvme": f"{CRC_TEXT}-2"}, None),
        ({}, None),
        ({"x-amz-checksum-crc32": "AAAAAA=="}, None),
    ],
)
def test_only_a_checksum_of_the_whole_object_is_believed(
    store: S3Store, server: ScriptedServer, headers: dict[str, str], crc64: int | None
) -> None:
    server.then(Answer(announced=len(DATA), headers=headers))
    info = store.head(KEY)
    assert info is not None and info.crc64 == crc64 and info.size == len(DATA)
    assert server.asked[0].headers["x-amz-checksum-mode"] == "ENABLED"


def test_evidence_holds_both_clocks_and_the_version(store: S3Store, server: ScriptedServer) -> None:
    told = {"x-amz-meta-ecogsafe-upload": "tok", "x-amz-version-id": "v1", "x-amz-storage-class": "DEEP_ARCHIVE"}
    server.then(head_answer(**told), head_answer(Date="no date"))
    info, other = store.head(KEY), store.head(KEY)
    assert info is not None and info.store_date is not None and info.checked_at is not None
    assert info.store_date.isoformat() == "2026-03-02T10:00:00+00:00"
    assert (info.token, info.version_id, info.storage_class) == ("tok", "v1", "DEEP_ARCHIVE")
    assert other is not None and other.store_date is None


def test_an_object_without_a_size_is_none_that_can_be_judged(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(announced=-1), Answer(announced=-1, body=DATA, close=True))
    for call in (lambda: store.head(KEY), lambda: got(store, KEY)):
        with pytest.raises(StoreRefusedError):
            call()


def test_a_missing_bucket_is_not_a_missing_object(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(status=404), Answer(status=404))
    with pytest.raises(StoreRefusedError) as caught:
        store.head(KEY)
    assert "no such bucket" in caught.value.problem
    server.then(Answer(status=404), Answer(), Answer(status=404))
    assert store.head(KEY) is None
    assert store.head(KEY) is None, "the bucket is asked for once only"
    assert [asked.target for asked in server.asked[2:]] == [
        f"/lab-video/eeg/{KEY}",
        "/lab-video",
        f"/lab-video/eeg/{KEY}",
    ]


def test_a_put_asks_for_checksum_token_and_no_replacing(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(headers={"x-amz-version-id": "v2"}))
    info = store.put(KEY, DATA, crc64=CRC, token="tok", storage_class="GLACIER_IR")
    assert (info.crc64, info.token, info.version_id, info.size) == (CRC, "tok", "v2", len(DATA))
    (asked,) = server.asked
    assert (asked.method, asked.target, asked.body) == ("PUT", f"/lab-video/eeg/{KEY}", DATA)
    wanted = {
        "content-length": str(len(DATA)),
        "x-amz-meta-ecogsafe-upload": "tok",
        "x-amz-sdk-checksum-algorithm": "CRC64NVME",
        "x-amz-checksum-crc64nvme": CRC_TEXT,
        "if-none-match": "*",
        "x-amz-storage-class": "GLACIER_IR",
        "x-amz-content-sha256": "UNSIGNED-PAYLOAD",
    }
    assert wanted.items() <= asked.headers.items()
    assert "expect" not in asked.headers and "transfer-encoding" not in asked.headers


BEGUN = (
    b'<?xml version="1.0"?><InitiateMultipartUploadResult><Bucket>b</Bucket>'
    b"<UploadId>u</UploadId></InitiateMultipartUploadResult>"
)


@pytest.mark.parametrize(
    ("sse", "asked"),
    [
        (None, {}),
        ("AES256", {"x-amz-server-side-encryption": "AES256"}),
        ("aws:kms", {"x-amz-server-side-encryption": "aws:kms"}),
        (
            "aws:kms:arn:aws:kms:x",
            {
                "x-amz-server-side-encryption": "aws:kms",
                "x-amz-server-side-encryption-aws-kms-key-id": "arn:aws:kms:x",
            },
        ),
    ],
)
def test_an_upload_begins_with_what_its_object_will_have(
    server: ScriptedServer, sse: str | None, asked: dict[str, str]
) -> None:
    store = make(server.url, sse=sse)
    server.then(Answer(body=BEGUN))
    assert store.begin_upload(KEY, token="tok", size=10, storage_class="GLACIER_IR") == "u"
    wanted = {
        "x-amz-meta-ecogsafe-upload": "tok",
        "x-amz-checksum-algorithm": "CRC64NVME",
        "x-amz-checksum-type": "FULL_OBJECT",
        "x-amz-storage-class": "GLACIER_IR",
    }
    (begun,) = server.asked
    assert begun.method == "POST" and begun.target.endswith(f"/eeg/{KEY}?uploads=")
    told = {name: value for name, value in begun.headers.items() if name.startswith("x-amz-server-side")}
    assert wanted.items() <= begun.headers.items() and told == asked
    store.close()


@pytest.mark.parametrize("body", [b"", b"<UploadId></UploadId>", b"<html>welcome</html>"])
def test_an_upload_without_a_name_is_refused(store: S3Store, server: ScriptedServer, body: bytes) -> None:
    server.then(Answer(body=body))
    with pytest.raises(StoreRefusedError):
        store.begin_upload(KEY, token="tok", size=10)


def test_encryption_by_the_store_is_asked_for_small_objects_too(server: ScriptedServer) -> None:
    with_key = make(server.url, sse="aws:kms:arn:aws:kms:x")
    put(with_key, KEY, DATA)
    headers = server.asked[0].headers
    assert headers["x-amz-server-side-encryption"] == "aws:kms"
    assert headers["x-amz-server-side-encryption-aws-kms-key-id"] == "arn:aws:kms:x"
    with_key.close()


SILENT = Answer(headers={"x-amz-checksum-crc64nvme": ""})


def test_a_store_that_tells_no_checksum_is_asked_once_more_and_then_no_more(
    store: S3Store, server: ScriptedServer
) -> None:
    silent = Answer(announced=len(DATA), headers={"x-amz-meta-ecogsafe-upload": "check"})
    server.then(SILENT, silent, Answer(headers={"x-amz-checksum-crc64nvme": "", "ETag": '"f"'}))
    assert put(store, KEY, DATA).crc64 is None
    assert put(store, KEY, DATA).etag == '"f"'
    assert server.methods == ["PUT", "HEAD", "PUT"]


def test_a_checksum_that_only_head_tells_is_taken_if_the_object_is_ours(store: S3Store, server: ScriptedServer) -> None:
    server.then(SILENT, head_answer(**{"x-amz-meta-ecogsafe-upload": "check"}))
    assert put(store, KEY, DATA).crc64 == CRC


@pytest.mark.parametrize(
    "found", [Answer(status=404), head_answer(**{"x-amz-meta-ecogsafe-upload": "another"})], ids=["nothing", "another"]
)
def test_an_object_that_the_store_says_it_took_and_then_does_not_have_is_in_doubt(
    store: S3Store, server: ScriptedServer, found: Answer
) -> None:
    """It is asked for again, and never recorded as stored on the word of an answer without a checksum."""
    server.then(SILENT, found)
    with pytest.raises(StoreUnreachableError, match="took an object and does not have it") as caught:
        put(store, KEY, DATA)
    assert caught.value.retry


PARTS = (
    UploadedPart(number=2, size=1, etag='"b&<"', crc64=None),
    UploadedPart(number=1, size=9, etag='"a"', crc64=CRC),
)


def finished(etag: str) -> Answer:
    told = (
        f"<ETag>{etag}</ETag><ChecksumCRC64NVME>{CRC_TEXT}</ChecksumCRC64NVME><ChecksumType>FULL_OBJECT</ChecksumType>"
    )
    # AWS sends blanks while it works
    body = f'<?xml version="1.0"?>\n   <CompleteMultipartUploadResult xmlns="x">{told}</CompleteMultipartUploadResult>'
    return Answer(body=body.encode(), headers={"x-amz-version-id": "v7", "x-amz-checksum-crc64nvme": "", "ETag": ""})


@pytest.mark.parametrize("etag", ['"x-2"', "&quot;x-2&quot;", "&#34;x-2&#34;"])
def test_a_finish_names_every_part_the_size_and_the_whole_checksum(
    store: S3Store, server: ScriptedServer, etag: str
) -> None:
    server.then(finished(etag))
    info = store.finish_upload(KEY, "u/+", PARTS, crc64=CRC, size=10, token="tok")
    assert (info.size, info.crc64, info.token, info.etag, info.version_id) == (10, CRC, "tok", '"x-2"', "v7")
    (asked,) = server.asked
    wanted = {
        "x-amz-checksum-crc64nvme": CRC_TEXT,
        "x-amz-checksum-type": "FULL_OBJECT",
        "x-amz-mp-object-size": "10",
        "if-none-match": "*",
    }
    assert asked.method == "POST" and asked.target.endswith(f"/eeg/{KEY}?uploadId=u%2F%2B")
    assert wanted.items() <= asked.headers.items()
    assert asked.body.decode() == (
        '<CompleteMultipartUpload xmlns="http://s3.amazonaws.com/doc/2006-03-01/">'
        f'<Part><PartNumber>1</PartNumber><ETag>"a"</ETag><ChecksumCRC64NVME>{CRC_TEXT}</ChecksumCRC64NVME></Part>'
        '<Part><PartNumber>2</PartNumber><ETag>"b&amp;&lt;"</ETag></Part></CompleteMultipartUpload>'
    )


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (Answer(body=b"<html>welcome</html>"), StoreUnreachableError),
        (Answer(), StoreUnreachableError),
        (Answer(body=b"  <Error><Code>InternalError</Code></Error>"), StoreUnreachableError),
        (Answer(body=b"  <Error><Code>BadDigest</Code></Error>"), ChecksumRefusedError),
        (error("NoSuchUpload", 404), UploadGoneError),
        (error("PreconditionFailed", 412), ObjectExistsError),
    ],
)
def test_a_finish_counts_only_when_the_store_says_so(
    store: S3Store, server: ScriptedServer, answer: Answer, kind: type[EcogsafeError]
) -> None:
    """S3 answers 200 before it knows, and may say in the body that it failed."""
    server.then(answer)
    with pytest.raises(kind) as caught:
        store.finish_upload(KEY, "u", PARTS, crc64=CRC, size=10, token="tok")
    assert type(caught.value) is kind


def test_a_listing_of_uploads_that_does_not_go_on_is_an_error(store: S3Store, stub: Stubber) -> None:
    page = {"IsTruncated": True, "Uploads": [{"Key": f"eeg/{KEY}", "UploadId": "u"}], "NextKeyMarker": f"eeg/{KEY}"}
    stub.add_response("list_multipart_uploads", page)
    stub.add_response("list_multipart_uploads", page)
    uploads = store.list_uploads()
    assert next(uploads).key == KEY
    with pytest.raises(StoreUnreachableError):
        list(uploads)


def test_folder_markers_are_no_objects(store: S3Store, server: ScriptedServer) -> None:
    shown = (("eeg/", 0), ("eeg/a/", 0), ("eeg/a/b.edf", 3))
    contents = "".join(f"<Contents><Key>{key}</Key><Size>{size}</Size></Contents>" for key, size in shown)
    server.then(Answer(body=f"<ListBucketResult>{contents}</ListBucketResult>".encode()))
    assert [info.key for info in store.list()] == ["a/b.edf"]


def test_a_body_that_ends_early_is_an_error(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(body=DATA[:-1], announced=len(DATA), close=True))
    with pytest.raises(StoreUnreachableError):
        got(store, KEY)


def test_a_server_that_ignores_ranges_is_noticed(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(body=DATA))
    with pytest.raises(StoreRefusedError):
        got(store, KEY, 10, 20)
    server.then(Answer(body=DATA))
    assert got(store, KEY, 0, 20) == DATA[:20]
    assert got(store, KEY, 20, 20) == b""
    assert [asked.headers["range"] for asked in server.asked] == ["bytes=10-19", "bytes=0-19"]


def test_a_frozen_object_says_so(store: S3Store, server: ScriptedServer) -> None:
    server.then(error("InvalidObjectState", 403))
    with pytest.raises(StillColdError) as caught:
        got(store, KEY)
    assert caught.value.item == f"{URL}/{KEY}"
