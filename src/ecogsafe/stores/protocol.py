"""What a store is: the contract that every kind of place, and every wrapper around one, keeps.

There is no delete. A store is asked by *keys*: text with ``/`` between its components, relative to the
prefix of the store's URL (`ecogsafe.stores.keys.check_key` says which texts are keys).
Every method may be called from several threads at once. What goes wrong is one of ours
(`ecogsafe.core.errors`): `StoreUnreachableError` (trying again can help), `StoreRefusedError`,
`StoreFullError`, and those named below.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol, TypeAlias

from ecogsafe.core.errors import ObjectReplacedError
from ecogsafe.stores.thawing import Thaw

#: Bytes in memory; a body may be several, one after the other, so that nothing is joined for sending.
Buffer: TypeAlias = bytes | bytearray | memoryview
Body: TypeAlias = Buffer | Sequence[Buffer]

#: Keys below this are ours alone; `Store.list` shows them only to a prefix that begins with it.
OWN_PREFIX = "_ecogsafe/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Capabilities:
    """Facts about a store: limits in bytes, and what it can promise."""

    #: least size of every part but the last
    min_part_bytes: int
    max_part_bytes: int
    max_parts: int
    #: it tells a CRC64NVME over the whole object: computed by itself, or vouched for by its own records
    full_object_checksum: bool
    #: a write with ``if_absent`` is refused by the store itself when the key exists
    conditional_create: bool
    #: it may give version ids
    versioning: bool
    lists_parts: bool
    #: it keeps the ``ecogsafe-upload`` token beside an object; where not, ``token`` is always None
    keeps_token: bool
    #: every part but the last must have the same size, as those of files have, and those of archives have not
    equal_parts: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ObjectInfo:
    """What a store says about one object; None where it does not say."""

    key: str
    size: int
    #: CRC64NVME over the whole object as the *store* computed it, never ours; on Azure, which computes none,
    #: that of the blocks in its own list, each of which it took by a checksum of its own
    crc64: int | None = None
    #: changes when the object is replaced; otherwise means nothing
    etag: str | None = None
    version_id: str | None = None
    storage_class: str | None = None
    last_modified: datetime | None = None
    #: the object's metadata ``ecogsafe-upload``
    token: str | None = None
    #: of a cold object, from `Store.head`; None for one that can be read at once
    thaw: Thaw | None = None
    #: our clock when the answer came
    checked_at: datetime | None = None
    #: the store's clock in that answer
    store_date: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class UploadedPart:
    """A part that the store acknowledged."""

    #: from 1
    number: int
    size: int
    etag: str
    crc64: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenUpload:
    """An upload in parts that was neither finished nor aborted."""

    key: str
    upload_id: str
    started: datetime | None = None


def replaced(item: str) -> ObjectReplacedError:
    """Return the error for an object that is no longer the one that was looked at."""
    return ObjectReplacedError(
        item,
        "is another object by now than when it was looked at",
        safe="Nothing of the other one was put in place",
        next="see who else writes there, then run the same command again",
    )


class Store(Protocol):
    """A place for objects."""

    #: as the user wrote it, without credentials: ``s3://bucket/prefix``, ``file:///path``
    @property
    def url(self) -> str: ...

    #: what a person calls it: the destination's name in the config, else the URL
    @property
    def name(self) -> str: ...

    #: two stores with the same place would be lost together: the bucket, or the device of a folder
    @property
    def place(self) -> str: ...

    @property
    def capabilities(self) -> Capabilities: ...

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        """Return what is stored under ``key``, None where there is nothing.

        With ``checksum`` a store that has no checksum at hand makes one: a folder reads the file past the
        page cache. Others answer the same either way.
        """
        ...

    def list(self, prefix: str = "") -> Iterator[ObjectInfo]:
        """Yield every object whose key begins with ``prefix``, each once, in any order.

        A write that was acknowledged before the call is shown. ``crc64`` and ``token`` are None.
        """
        ...

    def read(
        self,
        key: str,
        start: int = 0,
        stop: int | None = None,
        *,
        etag: str | None = None,
        into: memoryview | None = None,
    ) -> Iterator[Buffer]:
        """Yield the bytes ``[start, stop)`` of an object in chunks; what lies behind its end is not there.

        Parameters
        ----------
        etag
            What `head` or `list` told: only that very object is read. None: whatever is there.
        into
            Memory for the chunks to lie in, each until the next one is asked for; a store may do without.

        Raises
        ------
        ObjectMissingError
            Nothing under ``key``.
        ObjectReplacedError
            Another object than that of ``etag`` stands there.
        StillColdError
            The object must be thawed first.
        StoreUnreachableError
            Also when the body ends before its announced length: never a short answer without an error.
        """
        ...

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
        """Store ``body`` in one request; after the return it is durable.

        Raises
        ------
        ObjectExistsError
            ``if_absent``, and the key exists; the object there is as it was.
        ChecksumRefusedError
            The CRC64NVME of the bytes that arrived is not ``crc64``; nothing was stored.
        """
        ...

    def begin_upload(self, key: str, *, token: str, size: int, storage_class: str | None = None) -> str:
        """Return the id of a new upload in parts; nothing is visible under ``key`` until it is finished.

        Parameters
        ----------
        size
            The most bytes that the object can have; `finish_upload` says how many it has.
        """
        ...

    def put_part(self, key: str, upload_id: str, number: int, body: Body, *, offset: int, crc64: int) -> UploadedPart:
        """Store part ``number`` (from 1), which begins at byte ``offset`` of the object; may be repeated.

        Raises
        ------
        ChecksumRefusedError
            The bytes that arrived are not those of ``crc64``.
        UploadGoneError
            The store does not know the upload (any more).
        """
        ...

    def list_parts(self, key: str, upload_id: str) -> tuple[UploadedPart, ...]:
        """Return the acknowledged parts by number.

        Raises
        ------
        UploadGoneError
            The store does not know the upload (any more).
        """
        ...

    def finish_upload(
        self, key: str, upload_id: str, parts: Sequence[UploadedPart], *, crc64: int, size: int, token: str
    ) -> ObjectInfo:
        """Make the object out of ``parts``, in the order of their numbers; never replaces.

        Raises
        ------
        ObjectExistsError
            The key exists; the upload stays open.
        ChecksumRefusedError
            The whole is not ``crc64``; nothing is visible under ``key``.
        UploadGoneError
            The store does not know the upload: perhaps it was finished and the answer was lost, so HEAD.
        StoreRefusedError
            A part is missing, changed or too small.
        """
        ...

    def abort_upload(self, key: str, upload_id: str) -> None:
        """Forget an upload and its parts; nothing happens where there is none (any more)."""
        ...

    def list_uploads(self, prefix: str = "") -> Iterator[OpenUpload]:
        """Yield the open uploads whose key begins with ``prefix``."""
        ...

    def close(self) -> None:
        """Give back connections; the store is not used afterwards."""
        ...
