"""Store URLs: what they mean, and the store behind one."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote, unquote, urlsplit

from ecogsafe.core.errors import UsageError
from ecogsafe.stores.directory_access import Access
from ecogsafe.stores.keys import key_problem
from ecogsafe.stores.limited import Limited, Rate
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.retrying import Backoff, Retrying, Wait
from ecogsafe.stores.vault_address import is_vault_url, read_only

#: old buckets may have upper-case letters and underscores; the server decides on the rest
_BUCKET = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]")
#: https://learn.microsoft.com/en-us/rest/api/storageservices/naming-and-referencing-containers--blobs--and-metadata
_CONTAINER = re.compile(r"[a-z0-9](?:-?[a-z0-9]){2,62}")
_NEXT = "write it as s3://bucket[/prefix], azure://container[/prefix] or file:///path"


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreAddress:
    """A store URL taken apart."""

    scheme: Literal["s3", "azure", "file"]
    #: the bucket or container; empty for a folder
    bucket: str = ""
    #: without slashes at its ends; empty for none
    prefix: str = ""
    #: the folder; None for a bucket or container
    folder: Path | None = None

    @property
    def url(self) -> str:
        """The one way to write this URL."""
        if self.folder is not None:
            return f"file://{quote(str(self.folder))}"
        where = f"{self.scheme}://{self.bucket}"
        return f"{where}/{self.prefix}" if self.prefix else where


def bucket_url(name: str) -> str:
    """Return the URL that ``-b NAME`` stands for."""
    return name if "://" in name else f"s3://{name}"


def parse_store_url(url: str) -> StoreAddress:
    """Return the parts of a store URL.

    Raises
    ------
    UsageError
        It is not one of a kind that this version opens. The text is not repeated: a URL typed wrong may
        hold credentials.
    StoreRefusedError
        It is an old vault: `ecogsafe.stores.glacier_vault` reads those.
    """
    if url.startswith("file://"):
        return _folder_address(url)
    if is_vault_url(url):
        raise read_only(url)
    if url.startswith("azure://"):
        return _bucket_address("azure", url, _CONTAINER, "its container is not a container name")
    if url.startswith("s3://"):
        return _bucket_address("s3", url, _BUCKET, "its bucket is not a bucket name")
    scheme = url.partition("://")[0] if re.match(r"[a-z][a-z0-9]*://", url) else ""
    problem = f"{scheme}:// stores cannot be opened by this version" if scheme else "is not a store URL"
    raise UsageError("the store", problem, next=_NEXT)


def _bucket_address(scheme: Literal["s3", "azure"], url: str, names: re.Pattern[str], problem: str) -> StoreAddress:
    bucket, _, prefix = url.removeprefix(f"{scheme}://").partition("/")
    prefix = prefix.rstrip("/")
    if not names.fullmatch(bucket) or (scheme == "azure" and len(bucket) > 63):
        raise UsageError("the store", problem, next=_NEXT)
    if prefix and key_problem(prefix) is not None:
        raise UsageError("the store", f"its prefix is not usable: {key_problem(prefix)}", next=_NEXT)
    return StoreAddress(scheme=scheme, bucket=bucket, prefix=prefix)


def _folder_address(url: str) -> StoreAddress:
    parts = urlsplit(url)
    path = unquote(parts.path)
    if parts.netloc not in ("", "localhost") or not path.startswith("/") or parts.query or parts.fragment:
        raise UsageError(
            "the store", "a folder's URL is file:// and an absolute path, with ? and # as %3F and %23", next=_NEXT
        )
    if "\0" in path or ".." in path.split("/"):
        raise UsageError("the store", 'its path has ".." or a NUL in it', next=_NEXT)
    return StoreAddress(scheme="file", folder=Path(path))


def open_store(
    url: str,
    *,
    name: str | None = None,
    sse: str | None = None,
    folder_mode: int = 0o770,
    file_mode: int = 0o660,
    connections: int = 64,
    backoff: Backoff | None = None,
    stop: threading.Event | None = None,
    on_wait: Callable[[Wait], None] | None = None,
    rate: Rate | None = None,
    access: Access | None = None,
) -> Retrying:
    """Return the store of ``url``, which tries again when it is worth it.

    Parameters
    ----------
    name
        What messages call it; default the URL.
    sse
        Encryption by the store: ``AES256``, ``aws:kms`` or ``aws:kms:<key id>``. S3 only; Azure always does.
    folder_mode, file_mode
        Permissions of new folders and files, before the umask. Folders only.
    connections
        How many are kept open between requests. Not for folders.
    stop
        Ends the pauses between attempts when it is set.
    on_wait
        Is told of every pause; see `Retrying`.
    rate
        How fast bytes may go to it and come from it; None: as fast as they do.
    access
        Group and mode of what is made, whatever the umask is. Folders only.

    Raises
    ------
    UsageError
        ``url`` is not a store URL.
    StoreUnreachableError, StoreRefusedError
        The folder is not there; the settings of the SDK are wrong. A bucket is not asked yet.
    """
    address = parse_store_url(url)
    if address.folder is not None:
        # each kind of store is loaded by those who use it
        from ecogsafe.stores.directory import DirectoryStore

        inner: Store = DirectoryStore(
            address.folder, url=address.url, name=name, folder_mode=folder_mode, file_mode=file_mode, access=access
        )
    elif address.scheme == "azure":
        # as below: who has no Azure need not have its library
        from ecogsafe.stores import azure_connect

        inner = azure_connect.connect(address.bucket, address.prefix, name=name, max_pool_connections=connections)
    else:
        # boto3 takes a third of a second to import; folders do without.
        from ecogsafe.stores.s3_connect import connect

        inner = connect(address.bucket, address.prefix, name=name, sse=sse, max_pool_connections=connections)
    if rate is not None:
        inner = Limited(inner, rate)
    return Retrying(inner, backoff=backoff, stop=stop, on_wait=on_wait)
