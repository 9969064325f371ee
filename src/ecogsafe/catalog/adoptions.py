"""Objects that a store held and the catalogue did not know: recorded without their content, which comes later.

The file of an adopted copy has no digest, no place on a disk (inode and device 0), and the size of the
object until the content is known. No file that is seen on a disk ever lends such a row its digest: what an
object holds is known when it was read, not because a file has its name.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import and_, func, insert, select, update

from ecogsafe.catalog import copies as copy_rows
from ecogsafe.catalog import files as file_rows
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow, Tree, check_path, is_unseen
from ecogsafe.catalog.rows import columns_of, insert_numbered, values_of
from ecogsafe.catalog.schema import copies, files
from ecogsafe.core.clock import utc_stamp

#: ``token`` of a copy whose object nobody of this catalogue made
NO_TOKEN = ""

_FILE = columns_of(FileRow, files)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adoptable:
    """An object of our form, as a listing showed it."""

    store_id: str
    key: str
    tree: Tree
    #: below the tree
    path: str
    subject: str
    segment: int | None
    sealed: bool
    #: of the object, bytes
    size: int
    etag: str | None
    storage_class: str | None
    #: when the store got it, by its own clock; 0 where it does not say
    mtime_ns: int
    #: when a listing showed it, by our clock
    seen_at: str


def adopt(tx: Transaction, found: Adoptable) -> bool:
    """Record ``found`` as a stored copy of unknown content; False if a copy is recorded under its key.

    The contents of a path that are to be adopted come in the order of their versions, the newest first.
    """
    check_path(found.path, found.subject)
    if copy_rows.copy_by_key(tx, found.store_id, found.key) is not None:
        return False
    row = CopyRow(
        id=0,
        file_id=_file_for(tx, found),
        store_id=found.store_id,
        key=found.key,
        sealed=found.sealed,
        size=found.size,
        crc64=None,
        etag=found.etag,
        version_id=None,
        storage_class=found.storage_class,
        token=NO_TOKEN,
        level="stored",
        stored_at=utc_stamp(),
        seen_at=found.seen_at,
    )
    values = values_of(row)
    del values["id"]
    tx.execute(insert(copies), values)
    return True


def _file_for(tx: Transaction, found: Adoptable) -> int:
    """Return the row of the unknown content: the current one if that is unknown too, else one of its own.

    Two objects in one store are two contents, but for a plain and a sealed one.
    """
    current = file_rows.file_by_path(tx, found.tree, found.path)
    if current is None:
        return _add(tx, found, superseded_at=None)
    beside = select(copies.c.id).where(
        copies.c.file_id == current.id, copies.c.store_id == found.store_id, copies.c.sealed == found.sealed
    )
    if is_unseen(current) and tx.execute(beside).first() is None:
        return current.id
    return _add(tx, found, superseded_at=utc_stamp())


def _add(tx: Transaction, found: Adoptable, *, superseded_at: str | None) -> int:
    return insert_numbered(
        tx,
        files,
        {
            "tree": found.tree,
            "path": found.path,
            "subject": found.subject,
            "segment": found.segment,
            "size": found.size,
            "mtime_ns": found.mtime_ns,
            "inode": 0,
            "device": 0,
            "sha256": None,
            "first_seen": utc_stamp(),
            "superseded_at": superseded_at,
        },
    )


def learn_content(tx: Transaction, copy: CopyRow, *, sha256: str, size: int, crc64: int) -> None:
    """Note what an adopted copy turned out to hold, in bytes and digest of the opened content.

    The copy goes to the row of that content, which becomes the current one of its path where the unknown
    content was.

    Parameters
    ----------
    crc64
        CRC64NVME of the object, computed here.
    """
    unknown = file_rows.file(tx, copy.file_id)
    if unknown is None or not is_unseen(unknown):
        return
    tx.execute(update(copies).where(copies.c.id == copy.id).values(crc64=crc64))
    same_path = and_(files.c.tree == unknown.tree, files.c.path == unknown.path)
    newest = select(files.c.id).where(same_path, files.c.sha256 == sha256).order_by(files.c.id.desc()).limit(1)
    target = tx.execute(newest).scalar()
    others = select(func.count()).select_from(copies).where(copies.c.file_id == unknown.id, copies.c.id != copy.id)
    this = update(files).where(files.c.id == unknown.id)
    if target is None and not tx.execute(others).scalar_one():
        tx.execute(this.values(sha256=sha256, size=size))
        return
    if unknown.superseded_at is None:
        tx.execute(this.values(superseded_at=utc_stamp()))
    if target is None:
        target = _add_known(tx, unknown, sha256=sha256, size=size)
    elif unknown.superseded_at is None:
        tx.execute(update(files).where(files.c.id == target).values(superseded_at=None))
    tx.execute(update(copies).where(copies.c.id == copy.id).values(file_id=target))


def _add_known(tx: Transaction, unknown: FileRow, *, sha256: str, size: int) -> int:
    values = {column.name: getattr(unknown, column.name) for column in _FILE if column.name != "id"}
    return insert_numbered(tx, files, values | {"sha256": sha256, "size": size})
