"""Store URLs, and the id that tells one store from another."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ecogsafe.core.errors import StoreUnreachableError, UsageError, WrongStoreError
from ecogsafe.stores.check import got, put
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.open import bucket_url, open_store, parse_store_url
from ecogsafe.stores.retrying import Retrying
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.store_id import STORE_ID_KEY, create_store_id, read_store_id, require_store_id


@pytest.mark.parametrize(
    ("url", "bucket", "prefix", "canonical"),
    [
        ("s3://lab-video", "lab-video", "", "s3://lab-video"),
        ("s3://lab-video/", "lab-video", "", "s3://lab-video"),
        ("s3://lab.video/a/b c/", "lab.video", "a/b c", "s3://lab.video/a/b c"),
        ("s3://Old_Bucket/x", "Old_Bucket", "x", "s3://Old_Bucket/x"),
    ],
)
def test_bucket_urls(url: str, bucket: str, prefix: str, canonical: str) -> None:
    address = parse_store_url(url)
    assert (address.scheme, address.bucket, address.prefix, address.url) == ("s3", bucket, prefix, canonical)


@pytest.mark.parametrize(
    ("url", "folder", "canonical"),
    [
        ("file:///nas/eeg", "/nas/eeg", "file:///nas/eeg"),
        ("file://localhost/nas/eeg/", "/nas/eeg", "file:///nas/eeg"),
        ("file:///nas/my%20eeg%23", "/nas/my eeg#", "file:///nas/my%20eeg%23"),
        ("file:///nas/my eeg", "/nas/my eeg", "file:///nas/my%20eeg"),
    ],
)
def test_folder_urls(url: str, folder: str, canonical: str) -> None:
    address = parse_store_url(url)
    assert (address.scheme, address.folder, address.url) == ("file", Path(folder), canonical)


NO_URLS = [
    "",
    "/nas/eeg",
    "s3://",
    "s3:///x",
    "s3://key:hidden@bucket/x",
    "s3://bucket/../x",
    "s3://bucket//x",
    "s3://b\n/x",
    "file://nas/eeg",
    "file://",
    "file:///nas/../etc",
    "file:///nas?hidden",
    "file:///a#hidden",
    "file:///a%00b",
    "file:nas",
    "azure://Hidden",
    "azure://hi",
    "azure://hid--den/x",
    "azure://hidden_x",
    "azure://hidden/../x",
    "https://hidden@host/bucket",
]


@pytest.mark.parametrize("url", NO_URLS)
def test_what_is_no_store_url(url: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_store_url(url)
    assert "hidden" not in str(caught.value)
    assert "s3://bucket" in caught.value.next


def test_b_means_a_bucket() -> None:
    assert bucket_url("lab-video") == "s3://lab-video"
    assert bucket_url("file:///nas") == "file:///nas"


def test_a_folder_opens_and_keeps_its_name(tmp_path: Path) -> None:
    (tmp_path / "my nas").mkdir()
    store = open_store(f"file://{tmp_path}/my%20nas", name="nas")
    assert isinstance(store, Retrying)
    assert store.name == "nas" and store.url.endswith("/my%20nas") and store.place.startswith("device:")
    put(store, "a/b.edf", b"x")
    assert (tmp_path / "my nas/a/b.edf").read_bytes() == b"x"
    with pytest.raises(StoreUnreachableError):
        open_store(f"file://{tmp_path}/nothing")


def test_a_bucket_opens_without_being_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://user:hidden@minio.example.org:9000")
    monkeypatch.delenv("AWS_PROFILE", raising=False)
    store = open_store("s3://lab-video/eeg", name="video", sse="aws:kms:key-1", connections=3)
    assert isinstance(store, Retrying) and isinstance(store.inner, S3Store)
    assert (store.name, store.url) == ("video", "s3://lab-video/eeg")
    assert store.place == "s3://lab-video@minio.example.org:9000"
    store.close()


def test_the_sdk_is_loaded_only_for_buckets() -> None:
    code = (
        "import sys, ecogsafe.stores.open, ecogsafe.stores.check_uploads, ecogsafe.stores.store_id\n"
        "print([m for m in ('boto3', 'botocore', 'awscrt') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_store_gets_one_id_for_good() -> None:
    store, other = MemoryStore(), MemoryStore()
    assert read_store_id(store) is None
    made = create_store_id(store)
    assert create_store_id(store) == made == read_store_id(store)
    assert create_store_id(other).store_id != made.store_id
    assert json.loads(got(store, STORE_ID_KEY))["format"] == 1
    require_store_id(store, made.store_id)


def test_of_two_who_try_at_once_one_wins_for_both(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStore()
    honest = store.head
    blind = iter([None])
    monkeypatch.setattr(store, "head", lambda key, *, checksum=False: next(blind, honest(key)))
    other = create_store_id(MemoryStore())
    put(store, STORE_ID_KEY, json.dumps({"format": 1, "store_id": other.store_id, "created": other.created}).encode())
    assert create_store_id(store) == other


def test_another_store_or_none_is_refused() -> None:
    store = MemoryStore()
    with pytest.raises(WrongStoreError) as caught:
        require_store_id(store, "0" * 32)
    assert "mounted" in caught.value.next
    create_store_id(store)
    with pytest.raises(WrongStoreError):
        require_store_id(store, "0" * 32)


DAMAGED = [
    "",
    "[]",
    "{",
    '{"format": 1}',
    '{"format": 1, "store_id": "short", "created": "x"}',
    json.dumps({"format": 2, "store_id": "0" * 32, "created": "x"}),
    json.dumps({"format": 1, "store_id": 7, "created": "x"}),
    "\udcff",
]


@pytest.mark.parametrize("text", DAMAGED)
def test_a_damaged_or_newer_id_is_refused(text: str) -> None:
    store = MemoryStore()
    put(store, STORE_ID_KEY, text.encode("utf-8", "surrogateescape"))
    with pytest.raises(WrongStoreError):
        create_store_id(store)
