"""A folder as a store: a disk, a NAS. A file gets its name only after it was read back and is right."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from ecogsafe.core.clock import utc_now
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    ObjectExistsError,
    ObjectMissingError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.stores import directory_uploads as uploads
from ecogsafe.stores.bodies import body_size, buffers, crc64_of, leaving
from ecogsafe.stores.directory_access import Access
from ecogsafe.stores.directory_files import (
    CHUNK_BYTES,
    chunks,
    chunks_into,
    crc64_from_disk,
    disk_errors,
    is_file_of,
    lock,
    publish,
    temporary_file,
    write_all,
)
from ecogsafe.stores.directory_tree import Tree
from ecogsafe.stores.keys import TEMPORARY_PREFIX, is_listed, key_problem
from ecogsafe.stores.protocol import Body, Buffer, Capabilities, ObjectInfo, OpenUpload, UploadedPart, replaced


class DirectoryStore:
    """Objects as files below one folder (`ecogsafe.stores.protocol.Store`).

    It keeps no metadata (``token`` is None); what proves a copy is size and checksum read back. The
    folder must exist: a mount that vanished is not made anew. Links inside it are refused.

    Parameters
    ----------
    folder
        The root; every key is a path below it.
    folder_mode, file_mode
        Permissions of what is made, before the process's umask.
    access
        Group and mode that what is made gets in the end, whatever the umask is.

    Raises
    ------
    StoreUnreachableError
        ``folder`` is not there, here and in every method.
    StoreRefusedError
        This machine does not know the group of ``access``.
    """

    capabilities = Capabilities(
        min_part_bytes=1,
        max_part_bytes=1 << 40,
        max_parts=1_000_000,
        full_object_checksum=True,
        conditional_create=True,
        versioning=False,
        lists_parts=True,
        keeps_token=False,
    )

    def __init__(
        self,
        folder: Path,
        *,
        url: str | None = None,
        name: str | None = None,
        folder_mode: int = 0o770,
        file_mode: int = 0o660,
        access: Access | None = None,
    ) -> None:
        self.url = url or folder.absolute().as_uri()
        self.name = name or self.url
        self._tree = Tree(folder, self.url, folder_mode, access)
        self._access = access
        if access is not None:
            access.group_id(self.url)
        self._file_mode = file_mode
        self.place = f"device:{self._tree.device:x}"

    def _info(self, key: str, there: os.stat_result, crc64: int | None) -> ObjectInfo:
        return ObjectInfo(
            key=key,
            size=there.st_size,
            crc64=crc64,
            etag=_etag(there),
            last_modified=datetime.fromtimestamp(there.st_mtime, UTC),
            checked_at=utc_now(),
        )

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """See `Store.head`."""
        fd = self._tree.open(key)
        if fd is None:
            return None
        try:
            with disk_errors(self.url):
                return self._info(key, os.fstat(fd), crc64_from_disk(fd)[1] if checksum else None)
        finally:
            os.close(fd)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """See `Store.list`."""
        for key, entry in self._tree.walk(prefix):
            if entry.name.startswith(TEMPORARY_PREFIX) or not is_listed(key, prefix) or key_problem(key):
                continue
            try:
                there = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            yield self._info(key, there, None)

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
        fd = self._tree.open(key)
        if fd is None:
            raise ObjectMissingError(f"{self.url}/{key}", "is not there")
        try:
            with disk_errors(self.url):
                there = os.fstat(fd)
            if etag not in (None, _etag(there)):
                raise replaced(f"{self.url}/{key}")
            size = there.st_size
            end = size if stop is None else min(stop, size)
            position = start
            pieces = chunks(fd, start, end) if into is None else chunks_into(fd, start, end, into)
            while True:
                with disk_errors(self.url):
                    piece = next(pieces, None)
                if piece is None:
                    break
                position += len(piece)
                yield piece
            if position < end:
                raise StoreUnreachableError(self.url, "a file became shorter while it was read")
        finally:
            os.close(fd)

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
        target = self._tree.locate(key)
        with disk_errors(self.url):
            self._tree.prepare(target.parent)
            self._refuse_occupied(key, target, if_absent=if_absent)
            with temporary_file(target.parent, self._file_mode) as (fd, temporary):
                write_all(fd, leaving(body, CHUNK_BYTES), 0)
                return self._publish(key, fd, temporary, target, crc64, body_size(body), replace=not if_absent)

    def _refuse_occupied(self, key: str, target: Path, *, if_absent: bool) -> None:
        try:
            mode = target.lstat().st_mode
        except FileNotFoundError:
            return
        if stat.S_ISDIR(mode):
            raise StoreRefusedError(self.url, "a folder lies where a file is needed", next="rename the file")
        if if_absent:
            raise self._exists(key)

    def _exists(self, key: str) -> ObjectExistsError:
        return ObjectExistsError(f"{self.url}/{key}", "is already there", safe="It was not changed")

    def _publish(
        self, key: str, fd: int, temporary: Path, target: Path, crc64: int, size: int, *, replace: bool
    ) -> ObjectInfo:
        if self._access is not None:
            self._access.give(fd, self.url)
        os.fsync(fd)
        if crc64_from_disk(fd) != (size, crc64):
            raise ChecksumRefusedError(
                f"{self.url}/{key}",
                "what came back from the disk differs from what was sent",
                safe="It got no name",
            )
        try:
            publish(fd, temporary, target, replace=replace)
        except FileExistsError:
            raise self._exists(key) from None
        return self._info(key, os.fstat(fd), crc64)

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """See `Store.begin_upload`; refuses at once what cannot fit."""
        target = self._tree.locate(key)
        with disk_errors(self.url):
            self._tree.prepare(target.parent)
            room = os.statvfs(target.parent)
            if room.f_blocks and size > room.f_bavail * room.f_frsize:
                raise StoreFullError(self.url, "too little space is left for a file", next="make room and run again")
            return uploads.create(target.parent, key, size, self._file_mode)

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """See `Store.put_part`."""
        target = self._tree.locate(key)
        with disk_errors(self.url):
            upload = uploads.read(target.parent, key, upload_id, store=self.url)
            views = buffers(body)
            part = uploads.AckedPart(number=number, offset=offset, size=sum(map(len, views)), crc64=crc64)
            if offset + part.size > upload.size:
                raise StoreRefusedError(self.url, "a part reaches behind the end of its file")
            if crc64_of(views) != crc64:
                raise ChecksumRefusedError(f"{self.url}/{key}", "a part differs from its checksum")
            fd = self._open_parts(upload, fcntl.LOCK_SH)
            try:
                write_all(fd, leaving(body, CHUNK_BYTES), offset)
                os.fsync(fd)
                uploads.acknowledge(upload, part)
            finally:
                os.close(fd)
        return part.as_uploaded()

    def _open_parts(self, upload: uploads.Upload, kind: int) -> int:
        """Return the file that fills up, locked against being published while a part is written."""
        try:
            fd = os.open(upload.part_file, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            raise uploads.gone(self.url) from None
        lock(fd, kind)
        if not is_file_of(fd, upload.part_file):
            os.close(fd)
            raise uploads.gone(self.url)
        return fd

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """See `Store.list_parts`."""
        target = self._tree.locate(key)
        with disk_errors(self.url):
            parts = uploads.parts_of(target.parent, key, upload_id, store=self.url)
        return tuple(part.as_uploaded() for part in parts)

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """See `Store.finish_upload`; reads the whole file back once."""
        target = self._tree.locate(key)
        with disk_errors(self.url):
            upload = uploads.read(target.parent, key, upload_id, store=self.url)
            self._refuse_gaps(upload, parts, size)
            self._refuse_occupied(key, target, if_absent=True)
            fd = self._open_parts(upload, fcntl.LOCK_EX)
            try:
                os.ftruncate(fd, size)
                info = self._publish(key, fd, upload.part_file, target, crc64, size, replace=False)
            finally:
                os.close(fd)
            uploads.forget(target.parent, upload_id)
        return info

    def _refuse_gaps(self, upload: uploads.Upload, parts: Sequence[UploadedPart], size: int) -> None:
        end = 0
        for part in sorted(parts, key=lambda part: part.number):
            acked = upload.parts.get(part.number)
            if acked is None or acked.as_uploaded().etag != part.etag or acked.offset != end:
                raise StoreRefusedError(self.url, "a part is missing, changed or out of place")
            end += acked.size
        if end != size or size > upload.size:
            raise StoreRefusedError(self.url, "the parts do not add up to the file")

    def abort_upload(self, key: str, upload_id: str) -> None:
        """See `Store.abort_upload`."""
        target = self._tree.locate(key)
        with disk_errors(self.url):
            uploads.forget(target.parent, upload_id)

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """See `Store.list_uploads`."""
        folder = prefix[: prefix.rfind("/") + 1]
        for _, entry in self._tree.walk(folder):
            if not uploads.is_journal(entry.name):
                continue
            with disk_errors(self.url):
                upload = uploads.open_upload(Path(entry.path))
            if upload is not None and upload.key.startswith(prefix):
                yield upload

    def close(self) -> None:
        """See `Store.close`; a folder holds nothing open."""


def _etag(there: os.stat_result) -> str:
    return f"{there.st_mtime_ns:x}-{there.st_size:x}"
