"""Sealings and their parts: durable before ciphertext leaves, so that no nonce serves two plaintexts.

A part that has a row may have left; it is sealed again under the same key only if the source still has the
recorded digest up to the end of what the part is made of. A part without a row has never left (DESIGN 5.8).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import bindparam, delete, exists, insert, select, update

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.guarded import guarded_insert, parameter
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import parts, sealings
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import LockedError, SourceChangedError


@dataclass(frozen=True, slots=True)
class SealingRow:
    """One making of an object from a file; every destination of a run gets the same."""

    id: str
    file_id: int
    source: SourceStat
    #: false: the object is the plain file, the columns of age are empty
    sealed: bool
    #: the age header
    header: bytes
    payload_nonce: bytes
    #: the file key, wrapped by resume.key; None once it was erased
    wrapped_key: bytes | None
    #: bytes of the object
    part_size: int
    object_size: int
    created_at: str
    state: Literal["open", "done", "abandoned"] = "open"


@dataclass(frozen=True, slots=True)
class PartRow:
    """One part that may have left; numbers begin at 1."""

    sealing_id: str
    number: int
    #: of the source from its start to the end of the last age chunk that the part touches
    prefix_sha256: bytes
    #: bytes of the object
    length: int
    #: CRC64NVME of those bytes, unsigned
    crc64: int


_STAT = columns_of(SourceStat, sealings)
_COLUMNS = [
    *(sealings.c[name] for name in ("id", "file_id", "sealed", "header", "payload_nonce", "wrapped_key")),
    *(sealings.c[name] for name in ("part_size", "object_size", "created_at", "state")),
]
_PART = columns_of(PartRow, parts)
_ADD_PART = guarded_insert(
    parts, exists().where(sealings.c.id == parameter(parts.c.sealing_id), sealings.c.state == "open")
)
# built once: what a large file needs of the catalogue
_ADD_SEALING = insert(sealings)
_SEALING = select(*_COLUMNS, *_STAT).where(sealings.c.id == bindparam("an_id"))
_FORGET_PARTS = delete(parts).where(parts.c.sealing_id == bindparam("an_id"))
_END = (
    update(sealings)
    .where(sealings.c.id == bindparam("an_id"), sealings.c.state == "open")
    .values(state=bindparam("ended"), wrapped_key=None)
)


def _sealing_of(row: Any) -> SealingRow:
    identity, file_id, *rest = row[: len(_COLUMNS)]
    return SealingRow(identity, file_id, SourceStat(*row[len(_COLUMNS) :]), *rest)


def add_sealing(tx: Transaction, row: SealingRow) -> None:
    """Keep a new sealing; durable before its first part is added."""
    values = values_of(row)
    values |= values_of(values.pop("source"))
    tx.execute(_ADD_SEALING, values)


def sealing(tx: Transaction, sealing_id: str) -> SealingRow | None:
    """Return the sealing ``sealing_id``."""
    row = tx.execute(_SEALING, {"an_id": sealing_id}).first()
    return None if row is None else _sealing_of(row)


def open_sealings(tx: Transaction, file_id: int | None = None) -> list[SealingRow]:
    """Return the sealings that may be resumed, of one file or of all, oldest first."""
    query = select(*_COLUMNS, *_STAT).where(sealings.c.state == "open").order_by(sealings.c.created_at, sealings.c.id)
    if file_id is not None:
        query = query.where(sealings.c.file_id == file_id)
    return [_sealing_of(row) for row in tx.execute(query)]


def add_part(tx: Transaction, row: PartRow) -> None:
    """Keep the row of a part; to be committed before its first byte leaves.

    The same row again changes nothing.

    Raises
    ------
    SourceChangedError
        Another row of this part was kept before: its bytes must never be sealed under this key.
    LockedError
        The sealing is not open: another run has ended it.
    """
    if tx.execute(_ADD_PART, values_of(row)).rowcount:
        return
    state = tx.execute(select(sealings.c.state).where(sealings.c.id == row.sealing_id)).scalar()
    if state != "open":
        raise LockedError(
            "upload",
            "another run has finished it or given it up: its sealing is not open any more",
            safe="Nothing was sent",
            next="run the same command again",
        )
    known = tx.execute(select(*_PART).where(parts.c.sealing_id == row.sealing_id, parts.c.number == row.number)).one()
    if PartRow(*known) != row:
        raise SourceChangedError(
            f"part {row.number}",
            "its bytes are not those that were sealed under this key before",
            safe="Nothing was sealed twice",
            next="run again; the file starts over under a new key",
        )


def add_parts(tx: Transaction, rows: Sequence[PartRow]) -> None:
    """Do `add_part` for each of ``rows``; those that are new cost one statement together."""
    if tx.execute(_ADD_PART, [values_of(row) for row in rows]).rowcount != len(rows):
        for row in rows:
            add_part(tx, row)


def parts_of(tx: Transaction, sealing_id: str) -> dict[int, PartRow]:
    """Return the parts of an open sealing by number; none once it is finished or abandoned."""
    query = select(*_PART).where(parts.c.sealing_id == sealing_id).order_by(parts.c.number)
    return {row.number: PartRow(*row) for row in tx.execute(query)}


def finish_sealing(tx: Transaction, sealing_id: str) -> None:
    """Note that every destination is served; erases the wrapped key and the parts."""
    _end(tx, sealing_id, "done")


def abandon_sealing(tx: Transaction, sealing_id: str) -> None:
    """Note that this key is never used again; erases the wrapped key and the parts."""
    _end(tx, sealing_id, "abandoned")


def _end(tx: Transaction, sealing_id: str, state: str) -> None:
    tx.execute(_FORGET_PARTS, {"an_id": sealing_id})
    tx.execute(_END, {"an_id": sealing_id, "ended": state})
