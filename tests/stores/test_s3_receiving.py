"""Objects on a connection that is open already: whole, cut, of other forms, and no longer the one that was meant."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from ecogsafe.core.errors import ObjectReplacedError, StoreBusyError, StoreUnreachableError
from ecogsafe.core.private import Secret
from ecogsafe.stores.check import sample
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_connect import connect
from tests.servers.scripted import Answer, ScriptedServer, error

KEY = "abcd1234/abcd1234_1.edf.age"
DATA = sample("receiving", 300_000)


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
    made = connect("bucket", endpoint_url=server.url, access_key="a", secret_key=Secret(b"s"), region="us-west-2")
    assert made.head(KEY) is not None
    yield made
    made.close()


def got(store: S3Store, **more: Any) -> bytes:
    return b"".join(bytes(piece) for piece in store.read(KEY, **more))


@pytest.mark.parametrize("into", [None, 100_000, 1_000_000])
def test_bytes_come_whole_on_the_connection_that_is_open(
    store: S3Store, server: ScriptedServer, into: int | None
) -> None:
    server.then(Answer(body=DATA), Answer(body=b""), Answer(body=DATA))
    memory = None if into is None else memoryview(bytearray(into))
    assert got(store, into=memory) == DATA
    assert got(store, into=memory) == b""
    assert got(store, into=memory) == DATA
    assert server.connections == 1


def test_the_memory_that_is_given_is_used(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(body=DATA))
    memory = memoryview(bytearray(100_000))
    sizes = []
    for piece in store.read(KEY, into=memory):
        sizes.append(len(piece))
        assert memory[: len(piece)] == piece
    assert sizes == [100_000] * 3


@pytest.mark.parametrize("size", [0, 1, 150_000])
def test_a_cut_answer_gives_what_came_and_then_an_error(store: S3Store, server: ScriptedServer, size: int) -> None:
    server.then(Answer(body=DATA[:size], announced=len(DATA), close=True), Answer(body=DATA))
    came = bytearray()
    with pytest.raises(StoreUnreachableError):
        for piece in store.read(KEY):
            came += piece
    assert came == DATA[:size]
    assert got(store) == DATA
    assert server.connections == 2, "a connection that broke is not used again"


def test_who_does_not_take_all_leaves_no_rest_for_the_next(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(body=DATA), Answer(body=DATA[::-1]))
    pieces = store.read(KEY, into=memoryview(bytearray(1000)))
    next(pieces)
    pieces.close()  # type: ignore[attr-defined]
    assert got(store) == DATA[::-1]
    assert server.connections == 2


def test_answers_of_other_forms_are_understood(store: S3Store, server: ScriptedServer) -> None:
    said = {"Connection": "close", "X-Long": "a" * 1000}
    server.then(Answer(body=DATA, headers=said, close=True), Answer(body=DATA))
    assert got(store) == DATA
    assert got(store) == DATA
    assert server.connections == 2


def test_what_comes_unasked_is_not_taken_for_the_next_object(store: S3Store, server: ScriptedServer) -> None:
    server.then(Answer(body=b"one", twice=True), Answer(body=b"two"))
    assert got(store) == b"one"
    assert got(store) == b"two"


def test_an_error_instead_of_an_object(store: S3Store, server: ScriptedServer) -> None:
    server.then(error("SlowDown", 503), Answer(body=DATA))
    with pytest.raises(StoreBusyError):
        got(store)
    assert got(store) == DATA
    assert server.connections == 1


def test_only_the_object_that_was_looked_at_is_read(store: S3Store, server: ScriptedServer) -> None:
    """Also from a server that knows nothing of such a condition."""
    server.then(
        Answer(body=DATA, headers={"ETag": '"one"'}),
        error("PreconditionFailed", 412),
        Answer(body=DATA, headers={"ETag": '"two"'}),
        Answer(body=DATA, no_etag=True),
    )
    assert got(store, etag='"one"') == DATA
    assert server.asked[-1].headers["if-match"] == '"one"'
    for _ in range(2):
        with pytest.raises(ObjectReplacedError, match="another object"):
            got(store, etag='"one"')
    assert got(store, etag='"one"') == DATA, "who tells no ETag is believed"


@pytest.mark.parametrize("status", [404, 503])
def test_an_error_answer_that_is_cut_is_a_broken_connection(
    store: S3Store, server: ScriptedServer, status: int
) -> None:
    """AWS gives its errors in chunks; that one never comes whole is no bug of ours."""
    chunked = {"Transfer-Encoding": "chunked", "Connection": "keep-alive"}
    server.then(
        Answer(status=status, headers=chunked, body=b"40\r\n<Error><Code>Slow", announced=-1, close=True),
        Answer(body=DATA),
    )
    with pytest.raises(StoreUnreachableError):
        got(store)
    assert got(store) == DATA
