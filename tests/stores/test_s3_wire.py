"""Bodies on the wire: what is sent where, and what a line, a proxy or a server may do to them."""

from __future__ import annotations

import threading
import time
import tracemalloc
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from botocore.credentials import ReadOnlyCredentials

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    ObjectExistsError,
    StoreBusyError,
    StoreCredentialsError,
    StoreError,
    StoreForbiddenError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.core.private import Secret
from ecogsafe.stores import s3_address, s3_connections, s3_wire
from ecogsafe.stores.bodies import body_crc64, crc64_to_text
from ecogsafe.stores.check import got, put, sample
from ecogsafe.stores.retrying import Backoff, Retrying
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_connect import connect
from tests.servers.scripted import Answer, ScriptedServer, error

KEY = "abcd1234/abcd1234_1.edf.age"
PATH = f"/lab-video/eeg/{KEY}"
DATA = sample("wire", 3_000_000)
MIB = 1 << 20


def make(endpoint_url: str | None, **more: Any) -> S3Store:
    asked: dict[str, Any] = {"access_key": "access", "secret_key": Secret(b"hidden"), "region": "us-west-2"} | more
    return connect("lab-video", "eeg", endpoint_url=endpoint_url, **asked)


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing of the machine's own settings take part."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
def store(server: ScriptedServer) -> Iterator[S3Store]:
    made = make(server.url)
    yield made
    made.close()


def put_part(store: S3Store | Retrying, body: Any, number: int = 3) -> Any:
    return store.put_part(KEY, "up/load+1", number, body, offset=0, crc64=body_crc64(body))


@pytest.mark.parametrize("pieces", [1, 3, 200])
def test_buffers_arrive_as_one_body(store: S3Store, server: ScriptedServer, pieces: int) -> None:
    step = len(DATA) // pieces + 1
    body = [memoryview(DATA)[start : start + step] for start in range(0, len(DATA), step)]
    part = put_part(store, [b"", *body, bytearray(b"end")])
    (asked,) = server.asked
    assert asked.target == f"{PATH}?partNumber=3&uploadId=up%2Fload%2B1"
    assert asked.body == DATA + b"end" and part.size == len(asked.body)
    assert part.crc64 == body_crc64(asked.body)
    assert asked.headers["x-amz-checksum-crc64nvme"] == crc64_to_text(part.crc64)
    assert "if-none-match" not in asked.headers


@pytest.mark.parametrize("size", [0, 1, (512 << 10) - 1, 512 << 10, (512 << 10) + 1])
def test_bodies_of_every_size_arrive(store: S3Store, server: ScriptedServer, size: int) -> None:
    body = sample("size", size)
    assert put(store, KEY, body).size == size
    assert server.asked[0].body == body and server.asked[0].headers["content-length"] == str(size)


def test_a_body_is_not_copied(store: S3Store, server: ScriptedServer) -> None:
    put(store, KEY, b"first")
    server.then(Answer(forget=True))
    body = [bytearray(16 * MIB), memoryview(bytes(16 * MIB))]
    crc64 = body_crc64(body)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[1]
        store.put_part(KEY, "u", 1, body, offset=0, crc64=crc64)
        assert tracemalloc.get_traced_memory()[1] - before < MIB
    finally:
        tracemalloc.stop()


def test_connections_are_used_again_and_as_many_as_threads(store: S3Store, server: ScriptedServer) -> None:
    for number in range(5):
        put(store, f"{number}/{KEY}", b"one after the other")
    assert server.connections == 1
    together = threading.Barrier(24)

    def one(number: int) -> None:
        together.wait(10)
        put(store, f"{number}/{KEY}", b"at once")

    server.then(*[Answer(delay_s=0.1)] * 24)
    with ThreadPoolExecutor(24) as pool:
        list(pool.map(one, range(24)))
    assert len(server.asked) == 29 and server.connections > 16


def test_closing_gives_every_connection_back(server: ScriptedServer) -> None:
    store = make(server.url, max_pool_connections=8)
    server.then(*[Answer(delay_s=0.1)] * 8)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda number: put(store, f"{number}/{KEY}", b"x"), range(8)))
    (pool,) = store._wire._addresses._pools
    assert server.connections > 1 and pool.pool is not None
    store.close()
    assert pool.pool is None
    with pytest.raises(StoreUnreachableError):
        put(store, KEY, b"x")


