"""Copies: one file in one store, and what proves it (DESIGN 5.10).

Levels only rise, times only grow (but for one that lies in the future, which proves nothing), and a bad copy
stays bad until `prove_good` or until another object (another token) is recorded under its key.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import and_, bindparam, func, select, update

from ecogsafe.catalog.bulk import add_rows, among
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.rows import columns_of, insert_numbered, values_of
from ecogsafe.catalog.schema import copies, files
from ecogsafe.core.clock import utc_stamp

Level = Literal["stored", "checksum", "restored"]
LEVELS: tuple[Level, ...] = ("stored", "checksum", "restored")


@dataclass(frozen=True, slots=True)
class CopyRow:
    """One object of ours; ``id`` 0 before it is recorded."""

    id: int
    file_id: int
    store_id: str
    key: str
    sealed: bool
    #: of the object, bytes
    size: int
    #: full-object CRC64NVME, unsigned
    crc64: int | None
    etag: str | None
    version_id: str | None
    storage_class: str | None
    #: the object's ``ecogsafe-upload``
    token: str
    level: Level
    #: when the store acknowledged it, by our clock
    stored_at: str
    checksum_at: str | None = None
    restored_at: str | None = None
    bad_at: str | None = None
    #: one clause, nothing private
    bad_reason: str | None = None
    #: the store's ``Date`` with the newest evidence
    store_date: str | None = None
    #: when a listing, or the store's own answer, last showed the same object
    seen_at: str | None = None
    #: when its store was last asked about it, whatever came of it; "" for never
    asked_at: str = ""
    #: when all of it was last read back, whatever came of it; "" for never
    read_at: str = ""


_BATCH = 500
_COLUMNS = columns_of(CopyRow, copies)
_FILE = columns_of(FileRow, files)
# built once: every file that is sent is recorded
_KNOWN_KEYS = select(copies.c.key).where(
    copies.c.store_id == bindparam("a_store"), copies.c.key.in_(bindparam("keys", expanding=True))
)
_TIME_OF = {"stored": copies.c.stored_at, "checksum": copies.c.checksum_at, "restored": copies.c.restored_at}


def record_copies(tx: Transaction, rows: Sequence[CopyRow]) -> None:
    """Do `record_copy` for each of ``rows``; those under keys that are new cost one statement together."""
    known: set[tuple[str, str]] = set()
    for store_id in {row.store_id for row in rows}:
        keys = [row.key for row in rows if row.store_id == store_id]
        known |= {(store_id, key) for (key,) in among(tx, _KNOWN_KEYS, {"a_store": store_id}, keys=keys)}
    new: list[dict[str, Any]] = []
    others: list[CopyRow] = []
    for row in rows:
        if (row.store_id, row.key) in known:
            others.append(row)
        else:
            known.add((row.store_id, row.key))
            new.append(_without_id(row))
    add_rows(tx, copies, new)
    for row in others:
        record_copy(tx, row)


def _without_id(row: CopyRow) -> dict[str, Any]:
    values = values_of(row)
    del values["id"]
    values["asked_at"] = max(row.asked_at, row.checksum_at or "", row.restored_at or "")
    values["read_at"] = max(row.read_at, row.restored_at or "")
    return values


def record_copy(tx: Transaction, row: CopyRow) -> int:
    """Keep ``row`` (its id is ignored) and return the id of the copy.

    The same object again (same token) only adds evidence; another object under the key takes the row over,
    so that a repaired copy is no longer bad.
    """
    values = _without_id(row)
    known = copy_by_key(tx, row.store_id, row.key)
    if known is None:
        return insert_numbered(tx, copies, values)
    if known.token != row.token:
        tx.execute(update(copies).where(copies.c.id == known.id).values(values))
        return known.id
    times: dict[Level, str | None] = {
        "stored": row.stored_at,
        "checksum": row.checksum_at,
        "restored": row.restored_at,
    }
    for level, at in times.items():
        if at is not None:
            raise_level(
                tx,
                known.id,
                level,
                at,
                etag=row.etag,
                version_id=row.version_id,
                storage_class=row.storage_class,
                crc64=row.crc64,
                store_date=row.store_date,
            )
    if row.bad_at is not None:
        mark_bad(tx, known.id, row.bad_reason or "bad")
    return known.id


def copy(tx: Transaction, copy_id: int) -> CopyRow | None:
    """Return the copy ``copy_id``."""
    row = tx.execute(select(*_COLUMNS).where(copies.c.id == copy_id)).first()
    return None if row is None else CopyRow(*row)


def copy_by_key(tx: Transaction, store_id: str, key: str) -> CopyRow | None:
    """Return what the catalogue knows under ``key``."""
    row = tx.execute(select(*_COLUMNS).where(copies.c.store_id == store_id, copies.c.key == key)).first()
    return None if row is None else CopyRow(*row)


def count_sealed(tx: Transaction) -> int:
    """Return how many sealed copies are recorded."""
    return tx.execute(select(func.count()).select_from(copies).where(copies.c.sealed)).scalar_one()


def sealed_by_store(tx: Transaction) -> list[tuple[str, int, int]]:
    """Return store id, number and bytes of the sealed copies in each store that holds some, by store id."""
    query = (
        select(copies.c.store_id, func.count(), func.sum(copies.c.size))
        .where(copies.c.sealed)
        .group_by(copies.c.store_id)
        .order_by(copies.c.store_id)
    )
    return [(store_id, int(number), int(size)) for store_id, number, size in tx.execute(query)]


def copies_of_file(tx: Transaction, file_id: int) -> list[CopyRow]:
    """Return the copies of one content of a file, oldest first."""
    query = select(*_COLUMNS).where(copies.c.file_id == file_id).order_by(copies.c.id)
    return [CopyRow(*row) for row in tx.execute(query)]


def copies_in_store(tx: Transaction, store_id: str, subject: str | None = None) -> list[tuple[CopyRow, FileRow]]:
    """Return the copies in a store with the files they are of, by key; older contents of a file too."""
    query = select(*_COLUMNS, *_FILE).join(files, files.c.id == copies.c.file_id)
    if subject is None:
        query = query.where(copies.c.store_id == store_id).order_by(copies.c.key)
        return [_pair(row) for row in tx.execute(query)]
    # Left to the database, the choice of the store would make it walk every key of that store.
    pairs = (_pair(row) for row in tx.execute(query.where(files.c.subject == subject)))
    return sorted((p for p in pairs if p[0].store_id == store_id), key=lambda p: p[0].key)


def copies_of_subject(tx: Transaction, subject: str) -> list[tuple[CopyRow, FileRow]]:
    """Return the copies of the current files of ``subject``, by file and store."""
    query = (
        select(*_COLUMNS, *_FILE)
        .join(files, files.c.id == copies.c.file_id)
        .where(files.c.subject == subject, files.c.superseded_at.is_(None))
        .order_by(files.c.tree, files.c.path, copies.c.id)
    )
    return [_pair(row) for row in tx.execute(query)]


def _pair(row: Any) -> tuple[CopyRow, FileRow]:
    return CopyRow(*row[: len(_COLUMNS)]), FileRow(*row[len(_COLUMNS) :])


def raise_level(
    tx: Transaction,
    copy_id: int,
    level: Level,
    at: str,
    *,
    etag: str | None = None,
    version_id: str | None = None,
    storage_class: str | None = None,
    crc64: int | None = None,
    store_date: str | None = None,
) -> bool:
    """Note evidence of ``level`` at the time ``at``, with what the store said; None keeps what is known.

    Returns
    -------
    bool
        Whether the copy counts: false for one that is bad (the evidence is kept, it stays bad).
    """
    row = copy(tx, copy_id)
    if row is None:
        return False
    told = {
        "etag": etag,
        "version_id": version_id,
        "storage_class": storage_class,
        "crc64": crc64,
        "store_date": store_date,
    }
    values: dict[str, Any] = {name: value for name, value in told.items() if value is not None}
    if LEVELS.index(level) > LEVELS.index(row.level):
        values["level"] = level
    time = _TIME_OF[level].name
    before = getattr(row, time)
    if level != "stored" and at == _later(before, at):
        values[time] = at
        values["asked_at"] = _later(row.asked_at, at)
        if level == "restored":
            values["read_at"] = _later(row.read_at, at)
    if values:
        tx.execute(update(copies).where(copies.c.id == copy_id).values(values))
    return row.bad_at is None


def _later(before: str | None, at: str) -> str:
    """Return the later time; one that lies in the future was written by a clock that was wrong (DESIGN 5.12)."""
    return at if before is None or before > utc_stamp() else max(before, at)


def note_asked(tx: Transaction, copy_id: int, at: str, *, was_read: bool) -> None:
    """Note that the store was asked about the copy, or that all of it was read back, whatever came of it."""
    values = {"asked_at": at, "read_at": at} if was_read else {"asked_at": at}
    tx.execute(update(copies).where(copies.c.id == copy_id).values(values))


def see_again(tx: Transaction, copy_ids: Iterable[int], at: str) -> None:
    """Note that a listing showed these objects with equal size and ETag."""
    batch = [{"an_id": copy_id} for copy_id in copy_ids]
    if batch:
        tx.execute(update(copies).where(copies.c.id == bindparam("an_id")).values(seen_at=at), batch)


def mark_bad(tx: Transaction, copy_id: int, reason: str, *, graver: bool = False) -> None:
    """Note that the copy is missing, short, swapped or changed; the first time is kept.

    The first reason is kept too, unless the new one is ``graver``.
    """
    good = copies.c.bad_at.is_(None)
    tx.execute(update(copies).where(and_(copies.c.id == copy_id, good)).values(bad_at=utc_stamp(), bad_reason=reason))
    if graver:
        tx.execute(update(copies).where(copies.c.id == copy_id).values(bad_reason=reason))


def prove_good(tx: Transaction, copy_id: int, level: Level, at: str) -> None:
    """Note that the copy was proven at ``level`` after it had been called bad."""
    tx.execute(update(copies).where(copies.c.id == copy_id).values(bad_at=None, bad_reason=None))
    raise_level(tx, copy_id, level, at)
