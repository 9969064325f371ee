"""One container as the SDK gives it: blobs by our keys, lists of blocks, and the clock of the answers."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from datetime import datetime
from typing import TYPE_CHECKING, Any

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import ChecksumRefusedError, StoreRefusedError
from ecogsafe.stores.azure_errors import azure_errors
from ecogsafe.stores.bodies import body_crc64, body_size, buffers, leaving
from ecogsafe.stores.keys import check_key
from ecogsafe.stores.protocol import Body, ObjectInfo
from ecogsafe.stores.s3_wire import date_of

if TYPE_CHECKING:
    from azure.storage.blob import BlobClient, BlobProperties, ContainerClient

#: a time-out of Python covers the whole of one ``sendall``, so a slow line must not be given much at a time
_PIECE_BYTES = 512 << 10


class Container:
    """Blobs of one container below one prefix.

    Parameters
    ----------
    client
        One that retries nothing; used by all threads.
    prefix
        Without a slash at its ends; empty for the whole container.
    page_size
        Names in one answer of a listing; None leaves it to the server.
    """

    def __init__(self, client: ContainerClient, prefix: str, url: str, *, page_size: int | None = None) -> None:
        self.client = client
        self.prefix = f"{prefix}/" if prefix else ""
        self.url = url
        self.page_size = page_size

    def blob(self, key: str) -> BlobClient:
        """Return the blob of a key.

        Raises
        ------
        StoreRefusedError
            It is not a key, or Azure would take another name for it: it drops the dots at the end of one.
        """
        check_key(key, store=self.url, prefix=self.prefix)
        if any(component.endswith(".") for component in key.split("/")):
            problem = "Azure keeps no name that ends with a dot"
            raise StoreRefusedError(self.url, problem, safe="Nothing was sent", next="rename the file and run again")
        return self.client.get_blob_client(self.prefix + key)

    def blocks(self, key: str, *, committed: bool) -> list[tuple[str, int]]:
        """Return the ids and sizes of a blob's blocks: those it is made of, or those that wait.

        Raises
        ------
        ObjectMissingError
            There is neither a blob nor a block of that name.
        """
        with azure_errors(self.url, key):
            lists = self.blob(key).get_block_list("committed" if committed else "uncommitted")
        return [(str(block.id), int(block.size)) for block in lists[0 if committed else 1]]

    def pages(
        self, prefix: str, *, uncommitted: bool = False
    ) -> Iterator[tuple[list[BlobProperties], datetime | None]]:
        """Yield what a listing tells, page by page, each with the clock of the store."""
        answer = Answer()
        with azure_errors(self.url):
            pages = self.client.list_blobs(
                name_starts_with=self.prefix + prefix or None,
                include=["uncommittedblobs"] if uncommitted else None,
                results_per_page=self.page_size,
                raw_response_hook=answer.hear,
            ).by_page()
        while True:
            with azure_errors(self.url):
                page = next(pages, None)
                found = None if page is None else list(page)
            if found is None:
                return
            yield found, answer.date

    def info_of(self, key: str, found: BlobProperties, date: datetime | None) -> ObjectInfo:
        """Return what a listing or a HEAD tells in both alike."""
        return ObjectInfo(
            key=key,
            size=int(found.size),
            etag=plain_etag(found.etag),
            version_id=found.version_id,
            storage_class=str(found.blob_tier) if found.blob_tier else None,
            last_modified=found.last_modified,
            checked_at=utc_now(),
            store_date=date,
        )


class Answer:
    """Hears an answer of the SDK for what it leaves out: the store's clock."""

    def __init__(self) -> None:
        self.date: datetime | None = None

    def hear(self, response: Any) -> None:
        """Be the SDK's ``raw_response_hook``."""
        self.date = date_of(response.http_response.headers.get("Date"))


class Leaving:
    """A body as the SDK's transport takes one: with a length, given in pieces when each may go."""

    def __init__(self, body: Body) -> None:
        self._body = body
        self._size = body_size(body)

    def __len__(self) -> int:
        return self._size

    def __iter__(self) -> Iterator[bytes]:
        return leaving(self._body, _PIECE_BYTES)


def content_md5(body: Body, crc64: int, item: str) -> str:
    """Return the Content-MD5 of ``body``, whose CRC64NVME must be ``crc64``.

    Azure checks no CRC64NVME, so this is where a buffer that changed in memory is noticed; what changes
    after, Azure notices by the MD5.

    Raises
    ------
    ChecksumRefusedError
        It is another.
    """
    digest = hashlib.md5(usedforsecurity=False)
    for view in buffers(body):
        digest.update(view)
    if body_crc64(body) != crc64:
        raise ChecksumRefusedError(item, "the bytes to send have another checksum", safe="Nothing was stored")
    return base64.b64encode(digest.digest()).decode("ascii")


def plain_etag(etag: str | None) -> str | None:
    """Return an ETag as a listing and a HEAD tell it alike: without quotation marks."""
    return etag.strip('"') if etag else None
