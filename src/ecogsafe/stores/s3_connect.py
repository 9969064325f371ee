"""A boto3 client made for `ecogsafe.stores.s3`; credentials and endpoint come from where the SDK looks for them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from ecogsafe.core.errors import StoreRefusedError
from ecogsafe.core.private import Secret
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_errors import s3_errors
from ecogsafe.stores.s3_wire import CONNECT_TIMEOUT_S, READ_TIMEOUT_S, Wire

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: these want all parts but the last of one size (https://developers.cloudflare.com/r2/objects/multipart-objects/)
_EQUAL_PARTS = ".r2.cloudflarestorage.com"
_REQUESTS_BUNDLE = "requests_ca_bundle"


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
    client, wire = _opened(url, bucket, endpoint_url, access_key, secret_key, region, max_pool_connections)
    server = urlsplit(client.meta.endpoint_url)
    host = server.hostname or ""
    if server.port:
        host = f"{host}:{server.port}"
    return S3Store(
        client,
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
    client, wire = _opened(f"s3://{bucket}", bucket, None, None, None, None, 4)
    wire.close()
    return client


def _is_aws(host: str) -> bool:
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _opened(
    url: str,
    bucket: str,
    endpoint_url: str | None,
    access_key: str | None,
    secret_key: Secret | None,
    region: str | None,
    max_pool_connections: int,
) -> tuple[S3Client, Wire]:
    from boto3.session import Session
    from botocore.config import Config
    from botocore.session import Session as Core

    def make(style: Literal["auto", "path"]) -> S3Client:
        return session.client(
            "s3",
            endpoint_url=endpoint_url,
            verify=verify,
            config=Config(
                s3={"addressing_style": style},
                retries={"total_max_attempts": 1, "mode": "standard"},
                connect_timeout=CONNECT_TIMEOUT_S,
                read_timeout=READ_TIMEOUT_S,
                tcp_keepalive=True,
                max_pool_connections=max_pool_connections,
                # Every body carries a checksum of ours; the SDK shall not add or check another.
                request_checksum_calculation="when_required",
                response_checksum_validation="when_required",
            ),
        )

    try:
        with s3_errors(url):
            core = Core(session_vars={_REQUESTS_BUNDLE: (None, "REQUESTS_CA_BUNDLE", None, None)})
            session = Session(
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key.reveal().decode() if secret_key else None,
                region_name=region,
                botocore_session=core,
            )
            # Where the SDK itself looks for the certificates of its connections, and in this order.
            verify = core.get_config_variable("ca_bundle") or core.get_config_variable(_REQUESTS_BUNDLE) or None
            if verify and not Path(verify).exists():
                raise StoreRefusedError(
                    url,
                    "the file of trusted certificates is not there",
                    next="correct AWS_CA_BUNDLE, REQUESTS_CA_BUNDLE or ca_bundle in the profile",
                )
            client = make("auto")
            if not _is_aws(urlsplit(client.meta.endpoint_url).hostname or ""):
                client.close()
                client = make("path")
            credentials = session.get_credentials()
    except ValueError:
        # The SDK's text repeats the endpoint, which may hold a password.
        raise StoreRefusedError(
            url, "the endpoint is not a URL", next="correct AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL"
        ) from None

    def renew() -> Any:
        return Session(botocore_session=Core()).get_credentials()

    wire = Wire(
        client,
        credentials,
        bucket,
        renew=renew if access_key is None else None,
        verify=verify,
        connections=max_pool_connections,
    )
    return client, wire
