"""Where a bucket is, and the way there: endpoint, region, style, proxy, certificates, as the SDK has them."""

from __future__ import annotations

import base64
import datetime
import ipaddress
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import UnsupportedSignatureVersionError
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from ecogsafe.core.errors import StoreRefusedError, StoreUnreachableError
from ecogsafe.core.private import Secret
from ecogsafe.stores.check import put
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_address import Addresses
from ecogsafe.stores.s3_connect import connect
from tests.servers.scripted import Answer, ScriptedServer
from tests.servers.seaweed import free_ports

KEY = "abcd1234/abcd1234 1+é~.edf"
PATH = "abcd1234/abcd1234%201%2B%C3%A9~.edf"


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Let nothing of the machine's own settings take part."""
    for name in ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))


def make(endpoint_url: str | None = None, bucket: str = "lab-video", region: str | None = "us-west-2") -> S3Store:
    return connect(bucket, endpoint_url=endpoint_url, access_key="access", secret_key=Secret(b"hidden"), region=region)


@pytest.mark.parametrize(
    ("bucket", "endpoint_url", "where"),
    [
        ("lab-video", None, ("https", "lab-video.s3.us-west-2.amazonaws.com", "/")),
        ("lab.video", None, ("https", "s3.us-west-2.amazonaws.com", "/lab.video/")),
        ("lab-video", "https://s3.dualstack.eu-west-1.amazonaws.com", ("https", "", "")),
        ("lab-video", "https://minio.example.org", ("https", "minio.example.org", "/lab-video/")),
        ("lab-video", "https://minio.example.org:443", ("https", "minio.example.org", "/lab-video/")),
        ("lab-video", "http://minio.example.org:9000", ("http", "minio.example.org:9000", "/lab-video/")),
        ("lab-video", "http://minio.example.org/s3/", ("http", "minio.example.org", "/s3/lab-video/")),
    ],
)
def test_the_place_is_that_of_the_sdk(bucket: str, endpoint_url: str | None, where: tuple[str, str, str]) -> None:
    store = make(endpoint_url, bucket)
    address = store._wire._addresses.present()
    found = (address.pool.scheme, address.signer.host, address.path)
    if endpoint_url is not None and "dualstack" in endpoint_url:
        # the style is the SDK's choice here; the bucket is named either way
        assert bucket in found[1] + found[2] and "dualstack.eu-west-1" in found[1]
    else:
        assert found == where and address.target == address.path
    assert (address.signer.region, address.signer.service) == ("us-west-2", "s3")
    store.close()


@pytest.mark.parametrize(
    ("endpoint_url", "equal"),
    [("https://0123456789abcdef.r2.cloudflarestorage.com", True), ("http://127.0.0.1:9", False), (None, False)],
)
def test_who_wants_parts_of_one_size(endpoint_url: str | None, equal: bool) -> None:
    store = connect(
        "lab-video", endpoint_url=endpoint_url, access_key="k", secret_key=Secret(b"hidden"), region="us-west-2"
    )
    assert store.capabilities.equal_parts is equal
    store.close()


