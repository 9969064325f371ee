"""A boto3 client made for `ecogsafe.stores.s3`; credentials and endpoint come from where the SDK looks for them."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, cast
from urllib.parse import urlsplit

from ecogsafe.core.errors import StoreRefusedError
from ecogsafe.core.private import Secret
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_errors import s3_errors
from ecogsafe.stores.s3_plain import plain_settings
from ecogsafe.stores.s3_wire import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Wire

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: these want all parts but the last of one size (https://developers.cloudflare.com/r2/objects/multipart-objects/)
_EQUAL_PARTS = ".r2.cloudflarestorage.com"
_REQUESTS_BUNDLE = "requests_ca_bundle"


class Sdk:
    """The SDK's client, made when it is first asked for; used by all threads."""

    def __init__(self, make: Callable[[], S3Client]) -> None:
        self._make = make
        self._made: S3Client | None = None
        self._lock = threading.Lock()

    def client(self) -> S3Client:
        """Return it, the same one each time.

        Raises
        ------
        StoreRefusedError
            As `connect`.
        """
        with self._lock:
            if self._made is None:
                self._made = self._make()
            return self._made

    def close(self) -> None:
        """Close its connections."""
        if self._made is not None:
            self._made.close()


def connect(
    bucket: str,
    prefix: str = "",
    *,
    name: str | None = None,
    sse: str | None = None,
    endpoint_url: str | None = None,
    access_key: str | None = None,
    secret_key: Secret | None = None,
    region: str | None = None,
    max_pool_connections: int = 16,
    page_size: int | None = None,
) -> S3Store:
    """Return the store of a bucket; nothing is asked over the network yet.

    Parameters
    ----------
    endpoint_url, access_key, secret_key, region
        None: the SDK's own environment, profiles and instance roles.
    max_pool_connections
        How many requests may be under way at once.

    Raises
    ------
    StoreRefusedError
        The SDK's settings are wrong: no such profile, an endpoint that is no URL, no such certificates.
    """
    url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
    given = _Given(url, endpoint_url, access_key, secret_key, region, max_pool_connections)
    plain = plain_settings(os.environ) if given.is_nothing else None
    if plain is None:
        made = given.make()
        sdk, credentials, verify = Sdk(lambda: made.client), made.credentials, made.verify
        server = urlsplit(sdk.client().meta.endpoint_url)
        host = server.hostname or ""
        if server.port:
            host = f"{host}:{server.port}"
    else:
        sdk, credentials, verify, host = Sdk(lambda: given.make().client), plain.keys, None, plain.server
    wire = Wire(
        sdk.client,
        credentials,
        bucket,
        plain=plain,
        renew=_credentials_anew if access_key is None else None,
        verify=verify,
        connections=max_pool_connections,
    )
    return S3Store(
        sdk,
        wire,
        bucket,
        prefix,
        name=name,
        place=f"s3://{bucket}" if _is_aws(host) else f"s3://{bucket}@{host}",
        sse=sse,
        page_size=page_size,
        equal_parts=host.endswith(_EQUAL_PARTS),
    )


def sdk_client(bucket: str) -> S3Client:
    """Return the SDK's client alone, for what is asked of a bucket and not of its objects; close it.

    Raises
    ------
    StoreRefusedError
        As `connect`.
    """
    return _Given(f"s3://{bucket}", None, None, None, None, 4).make().client


def _credentials_anew() -> Any:
    from botocore.session import Session

    return Session().get_credentials()


def _is_aws(host: str) -> bool:
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


@dataclass(frozen=True, slots=True)
class _Made:
    client: S3Client
    credentials: Any
    #: the certificates' file that the SDK is told to trust
    verify: str | None


@dataclass(frozen=True, slots=True)
class _Given:
    """What the caller of `connect` said; the SDK knows the rest."""

    url: str
    endpoint_url: str | None
    access_key: str | None
    secret_key: Secret | None
    region: str | None
    connections: int

    @property
    def is_nothing(self) -> bool:
        return all(x is None for x in (self.endpoint_url, self.access_key, self.secret_key, self.region))

    def make(self) -> _Made:
        """Return the SDK's client; nothing is asked over the network yet.

        Raises
        ------
        StoreRefusedError
            As `connect`.
        """
        from botocore.session import Session

        try:
            with s3_errors(self.url):
                session = Session(session_vars={_REQUESTS_BUNDLE: (None, "REQUESTS_CA_BUNDLE", None, None)})
                if self.access_key is not None and self.secret_key is not None:
                    session.set_credentials(self.access_key, self.secret_key.reveal().decode())
                # Where the SDK itself looks for the certificates of its connections, and in this order.
                verify = session.get_config_variable("ca_bundle") or session.get_config_variable(_REQUESTS_BUNDLE)
                if verify and not Path(verify).exists():
                    raise StoreRefusedError(
                        self.url,
                        "the file of trusted certificates is not there",
                        next="correct AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or ca_bundle in the profile",
                    )
                client = self._client(session, "auto", verify or None)
                if not _is_aws(urlsplit(client.meta.endpoint_url).hostname or ""):
                    client.close()
                    client = self._client(session, "path", verify or None)
                return _Made(client, session.get_credentials(), verify or None)
        except ValueError:
            # The SDK's text repeats the endpoint, which may hold a password.
            raise StoreRefusedError(
                self.url, "the endpoint is not a URL", next="correct AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL"
            ) from None

    def _client(self, session: Any, style: Literal["auto", "path"], verify: str | None) -> S3Client:
        from botocore.config import Config

        client = session.create_client(
            "s3",
            region_name=self.region,
            endpoint_url=self.endpoint_url,
            verify=verify,
            config=Config(
                s3={"addressing_style": style},
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                tcp_keepalive=True,
                max_pool_connections=self.connections,
                # Every body carries a checksum of ours; the SDK shall not add or check another.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )
        return cast("S3Client", client)
