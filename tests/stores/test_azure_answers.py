"""What answers of Azure mean that no emulator gives: throttling, rehydration under way, frozen lists of blocks."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
import requests
from azure.core.exceptions import ServiceRequestError, ServiceResponseError
from azure.core.pipeline.transport import HttpTransport, RequestsTransportResponse

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    EcogsafeError,
    ObjectExistsError,
    StoreBusyError,
    StoreCredentialsError,
    StoreForbiddenError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadGoneError,
)
from ecogsafe.stores.azure import AzureStore
from ecogsafe.stores.azure_blocks import Block
from ecogsafe.stores.azure_connect import connect
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.thawing import Thaw, ThawState

KEY = "abcd1234/x.avi.age"
TOKEN = "0123456789abcdef" * 2
ENV = {
    "AZURE_STORAGE_ACCOUNT": "lab",
    "AZURE_STORAGE_KEY": base64.b64encode(b"sEcrEtword").decode(),
}
Answer = tuple[int, dict[str, str], bytes]


class Scripted(HttpTransport[Any, Any]):
    """Gives the answers of a function, and notes what was asked."""

    def __init__(self, answer: Callable[[Any], Answer]) -> None:
        self.answer = answer
        self.asked: list[Any] = []

    def send(self, request: Any, **kwargs: Any) -> Any:
        self.asked.append(request)
        status, headers, body = self.answer(request)
        response = requests.Response()
        response.status_code = status
        response.headers.update({"Date": "Sun, 22 Nov 2026 10:00:00 GMT", "Content-Length": str(len(body))} | headers)
        response.raw = io.BytesIO(body)
        response.request = requests.Request(request.method, request.url).prepare()
        if not kwargs.get("stream"):
            response._content = body
        return RequestsTransportResponse(request, response)

    def open(self) -> None:
        pass

    def close(self) -> None:
        pass

    def __exit__(self, *args: object) -> None:
        pass


def store_of(answer: Callable[[Any], Answer]) -> tuple[AzureStore, Scripted]:
    transport = Scripted(answer)
    return connect("container", "lab", environment=ENV, transport=transport), transport


def refused(code: str, status: int) -> Callable[[Any], Answer]:
    body = f'<?xml version="1.0"?><Error><Code>{code}</Code><Message>sEcrEtword</Message></Error>'.encode()
    return lambda request: (status, {"x-ms-error-code": code, "Content-Type": "application/xml"}, body)


def properties(**more: str) -> Answer:
    headers = {"ETag": '"0x1"', "x-ms-blob-type": "BlockBlob", "x-ms-meta-ecogsafe_upload": TOKEN}
    return 200, headers | {name.replace("_", "-"): value for name, value in more.items()}, b""


ANSWERS = [
    ("ServerBusy", 503, StoreBusyError),
    ("TooManyRequests", 429, StoreBusyError),
    ("InternalError", 500, StoreUnreachableError),
    ("OperationTimedOut", 500, StoreUnreachableError),
    ("AuthenticationFailed", 403, StoreCredentialsError),
    ("NoAuthenticationInformation", 401, StoreCredentialsError),
    ("AuthorizationPermissionMismatch", 403, StoreForbiddenError),
    ("AuthorizationFailure", 403, StoreForbiddenError),
    ("SomethingNew", 403, StoreForbiddenError),
    ("ContainerNotFound", 404, StoreRefusedError),
    ("AccountIsDisabled", 403, StoreRefusedError),
    ("BlobAlreadyExists", 409, ObjectExistsError),
    ("ConditionNotMet", 412, ObjectExistsError),
    ("BlobArchived", 409, ObjectExistsError),
    ("LeaseIdMissing", 412, StoreRefusedError),
    ("BlobImmutableDueToPolicy", 409, StoreRefusedError),
    ("Md5Mismatch", 400, ChecksumRefusedError),
    ("InvalidBlockList", 400, UploadGoneError),
    ("InvalidBlobOrBlock", 400, StoreRefusedError),
    ("InsufficientStorage", 507, StoreFullError),
    ("SomethingNew", 400, StoreRefusedError),
]


@pytest.mark.parametrize(("code", "status", "error"), ANSWERS)
def test_what_an_answer_to_a_part_means(code: str, status: int, error: type[EcogsafeError]) -> None:
    store, transport = store_of(refused(code, status))
    with pytest.raises(EcogsafeError) as caught:
        store.begin_upload(KEY, token=TOKEN, size=5)
    assert type(caught.value) is error
    assert "sEcrEtword" not in str(caught.value) + caught.value.next
    assert len(transport.asked) == 1, "nothing is repeated below the wrapper that counts and pauses"


@pytest.mark.parametrize(
    "broken", [ServiceRequestError("refused https://lab/?sig=sEcrEtword"), ServiceResponseError("reset sEcrEtword")]
)
def test_no_answer_can_be_asked_for_again(broken: Exception) -> None:
    def answer(request: Any) -> Answer:
        raise broken

    store, transport = store_of(answer)
    with pytest.raises(StoreUnreachableError) as caught:
        store.head(KEY)
    assert "sEcrEtword" not in str(caught.value)
    assert len(transport.asked) == 1


def test_an_untrusted_certificate_is_not_asked_again() -> None:
    def answer(request: Any) -> Answer:
        raise ServiceRequestError("certificate verify failed")

    with pytest.raises(StoreRefusedError, match="certificate"):
        store_of(answer)[0].head(KEY)


# thawing


@pytest.mark.parametrize(
    ("tier", "archive_status", "thaw"),
    [
        ("Archive", "", Thaw(ThawState.FROZEN)),
        ("Archive", "rehydrate-pending-to-hot", Thaw(ThawState.THAWING)),
        ("Archive", "rehydrate-pending-to-cool", Thaw(ThawState.THAWING)),
        ("Hot", "", None),
    ],
)
def test_the_state_of_a_cold_object(tier: str, archive_status: str, thaw: Thaw | None) -> None:
    more = {"x_ms_archive_status": archive_status} if archive_status else {}
    store, _ = store_of(lambda request: properties(x_ms_access_tier=tier, **more))
    info = store.head(KEY)
    assert info is not None
    assert (info.thaw, info.storage_class) == (thaw, tier)
    assert info.store_date is not None


@pytest.mark.parametrize(("tier", "priority"), [("Bulk", "Standard"), ("Standard", "Standard"), ("Expedited", "High")])
def test_a_thaw_is_asked_for_once(tier: Any, priority: str) -> None:
    told: dict[str, str] = {}

    def answer(request: Any) -> Answer:
        if request.method == "PUT":
            assert parse_qs(urlsplit(request.url).query)["comp"] == ["tier"]
            told.update(request.headers)
            return 202, {}, b""
        pending = {"x_ms_archive_status": "rehydrate-pending-to-hot"} if told else {}
        return properties(x_ms_access_tier="Archive", **pending)

    store, transport = store_of(answer)
    for _ in range(2):
        store.request_thaw(KEY, tier=tier, days=5)
    assert (told["x-ms-access-tier"], told["x-ms-rehydrate-priority"]) == ("Hot", priority)
    assert [request.method for request in transport.asked] == ["HEAD", "PUT", "HEAD"]


def test_a_thaw_that_another_asked_for_meanwhile_is_fine() -> None:
    def answer(request: Any) -> Answer:
        if request.method == "PUT":
            return refused("BlobBeingRehydrated", 409)(request)
        return properties(x_ms_access_tier="Archive")

    store_of(answer)[0].request_thaw(KEY, tier="Bulk", days=5)


# proof


def _in_parts(upload_id: str, names: list[tuple[str, int]], kind: str) -> bytes:
    rows = "".join(
        f"<Block><Name>{base64.b64encode(name.encode()).decode()}</Name><Size>{size}</Size></Block>"
        for name, size in names
    )
    other = {"Committed": "Uncommitted", "Uncommitted": "Committed"}[kind]
    return f"<?xml version='1.0'?><BlockList><{kind}Blocks>{rows}</{kind}Blocks><{other}Blocks/></BlockList>".encode()


class Finishing:
    """A container in which an upload of two parts waits; what it tells after the commit is a test's choice."""

    def __init__(self, after: Callable[[list[tuple[str, int]]], Answer]) -> None:
        self.after = after
        self.data = b"a" * 70_000 + b"b" * 50_000
        self.upload_id = "0123456789abcdef" * 2 + "a"
        self.bodies = [self.data[:70_000], self.data[70_000:]]
        self.blocks = [Block(self.upload_id, n, body_crc64(body)).name for n, body in enumerate(self.bodies, 1)]
        self.commits = 0
        self.store, _ = store_of(self._answer)

    def _answer(self, request: Any) -> Answer:
        query = parse_qs(urlsplit(request.url).query)
        named = list(zip(self.blocks, map(len, self.bodies), strict=True))
        if request.method == "PUT":
            assert request.headers["If-None-Match"] == "*"
            assert request.headers["x-ms-access-tier"] == "Archive"
            self.commits += 1
            return 201, {"ETag": '"0x2"'}, b""
        if query["blocklisttype"] == ["committed"]:
            return self.after(named)
        opening = [(Block(self.upload_id, 0, 1).name, 1)]
        return 200, {"Content-Type": "application/xml"}, _in_parts(self.upload_id, opening + named, "Uncommitted")

    def finish(self) -> int | None:
        parts = self.store.list_parts(KEY, self.upload_id)
        crc64, size = body_crc64(self.data), len(self.data)
        info = self.store.finish_upload(KEY, self.upload_id, parts, crc64=crc64, size=size, token=TOKEN)
        assert self.commits == 1
        return info.crc64


