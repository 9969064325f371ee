"""What an inventory asks of the catalogue, and what it notes: copies by key, listings by time, uploads by name."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import case, func, select, update

from ecogsafe.catalog import meta
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.rows import columns_of
from ecogsafe.catalog.schema import copies, files, intents, uploads
from ecogsafe.catalog.uploads import UploadRow

#: the reason of a copy that was removed on purpose, after its subject withdrew
REMOVED = "removed from the store after the subject withdrew"
#: what S3 calls the version of an object of a bucket without versions
NO_VERSION = "null"

_BATCH = 500
#: name in the table ``meta`` of the time of the last whole listing of a store
_LISTED_AT = "listed-at "
_COPY = columns_of(CopyRow, copies)
_FILE = columns_of(FileRow, files)
_UPLOAD = columns_of(UploadRow, uploads)

Pair = tuple[CopyRow, FileRow]


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the catalogue knows one store to hold of one subject in one storage class; older contents too."""

    subject: str
    storage_class: str | None
    copies: int
    #: of the objects
    bytes: int
    #: good copies by level
    stored: int
    checksum: int
    restored: int
    bad: int
    #: of the good copies: the oldest newest proof
    oldest_evidence: str | None
    #: of the good copies: the oldest and newest time a listing showed them; None where one was never listed
    oldest_seen: str | None
    newest_seen: str | None


def copies_by_key(tx: Transaction, store_id: str, keys: Sequence[str]) -> dict[str, Pair]:
    """Return what the catalogue knows under each of ``keys``."""
    found: dict[str, Pair] = {}
    for start in range(0, len(keys), _BATCH):
        here = (copies.c.store_id == store_id, copies.c.key.in_(keys[start : start + _BATCH]))
        found |= {pair[0].key: pair for pair in _pairs(tx, *here)}
    return found


def ids_in_store(tx: Transaction, store_id: str) -> list[int]:
    """Return the id of every copy in a store, by key."""
    query = select(copies.c.id).where(copies.c.store_id == store_id).order_by(copies.c.key)
    return list(tx.execute(query).scalars())


def copies_by_id(tx: Transaction, ids: Sequence[int]) -> list[Pair]:
    """Return these copies by key."""
    found: list[Pair] = []
    for start in range(0, len(ids), _BATCH):
        found += _pairs(tx, copies.c.id.in_(ids[start : start + _BATCH]))
    return sorted(found, key=lambda pair: pair[0].key)


def _pairs(tx: Transaction, *conditions: Any) -> Iterator[Pair]:
    query = select(*_COPY, *_FILE).join(files, files.c.id == copies.c.file_id).where(*conditions)
    for row in tx.execute(query):
        yield CopyRow(*row[: len(_COPY)]), FileRow(*row[len(_COPY) :])


def note_storage_class(tx: Transaction, copy_id: int, storage_class: str) -> None:
    """Note that a rule of the store moved the object to another class."""
    tx.execute(update(copies).where(copies.c.id == copy_id).values(storage_class=storage_class))


def note_removed(tx: Transaction, copy_id: int, at: str) -> None:
    """Note that the object was removed on purpose: it is no copy any more, whatever was wrong with it before."""
    tx.execute(update(copies).where(copies.c.id == copy_id).values(bad_at=at, bad_reason=REMOVED))


def note_listed(tx: Transaction, store_id: str, at: str) -> None:
    """Note that the whole store was listed."""
    meta.set(tx, f"{_LISTED_AT}{store_id}", at)


def listed_at(tx: Transaction, store_id: str) -> str | None:
    """Return when the whole store was last listed."""
    return meta.get(tx, f"{_LISTED_AT}{store_id}")


def uploads_by_id(tx: Transaction, store_id: str, upload_ids: Sequence[str]) -> dict[str, UploadRow]:
    """Return the uploads in parts that the store calls so, ended ones too, by the store's name."""
    found: dict[str, UploadRow] = {}
    for start in range(0, len(upload_ids), _BATCH):
        named = uploads.c.upload_id.in_(upload_ids[start : start + _BATCH])
        for row in tx.execute(select(*_UPLOAD).where(uploads.c.store_id == store_id, named)):
            found[row.upload_id] = UploadRow(*row)
    return found


def announced_keys(tx: Transaction, store_id: str, keys: Sequence[str]) -> set[str]:
    """Return those of ``keys`` that a run of this catalogue once announced, and that may have come true."""
    found: set[str] = set()
    for start in range(0, len(keys), _BATCH):
        here = (intents.c.store_id == store_id, intents.c.key.in_(keys[start : start + _BATCH]))
        found |= set(tx.execute(select(intents.c.key).where(*here, intents.c.state != "void")).scalars())
    return found


def recorded(tx: Transaction, store_id: str, *, without: Collection[str] = (REMOVED,)) -> list[Recorded]:
    """Return what is recorded of a store by subject and storage class; copies bad for a reason in ``without`` are not.

    One pass over the copies of the store.
    """
    good = copies.c.bad_at.is_(None)
    proof = case(
        (copies.c.level == "stored", copies.c.stored_at),
        (copies.c.restored_at > func.coalesce(copies.c.checksum_at, ""), copies.c.restored_at),
        else_=copies.c.checksum_at,
    )
    seen = copies.c.seen_at
    query = (
        select(
            files.c.subject,
            copies.c.storage_class,
            func.count(),
            func.sum(copies.c.size),
            *(func.count().filter(good, copies.c.level == level) for level in ("stored", "checksum", "restored")),
            func.count(copies.c.bad_at),
            func.min(proof).filter(good),
            case((func.count().filter(good, seen.is_(None)) == 0, func.min(seen).filter(good))),
            func.max(seen).filter(good),
        )
        .select_from(copies.join(files, files.c.id == copies.c.file_id))
        .where(copies.c.store_id == store_id, func.coalesce(copies.c.bad_reason, "").not_in(tuple(without)))
        .group_by(files.c.subject, copies.c.storage_class)
        .order_by(files.c.subject, copies.c.storage_class)
    )
    return [Recorded(*row) for row in tx.execute(query)]


def removed(tx: Transaction, subject: str) -> list[CopyRow]:
    """Return the copies of ``subject`` that were removed after it withdrew, by store and key."""
    query = (
        select(*_COPY)
        .join(files, files.c.id == copies.c.file_id)
        .where(files.c.subject == subject, copies.c.bad_reason == REMOVED)
        .order_by(copies.c.store_id, copies.c.key)
    )
    return [CopyRow(*row) for row in tx.execute(query)]


def versions_kept(tx: Transaction, store_id: str, subject: str) -> int:
    """Return how many copies of ``subject`` in a store have a version, and were not proven to be removed."""
    query = (
        select(func.count())
        .select_from(copies.join(files, files.c.id == copies.c.file_id))
        .where(
            copies.c.store_id == store_id,
            files.c.subject == subject,
            func.coalesce(copies.c.bad_reason, "") != REMOVED,
            func.coalesce(copies.c.version_id, NO_VERSION) != NO_VERSION,
        )
    )
    return int(tx.execute(query).scalar_one())