@pytest.mark.parametrize("call", [lambda s: put(s, KEY, b"x"), lambda s: s.head(KEY), lambda s: got(s, KEY, 0, 5)])
def test_a_connection_that_ended_while_idle_is_not_used(
    store: S3Store, server: ScriptedServer, call: Callable[[S3Store], object]
) -> None:
    server.then(Answer(close=True))
    put(store, KEY, b"first")
    time.sleep(0.05)
    server.then(Answer(body=b"five!", headers={"x-amz-meta-ecogsafe-upload": "check"}))
    call(store)
    assert len(server.asked) == 2 and server.connections == 2


def test_an_answer_that_comes_twice_is_not_taken_for_the_next_one(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(twice=True, headers={"ETag": '"first"'}), Answer(headers={"ETag": '"second"'}))
    assert put(store, KEY, b"first").etag == '"first"'
    time.sleep(0.05)
    assert put(store, f"2/{KEY}", b"second").etag == '"second"'


def retrying(store: S3Store) -> Retrying:
    return Retrying(store, backoff=Backoff(attempts=3), pause=lambda seconds: None)


def test_reading_goes_on_after_resets_and_truncated_answers(store: S3Store, server: ScriptedServer) -> None:
    def rest(start: int, **more: Any) -> Answer:
        tell = {"Content-Range": f"bytes {start}-{len(DATA) - 1}/{len(DATA)}"}
        return Answer(status=206 if start else 200, headers=tell if start else {}, **more)

    server.then(
        rest(0, body=DATA[: 2 * MIB + 5], announced=len(DATA), close=True),
        Answer(reset=True),
        rest(2 * MIB + 5, body=DATA[2 * MIB + 5 :]),
    )
    assert got(retrying(store), KEY) == DATA
    assert [asked.headers.get("range") for asked in server.asked] == [None, *[f"bytes={2 * MIB + 5}-"] * 2]


def test_a_busy_store_is_asked_again(store: S3Store, server: ScriptedServer) -> None:
    server.then(error("SlowDown", 503), error("SlowDown", 503), error("SlowDown", 503))
    patient = Retrying(store, backoff=Backoff(attempts=4), pause=lambda seconds: None)
    assert put_part(patient, b"part").etag == '"e"'
    assert patient.busy_answers == 3
    assert [asked.body for asked in server.asked] == [b"part"] * 4
    assert server.connections == 1, "an error answer is no reason for a new connection"


def test_an_early_no_is_heard_though_the_body_has_not_left(store: S3Store, server: ScriptedServer) -> None:
    early = Answer(status=403, body=error("AccessDenied", 403).body, early=True)
    server.then(early)
    with pytest.raises(StoreError) as caught:
        put_part(store, sample("large", 16 * MIB))
    # Whether the answer is still there to be read when the sending breaks is up to the two kernels.
    assert isinstance(caught.value, StoreRefusedError | StoreUnreachableError)


@pytest.mark.parametrize(
    ("slow", "answer"),
    [
        ("READ_TIMEOUT_S", Answer(delay_s=0.6)),
        ("RECEIVING_TIMEOUT_S", Answer(body=DATA, body_delay_s=0.6)),
    ],
)
def test_a_server_that_stalls_is_given_up(
    store: S3Store, server: ScriptedServer, slow: str, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3_wire, slow, 0.2)
    server.then(answer)
    began = time.monotonic()
    with pytest.raises(StoreUnreachableError) as caught:
        if slow == "READ_TIMEOUT_S":
            put(store, KEY, b"x")
        else:
            got(store, KEY)
    assert "no answer" in caught.value.problem and time.monotonic() - began < 5


def test_a_server_that_stops_taking_bytes_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3_connections.Connection, "piece_s", 0.2)
    with ScriptedServer(Answer(early=True, delay_s=2)) as server:
        store = make(server.url)
        began = time.monotonic()
        with pytest.raises(StoreUnreachableError):
            put_part(store, bytes(64 * MIB))
        assert time.monotonic() - began < 1.9
        store.close()


