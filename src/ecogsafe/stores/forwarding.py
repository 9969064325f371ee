"""A store around another one that changes nothing: wrappers override what they are for."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from ecogsafe.stores.protocol import Body, Buffer, Capabilities, ObjectInfo, OpenUpload, Store, UploadedPart


class Forwarding:
    """`ecogsafe.stores.protocol.Store` that hands every call to ``inner``."""

    def __init__(self, inner: Store) -> None:
        self.inner = inner

    @property
    def url(self) -> str:
        """See `Store.url`."""
        return self.inner.url

    @property
    def name(self) -> str:
        """See `Store.name`."""
        return self.inner.name

    @property
    def place(self) -> str:
        """See `Store.place`."""
        return self.inner.place

    @property
    def capabilities(self) -> Capabilities:
        """See `Store.capabilities`."""
        return self.inner.capabilities

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """See `Store.head`."""
        return self.inner.head(key, checksum=checksum)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        return self.inner.list(prefix)

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
        return self.inner.read(key, start, stop, etag=etag, into=into)

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
        return self.inner.put(key, body, crc64=crc64, token=token, storage_class=storage_class, if_absent=if_absent)

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """See `Store.begin_upload`."""
        return self.inner.begin_upload(key, token=token, size=size, storage_class=storage_class)

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        return self.inner.put_part(key, upload_id, number, body, offset=offset, crc64=crc64)

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """See `Store.list_parts`."""
        return self.inner.list_parts(key, upload_id)

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """See `Store.finish_upload`."""
        return self.inner.finish_upload(key, upload_id, parts, crc64=crc64, size=size, token=token)

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        self.inner.abort_upload(key, upload_id)

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """See `Store.list_uploads`."""
        return self.inner.list_uploads(prefix)

    def close(self) -> None:
        """See `Store.close`."""
        self.inner.close()
