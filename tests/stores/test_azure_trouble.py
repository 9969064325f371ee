"""Azure over a line that breaks: what was lost is asked for, nothing is made twice, nothing damaged is believed."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.stores.azure_connect import connect
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.check import sample
from ecogsafe.stores.retrying import Retrying
from tests.servers.azurite import AzuriteServer
from tests.servers.proxy import Proxy, Trouble

pytestmark = pytest.mark.server
TOKEN = "0123456789abcdef" * 2
KEY = "abcd1234/abcd1234_1/abcd1234_1_0000.avi.age"
DATA = sample("trouble", 600_000)
HALF = 300_000


@pytest.fixture
def proxy(azurite: AzuriteServer) -> Iterator[Proxy]:
    with Proxy(azurite.endpoint_url) as made:
        yield made


@pytest.fixture
def store(azurite: AzuriteServer, proxy: Proxy) -> Iterator[Retrying]:
    through = azurite.connection_string.replace(f"http://127.0.0.1:{azurite.port}", proxy.url)
    inner = connect(azurite.new_container(), environment={"AZURE_STORAGE_CONNECTION_STRING": through})
    made = Retrying(inner, pause=lambda seconds: None)
    yield made
    made.close()


def is_put(method: str, target: str) -> bool:
    return method == "PUT" and "comp=" not in target


def is_block(method: str, target: str) -> bool:
    return method == "PUT" and "comp=block&" in f"{target}&"


def is_commit(method: str, target: str) -> bool:
    return method == "PUT" and "comp=blocklist" in target


def send_in_parts(store: Retrying) -> None:
    upload_id = store.begin_upload(KEY, token=TOKEN, size=len(DATA))
    parts = []
    for number in (1, 2):
        body = DATA[(number - 1) * HALF : number * HALF]
        crc64 = body_crc64(body)
        parts.append(store.put_part(KEY, upload_id, number, body, offset=(number - 1) * HALF, crc64=crc64))
    info = store.finish_upload(KEY, upload_id, parts, crc64=body_crc64(DATA), size=len(DATA), token=TOKEN)
    assert info.crc64 == body_crc64(DATA)


@pytest.mark.parametrize("kind", ["lose", "reset", "break", "twice", "busy"])
def test_a_small_object_is_stored_once(store: Retrying, proxy: Proxy, kind: str) -> None:
    trouble = Trouble(kind, is_put, after=1000)  # type: ignore[arg-type]
    proxy.make(trouble)
    if kind == "twice":
        # the answer that came was to the repeated request: what stands there is found by its token, by who asked
        with pytest.raises(EcogsafeError, match="already there"):
            store.put(KEY, DATA, crc64=body_crc64(DATA), token=TOKEN)
    else:
        assert store.put(KEY, DATA, crc64=body_crc64(DATA), token=TOKEN).crc64 == body_crc64(DATA)
    assert trouble.happened == 1
    info = store.head(KEY, checksum=True)
    assert info is not None
    assert (info.crc64, info.token) == (body_crc64(DATA), TOKEN)


@pytest.mark.parametrize("match", [is_block, is_commit])
@pytest.mark.parametrize("kind", ["lose", "reset", "break", "busy"])
def test_an_object_in_parts_becomes_whole(store: Retrying, proxy: Proxy, match: object, kind: str) -> None:
    trouble = Trouble(kind, match, after=100)  # type: ignore[arg-type]
    trouble.skip = 1 if match is is_block else 0
    proxy.make(trouble)
    send_in_parts(store)
    assert trouble.happened == 1
    assert b"".join(store.read(KEY)) == DATA
    assert list(store.list_uploads()) == []


@pytest.mark.parametrize("match", [is_block, is_put])
def test_what_arrives_damaged_is_not_taken(store: Retrying, proxy: Proxy, match: object) -> None:
    proxy.make(Trouble("spoil", match, skip=1 if match is is_block else 0, times=99))  # type: ignore[arg-type]
    with pytest.raises(EcogsafeError):
        if match is is_block:
            send_in_parts(store)
        else:
            store.put(KEY, DATA, crc64=body_crc64(DATA), token=TOKEN)
    assert store.head(KEY) is None


@pytest.mark.parametrize("kind", ["cut", "reset", "stall"])
def test_a_broken_answer_goes_on_where_it_stopped(store: Retrying, proxy: Proxy, kind: str) -> None:
    store.put(KEY, DATA, crc64=body_crc64(DATA), token=TOKEN)
    trouble = Trouble(kind, lambda method, target: method == "GET", after=70_000, seconds=0.1)  # type: ignore[arg-type]
    proxy.make(trouble)
    assert b"".join(store.read(KEY)) == DATA
    assert trouble.happened == 1