def test_a_slow_line_is_no_stall(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sending may pause for longer than connecting may take."""
    monkeypatch.setattr(s3_wire, "CONNECT_TIMEOUT_S", 0.2)
    server.then(Answer(), *[Answer(read_delay_s=0.5, forget=True)] * 2)
    store = make(server.url)
    put(store, KEY, b"a connection is there")
    for number in (1, 2):
        assert put_part(store, bytes(32 * MIB), number).number == number
    store.close()


def test_an_error_in_an_answer_of_success_is_an_error(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(body=error("InternalError", 200).body))
    with pytest.raises(StoreUnreachableError):
        put(store, KEY, b"x")


def test_a_part_of_which_the_store_tells_another_checksum_is_not_counted(
    store: S3Store, server: ScriptedServer
) -> None:
    wrong = Answer(headers={"x-amz-checksum-crc64nvme": crc64_to_text(5)})
    server.then(wrong, Answer())
    assert put_part(retrying(store), b"part").crc64 == body_crc64(b"part")
    server.then(wrong, wrong, wrong)
    with pytest.raises(ChecksumRefusedError):
        put_part(retrying(store), b"part")
    assert len(server.asked) == 5


def test_a_part_without_an_etag_is_not_counted(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(no_etag=True))
    with pytest.raises(StoreRefusedError):
        put_part(store, b"part")


def test_an_object_of_which_the_store_tells_another_checksum_is_told_as_it_is(
    store: S3Store, server: ScriptedServer
) -> None:
    # It stands there: whoever asked compares, and records a bad copy.
    server.then(Answer(headers={"x-amz-checksum-crc64nvme": crc64_to_text(5)}))
    assert put(store, KEY, b"x").crc64 == 5


@pytest.mark.parametrize(
    ("answer", "kind", "words"),
    [
        (error("PreconditionFailed", 412), ObjectExistsError, "already there"),
        (error("RequestTimeTooSkewed", 403), StoreRefusedError, "clock"),
        (error("ExpiredToken", 400), StoreCredentialsError, "expired"),
        (error("SignatureDoesNotMatch", 403), StoreCredentialsError, "credentials were refused"),
        (error("SlowDown", 503), StoreBusyError, "busy (SlowDown)"),
        (error("InternalError", 500), StoreUnreachableError, "fault (InternalError)"),
        (
            Answer(status=403, headers={"Date": "?"}, body=b"<html>no</html>"),
            StoreForbiddenError,
            "refuses access (403)",
        ),
        # it is long past there
        (Answer(status=403, body=b"<html>no</html>"), StoreRefusedError, "the clock here"),
        (Answer(status=400, body=b"<Error><Code>" + b"x" * 90_000), StoreRefusedError, "refused (400)"),
        (Answer(status=400, body=b"<!DOCTYPE a [<!ENTITY b 'c'>]><Error><Code>&b;</Code>"), StoreRefusedError, "(400)"),
        (Answer(status=503), StoreBusyError, "(503)"),
    ],
)
def test_error_answers_on_the_wire(
    store: S3Store, server: ScriptedServer, answer: Answer, kind: type[StoreError], words: str
) -> None:
    server.then(answer)
    with pytest.raises(kind) as caught:
        put(store, KEY, b"x")
    assert type(caught.value) is kind and words in caught.value.problem
    assert "hidden" not in str(caught.value) and "127.0.0.1" not in str(caught.value)
    put(store, KEY, b"the store can be used afterwards")


def test_a_bucket_in_another_region_is_followed_once(store: S3Store, server: ScriptedServer) -> None:
    elsewhere = error("PermanentRedirect", 301, **{"x-amz-bucket-region": "eu-west-1"})
    server.then(elsewhere, Answer(), elsewhere)
    with pytest.raises(StoreRefusedError) as caught:
        put(store, KEY, b"x")
    assert "another region" in caught.value.problem and "AWS_DEFAULT_REGION" in caught.value.next
    assert server.methods == ["PUT", "HEAD", "PUT"] and server.asked[1].target == "/lab-video"


def test_a_region_that_the_sdk_learns_of_is_used(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make(server.url)
    regions = iter(["us-west-2", "eu-west-1"])

    def look() -> s3_address.Address:
        found = s3_address.Addresses._look(store._wire._addresses)
        found.signer.region = next(regions)
        return found

    monkeypatch.setattr(store._wire._addresses, "_look", look)
    server.then(error("AuthorizationHeaderMalformed", 400), Answer())
    put(store, KEY, b"x")
    put(store, KEY, b"y")
    scopes = [asked.headers["authorization"].split("/")[2] for asked in server.asked if asked.method == "PUT"]
    assert scopes == ["us-west-2", "eu-west-1", "eu-west-1"]
    store.close()


@dataclass
class Renewing:
    """Credentials that are other ones every time they are asked for, until the last."""

    keys: list[str]

    def get_frozen_credentials(self) -> ReadOnlyCredentials:
        name = self.keys.pop(0) if len(self.keys) > 1 else self.keys[0]
        return ReadOnlyCredentials(name, "hidden", f"token-{name}")


@pytest.mark.parametrize(("keys", "requests"), [(["old", "new"], 2), (["same"], 1)])
def test_expired_credentials_are_renewed_once(
    store: S3Store, server: ScriptedServer, keys: list[str], requests: int
) -> None:
    names = list(keys)
    store._wire._credentials = Renewing(keys)
    server.then(error("ExpiredToken", 400))
    if requests == 2:
        put(store, KEY, b"x")
    else:
        with pytest.raises(StoreRefusedError) as caught:
            put(store, KEY, b"x")
        assert "expired" in caught.value.problem and "same command again" in caught.value.next
    assert len(server.asked) == requests
    tokens = [asked.headers["x-amz-security-token"] for asked in server.asked]
    assert tokens == [f"token-{name}" for name in names]


@pytest.mark.parametrize(
    "read", [Answer(body=b"x"), error("InvalidObjectState", 403), error("InvalidRange", 416)], ids=lambda a: a.status
)
def test_head_that_does_not_say_why_is_asked_by_get(store: S3Store, server: ScriptedServer, read: Answer) -> None:
    """Expired credentials are a bare 400 to HEAD; once renewed, what is cold or empty is no error of HEAD."""
    store._wire._credentials = Renewing(["old", "old", "new"])
    expired = error("ExpiredToken", 400)
    server.then(expired, expired, read, Answer(headers={"Content-Length": "7"}))
    found = store.head(KEY)
    assert found is not None and found.size == 7
    assert server.methods == ["HEAD", "GET", "GET", "HEAD"]
    assert server.asked[-1].headers["x-amz-security-token"] == "token-new"


@pytest.mark.parametrize(
    ("answers", "problem"),
    [
        ([error("ExpiredToken", 400), error("ExpiredToken", 400)], "have expired"),
        ([error("X", 400), error("AuthorizationQueryParametersError", 400)], "AuthorizationQueryParametersError"),
        ([error("X", 400), Answer(body=b"x"), error("X", 400)], "400"),
    ],
)
def test_head_that_stays_refused_is_told_as_get_tells_it(
    store: S3Store, server: ScriptedServer, answers: list[Answer], problem: str
) -> None:
    server.then(*answers)
    with pytest.raises(StoreRefusedError, match=problem):
        store.head(KEY)
    assert len(server.asked) == len(answers)


def test_credentials_that_were_written_anew_meanwhile_are_found(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Another program renews the file, as ``aws sso login`` or a lab's own script does."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    file = tmp_path / "credentials"
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(file))
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")

    def write(word: str) -> None:
        file.write_text(
            f"[default]\naws_access_key_id={word}\naws_secret_access_key=hidden\naws_session_token={word}\n"
        )

    write("old")
    found = connect("lab-video", "eeg", endpoint_url=server.url, region="us-west-2")
    put(found, KEY, b"x")
    write("new")
    server.then(error("ExpiredToken", 400))
    put(found, KEY, b"y")
    put(found, KEY, b"z")
    assert [asked.headers["x-amz-security-token"] for asked in server.asked] == ["old", "old", "new", "new"]
    server.then(error("ExpiredToken", 400))
    with pytest.raises(StoreCredentialsError):
        put(found, KEY, b"x")
    found.close()


def test_without_credentials_nothing_is_sent(store: S3Store, server: ScriptedServer) -> None:
    store._wire._credentials = None
    with pytest.raises(StoreRefusedError) as caught:
        put(store, KEY, b"x")
    assert "no usable credentials" in caught.value.problem and not server.asked
