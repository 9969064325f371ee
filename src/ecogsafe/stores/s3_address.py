"""Where the objects of a bucket are and how one gets there: the SDK's word for endpoint, region and proxy.

The SDK is let prepare a request and looked over the shoulder; so profiles, endpoint settings, addressing
styles and what it learnt of a bucket's region mean here what they mean to it.
"""

from __future__ import annotations

import re
import socket
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import urlsplit

from botocore.exceptions import ClientError, UnsupportedSignatureVersionError
from urllib3 import PoolManager, ProxyManager
from urllib3.connection import HTTPConnection

from ecogsafe.stores.s3_connections import Pool, SecurePool
from ecogsafe.stores.s3_signing import Signer

if TYPE_CHECKING:
    from collections.abc import Callable

    from mypy_boto3_s3 import S3Client

    from ecogsafe.stores.s3_plain import PlainSettings

_ANY_KEY = "k"
_SCOPE = re.compile(r"AWS4-HMAC-SHA256 Credential=[^/]+/\d{8}/([^/]+)/([^/]+)/aws4_request,")
_DEFAULT_PORT = {"http": ":80", "https": ":443"}


class _Shown(Exception):
    """Ends the SDK's work on a request that was only to be looked at."""

    def __init__(self, request: Any) -> None:
        super().__init__()
        self.request = request


def _show(request: Any, **_: object) -> None:
    raise _Shown(request)


@dataclass(frozen=True, slots=True)
class Address:
    """Where the bucket's objects are, and how requests for them are signed."""

    #: what stands before an encoded key in a request; a proxy without TLS behind it is told the whole URL,
    #: https://www.rfc-editor.org/rfc/rfc9112#section-3.2.2
    target: str
    #: what stands before an encoded key in what is signed
    path: str
    signer: Signer
    pool: Pool | SecurePool

    def of(self, key: str | None) -> tuple[str, str]:
        """Return what stands in a request, and what is signed, for an encoded key; None: for the bucket itself."""
        if key is not None:
            return self.target + key, self.path + key
        path = self.path[:-1] or "/"
        return self.target.removesuffix(self.path) + path, path


class Addresses:
    """The present address of a bucket; used by all threads.

    Parameters
    ----------
    client
        Gives the SDK's client, made when it is first asked for. Nobody else may head an object through it: every such
        request is caught.
    plain
        What the SDK would say, where that is known without it; it is asked all the same once that proved wrong.
    verify
        The certificates' file that the SDK was given; None for its own.
    connections
        How many are kept open between requests.
    """

    def __init__(
        self,
        client: Callable[[], S3Client],
        bucket: str,
        *,
        plain: PlainSettings | None = None,
        verify: str | None,
        connections: int,
    ) -> None:
        self._client = client
        self._bucket = bucket
        self._plain = plain
        self._verify = verify
        self._settings: dict[str, Any] = {
            "maxsize": connections,
            "cert_reqs": "CERT_REQUIRED",
            "socket_options": [
                *HTTPConnection.default_socket_options,
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            ],
        }
        self._pools: list[Pool | SecurePool] = []
        self._lock = threading.Lock()
        self._found: Address | None = None

    def present(self, *, instead_of: Address | None = None) -> Address:
        """Return where the bucket is; what was found to be wrong is found out anew.

        Raises
        ------
        botocore.exceptions.BotoCoreError
            The SDK has no credentials, or would sign in a way unknown here.
        """
        with self._lock:
            if self._found is None or self._found is instead_of:
                if instead_of is not None:
                    self._let_the_sdk_learn()
                plain = self._plain if instead_of is None else None
                self._found = self._look() if plain is None else self._read(plain)
            return self._found

    def _let_the_sdk_learn(self) -> None:
        """Send a request that the SDK follows to the bucket's region, which it then remembers."""
        try:
            self._client().head_bucket(Bucket=self._bucket)
        except ClientError:
            return

    def _read(self, plain: PlainSettings) -> Address:
        path = f"/{self._bucket}/"
        trusted: dict[str, Any] = {} if plain.scheme == "http" else self._trusted
        pool = self._pooled(PoolManager(**self._settings, **trusted), f"{plain.scheme}://{plain.host}")
        return Address(target=path, path=path, signer=Signer(plain.host, region=plain.region), pool=pool)

    def _look(self) -> Address:
        from botocore.httpsession import ProxyConfiguration
        from botocore.utils import get_environ_proxies

        client = self._client()
        client.meta.events.register("before-send.s3.HeadObject", _show, unique_id="ecogsafe-address")
        try:
            client.head_object(Bucket=self._bucket, Key=_ANY_KEY)
        except _Shown as shown:
            request = shown.request
        else:
            raise RuntimeError("the SDK sent a request that was only to be looked at")
        text = request.headers.get("Authorization", b"")
        scope = _SCOPE.match(text.decode() if isinstance(text, bytes) else text)
        if scope is None or "X-Amz-S3session-Token" in request.headers:
            raise UnsupportedSignatureVersionError(signature_version="other than s3v4")
        parts = urlsplit(request.url)
        path = parts.path.removesuffix(_ANY_KEY)
        host = parts.netloc.rpartition("@")[2].removesuffix(_DEFAULT_PORT[parts.scheme])
        proxies = ProxyConfiguration(get_environ_proxies(request.url))
        proxy = proxies.proxy_url_for(request.url)
        manager = (
            ProxyManager(proxy, proxy_headers=proxies.proxy_headers_for(proxy), **self._settings, **self._trusted)
            if proxy
            else PoolManager(**self._settings, **self._trusted)
        )
        server = f"{parts.scheme}://{host}"
        pool = self._pooled(manager, server)
        return Address(
            target=f"{server}{path}" if proxy and parts.scheme == "http" else path,
            path=path,
            signer=Signer(host, region=scope[1], service=scope[2]),
            pool=pool,
        )

    @property
    def _trusted(self) -> dict[str, Any]:
        return {"ca_certs": self._verify or _trusted_by_the_sdk()}

    def _pooled(self, manager: PoolManager, server: str) -> Pool | SecurePool:
        manager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
        pool = cast("Pool | SecurePool", manager.connection_from_url(server))
        self._pools.append(pool)
        return pool

    def close(self) -> None:
        """Close the connections that are not in use; the others close when their request ends."""
        with self._lock:
            for pool in self._pools:
                pool.close()


def _trusted_by_the_sdk() -> str:
    """Return the file of certificates that the SDK trusts where nothing else is said."""
    try:
        import certifi
    except ImportError:
        from botocore.httpsession import get_cert_path

        return str(get_cert_path(True))
    return certifi.where()
