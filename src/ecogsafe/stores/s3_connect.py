"""A boto3 client made for `ecogsafe.stores.s3`; credentials and endpoint come from where the SDK looks for them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal
from urllib.parse import urlsplit

from ecogsafe.core.errors import StoreRefusedError
from ecogsafe.core.private import Secret
from ecogsafe.stores.s3 import S3Store
from ecogsafe.stores.s3_errors import s3_errors

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

#: Completing an upload of many parts may take minutes before the first byte of the answer.
READ_TIMEOUT_S = 180
CONNECT_TIMEOUT_S = 10


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
        The SDK's settings are wrong: no such profile, an endpoint that is no URL.
    """
    url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
    client, endpoint = _client(url, endpoint_url, access_key, secret_key, region, max_pool_connections)
    server = urlsplit(endpoint)
    host = server.hostname or ""
    if server.port:
        host = f"{host}:{server.port}"
    return S3Store(
        client,
        bucket,
        prefix,
        name=name,
        place=f"s3://{bucket}" if _is_aws(host) else f"s3://{bucket}@{host}",
        sse=sse,
        page_size=page_size,
    )


def _is_aws(host: str) -> bool:
    return host.endswith((".amazonaws.com", ".amazonaws.com.cn"))


def _client(
    url: str,
    endpoint_url: str | None,
    access_key: str | None,
    secret_key: Secret | None,
    region: str | None,
    max_pool_connections: int,
) -> tuple[S3Client, str]:
    from boto3.session import Session
    from botocore.config import Config

    def make(style: Literal["auto", "path"], *, sign_bodies: bool) -> S3Client:
        return session.client(
            "s3",
            endpoint_url=endpoint_url,
            config=Config(
                s3={"addressing_style": style, "payload_signing_enabled": sign_bodies},
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
            session = Session(
                aws_access_key_id=access_key,
                aws_secret_access_key=secret_key.reveal().decode() if secret_key else None,
                region_name=region,
            )
            # TLS and the checksum protect a body; without TLS its digest is signed.
            client = make("auto", sign_bodies=False)
            endpoint = client.meta.endpoint_url
            if not _is_aws(urlsplit(endpoint).hostname or ""):
                client.close()
                client = make("path", sign_bodies=not endpoint.startswith("https://"))
    except ValueError:
        # The SDK's text repeats the endpoint, which may hold a password.
        raise StoreRefusedError(
            url, "the endpoint is not a URL", next="correct AWS_ENDPOINT_URL_S3 or AWS_ENDPOINT_URL"
        ) from None
    return client, endpoint
