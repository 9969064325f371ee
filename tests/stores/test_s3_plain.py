"""Settings read without the SDK mean what they mean to the SDK; what it might know better is left to it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ecogsafe.stores import s3_connect
from ecogsafe.stores.check import got, put
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_connect import connect
from ecogsafe.stores.s3_connections import SecurePool
from ecogsafe.stores.s3_plain import plain_settings
from tests.servers.scripted import Answer, ScriptedServer, error

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="elsewhere the SDK is always asked")

KEY = "abcd1234/abcd1234 1.edf.age"
PLAIN = {
    "AWS_ACCESS_KEY_ID": "access",
    "AWS_SECRET_ACCESS_KEY": "hidden",
    "AWS_DEFAULT_REGION": "us-west-2",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:9",
}


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> dict[str, str]:
    """Let nothing of the machine's own settings take part."""
    import os

    for name in os.environ:
        if name.startswith(("AWS_", "BOTO_")) or name.lower().endswith("_proxy") or "CA_BUNDLE" in name:
            monkeypatch.delenv(name)
    there = PLAIN | {"AWS_CONFIG_FILE": str(tmp_path / "config"), "AWS_SHARED_CREDENTIALS_FILE": "/dev/null"}
    for name, value in there.items():
        monkeypatch.setenv(name, value)
    return there


def _by_the_sdk(monkeypatch: pytest.MonkeyPatch) -> S3Store:
    with monkeypatch.context() as patch:
        patch.setattr(s3_connect, "plain_settings", lambda _: None)
        return connect("lab-video", "eeg")


@pytest.mark.parametrize(
    "endpoint",
    [
        "http://127.0.0.1:9",
        "http://minio.example.org:80/",
        "https://minio.example.org",
        "https://minio.example.org:443",
        "https://s3.minio.example.org:9000",
        "https://0123456789abcdef.r2.cloudflarestorage.com",
    ],
)
@pytest.mark.parametrize("token", [None, "session"])
def test_it_means_what_it_means_to_the_sdk(monkeypatch: pytest.MonkeyPatch, endpoint: str, token: str | None) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", endpoint)
    if token:
        monkeypatch.setenv("AWS_SESSION_TOKEN", token)
    stores = [connect("lab-video", "eeg"), _by_the_sdk(monkeypatch)]
    assert stores[0]._sdk._made is None and stores[1]._sdk._made is not None
    told = []
    for store in stores:
        address = store._wire._addresses.present()
        keys = store._wire._keys()
        trusted = address.pool.ca_certs if isinstance(address.pool, SecurePool) else None
        told.append(
            [
                *(address.pool.scheme, address.pool.host, address.pool.port, address.target, address.path, trusted),
                *(address.signer.host, address.signer.region, address.signer.service, store.place),
                *(store.capabilities, keys.access_key, keys.secret_key, keys.token),
            ]
        )
        store.close()
    assert told[0] == told[1]


@pytest.mark.parametrize(
    "change",
    [
        {"AWS_PROFILE": "lab"},
        {"AWS_ENDPOINT_URL": "http://other.example.org"},
        {"AWS_CA_BUNDLE": "/there"},
        {"REQUESTS_CA_BUNDLE": "/there"},
        {"https_proxy": "http://proxy.example.org"},
        {"NO_PROXY": "*"},
        {"AWS_S3_SOMETHING_NEW": "1"},
        {"AWS_SECRET_ACCESS_KEY": ""},
        {"AWS_ACCESS_KEY_ID": ""},
        {"AWS_DEFAULT_REGION": ""},
        {"AWS_ENDPOINT_URL_S3": ""},
        {"AWS_ENDPOINT_URL_S3": "http://user:hidden@minio.example.org"},
        {"AWS_ENDPOINT_URL_S3": "http://minio.example.org/s3"},
        {"AWS_ENDPOINT_URL_S3": "https://s3.us-west-2.amazonaws.com"},
        {"AWS_ENDPOINT_URL_S3": "minio.example.org"},
    ],
)
def test_what_is_not_plain_is_left_to_the_sdk(environment: dict[str, str], change: dict[str, str]) -> None:
    assert plain_settings(environment) is not None
    assert plain_settings(environment | change) is None


@pytest.mark.parametrize("variable", ["AWS_CONFIG_FILE", "AWS_SHARED_CREDENTIALS_FILE"])
def test_a_file_of_the_sdk_that_says_something_is_left_to_it(
    environment: dict[str, str], variable: str, tmp_path: Path
) -> None:
    file = tmp_path / "said"
    file.write_text("")
    assert plain_settings(environment | {variable: str(file)}) is not None
    file.write_text("[default]\ns3 =\n  addressing_style = virtual\n")
    assert plain_settings(environment | {variable: str(file)}) is None
    # a folder there cannot be read; what the SDK says of that is its own business
    assert plain_settings(environment | {variable: str(tmp_path)}) is None


def test_keys_do_not_show_themselves(environment: dict[str, str]) -> None:
    assert "hidden" not in repr(plain_settings(environment)).replace("Keys(hidden)", "")


def test_a_run_goes_without_the_sdk_until_something_is_out_of_the_ordinary(monkeypatch: pytest.MonkeyPatch) -> None:
    listing = b"<ListBucketResult><Contents><Key>eeg/a</Key><Size>1</Size></Contents></ListBucketResult>"
    with ScriptedServer(Answer(), Answer(status=404), Answer(), Answer(body=listing)) as server:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", server.url)
        store = connect("lab-video", "eeg")
        put(store, KEY, b"x")
        assert store.head(KEY) is None
        assert [found.key for found in store.list()] == ["a"]
        assert store._sdk._made is None
        assert [(asked.method, asked.target.partition("?")[0]) for asked in server.asked[1:]] == [
            ("HEAD", "/lab-video/eeg/abcd1234/abcd1234%201.edf.age"),
            ("HEAD", "/lab-video"),
            ("GET", "/lab-video"),
        ]
        # another place, says the server: the SDK is asked where that is
        server.then(error("PermanentRedirect", 301), Answer(), Answer(body=b"there", headers={"ETag": '"e"'}))
        assert got(store, KEY) == b"there"
        assert store._sdk._made is not None
        store.close()


def test_nothing_of_the_sdk_is_loaded_for_it(environment: dict[str, str]) -> None:
    code = (
        "import sys; from ecogsafe.stores.open import open_store; open_store('s3://lab-video').close();"
        "print(*sorted(m for m in sys.modules if m.split('.')[0] in ('boto3', 'botocore', 's3transfer')))"
    )
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    loaded = done.stdout.split()
    assert "botocore.exceptions" in loaded
    assert not {"boto3", "botocore.session", "botocore.client", "botocore.loaders", "s3transfer"} & set(loaded)
