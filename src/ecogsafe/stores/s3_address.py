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
from botocore.httpsession import ProxyConfiguration, get_cert_path
from botocore.utils import get_environ_proxies
from urllib3 import PoolManager, ProxyManager
from urllib3.connection import HTTPConnection

from ecogsafe.stores.s3_exchange import Pool, SecurePool
from ecogsafe.stores.s3_signing import Signer

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

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


class Addresses:
    """The present address of a bucket; used by all threads.

    Parameters
    ----------
    client
        Nobody else may head an object through it: every such request is caught.
    verify
        The certificates' file that the SDK was given; None for its own.
    connections
        How many are kept open between requests.
    """

    def __init__(self, client: S3Client, bucket: str, *, verify: str | None, connections: int) -> None:
        self._client = client
        self._bucket = bucket
        self._settings: dict[str, Any] = {
            "maxsize": connections,
            "cert_reqs": "CERT_REQUIRED",
            "ca_certs": verify or get_cert_path(True),
            "socket_options": [
                *HTTPConnection.default_socket_options,
                (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
            ],
        }
        self._pools: list[Pool | SecurePool] = []
        self._lock = threading.Lock()
        self._found: Address | None = None
        client.meta.events.register("before-send.s3.HeadObject", _show)

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
                self._found = self._look()
            return self._found

    def _let_the_sdk_learn(self) -> None:
        """Send a request that the SDK follows to the bucket's region, which it then remembers."""
        try:
            self._client.head_bucket(Bucket=self._bucket)
        except ClientError:
            return

    def _look(self) -> Address:
        try:
            self._client.head_object(Bucket=self._bucket, Key=_ANY_KEY)
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
            ProxyManager(proxy, proxy_headers=proxies.proxy_headers_for(proxy), **self._settings)
            if proxy
            else PoolManager(**self._settings)
        )
        manager.pool_classes_by_scheme = {"http": Pool, "https": SecurePool}
        server = f"{parts.scheme}://{host}"
        pool = cast("Pool | SecurePool", manager.connection_from_url(server))
        self._pools.append(pool)
        return Address(
            target=f"{server}{path}" if proxy and parts.scheme == "http" else path,
            path=path,
            signer=Signer(host, region=scope[1], service=scope[2]),
            pool=pool,
        )

    def close(self) -> None:
        """Close the connections that are not in use; the others close when their request ends."""
        with self._lock:
            for pool in self._pools:
                pool.close()
