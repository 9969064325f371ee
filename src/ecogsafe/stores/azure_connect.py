"""A container client made for `ecogsafe.stores.azure`; the account and its credentials come from the environment.

Azure's library for blobs looks for nothing itself, so this reads the variables that Azure's own command
line reads (https://learn.microsoft.com/en-us/cli/azure/azure-cli-configuration); where they name only an
account, the credentials are found by ``DefaultAzureCredential``: environment, managed identity, ``az login``.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from ecogsafe.core.errors import StoreCredentialsError, StoreRefusedError
from ecogsafe.stores.azure import AzureStore
from ecogsafe.stores.azure_errors import CREDENTIALS_NEXT, azure_errors

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

CONNECTION_STRING = "AZURE_STORAGE_CONNECTION_STRING"
ACCOUNT = "AZURE_STORAGE_ACCOUNT"
ENDPOINT = "AZURE_STORAGE_SERVICE_ENDPOINT"
KEY = "AZURE_STORAGE_KEY"
SAS = "AZURE_STORAGE_SAS_TOKEN"
#: old enough for every library and emulator in use, new enough for the cold tier
API_VERSION = "2024-11-04"
CONNECT_TIMEOUT_S = 10
# An answer may be minutes away: the commit of many blocks, or a busy disk that takes many at once.
READ_TIMEOUT_S = 180
#: bytes that one request reads; each is held in memory by whoever reads
GET_BYTES = 8 << 20
MAX_PUT_BYTES = 5000 << 20


def connect(
    container: str,
    prefix: str = "",
    *,
    name: str | None = None,
    environment: Mapping[str, str] | None = None,
    max_pool_connections: int = 16,
    page_size: int | None = None,
    transport: Any = None,
) -> AzureStore:
    """Return the store of a container; nothing is asked over the network yet.

    Parameters
    ----------
    environment
        None: this process's.
    max_pool_connections
        How many connections are kept open between requests.
    transport
        Sends requests in the place of the SDK's own.

    Raises
    ------
    StoreCredentialsError
        The environment names no account, or no credentials can be looked for.
    StoreRefusedError
        The settings are wrong, or Azure's library is not installed.
    """
    url = f"azure://{container}/{prefix}" if prefix else f"azure://{container}"
    settings = {k: v for k, v in (os.environ if environment is None else environment).items() if v}
    try:
        client = _client(url, container, settings, transport or _transport(max_pool_connections))
    except ImportError as error:
        raise StoreRefusedError(
            url, "Azure's library is not installed", next="pip install azure-storage-blob azure-identity"
        ) from error
    except (ValueError, TypeError):
        # The SDK's text may repeat what it was given: a key, or a signature. So nothing is chained, either.
        raise StoreCredentialsError(
            url, "the account or its credentials are not written as Azure writes them", next=CREDENTIALS_NEXT
        ) from None
    host = urlsplit(client.primary_endpoint).netloc
    return AzureStore(client, prefix, name=name, place=f"azure://{container}@{host}", page_size=page_size)


def _transport(connections: int) -> Any:
    import requests
    from azure.core.pipeline.transport import RequestsTransport
    from requests.adapters import HTTPAdapter

    session = requests.Session()
    for scheme in ("https://", "http://"):
        session.mount(scheme, HTTPAdapter(pool_maxsize=connections))
    return RequestsTransport(
        session=session,
        session_owner=True,
        connection_timeout=CONNECT_TIMEOUT_S,
        read_timeout=READ_TIMEOUT_S,
    )


def _client(url: str, container: str, settings: Mapping[str, str], transport: Any) -> ContainerClient:
    from azure.storage.blob import ContainerClient

    options: dict[str, Any] = {
        "api_version": API_VERSION,
        "transport": transport,
        # what is tried again, and when, is decided by `ecogsafe.stores.retrying`
        "retry_total": 0,
        "max_single_put_size": MAX_PUT_BYTES,
        "max_single_get_size": GET_BYTES,
        "max_chunk_get_size": GET_BYTES,
    }
    if CONNECTION_STRING in settings:
        return ContainerClient.from_connection_string(settings[CONNECTION_STRING], container, **options)
    account = settings.get(ACCOUNT)
    endpoint = settings.get(ENDPOINT) or (f"https://{account}.blob.core.windows.net" if account else None)
    if endpoint is None:
        raise StoreCredentialsError(url, "no storage account is named", next=CREDENTIALS_NEXT)
    return ContainerClient(endpoint, container, credential=_credential(url, settings), **options)


def _credential(url: str, settings: Mapping[str, str]) -> Any:
    from azure.core.credentials import AzureNamedKeyCredential, AzureSasCredential

    if KEY in settings and ACCOUNT in settings:
        return AzureNamedKeyCredential(settings[ACCOUNT], settings[KEY])
    if SAS in settings:
        return AzureSasCredential(settings[SAS].removeprefix("?"))
    try:
        from azure.identity import DefaultAzureCredential
    except ImportError as error:
        raise StoreCredentialsError(
            url,
            "there are no usable credentials for it, and azure-identity, which finds others, is not installed",
            next=f"{CREDENTIALS_NEXT}, after pip install azure-identity",
        ) from error
    with azure_errors(url):
        return DefaultAzureCredential()
