"""Stores that lie, each in one way: what a broken server, disk or wrapper may do without an error."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from ecogsafe.core.clock import utc_now
from ecogsafe.stores.bodies import body_crc64, body_size
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import Body, ObjectInfo, UploadedPart


class ShortRead(MemoryStore):
    """Leaves out the last byte of what is read, without an error."""

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        yield b"".join(super().read(key, start, stop))[:-1]


class WrongByte(MemoryStore):
    """Gives back large objects with one bit changed."""

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        data = bytearray(b"".join(super().read(key, start, stop)))
        if len(data) > 65_536:
            data[len(data) // 2] ^= 4
        yield bytes(data)


class StaleList(MemoryStore):
    """Lists what was there before the newest write."""

    def __init__(self) -> None:
        super().__init__()
        self._seen: tuple[ObjectInfo, ...] = ()

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
        self._seen = (*super().list("_ecogsafe/"), *super().list())
        return super().put(key, body, crc64=crc64, token=token, storage_class=storage_class, if_absent=if_absent)

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        return (info for info in self._seen if info.key.startswith(prefix))


class DroppedPart(MemoryStore):
    """Acknowledges the second part of an upload and makes the object without it, calling it whole."""

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        kept = sorted((part for part in parts if part.number in (1, 3)), key=lambda part: part.number)
        pieces = [self._uploads[upload_id].parts[part.number][1] for part in kept]
        whole = super().finish_upload(
            key, upload_id, kept, crc64=body_crc64(pieces), size=body_size(pieces), token=token
        )
        return replace(whole, crc64=crc64, size=size)


class Replacing(MemoryStore):
    """Ignores ``if_absent``: the last write wins."""

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
        return super().put(key, body, crc64=crc64, token=token, storage_class=storage_class, if_absent=False)


class Credulous(MemoryStore):
    """Takes every checksum as it is told and repeats it as its own."""

    def _received(self, key: str, body: Body, crc64: int) -> bytes:
        return super()._received(key, body, body_crc64(body))


class Forgetful(MemoryStore):
    """Says "stored" and keeps nothing."""

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
        return ObjectInfo(key=key, size=body_size(body), crc64=crc64, etag="e", token=token, checked_at=utc_now())


class Forgetting(MemoryStore):
    """Leaves out the last part when it lists an upload's parts."""

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        return super().list_parts(key, upload_id)[:-1]


class Undead(MemoryStore):
    """Keeps an aborted upload open."""

    def abort_upload(self, key: str, upload_id: str) -> None:
        return None


class Anonymous(MemoryStore):
    """Loses the token while it claims to keep it."""

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        info = super().head(key, checksum=checksum)
        return None if info is None else replace(info, token=None)


class Deaf(MemoryStore):
    """Ignores which bytes are asked for and gives the whole object."""

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        return super().read(key)


class Guessing(MemoryStore):
    """Tells a checksum of the whole object that is not its checksum."""

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        info = super().head(key, checksum=checksum)
        return None if info is None or info.crc64 is None else replace(info, crc64=info.crc64 ^ 1)


class Inventing(MemoryStore):
    """Says of every key that there is an object."""

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        return super().head(key, checksum=checksum) or ObjectInfo(key=key, size=0)


class Heedless(MemoryStore):
    """Reads whatever stands under the key, whichever object was asked for."""

    def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
        return super().read(key, start, stop)


#: the seven of the design, then those met on real servers; each with a check that it must fail
LIARS: dict[type[MemoryStore], str] = {
    ShortRead: "objects_come_back",
    StaleList: "listing_is_whole",
    WrongByte: "objects_come_back",
    DroppedPart: "parts_become_one_object",
    Replacing: "put_never_replaces",
    Credulous: "false_checksum_is_refused",
    Forgetful: "objects_come_back",
    Forgetting: "upload_is_resumed_from_its_list",
    Undead: "abort_forgets",
    Anonymous: "checksum_and_token_are_kept",
    Deaf: "ranges_are_exact",
    Guessing: "checksum_and_token_are_kept",
    Inventing: "absent_key_is_told",
    Heedless: "etag_follows_the_object",
}
