"""S3 against a real server: what goes wrong on the way, and what a user is told."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from ecogsafe.core.errors import (
    ObjectExistsError,
    StoreError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.core.private import Secret
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.check import got, put, sample
from ecogsafe.stores.open import open_store
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Backoff, Retrying
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_connect import connect
from ecogsafe.stores.store_id import create_store_id, read_store_id
from tests.servers.proxy import Proxy, Trouble
from tests.servers.seaweed import SeaweedServer, free_ports

pytestmark = pytest.mark.server

KEY = "abcd1234/abcd1234_1.edf.age"
MIB = 1 << 20


@pytest.fixture(scope="module")
def bucket(s3_server: SeaweedServer) -> str:
    return s3_server.new_bucket()


def make(server: SeaweedServer, bucket: str, prefix: str, **more: str) -> S3Store:
    asked = {"endpoint_url": server.endpoint_url, "access_key": server.access_key, "secret": server.secret_key} | more
    return connect(
        bucket,
        prefix,
        endpoint_url=asked["endpoint_url"],
        access_key=asked["access_key"],
        secret_key=Secret(asked["secret"].encode()),
        region=server.region,
    )


@pytest.fixture
def proxy(s3_server: SeaweedServer) -> Iterator[Proxy]:
    with Proxy(s3_server.endpoint_url) as running:
        yield running


@pytest.fixture
def troubled(s3_server: SeaweedServer, bucket: str, proxy: Proxy, request: pytest.FixtureRequest) -> Iterator[Retrying]:
    """Give a store behind the proxy, which tries again without pausing."""
    store = make(s3_server, bucket, request.node.name.partition("[")[0], endpoint_url=proxy.url)
    yield Retrying(store, backoff=Backoff(attempts=4), pause=lambda seconds: None)
    store.close()


def every_call(store: Store) -> list[Callable[[], object]]:
    return [
        lambda: store.head(KEY),
        lambda: list(store.list()),
        lambda: got(store, KEY),
        lambda: put(store, KEY, b"x"),
        lambda: store.begin_upload(KEY, token="t", size=10),
        lambda: list(store.list_uploads()),
    ]


def require_refused(store: S3Store, kind: type[StoreError], *, words: str = "") -> None:
    for call in every_call(store):
        with pytest.raises(kind) as caught:
            call()
        error = caught.value
        assert error.item == store.url and error.next and words in error.problem
        for secret in ("testsecret", "wrong-secret", "127.0.0.1"):
            assert secret not in str(error)
    store.close()


def test_a_missing_bucket(s3_server: SeaweedServer) -> None:
    require_refused(make(s3_server, "no-such-bucket", ""), StoreRefusedError, words="there is no such bucket")


@pytest.mark.parametrize("wrong", [{"secret": "wrong-secret"}, {"access_key": "nobody"}])
def test_wrong_credentials(s3_server: SeaweedServer, bucket: str, wrong: dict[str, str]) -> None:
    require_refused(make(s3_server, bucket, "", **wrong), StoreRefusedError, words="credentials")


def test_a_refused_port(s3_server: SeaweedServer, bucket: str) -> None:
    closed = f"http://127.0.0.1:{free_ports(1)[0]}"
    require_refused(make(s3_server, bucket, "", endpoint_url=closed), StoreUnreachableError, words="no answer")


def test_a_host_that_does_not_exist(s3_server: SeaweedServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> object:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    store = make(s3_server, bucket, "", endpoint_url="http://user:testsecret@s3.example.invalid")
    require_refused(store, StoreUnreachableError)


def test_no_credentials(bucket: str, s3_server: SeaweedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    monkeypatch.delenv("AWS_SECRET_ACCESS_KEY")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    require_refused(connect(bucket), StoreRefusedError, words="no usable credentials")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    with pytest.raises(StoreRefusedError):
        connect(bucket)
    monkeypatch.delenv("AWS_PROFILE")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "testsecret@no url")
    with pytest.raises(StoreRefusedError) as caught:
        connect(bucket)
    assert "testsecret" not in str(caught.value)


def test_credentials_that_may_only_read(s3_server: SeaweedServer, bucket: str) -> None:
    writer = make(s3_server, bucket, "reader")
    put(writer, KEY, b"data")
    reader = make(
        s3_server, bucket, "reader", access_key=s3_server.reader_access_key, secret=s3_server.reader_secret_key
    )
    assert got(reader, KEY) == b"data"
    for call in every_call(reader)[3:5]:
        with pytest.raises(StoreRefusedError) as caught:
            call()
        assert "AccessDenied" in caught.value.problem
    for store in (writer, reader):
        store.close()


def test_the_environment_is_enough(s3_server: SeaweedServer, bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in s3_server.env().items():
        monkeypatch.setenv(name, value)
    store = open_store(f"s3://{bucket}/by-environment")
    made = create_store_id(store)
    assert read_store_id(store) == made
    assert [info.key for info in store.list()] == []
    assert [info.key for info in store.list("_ecogsafe/")] == ["_ecogsafe/store.json"]
    names = [found["Key"] for found in s3_server.client().list_objects_v2(Bucket=bucket)["Contents"]]
    assert "by-environment/_ecogsafe/store.json" in names
    store.close()


def test_an_object_carries_the_token_and_nothing_else(s3_server: SeaweedServer, bucket: str) -> None:
    store = make(s3_server, bucket, "metadata")
    put(store, KEY, b"data", token="0123abcd")
    told = s3_server.client().head_object(Bucket=bucket, Key=f"metadata/{KEY}")
    assert told["Metadata"] == {"ecogsafe-upload": "0123abcd"}
    store.close()


def test_reading_goes_on_after_a_broken_connection(troubled: Retrying, proxy: Proxy) -> None:
    data = sample("long", 3 * MIB)
    put(troubled, KEY, data)
    is_get = lambda method, target: method == "GET"  # noqa: E731
    proxy.make(Trouble("cut", is_get, after=MIB + 5), Trouble("reset", is_get), Trouble("cut", is_get, after=7))
    assert got(troubled, KEY) == data
    assert proxy.methods().count("GET") == 4
    proxy.make(Trouble("cut", is_get, after=1000))
    assert got(troubled, KEY, 5000, 2 * MIB) == data[5000 : 2 * MIB]


@pytest.mark.parametrize("kind", ["reset", "lose", "busy"])
def test_a_put_in_trouble_happens_once(troubled: Retrying, proxy: Proxy, kind: str) -> None:
    key = f"{kind}/{KEY}"
    data = sample(kind, 200_000)
    proxy.make(Trouble(kind, lambda method, target: method == "PUT"))  # type: ignore[arg-type]
    info = put(troubled, key, data, token="mine")
    assert info.crc64 == body_crc64(data) and info.token == "mine"
    assert got(troubled, key) == data
    assert proxy.methods().count("PUT") == (1 if kind == "lose" else 2)
    with pytest.raises(ObjectExistsError):
        put(troubled, key, data, token="mine")


def test_a_busy_server_is_given_up_in_the_end(troubled: Retrying, proxy: Proxy) -> None:
    proxy.make(Trouble("busy", times=100))
    with pytest.raises(StoreUnreachableError) as caught:
        troubled.head(KEY)
    assert len(proxy.seen) == 4
    assert "busy" in caught.value.problem and "(503)" in caught.value.problem


def test_parts_in_trouble_are_sent_again_and_finished_once(troubled: Retrying, proxy: Proxy) -> None:
    data = sample("parts", 2 * 5 * MIB + 99)
    bounds = [(0, 5 * MIB), (5 * MIB, 10 * MIB), (10 * MIB, len(data))]
    is_part = lambda method, target: "partNumber=2" in target  # noqa: E731
    is_finish = lambda method, target: method == "POST" and "uploadId=" in target  # noqa: E731
    proxy.make(Trouble("reset", is_part), Trouble("lose", is_part), Trouble("lose", is_finish))
    upload_id = troubled.begin_upload(KEY, token="mine", size=len(data))
    parts = [
        troubled.put_part(
            KEY, upload_id, number, memoryview(data)[start:stop], offset=start, crc64=body_crc64(data[start:stop])
        )
        for number, (start, stop) in enumerate(bounds, 1)
    ]
    info = troubled.finish_upload(KEY, upload_id, parts, crc64=body_crc64(data), size=len(data), token="mine")
    assert info.crc64 == body_crc64(data)
    assert proxy.parts() == [1, 2, 2, 2, 3]
    assert len({seen.sha256 for seen in proxy.seen if seen.part_number == 2}) == 1
    assert sum(is_finish(seen.method, "uploadId=" if "uploadId" in seen.query else "") for seen in proxy.seen) == 1
    assert got(troubled, KEY) == data
    assert list(troubled.list_uploads()) == []
