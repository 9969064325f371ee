"""Azure block blobs; every write carries its Content-MD5 and refuses to replace.

Azure keeps no CRC64NVME. What `ObjectInfo.crc64` tells is vouched for by Azure's own records: of an object
in parts by the list of its blocks (`ecogsafe.stores.azure_blocks`), of a small one by the MD5 that Azure
itself keeps, which must be the one that went with it in the same request. Nothing is repeated here:
`ecogsafe.stores.retrying` does that, and knows when it may.

References
----------
https://learn.microsoft.com/en-us/rest/api/storageservices/put-blob
https://learn.microsoft.com/en-us/rest/api/storageservices/get-blob-properties
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    ObjectExistsError,
    ObjectMissingError,
    StillColdError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.stores.azure_blocks import TIERS, tier_of, vouched_crc64
from ecogsafe.stores.azure_container import Answer, Container, content_md5, plain_etag
from ecogsafe.stores.azure_errors import azure_errors, error_code, writing
from ecogsafe.stores.azure_thawing import request_thaw, thaw_of
from ecogsafe.stores.azure_uploads import BlockUploads
from ecogsafe.stores.bodies import leaving
from ecogsafe.stores.keys import is_listed
from ecogsafe.stores.protocol import Body, Buffer, Capabilities, ObjectInfo, OpenUpload, UploadedPart, replaced
from ecogsafe.stores.thawing import Tier

if TYPE_CHECKING:
    from azure.storage.blob import BlobProperties, ContainerClient, StorageStreamDownloader

#: the metadata of an object: whose upload it is and, of one sent in one request, its CRC64NVME and MD5
TOKEN_METADATA, CRC64_METADATA, MD5_METADATA = "ecogsafe_upload", "ecogsafe_crc64", "ecogsafe_md5"
_PUT_PIECE_BYTES = 1 << 20
_CRC64 = re.compile(r"[0-9a-f]{16}")


class AzureStore:
    """Block blobs of one container below one prefix (`ecogsafe.stores.protocol.Store`).

    Parameters
    ----------
    client
        A container client that retries nothing (`ecogsafe.stores.azure_connect.connect` makes one); it is
        used by all threads.
    place
        Where the container is: the same for two stores that would be lost together.
    page_size
        Names in one answer of a listing; None leaves it to the server.
    """

    #: limits: https://learn.microsoft.com/en-us/azure/storage/blobs/scalability-targets
    capabilities = Capabilities(
        min_part_bytes=1,
        max_part_bytes=4000 << 20,
        max_parts=49_998,
        full_object_checksum=True,
        conditional_create=True,
        versioning=True,
        lists_parts=True,
        keeps_token=True,
    )

    def __init__(
        self,
        client: ContainerClient,
        prefix: str = "",
        *,
        name: str | None = None,
        place: str | None = None,
        page_size: int | None = None,
    ) -> None:
        container = client.container_name
        self.url = f"azure://{container}/{prefix}" if prefix else f"azure://{container}"
        self.name = name or self.url
        self.place = place or f"azure://{container}"
        self._client = client
        self._container = Container(client, prefix, self.url, page_size=page_size)
        self._uploads = BlockUploads(self._container)

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """See `Store.head`; of an object in parts the checksum is told only with ``checksum``."""
        blob = self._container.blob(key)
        answer = Answer()
        try:
            with azure_errors(self.url, key):
                found = blob.get_blob_properties(raw_response_hook=answer.hear)
        except ObjectMissingError:
            return None
        metadata = found.metadata or {}
        info = self._container.info_of(key, found, answer.date)
        return replace(
            info,
            crc64=self._vouched(key, found, metadata, checksum=checksum),
            token=metadata.get(TOKEN_METADATA),
            thaw=thaw_of(info.storage_class, found.archive_status),
        )

    def _vouched(self, key: str, found: BlobProperties, metadata: Mapping[str, str], *, checksum: bool) -> int | None:
        """Return the checksum that Azure's own records vouch for, None where they do not, or are not asked."""
        sent_md5, sent_crc64 = metadata.get(MD5_METADATA), metadata.get(CRC64_METADATA, "")
        if sent_md5 is not None:
            kept = base64.b64encode(bytes(found.content_settings.content_md5 or b"")).decode("ascii")
            return int(sent_crc64, 16) if kept == sent_md5 and _CRC64.fullmatch(sent_crc64) else None
        if not checksum or TOKEN_METADATA not in metadata:
            return None
        try:
            return vouched_crc64(self._container.blocks(key, committed=True), int(found.size))
        except (StillColdError, ObjectMissingError):
            return None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        for found, date in self._container.pages(prefix):
            for blob in found:
                key = blob.name.removeprefix(self._container.prefix)
                # Consoles mark an empty folder by an object whose name ends with a slash.
                if key and not key.endswith("/") and is_listed(key, prefix):
                    yield self._container.info_of(key, blob, date)

    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        etag: str | None = None,
        into: memoryview | None = None,
    ) -> Iterator[Buffer]:
        """See `Store.read`."""
        if stop is not None and stop <= start:
            return
        body = self._get(key, start, stop, etag)
        if body is None:
            return
        expected = body.size
        pieces = iter(body.chunks())
        while expected > 0:
            try:
                with azure_errors(self.url, key):
                    data = next(pieces, b"")
            except ObjectExistsError as error:
                # the SDK asks for further bytes of the same object only
                raise replaced(f"{self.url}/{key}") from error
            if not data:
                raise StoreUnreachableError(self.url, "an answer ended too early", next="run again")
            expected -= len(data)
            yield data

    def _get(self, key: str, start: int, stop: int | None, etag: str | None) -> StorageStreamDownloader[bytes] | None:
        """Return the bytes as the SDK gives them, None where the range lies behind the end of the object."""
        from azure.core import MatchConditions
        from azure.core.exceptions import HttpResponseError

        blob = self._container.blob(key)
        length = None if stop is None else stop - start
        same: dict[str, Any] = {}
        if etag is not None:
            same = {"etag": f'"{etag}"', "match_condition": MatchConditions.IfNotModified}
        with azure_errors(self.url, key):
            try:
                return blob.download_blob(offset=start, length=length, max_concurrency=1, **same)
            except HttpResponseError as error:
                if same and error.status_code == 412:
                    raise replaced(f"{self.url}/{key}") from error
                if error.status_code == 416 or error_code(error) == "InvalidRange":
                    return None
                raise

    def put(
        self,
        key: str,
        body: Body,
        *,
        crc64: int,
        token: str,
        storage_class: str | None = None,
        if_absent: bool = True,
    ) -> ObjectInfo:
        """See `Store.put`."""
        from azure.storage.blob import StandardBlobTier

        blob = self._container.blob(key)
        tier = self._tier(storage_class)
        md5 = content_md5(body, crc64, f"{self.url}/{key}")
        data = b"".join(leaving(body, _PUT_PIECE_BYTES))
        try:
            with writing(), azure_errors(self.url, key):
                answer = blob.upload_blob(
                    data,
                    length=len(data),
                    overwrite=not if_absent,
                    metadata={TOKEN_METADATA: token, CRC64_METADATA: f"{crc64:016x}", MD5_METADATA: md5},
                    standard_blob_tier=None if tier is None else StandardBlobTier(tier),
                    headers={"Content-MD5": md5},
                )
        except ObjectExistsError:
            if not data or self.head(key) is not None:
                raise
            return self._put_over_blocks(key, data, crc64=crc64, token=token, storage_class=storage_class)
        told = base64.b64encode(bytes(answer.get("content_md5") or b"")).decode("ascii")
        return self._written(key, len(data), token, tier, answer, crc64 if told == md5 else None)

    def _put_over_blocks(
        self, key: str, data: bytes, *, crc64: int, token: str, storage_class: str | None
    ) -> ObjectInfo:
        """Put an object where the blocks of an unfinished upload wait, which Azurite takes for a blob."""
        upload_id = self.begin_upload(key, token=token, size=len(data), storage_class=storage_class)
        part = self.put_part(key, upload_id, 1, data, offset=0, crc64=crc64)
        return self.finish_upload(key, upload_id, [part], crc64=crc64, size=len(data), token=token)

    def _tier(self, storage_class: str | None) -> str | None:
        """Return the access tier that Azure knows by this name.

        Raises
        ------
        StoreRefusedError
            It knows none.
        """
        if storage_class is None or storage_class in TIERS:
            return storage_class
        problem = "the store has no such storage class"
        raise StoreRefusedError(
            self.url, problem, safe="Nothing was sent", next=f"correct storage_class: {', '.join(TIERS)}"
        )

    def _written(
        self, key: str, size: int, token: str, tier: str | None, answer: Mapping[str, Any], crc64: int | None
    ) -> ObjectInfo:
        return ObjectInfo(
            key=key,
            size=size,
            crc64=crc64,
            etag=plain_etag(answer.get("etag")),
            version_id=answer.get("version_id"),
            storage_class=tier,
            last_modified=answer.get("last_modified"),
            token=token,
            checked_at=utc_now(),
            store_date=answer.get("date"),
        )

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """See `Store.begin_upload`."""
        return self._uploads.begin(key, tier=self._tier(storage_class))

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        return self._uploads.put_part(key, upload_id, number, body, crc64)

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """See `Store.list_parts`."""
        return self._uploads.parts(key, upload_id)

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """See `Store.finish_upload`."""
        metadata = {TOKEN_METADATA: token}
        answer, vouched = self._uploads.finish(key, upload_id, parts, crc64=crc64, size=size, metadata=metadata)
        return self._written(key, size, token, tier_of(upload_id), answer, vouched)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`; Azure drops the parts a week after the last of them came."""
        self._uploads.abort(key, upload_id)

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """See `Store.list_uploads`."""
        return self._uploads.open_uploads(prefix)

    def request_thaw(self, key: str, *, tier: Tier, days: int) -> None:
        """See `ecogsafe.stores.thawing.ThawingStore`; Azure knows no ``days``, the blob stays in the hot tier."""
        request_thaw(self._container, key, tier=tier)

    def close(self) -> None:
        """See `Store.close`."""
        self._client.close()
