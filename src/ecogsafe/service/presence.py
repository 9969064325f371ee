"""What of an outgoing file is already at a store: one LIST a subject, the catalogue, and HEAD only in doubt."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from ecogsafe.catalog import copies
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.files import FileRow
from ecogsafe.service.connections import Connection
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.stores.protocol import ObjectInfo

#: `version_of`, taken apart
_VERSION = re.compile(r"(?P<stem>.+)~(?P<number>[2-9]|[1-9][0-9]+)(?P<extension>\.[^./]+)")


class Need(StrEnum):
    """What is to be done with a file at a store."""

    SEND = "send"
    #: the catalogue knows a copy, and it is no longer there: it is sent again
    LOST = "lost"
    PRESENT = "present"
    #: objects stand there by name; only reading the file tells whether one of them is the same
    READ = "read"
    #: all of them are other contents
    DIFFERENT = "different"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An object that stands under the name of a file, or of a version of it."""

    key: str
    info: ObjectInfo
    #: what the catalogue knows under that key; None for an object of somebody else
    copy: CopyRow | None
    #: the content that the copy is of
    file: FileRow | None

    @property
    def is_trusted(self) -> bool:
        """True if it is still the object that the catalogue speaks of, and nothing is wrong with that."""
        if self.copy is None or self.file is None or self.copy.bad_at is not None:
            return False
        other_tag = self.info.etag and self.copy.etag and self.info.etag != self.copy.etag
        return self.info.size == self.copy.size and not other_tag

    def is_of(self, file: OutgoingFile) -> bool:
        """Return whether it holds ``file`` as far as size and time tell."""
        row = self.file
        if row is None or not self.is_trusted or row.superseded_at is not None or row.freed_at is not None:
            return False
        # an adopted object that nobody has read yet may hold anything
        if row.sha256 is None:
            return False
        return (row.size, row.mtime_ns) == (file.status.st_size, file.status.st_mtime_ns)


@dataclass(frozen=True, slots=True)
class Presence:
    """The judgement of one file."""

    need: Need
    #: where it stands, or where it is to go
    key: str
    #: what is to be compared, the newest version first
    candidates: tuple[Candidate, ...] = ()


class Listing:
    """What a store holds of each subject, and what the catalogue knows of that, by key."""

    def __init__(self, catalog: Catalog, connection: Connection) -> None:
        self._catalog = catalog
        self._connection = connection
        self._objects: dict[str, ObjectInfo] = {}
        self._known: dict[str, tuple[CopyRow, FileRow]] = {}
        #: numbers of the versions of a key that are, or once were, there
        self._versions: dict[str, set[int]] = {}
        self._read: set[str] = set()

    def read(self, prefix: str, subject: str) -> None:
        """List ``prefix`` once, and what is known of ``subject``."""
        if subject not in self._read:
            with self._catalog.read() as tx:
                pairs = copies.copies_in_store(tx, self._connection.store_id, subject)
            self._known.update({copy.key: (copy, file) for copy, file in pairs})
            self._note_versions(copy.key for copy, _ in pairs)
            self._read.add(subject)
        if prefix not in self._read:
            found = {info.key: info for info in self._connection.store.list(prefix)}
            self._objects.update(found)
            self._note_versions(found)
            self._read.add(prefix)

    def _note_versions(self, keys: Iterable[str]) -> None:
        for key in keys:
            base, number = base_of(key)
            self._versions.setdefault(base, set()).add(number)

    def is_known(self, key: str) -> bool:
        """Return whether a copy was once recorded under ``key``."""
        return key in self._known

    def candidates(self, key: str) -> tuple[Candidate, ...]:
        """Return what stood under ``key`` and its versions when it was listed, the newest version first."""
        keys = [version_of(key, number) for number in sorted(self._versions.get(key, ()), reverse=True)]
        return tuple(
            Candidate(k, self._objects[k], *self._known.get(k, (None, None))) for k in keys if k in self._objects
        )

    def next_version(self, key: str) -> str:
        """Return ``<name>~2.<ext>``, or with the first number above all that are or were there."""
        return version_of(key, max(self._versions.get(key, {1})) + 1)


def version_of(key: str, number: int) -> str:
    """Return the key of version ``number`` of ``key``: ``<name>~2.<ext>`` for 2; the ``.age`` stays last."""
    if number == 1:
        return key
    plain, age = (key[:-4], ".age") if key.endswith(".age") else (key, "")
    stem, dot, extension = plain.rpartition(".")
    return f"{stem}~{number}{dot}{extension}{age}"


def base_of(key: str) -> tuple[str, int]:
    """Return the key of which ``key`` is a version, and its number; 1 for the first."""
    plain, age = (key[:-4], ".age") if key.endswith(".age") else (key, "")
    match = _VERSION.fullmatch(plain)
    return (match["stem"] + match["extension"] + age, int(match["number"])) if match else (key, 1)


def key_for(file: OutgoingFile, *, sealed: bool) -> str:
    """Return the object key of a file below the store's prefix (DESIGN 3)."""
    return f"{file.path}.age" if sealed else file.path


def path_of_key(key: str) -> tuple[str, bool]:
    """Return the path below OUT's tree that ``key`` stands for, and whether the object is sealed."""
    base, _ = base_of(key)
    return base.removesuffix(".age"), base.endswith(".age")


def judge(listing: Listing, file: OutgoingFile, key: str) -> Presence:
    """Return what is to be done with ``file`` at the store, as far as names, sizes and times tell."""
    candidates = listing.candidates(key)
    same = next((c for c in candidates if c.is_of(file)), None)
    if same is not None:
        return Presence(Need.PRESENT, same.key)
    if candidates:
        return Presence(Need.READ, key, candidates)
    return Presence(Need.LOST if listing.is_known(key) else Need.SEND, key)
