"""A store in memory, with every promise of the contract kept; for tests and for trying things."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    ObjectExistsError,
    ObjectMissingError,
    StoreRefusedError,
    UploadGoneError,
)
from ecogsafe.stores.bodies import body_crc64, buffers
from ecogsafe.stores.keys import check_key, is_listed
from ecogsafe.stores.protocol import Body, Buffer, Capabilities, ObjectInfo, OpenUpload, UploadedPart, replaced

_CHUNK_BYTES = 1 << 16


@dataclass(slots=True)
class _Upload:
    key: str
    token: str
    storage_class: str | None
    started: datetime
    parts: dict[int, tuple[UploadedPart, bytes]] = field(default_factory=dict)


class MemoryStore:
    """Objects in a dictionary (`ecogsafe.stores.protocol.Store`).

    Parameters
    ----------
    min_part_bytes
        Least size of every part but the last; 5 MiB makes it as strict as S3.
    """

    def __init__(self, url: str = "memory://objects", *, name: str | None = None, min_part_bytes: int = 1) -> None:
        self.url = url
        self.name = name or url
        self.place = url
        self.capabilities = Capabilities(
            min_part_bytes=min_part_bytes,
            max_part_bytes=5 << 30,
            max_parts=10_000,
            full_object_checksum=True,
            conditional_create=True,
            versioning=False,
            lists_parts=True,
            keeps_token=True,
        )
        self._lock = threading.Lock()
        self._objects: dict[str, tuple[ObjectInfo, bytes]] = {}
        self._uploads: dict[str, _Upload] = {}

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """See `Store.head`."""
        check_key(key, store=self.url)
        with self._lock:
            found = self._objects.get(key)
        return replace(found[0], checked_at=utc_now()) if found else None

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        with self._lock:
            infos = [info for info, _ in self._objects.values()]
        for info in infos:
            if is_listed(info.key, prefix):
                yield replace(info, crc64=None, token=None, checked_at=utc_now())

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
        check_key(key, store=self.url)
        with self._lock:
            found = self._objects.get(key)
        if found is None:
            raise ObjectMissingError(f"{self.url}/{key}", "is not there")
        if etag not in (None, found[0].etag):
            raise replaced(f"{self.url}/{key}")
        view = memoryview(found[1])[start:stop]
        for position in range(0, len(view), _CHUNK_BYTES):
            yield bytes(view[position : position + _CHUNK_BYTES])

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
        check_key(key, store=self.url)
        return self._create(key, self._received(key, body, crc64), crc64, token, storage_class, if_absent=if_absent)

    def _received(self, key: str, body: Body, crc64: int) -> bytes:
        if body_crc64(body) != crc64:
            raise ChecksumRefusedError(f"{self.url}/{key}", "the checksum does not fit the bytes")
        return b"".join(buffers(body))

    def _create(
        self, key: str, data: bytes, crc64: int, token: str, storage_class: str | None, *, if_absent: bool
    ) -> ObjectInfo:
        now = utc_now()
        info = ObjectInfo(
            key=key,
            size=len(data),
            crc64=crc64,
            etag=secrets.token_hex(8),
            storage_class=storage_class,
            last_modified=now,
            token=token,
            checked_at=now,
            store_date=now,
        )
        with self._lock:
            if if_absent and key in self._objects:
                raise ObjectExistsError(f"{self.url}/{key}", "is already there", safe="It was not changed")
            self._objects[key] = (info, data)
        return info

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """See `Store.begin_upload`."""
        check_key(key, store=self.url)
        upload_id = secrets.token_hex(8)
        with self._lock:
            self._uploads[upload_id] = _Upload(key, token, storage_class, utc_now())
        return upload_id

    def _upload(self, key: str, upload_id: str) -> _Upload:
        check_key(key, store=self.url)
        upload = self._uploads.get(upload_id)
        if upload is None or upload.key != key:
            raise UploadGoneError(self.url, "the upload is no longer open there", safe="Other objects are intact")
        return upload

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        data = self._received(key, body, crc64)
        part = UploadedPart(number=number, size=len(data), etag=f"{crc64:016x}", crc64=crc64)
        with self._lock:
            self._upload(key, upload_id).parts[number] = (part, data)
        return part

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """See `Store.list_parts`."""
        with self._lock:
            parts = self._upload(key, upload_id).parts
            return tuple(parts[number][0] for number in sorted(parts))

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """See `Store.finish_upload`."""
        with self._lock:
            upload = self._upload(key, upload_id)
            wanted = sorted(parts, key=lambda part: part.number)
            kept = [upload.parts.get(part.number) for part in wanted]
        pieces = [found[1] for found, part in zip(kept, wanted, strict=True) if found and found[0].etag == part.etag]
        if len(pieces) != len(wanted) or sum(map(len, pieces)) != size:
            raise StoreRefusedError(self.url, "a part is missing or changed", next="run again")
        if any(len(piece) < self.capabilities.min_part_bytes for piece in pieces[:-1]):
            raise StoreRefusedError(self.url, "a part is too small")
        data = self._received(key, pieces, crc64)
        info = self._create(key, data, crc64, upload.token, upload.storage_class, if_absent=True)
        with self._lock:
            self._uploads.pop(upload_id, None)
        return info

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        check_key(key, store=self.url)
        with self._lock:
            self._uploads.pop(upload_id, None)

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """See `Store.list_uploads`."""
        with self._lock:
            found = [
                OpenUpload(key=upload.key, upload_id=upload_id, started=upload.started)
                for upload_id, upload in self._uploads.items()
                if upload.key.startswith(prefix)
            ]
        yield from found

    def close(self) -> None:
        """See `Store.close`; the objects stay."""