def test_profiles_and_the_environment_are_heard(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with ScriptedServer() as one, ScriptedServer() as two:
        (tmp_path / "config").write_text(
            f"[profile lab]\nregion = eu-central-1\nservices = lab\n[services lab]\ns3 =\n  endpoint_url = {one.url}\n"
        )
        monkeypatch.setenv("AWS_PROFILE", "lab")
        stores = [make(region=None)]
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", two.url)
        stores.append(make(region=None))
        for store in stores:
            put(store, KEY, b"x")
            store.close()
        for server in (one, two):
            (asked,) = server.asked
            assert asked.target == f"/lab-video/{PATH}"
            assert "/eu-central-1/s3/aws4_request" in asked.headers["authorization"]


def test_a_proxy_is_asked_for_the_whole_url(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as proxy:
        monkeypatch.setenv("http_proxy", f"http://lab:pass@127.0.0.1:{proxy.port}")
        store = make("http://minio.example.org:9000")
        put(store, KEY, b"body")
        put(store, f"2/{KEY}", b"body")
        store.close()
        first, second = proxy.asked
        assert first.target == f"http://minio.example.org:9000/lab-video/{PATH}"
        assert second.target == f"http://minio.example.org:9000/lab-video/2/{PATH}"
        assert first.headers["host"] == "minio.example.org:9000" and first.body == b"body"
        assert first.headers["proxy-authorization"] == f"Basic {base64.b64encode(b'lab:pass').decode()}"
        assert proxy.connections == 1


def test_a_place_without_proxy_is_asked_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as proxy, ScriptedServer() as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        store = make(server.url)
        put(store, KEY, b"body")
        store.close()
        assert not proxy.asked and server.asked[0].target == f"/lab-video/{PATH}"


def test_a_proxy_that_is_not_there_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", f"http://lab:hidden@127.0.0.1:{free_ports(1)[0]}")
    store = make("http://minio.example.org:9000")
    with pytest.raises(StoreUnreachableError) as caught:
        put(store, KEY, b"body")
    assert "no answer" in caught.value.problem and "hidden" not in str(caught.value)
    store.close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, str]:
    """Give a server's certificate that nobody has signed, and its key, as files."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "lab store")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(
            x509.SubjectAlternativeName(
                [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("minio.example.org")]
            ),
            critical=False,
        )
        .sign(key, hashes.SHA256())
    )
    files = folder / "certificate.pem", folder / "key.pem"
    files[0].write_bytes(made.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return str(files[0]), str(files[1])


@pytest.fixture
def secure(certificate: tuple[str, str]) -> Iterator[ScriptedServer]:
    with ScriptedServer(tls=certificate) as running:
        yield running


@pytest.mark.parametrize("setting", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE", "ca_bundle"])
def test_a_bundle_of_the_labs_own_certificates_is_trusted(
    secure: ScriptedServer,
    certificate: tuple[str, str],
    setting: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    if setting == "ca_bundle":
        (tmp_path / "config").write_text(f"[default]\nca_bundle = {certificate[0]}\n")
    else:
        monkeypatch.setenv(setting, certificate[0])
    store = make(secure.url)
    body = [bytes(700_000), memoryview(b"end")]
    put(store, KEY, body)
    store.close()
    assert secure.asked[0].body == b"".join(body)


@pytest.mark.parametrize("setting", ["AWS_CA_BUNDLE", "REQUESTS_CA_BUNDLE"])
def test_certificates_that_are_not_there_are_told(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(setting, "/nowhere/bundle.pem")
    with pytest.raises(StoreRefusedError) as caught:
        make("https://minio.example.org")
    assert "certificates" in caught.value.problem and "nowhere" not in str(caught.value)


def test_a_certificate_that_nobody_trusts_is_refused(secure: ScriptedServer) -> None:
    store = make(secure.url)
    for call in (lambda: put(store, KEY, b"x"), lambda: store.head(KEY), lambda: list(store.list())):
        with pytest.raises(StoreRefusedError) as caught:
            call()
        assert "certificate" in caught.value.problem
    store.close()
    assert not secure.asked


def test_a_secure_place_behind_a_proxy_is_reached_through_a_tunnel(
    certificate: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(tls=certificate, connect=True) as proxy:
        monkeypatch.setenv("https_proxy", f"http://lab:pass@127.0.0.1:{proxy.port}")
        monkeypatch.setenv("AWS_CA_BUNDLE", certificate[0])
        store = make("https://minio.example.org")
        proxy.then(Answer(), Answer())
        put(store, KEY, b"one")
        put(store, f"2/{KEY}", b"two")
        store.close()
        tunnel, first, second = proxy.asked
        assert (tunnel.method, tunnel.target) == ("CONNECT", "minio.example.org:443")
        assert "proxy-authorization" in tunnel.headers and "proxy-authorization" not in first.headers
        assert [asked.target for asked in (first, second)] == [f"/lab-video/{PATH}", f"/lab-video/2/{PATH}"]


@pytest.mark.parametrize("kind", ["s3", UNSIGNED])
def test_another_kind_of_signature_is_refused_not_guessed(kind: Any) -> None:
    client = boto3.client(
        "s3",
        aws_access_key_id="access",
        aws_secret_access_key="hidden",
        region_name="us-west-2",
        config=Config(signature_version=kind),
    )
    with pytest.raises(UnsupportedSignatureVersionError):
        Addresses(lambda: client, "lab-video", verify=None, connections=2).present()
    client.close()


def settings_of(store: S3Store) -> dict[str, Any]:
    return store._wire._addresses._settings


def test_as_many_connections_are_kept_as_was_said() -> None:
    store = connect("lab-video", access_key="a", secret_key=Secret(b"b"), region="us-west-2", max_pool_connections=64)
    assert settings_of(store)["maxsize"] == 64
    store.close()