def _listed(named: list[tuple[str, int]]) -> Answer:
    return 200, {"Content-Type": "application/xml"}, _in_parts("", named, "Committed")


def test_a_list_equal_to_ours_proves_the_object() -> None:
    trial = Finishing(_listed)
    assert trial.finish() == body_crc64(trial.data)


def test_an_object_that_is_frozen_at_once_is_proven_by_the_list_that_was_taken() -> None:
    trial = Finishing(lambda named: refused("BlobArchived", 409)(None))
    assert trial.finish() == body_crc64(trial.data)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda named: named[:1],
        lambda named: named[::-1],
        lambda named: [named[0], (named[1][0], 49_999)],
        lambda named: [named[0], (named[1][0][:-1] + "x", 50_000)],
        lambda named: [],
    ],
    ids=["part missing", "other order", "other size", "other name", "empty"],
)
def test_another_list_proves_nothing(wrong: Callable[[list[tuple[str, int]]], list[tuple[str, int]]]) -> None:
    assert Finishing(lambda named: _listed(wrong(named))).finish() is None


# credentials


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"AZURE_STORAGE_CONNECTION_STRING": "AccountKey=sEcrEtword"},
        {"AZURE_STORAGE_CONNECTION_STRING": "sEcrEtword"},
        {"AZURE_STORAGE_KEY": "sEcrEtword"},
    ],
)
def test_credentials_that_are_missing_or_malformed(environment: dict[str, str]) -> None:
    with pytest.raises(StoreCredentialsError) as caught:
        connect("container", environment=environment)
    assert "sEcrEtword" not in f"{caught.value} {caught.value.next} {caught.value.__cause__}"
    assert "AZURE_STORAGE_CONNECTION_STRING" in caught.value.next


@pytest.mark.parametrize(
    ("environment", "place"),
    [
        (ENV, "azure://container@lab.blob.core.windows.net"),
        (
            {"AZURE_STORAGE_ACCOUNT": "lab", "AZURE_STORAGE_SAS_TOKEN": "?sv=1&sig=x"},
            "azure://container@lab.blob.core.windows.net",
        ),
        ({"AZURE_STORAGE_ACCOUNT": "lab"}, "azure://container@lab.blob.core.windows.net"),
        (
            ENV | {"AZURE_STORAGE_SERVICE_ENDPOINT": "https://lab.blob.core.chinacloudapi.cn"},
            "azure://container@lab.blob.core.chinacloudapi.cn",
        ),
    ],
)
def test_where_the_account_is(environment: dict[str, str], place: str) -> None:
    pytest.importorskip("azure.identity")
    store = connect("container", environment=environment)
    assert store.place == place
    store.close()
