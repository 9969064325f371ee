"""The Azure store on a real server (Azurite): uploads that die, tiers, evidence, and what others leave there."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobBlock

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    ObjectExistsError,
    StillColdError,
    StoreCredentialsError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadGoneError,
)
from ecogsafe.stores.azure import AzureStore
from ecogsafe.stores.azure_connect import connect
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.check import sample
from ecogsafe.stores.protocol import UploadedPart
from ecogsafe.stores.thawing import Thaw, ThawState, thawing_store
from tests.servers.azurite import ACCOUNT, AzuriteServer
from tests.servers.seaweed import free_ports

pytestmark = pytest.mark.server
TOKEN = "0123456789abcdef" * 2
KEY = "abcd1234/abcd1234_1/abcd1234_1_0000.avi.age"


@pytest.fixture
def store(azurite: AzuriteServer) -> Iterator[AzureStore]:
    made = connect(azurite.new_container(), "lab", environment=azurite.env(), page_size=2)
    yield made
    made.close()


def other_process(azurite: AzuriteServer, store: AzureStore) -> AzureStore:
    """Return the same store as another process has it, which knows only what the server tells."""
    return connect(store.url.split("/")[2], "lab", environment=azurite.env())


def send(store: AzureStore, upload_id: str, number: int, data: bytes, size: int = 70_000) -> UploadedPart:
    start = (number - 1) * size
    body = data[start : start + size]
    return store.put_part(KEY, upload_id, number, body, offset=start, crc64=body_crc64(body))


def finish(store: AzureStore, upload_id: str, parts: list[UploadedPart], data: bytes) -> None:
    store.finish_upload(KEY, upload_id, parts, crc64=body_crc64(data), size=len(data), token=TOKEN)


def test_another_process_goes_on_where_one_died(azurite: AzuriteServer, store: AzureStore) -> None:
    data = sample("resumed", 200_000)
    upload_id = store.begin_upload(KEY, token=TOKEN, size=len(data))
    send(store, upload_id, 1, data)
    send(store, upload_id, 3, data)
    late = other_process(azurite, store)
    (found,) = late.list_uploads("abcd1234/")
    assert (found.key, found.upload_id) == (KEY, upload_id)
    assert found.started is not None
    acked = late.list_parts(KEY, upload_id)
    assert [(part.number, part.size, part.crc64) for part in acked] == [
        (1, 70_000, body_crc64(data[:70_000])),
        (3, 60_000, body_crc64(data[140_000:])),
    ]
    finish(late, upload_id, [*acked, send(late, upload_id, 2, data)], data)
    assert b"".join(store.read(KEY)) == data
    info = store.head(KEY, checksum=True)
    assert info is not None
    assert (info.crc64, info.token) == (body_crc64(data), TOKEN)
    assert list(late.list_uploads()) == []
    late.close()


def test_an_upload_given_up_by_one_process_is_gone_for_the_others(azurite: AzuriteServer, store: AzureStore) -> None:
    data = sample("given up", 140_000)
    upload_id = store.begin_upload(KEY, token=TOKEN, size=len(data))
    parts = [send(store, upload_id, 1, data), send(store, upload_id, 2, data)]
    late = other_process(azurite, store)
    late.abort_upload(KEY, upload_id)
    with pytest.raises(UploadGoneError):
        finish(store, upload_id, parts, data)
    with pytest.raises(UploadGoneError):
        send(late, upload_id, 1, data)
    assert store.head(KEY) is None
    again = store.begin_upload(KEY, token=TOKEN, size=len(data))
    finish(store, again, [send(store, again, 1, data), send(store, again, 2, data)], data)
    assert b"".join(store.read(KEY)) == data
    late.close()


def test_a_part_that_came_with_two_contents_is_sent_again(store: AzureStore) -> None:
    data, other = sample("one", 140_000), sample("other", 140_000)
    upload_id = store.begin_upload(KEY, token=TOKEN, size=len(data))
    send(store, upload_id, 1, data)
    send(store, upload_id, 2, other)
    second = send(store, upload_id, 2, data)
    assert [part.number for part in store.list_parts(KEY, upload_id)] == [1]
    finish(store, upload_id, [send(store, upload_id, 1, data), second], data)
    assert b"".join(store.read(KEY)) == data


def test_parts_that_changed_their_size_or_name_are_refused(store: AzureStore) -> None:
    data = sample("changed", 140_000)
    upload_id = store.begin_upload(KEY, token=TOKEN, size=len(data))
    first, second = send(store, upload_id, 1, data), send(store, upload_id, 2, data)
    for wrong in (replace(second, size=1), replace(second, etag=second.etag[::-1]), replace(second, etag=first.etag)):
        with pytest.raises(StoreRefusedError):
            finish(store, upload_id, [first, wrong], data)
    with pytest.raises(StoreRefusedError):
        store.finish_upload(KEY, upload_id, [first, second], crc64=0, size=1, token=TOKEN)
    assert store.head(KEY) is None


def test_an_object_may_be_put_where_an_unfinished_upload_waits(store: AzureStore) -> None:
    data = sample("small", 900)
    store.begin_upload(KEY, token=TOKEN, size=140_000)
    info = store.put(KEY, data, crc64=body_crc64(data), token=TOKEN)
    assert (info.crc64, info.size) == (body_crc64(data), 900)
    told = store.head(KEY, checksum=True)
    assert told is not None
    assert (told.crc64, told.token) == (body_crc64(data), TOKEN)
    with pytest.raises(ObjectExistsError):
        store.put(KEY, data, crc64=body_crc64(data), token=TOKEN)


# evidence


def test_blocks_of_another_program_prove_nothing(azurite: AzuriteServer, store: AzureStore) -> None:
    data = sample("theirs", 5000)
    with azurite.service() as service:
        blob = service.get_blob_client(store.url.split("/")[2], f"lab/{KEY}")
        blob.stage_block("one", data[:3000])
        blob.stage_block("two", data[3000:])
        blob.commit_block_list([BlobBlock("one"), BlobBlock("two")], metadata={"ecogsafe_upload": TOKEN})
    info = store.head(KEY, checksum=True)
    assert info is not None
    assert (info.size, info.crc64) == (5000, None)


def test_a_committed_list_that_is_not_ours_proves_nothing(azurite: AzuriteServer, store: AzureStore) -> None:
    data = sample("cut", 140_000)
    upload_id = store.begin_upload(KEY, token=TOKEN, size=len(data))
    finish(store, upload_id, [send(store, upload_id, 1, data), send(store, upload_id, 2, data)], data)
    with azurite.service() as service:
        blob = service.get_blob_client(store.url.split("/")[2], f"lab/{KEY}")
        committed, _ = blob.get_block_list("committed")
        blob.commit_block_list(committed[1:], metadata={"ecogsafe_upload": TOKEN})
    info = store.head(KEY, checksum=True)
    assert info is not None
    assert (info.size, info.crc64) == (70_000, None)


def test_an_md5_that_was_changed_later_proves_nothing(azurite: AzuriteServer, store: AzureStore) -> None:
    from azure.storage.blob import ContentSettings

    data = sample("small", 900)
    store.put(KEY, data, crc64=body_crc64(data), token=TOKEN)
    with azurite.service() as service:
        blob = service.get_blob_client(store.url.split("/")[2], f"lab/{KEY}")
        kept = blob.get_blob_properties().content_settings.content_md5
        assert bytes(kept or b"") == hashlib.md5(data).digest()
        blob.set_http_headers(ContentSettings(content_md5=bytearray(hashlib.md5(b"other").digest())))
    info = store.head(KEY, checksum=True)
    assert info is not None
    assert info.crc64 is None


def test_the_server_refuses_a_block_that_changed_on_its_way(azurite: AzuriteServer, store: AzureStore) -> None:
    with azurite.service() as service:
        blob = service.get_blob_client(store.url.split("/")[2], f"lab/{KEY}")
        md5 = base64.b64encode(hashlib.md5(b"as sent").digest()).decode()
        with pytest.raises(HttpResponseError, match=r"(?i)md5"):
            blob.stage_block("one", b"as came", headers={"Content-MD5": md5})


def test_a_buffer_that_changed_in_memory_is_not_sent(store: AzureStore) -> None:
    with pytest.raises(ChecksumRefusedError):
        store.put(KEY, b"changed", crc64=body_crc64(b"as it was"), token=TOKEN)
    assert store.head(KEY) is None


# tiers


@pytest.mark.parametrize("tier", ["Hot", "Cool", "Cold", "Archive"])
def test_tiers_are_kept_for_small_and_large(store: AzureStore, tier: str) -> None:
    data = sample(tier, 140_000)
    upload_id = store.begin_upload(KEY, token=TOKEN, size=len(data), storage_class=tier)
    info = store.finish_upload(
        KEY,
        upload_id,
        [send(store, upload_id, 1, data), send(store, upload_id, 2, data)],
        crc64=body_crc64(data),
        size=len(data),
        token=TOKEN,
    )
    assert (info.storage_class, info.crc64) == (tier, body_crc64(data))
    store.put("abcd1234/small", data, crc64=body_crc64(data), token=TOKEN, storage_class=tier)
    assert {found.storage_class for found in store.list("abcd1234/")} == {tier}
    frozen = Thaw(ThawState.FROZEN) if tier == "Archive" else None
    for key in (KEY, "abcd1234/small"):
        told = store.head(key)
        assert told is not None
        assert (told.storage_class, told.thaw) == (tier, frozen)


def test_a_tier_of_another_service_is_refused(store: AzureStore) -> None:
    for write in (
        lambda: store.put(KEY, b"x", crc64=body_crc64(b"x"), token=TOKEN, storage_class="DEEP_ARCHIVE"),
        lambda: store.begin_upload(KEY, token=TOKEN, size=5, storage_class="DEEP_ARCHIVE"),
    ):
        with pytest.raises(StoreRefusedError) as caught:
            write()
        assert "Archive" in caught.value.next


def test_a_frozen_object_says_so_and_is_thawed(store: AzureStore) -> None:
    data = sample("frozen", 3000)
    store.put(KEY, data, crc64=body_crc64(data), token=TOKEN, storage_class="Archive")
    with pytest.raises(StillColdError):
        list(store.read(KEY))
    for again in (False, True):
        with pytest.raises(ObjectExistsError):
            store.put(KEY, data, crc64=body_crc64(data), token=TOKEN)
        assert again or thawing_store(store) is store
    store.request_thaw(KEY, tier="Bulk", days=3)
    store.request_thaw(KEY, tier="Expedited", days=3)
    assert b"".join(store.read(KEY)) == data


# names, credentials, servers


@pytest.mark.parametrize("key", ["abcd1234/name.", "abcd1234./x", "..."])
def test_names_that_azure_would_change_are_refused(store: AzureStore, key: str) -> None:
    with pytest.raises(StoreRefusedError, match="dot"):
        store.put(key, b"x", crc64=body_crc64(b"x"), token=TOKEN)


def test_a_large_object_is_read_by_several_requests(store: AzureStore) -> None:
    data = sample("large", 9 << 20)
    store.put(KEY, data, crc64=body_crc64(data), token=TOKEN)
    assert b"".join(store.read(KEY)) == data
    assert b"".join(store.read(KEY, 5, (8 << 20) + 70_001)) == data[5 : (8 << 20) + 70_001]


def test_a_container_that_is_not_there(azurite: AzuriteServer) -> None:
    store = connect("no-such-container", environment=azurite.env())
    for ask in (lambda: store.head(KEY), lambda: list(store.list()), lambda: list(store.list_uploads())):
        with pytest.raises(StoreRefusedError, match="no such container"):
            ask()
    store.close()


def test_wrong_credentials_are_told_without_repeating_them(azurite: AzuriteServer) -> None:
    wrong = base64.b64encode(b"wrong").decode()
    environment = {"AZURE_STORAGE_ACCOUNT": ACCOUNT, "AZURE_STORAGE_SERVICE_ENDPOINT": azurite.endpoint_url}
    for more in ({"AZURE_STORAGE_KEY": wrong}, {"AZURE_STORAGE_SAS_TOKEN": "?sv=2024-11-04&sig=sEcrEt"}):
        store = connect("container", environment=environment | more)
        with pytest.raises((StoreCredentialsError, StoreRefusedError)) as caught:
            list(store.list())
        assert not {wrong, "sEcrEt"} & set(str(caught.value).replace("=", " ").split())
        store.close()


def test_a_signature_for_the_container_is_enough(azurite: AzuriteServer, store: AzureStore) -> None:
    from datetime import UTC, datetime, timedelta

    from azure.storage.blob import ContainerSasPermissions, generate_container_sas

    from tests.servers.azurite import KEY as ACCOUNT_KEY

    container = store.url.split("/")[2]
    signature = generate_container_sas(
        ACCOUNT,
        container,
        ACCOUNT_KEY,
        permission=ContainerSasPermissions(read=True, write=True, list=True, create=True),
        expiry=datetime.now(UTC) + timedelta(hours=1),
    )
    signed = connect(
        container,
        "lab",
        environment={"AZURE_STORAGE_SERVICE_ENDPOINT": azurite.endpoint_url, "AZURE_STORAGE_SAS_TOKEN": signature},
    )
    data = sample("signed", 140_000)
    upload_id = signed.begin_upload(KEY, token=TOKEN, size=len(data))
    finish(signed, upload_id, [send(signed, upload_id, 1, data), send(signed, upload_id, 2, data)], data)
    assert b"".join(signed.read(KEY)) == data
    assert [found.size for found in signed.list()] == [len(data)]
    signed.close()


def test_a_server_that_is_down_can_be_asked_again() -> None:
    (port,) = free_ports(1)
    store = connect(
        "container",
        environment={
            "AZURE_STORAGE_ACCOUNT": ACCOUNT,
            "AZURE_STORAGE_KEY": base64.b64encode(b"key").decode(),
            "AZURE_STORAGE_SERVICE_ENDPOINT": f"http://127.0.0.1:{port}/{ACCOUNT}",
        },
    )
    with pytest.raises(StoreUnreachableError):
        store.head(KEY)
    store.close()


def test_two_accounts_are_two_places(azurite: AzuriteServer) -> None:
    here = connect("container", environment=azurite.env())
    there = connect("container", environment={"AZURE_STORAGE_ACCOUNT": "other", "AZURE_STORAGE_SAS_TOKEN": "sig=x"})
    assert here.url == there.url == "azure://container"
    assert here.place != there.place
    here.close()
    there.close()
