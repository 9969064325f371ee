"""S3 and what speaks like it; every write carries its CRC64NVME and refuses to replace.

What every run asks for goes over `ecogsafe.stores.s3_wire`, everything else over boto3.

The checksum is asked for over the whole object (``FULL_OBJECT``), however many parts it comes in
(https://docs.aws.amazon.com/AmazonS3/latest/userguide/checking-object-integrity.html). A server that
does not tell one gives ``crc64=None``: such a copy is stored, not proven. Nothing is repeated here:
`ecogsafe.stores.retrying` does that, and knows when it may.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    ObjectMissingError,
    StoreRefusedError,
    StoreUnreachableError,
    UploadGoneError,
)
from ecogsafe.stores.bodies import body_size, crc64_from_text, crc64_to_text
from ecogsafe.stores.keys import check_key, is_listed
from ecogsafe.stores.protocol import Body, Buffer, Capabilities, ObjectInfo, OpenUpload, UploadedPart, replaced
from ecogsafe.stores.s3_errors import s3_errors
from ecogsafe.stores.s3_listing import listing_of, read_page
from ecogsafe.stores.s3_multipart import BEGIN_HEADERS, finish_body, finish_headers, finished, upload_id_of
from ecogsafe.stores.s3_thawing import request_thaw, thaw_of
from ecogsafe.stores.s3_wire import Wire, date_of
from ecogsafe.stores.thawing import Tier

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

    from ecogsafe.stores.s3_connect import Sdk
    from ecogsafe.stores.s3_receiving import Arriving

#: the only metadata of an object: ``x-amz-meta-ecogsafe-upload``
TOKEN_METADATA = "ecogsafe-upload"  # noqa: S105 (the name of a field)
_CHUNK_BYTES = 1 << 20
_MARKERS = ("KeyMarker", "UploadIdMarker")
_NO_STORE = "this server is no S3 store that can be trusted with data: use another"
_SSE = "x-amz-server-side-encryption"


class S3Store:
    """Objects of one bucket below one prefix (`ecogsafe.stores.protocol.Store`).

    Parameters
    ----------
    sdk
        Gives a boto3 S3 client that retries nothing (`ecogsafe.stores.s3_connect.connect` makes one); it is
        used by all threads.
    wire
        Carries the bytes of the same bucket's objects.
    prefix
        Without a slash at its ends; empty for the whole bucket.
    place
        Where the bucket is: the same for two stores that would be lost together.
    sse
        ``AES256``, ``aws:kms`` or ``aws:kms:<key id>``; None leaves it to the bucket.
    page_size
        Keys in one answer of a listing; None leaves it to the server.
    equal_parts
        See `Capabilities.equal_parts`.
    """

    #: limits: https://docs.aws.amazon.com/AmazonS3/latest/userguide/qfacts.html
    capabilities = Capabilities(
        min_part_bytes=5 << 20,
        max_part_bytes=5 << 30,
        max_parts=10_000,
        full_object_checksum=True,
        conditional_create=True,
        versioning=True,
        lists_parts=True,
        keeps_token=True,
    )

    def __init__(
        self,
        sdk: Sdk,
        wire: Wire,
        bucket: str,
        prefix: str = "",
        *,
        name: str | None = None,
        place: str | None = None,
        sse: str | None = None,
        page_size: int | None = None,
        equal_parts: bool = False,
    ) -> None:
        self._sdk = sdk
        self._wire = wire
        self._bucket = bucket
        self._prefix = f"{prefix}/" if prefix else ""
        self.url = f"s3://{bucket}/{prefix}" if prefix else f"s3://{bucket}"
        self.name = name or self.url
        self.place = place or f"s3://{bucket}"
        self.capabilities = replace(self.capabilities, equal_parts=equal_parts)
        self._page_size = page_size
        kind, _, key_id = (sse or "").partition("aws:kms:")
        self._sse = {_SSE: kind or "aws:kms"} if sse else {}
        self._sse |= {f"{_SSE}-aws-kms-key-id": key_id} if key_id else {}
        self._bucket_seen = False
        self._tells_checksum = True

    @property
    def _client(self) -> S3Client:
        return self._sdk.client()

    def _whole(self, key: str) -> str:
        check_key(key, store=self.url, prefix=self._prefix)
        return self._prefix + key

    def _where(self, key: str) -> dict[str, Any]:
        return {"Bucket": self._bucket, "Key": self._whole(key)}

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """See `Store.head`."""
        try:
            with s3_errors(self.url, key):
                answer = self._wire.head(self._whole(key))
        except ObjectMissingError:
            self._require_bucket()
            return None
        return self._info(key, self._length(answer), answer)

    def _length(self, answer: Mapping[str, Any]) -> int:
        length: int | None = answer.get("ContentLength")
        if length is None:
            raise StoreRefusedError(self.url, "the store does not tell how large an object is", next=_NO_STORE)
        return length

    def _require_bucket(self) -> None:
        """Tell a missing object from a missing bucket: the answers to HEAD look the same."""
        if self._bucket_seen:
            return
        try:
            with s3_errors(self.url):
                self._wire.head_bucket()
        except ObjectMissingError:
            raise StoreRefusedError(self.url, "there is no such bucket", next="create it or correct the URL") from None
        self._bucket_seen = True

    def _info(self, key: str, size: int, answer: Mapping[str, Any]) -> ObjectInfo:
        crc64 = crc64_from_text(answer.get("ChecksumCRC64NVME"))
        if answer.get("ChecksumType", "FULL_OBJECT") != "FULL_OBJECT":
            crc64 = None
        return ObjectInfo(
            key=key,
            size=size,
            crc64=crc64,
            etag=answer.get("ETag"),
            version_id=answer.get("VersionId"),
            storage_class=answer.get("StorageClass"),
            last_modified=answer.get("LastModified"),
            token=answer.get("Metadata", {}).get(TOKEN_METADATA),
            thaw=thaw_of(answer.get("StorageClass"), answer.get("Restore")),
            checked_at=utc_now(),
            store_date=_date(answer),
        )

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        asked = listing_of(self._prefix + prefix, self._page_size)
        while True:
            with s3_errors(self.url):
                data, date = self._wire.list(asked)
            page = read_page(data, store=self.url)
            for found in page.found:
                key = found.key.removeprefix(self._prefix)
                # Consoles mark an empty folder by an object whose name ends with a slash.
                if key and not key.endswith("/") and is_listed(key, prefix):
                    yield ObjectInfo(
                        key=key,
                        size=found.size,
                        etag=found.etag,
                        storage_class=found.storage_class,
                        last_modified=found.last_modified,
                        checked_at=utc_now(),
                        store_date=date_of(date),
                    )
            if page.next is None:
                return
            if page.next == asked.get("continuation-token"):
                raise StoreUnreachableError(self.url, "the listing does not go on")
            asked["continuation-token"] = page.next

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
        found = self._get(key, start, stop, etag)
        if found is None:
            return
        answer, body = found
        try:
            if start and not answer.get("ContentRange", "").startswith(f"bytes {start}-"):
                raise StoreRefusedError(self.url, "the store ignores which bytes are asked for", next=_NO_STORE)
            if etag is not None and answer.get("ETag", etag) != etag:
                raise replaced(f"{self.url}/{key}")
            length = self._length(answer)
            expected = length if stop is None else min(length, stop - start)
            most = _CHUNK_BYTES if into is None else len(into)
            while expected:
                with s3_errors(self.url, key):
                    data = body.piece(min(most, expected), into)
                if not data:
                    raise StoreUnreachableError(self.url, "an answer ended too early", next="run again")
                expected -= len(data)
                yield data
        finally:
            # Nothing happens where all was read: the connection is in the pool again.
            body.close()

    def _get(self, key: str, start: int, stop: int | None, etag: str | None) -> tuple[dict[str, Any], Arriving] | None:
        """Return the answer to GET and its body, None where the range lies behind the end of the object."""
        from botocore.exceptions import ClientError

        with s3_errors(self.url, key):
            try:
                return self._wire.get(self._whole(key), start=start, stop=stop, etag=etag)
            except ClientError as error:
                status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
                if status == 416:
                    return None
                if status == 412:
                    raise replaced(f"{self.url}/{key}") from error
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
        headers = self._kept(token, storage_class) | {
            "x-amz-checksum-crc64nvme": crc64_to_text(crc64),
            "x-amz-sdk-checksum-algorithm": "CRC64NVME",
        }
        if if_absent:
            headers["if-none-match"] = "*"
        size = body_size(body)
        with s3_errors(self.url, key):
            answer = self._wire.put(self._whole(key), body, size, headers=headers)
        return self._written(key, size, token, answer)

    def _kept(self, token: str, storage_class: str | None) -> dict[str, str]:
        """Return the headers of what is kept with a new object."""
        kept = {f"x-amz-meta-{TOKEN_METADATA}": token} | self._sse
        return kept | ({"x-amz-storage-class": storage_class} if storage_class else {})

    def _written(self, key: str, size: int, token: str, answer: dict[str, Any]) -> ObjectInfo:
        """Return what the store says of an object just written; asks again where the answer had no checksum.

        Raises
        ------
        StoreUnreachableError
            It does not have what it said it took.
        """
        info = self._info(key, size, answer | {"Metadata": {TOKEN_METADATA: token}})
        if info.crc64 is None and self._tells_checksum:
            told = self.head(key)
            if told is None or told.token not in (token, None):
                raise StoreUnreachableError(f"{self.url}/{key}", "the store took an object and does not have it")
            if told.token == token:
                self._tells_checksum = told.crc64 is not None
                return told
        return info

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """See `Store.begin_upload`."""
        headers = self._kept(token, storage_class) | BEGIN_HEADERS
        with s3_errors(self.url, key):
            _, body = self._wire.post(self._whole(key), b"", headers=headers, parameters={"uploads": ""})
        upload_id = upload_id_of(body)
        if upload_id is None:
            raise StoreRefusedError(self.url, "the store begins an upload without naming it", next=_NO_STORE)
        return upload_id

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        size = body_size(body)
        headers = {"x-amz-checksum-crc64nvme": crc64_to_text(crc64), "x-amz-sdk-checksum-algorithm": "CRC64NVME"}
        parameters = {"partNumber": str(number), "uploadId": upload_id}
        with s3_errors(self.url, key):
            answer = self._wire.put(self._whole(key), body, size, headers=headers, parameters=parameters)
        told = crc64_from_text(answer.get("ChecksumCRC64NVME"))
        if told not in (None, crc64):
            problem = "the store tells another checksum of a part than was sent"
            raise ChecksumRefusedError(f"{self.url}/{key}", problem, safe="The part is not counted")
        if "ETag" not in answer:
            raise StoreRefusedError(self.url, "the store acknowledges a part without an ETag", next=_NO_STORE)
        return UploadedPart(number=number, size=size, etag=answer["ETag"], crc64=told)

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """See `Store.list_parts`."""
        asked: dict[str, Any] = self._where(key) | {"UploadId": upload_id}
        if self._page_size is not None:
            asked["MaxParts"] = self._page_size
        parts: list[UploadedPart] = []
        while True:
            with s3_errors(self.url, key):
                answer = self._client.list_parts(**asked)
            parts += [
                UploadedPart(
                    number=part["PartNumber"],
                    size=part["Size"],
                    etag=part["ETag"],
                    crc64=crc64_from_text(part.get("ChecksumCRC64NVME")),
                )
                for part in answer.get("Parts", ())
            ]
            if not answer.get("IsTruncated"):
                return tuple(parts)
            asked["PartNumberMarker"] = answer["NextPartNumberMarker"]

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """See `Store.finish_upload`."""
        with s3_errors(self.url, key):
            answer, body = self._wire.post(
                self._whole(key),
                finish_body(parts),
                headers=finish_headers(crc64, size),
                parameters={"uploadId": upload_id},
            )
        told = finished(body)
        if told is None:
            raise StoreUnreachableError(self.url, "the end of an upload was not acknowledged", next="run again")
        return self._written(key, size, token, answer | told)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        try:
            with s3_errors(self.url, key):
                self._client.abort_multipart_upload(**self._where(key), UploadId=upload_id)
        except UploadGoneError:
            return

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """See `Store.list_uploads`."""
        asked: dict[str, Any] = {"Bucket": self._bucket, "Prefix": self._prefix + prefix}
        if self._page_size is not None:
            asked["MaxUploads"] = self._page_size
        while True:
            with s3_errors(self.url):
                answer = self._client.list_multipart_uploads(**asked)
            for found in answer.get("Uploads", ()):
                key = found["Key"].removeprefix(self._prefix)
                yield OpenUpload(key=key, upload_id=found["UploadId"], started=found.get("Initiated"))
            if not answer.get("IsTruncated"):
                return
            # Exactly what the server gave: SeaweedFS 4.48 names the upload only, and with a key added finds none.
            told: Mapping[str, Any] = dict(answer)
            given = {name: told[f"Next{name}"] for name in _MARKERS if told.get(f"Next{name}")}
            if not given or all(asked.get(name) == marker for name, marker in given.items()):
                raise StoreUnreachableError(self.url, "the listing of open uploads does not go on")
            asked |= given

    def request_thaw(self, key: str, *, tier: Tier, days: int) -> None:
        """See `ecogsafe.stores.thawing.ThawingStore`."""
        with s3_errors(self.url, key):
            request_thaw(self._client, self._bucket, self._whole(key), tier=tier, days=days, store=self.url, item=key)

    def close(self) -> None:
        """See `Store.close`."""
        self._wire.close()
        self._sdk.close()


def _date(answer: Mapping[str, Any]) -> datetime | None:
    """Return the store's clock: the ``Date`` header of its answer."""
    return date_of(answer.get("ResponseMetadata", {}).get("HTTPHeaders", {}).get("date"))
