"""What of an outgoing file is already at a store: one LIST a subject, the catalogue, and HEAD only in doubt."""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from ecogsafe.catalog import copies, files
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.files import FileRow
from ecogsafe.service.connections import Connection
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.stores.protocol import ObjectInfo

_VERSION = re.compile(r"(?P<stem>.+)~(?P<number>[2-9]|[1-9]\d+)(?P<extension>\.[^./]+)")


class Need(StrEnum):
    """What is to be done with a file at a store."""

    SEND = "send"
    PRESENT = "present"
    #: the object is there by name; only reading the file tells whether it is the same
    COMPARE = "compare"
    #: an object stands there that the catalogue does not know
    ASK = "ask"
    #: the catalogue knows a copy, and it is no longer there
    LOST = "lost"


@dataclass(frozen=True, slots=True)
class Presence:
    """The judgement of one file, with the copy it rests on."""

    need: Need
    copy: CopyRow | None = None
    file: FileRow | None = None


class Listing:
    """What a store holds below a prefix, by key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._objects: dict[str, ObjectInfo] = {}
        self._listed: set[str] = set()

    def read(self, prefix: str) -> None:
        """List ``prefix`` once."""
        if prefix not in self._listed:
            self._objects.update({info.key: info for info in self._connection.store.list(prefix)})
            self._listed.add(prefix)

    def get(self, key: str) -> ObjectInfo | None:
        """Return what stood under ``key`` when it was listed."""
        return self._objects.get(key)

    def next_version(self, key: str) -> str:
        """Return ``<name>~2.<ext>``, or the first higher number that is free (the ``.age`` stays last)."""
        plain, age = (key[:-4], ".age") if key.endswith(".age") else (key, "")
        stem, dot, extension = plain.rpartition(".")
        number = 2
        while (versioned := f"{stem}~{number}{dot}{extension}{age}") in self._objects:
            number += 1
        return versioned


def key_for(file: OutgoingFile, *, sealed: bool) -> str:
    """Return the object key of a file below the store's prefix (DESIGN 3)."""
    return f"{file.path}.age" if sealed else file.path


def path_of_key(key: str) -> tuple[str, bool]:
    """Return the path below OUT's tree that ``key`` stands for, and whether the object is sealed."""
    sealed = key.endswith(".age")
    path = key.removesuffix(".age")
    match = _VERSION.fullmatch(path)
    return (match["stem"] + match["extension"] if match else path), sealed


def judge(catalog: Catalog, connection: Connection, listing: Listing, file: OutgoingFile, key: str) -> Presence:
    """Return what is to be done with ``file`` at the store."""
    there = listing.get(key)
    with catalog.read() as tx:
        copy = copies.copy_by_key(tx, connection.store_id, key)
        row = files.file(tx, copy.file_id) if copy else None
    if copy is None or row is None:
        return Presence(Need.SEND if there is None else Need.ASK)
    if there is None:
        return Presence(Need.LOST, copy, row)
    replaced = there.size != copy.size or (there.etag and copy.etag and there.etag != copy.etag)
    if replaced or copy.bad_at is not None:
        return Presence(Need.ASK, copy, row)
    same_stat = (row.size, row.mtime_ns) == (file.status.st_size, file.status.st_mtime_ns)
    return Presence(Need.PRESENT if same_stat else Need.COMPARE, copy, row)
