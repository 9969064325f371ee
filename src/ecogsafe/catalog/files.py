"""Files below OUT: where they are, what they were when last read, and which content is the current one.

One row is one content of one path. At most one row of a path is current; a changed file gets a new row and
the older ones stay, superseded, because copies and intents speak of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, func, select, update
from sqlalchemy.engine import Row

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of, insert_numbered
from ecogsafe.catalog.schema import files
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError

Tree = Literal["video", "edf", "text"]

#: DESIGN 3: every path below a tree begins with the folder ``<code>`` or ``<code>_edf``, ``_vtc``, ``_snc``
_FORM = re.compile(r"([a-f][0-9a-f]{7})(?:_(?:edf|vtc|snc))?/[\x20-\x7e]+\Z")
_BATCH = 500


@dataclass(frozen=True, slots=True)
class FileRow:
    """One content of one path."""

    id: int
    tree: Tree
    #: below the tree, ``/`` between its parts
    path: str
    subject: str
    segment: int | None
    #: bytes
    size: int
    mtime_ns: int
    inode: int
    device: int
    #: of the whole file; None until it was read once
    sha256: str | None
    first_seen: str
    #: when `free` deleted it here
    freed_at: str | None
    #: when another content took its place; None: current
    superseded_at: str | None


@dataclass(frozen=True, slots=True)
class FileTotals:
    """What a subject has in one tree, current contents only."""

    subject: str
    tree: Tree
    files: int
    bytes: int
    #: of them deleted here by `free`
    freed_files: int
    freed_bytes: int


_COLUMNS = columns_of(FileRow, files)


def check_path(path: str, subject: str) -> None:
    """Raise where ``path`` is not one that `deid apply` makes for ``subject``: such names may be private.

    Raises
    ------
    EcogsafeError
        A bug in the caller; the message does not name the path.
    """
    match = _FORM.match(path)
    if match is None or match.group(1) != subject or {"", ".", ".."} & {*path.split("/")}:
        raise EcogsafeError(subject, "a path that is not of our form was kept out of the catalogue")


def upsert_file(
    tx: Transaction,
    *,
    tree: Tree,
    path: str,
    subject: str,
    segment: int | None,
    size: int,
    mtime_ns: int,
    inode: int,
    device: int,
    sha256: str | None = None,
) -> int:
    """Note the file as it is now, make that row current, and return its id.

    With ``sha256``: the row of that content, else the current row if its digest is not known yet, else a
    new row. Without: the current row if size, mtime, inode and device are the same or its digest is not
    known yet, else a new row. A file that is back after `free` is no longer freed.
    """
    check_path(path, subject)
    here = (files.c.tree == tree, files.c.path == path)
    current = tx.execute(select(*_COLUMNS).where(*here, files.c.superseded_at.is_(None))).first()
    found: Row[Any] | None = None
    if sha256 is not None:
        found = tx.execute(
            select(*_COLUMNS).where(*here, files.c.sha256 == sha256).order_by(files.c.id.desc()).limit(1)
        ).first()
    elif current is not None and (current.size, current.mtime_ns, current.inode, current.device) == (
        size,
        mtime_ns,
        inode,
        device,
    ):
        found = current
    if found is None and current is not None and current.sha256 is None:
        found = current
    now = utc_stamp()
    if current is not None and (found is None or found.id != current.id):
        tx.execute(update(files).where(files.c.id == current.id).values(superseded_at=now))
    stat = {"size": size, "mtime_ns": mtime_ns, "inode": inode, "device": device, "segment": segment}
    if found is not None:
        file_id: int = found.id
        known = sha256 if sha256 is not None else found.sha256
        change = update(files).where(files.c.id == file_id)
        tx.execute(change.values(**stat, sha256=known, freed_at=None, superseded_at=None))
        return file_id
    identity = {"tree": tree, "path": path, "subject": subject, "sha256": sha256, "first_seen": now}
    return insert_numbered(tx, files, identity | stat)


def file(tx: Transaction, file_id: int) -> FileRow | None:
    """Return the row ``file_id``, current or not."""
    row = tx.execute(select(*_COLUMNS).where(files.c.id == file_id)).first()
    return None if row is None else FileRow(*row)


def file_by_path(tx: Transaction, tree: Tree, path: str) -> FileRow | None:
    """Return the current row of ``path``."""
    query = select(*_COLUMNS).where(files.c.tree == tree, files.c.path == path, files.c.superseded_at.is_(None))
    row = tx.execute(query).first()
    return None if row is None else FileRow(*row)


def _current(subject: str | None, tree: Tree | None) -> Select[Any]:
    query = select(*_COLUMNS).where(files.c.superseded_at.is_(None))
    if subject is not None:
        query = query.where(files.c.subject == subject)
    return query if tree is None else query.where(files.c.tree == tree)


def files_of(tx: Transaction, subject: str, tree: Tree | None = None) -> list[FileRow]:
    """Return the current files of ``subject`` by tree and path."""
    query = _current(subject, tree).order_by(files.c.tree, files.c.path)
    return [FileRow(*row) for row in tx.execute(query)]


def all_files(tx: Transaction) -> Iterator[FileRow]:
    """Yield every current file in the order of its id, in bounded memory."""
    rows = tx.execute(_current(None, None).order_by(files.c.id).execution_options(yield_per=1000))
    for row in rows:
        yield FileRow(*row)


def mark_freed(tx: Transaction, file_ids: Iterable[int]) -> None:
    """Note that `free` deleted these files here."""
    _set(tx, file_ids, "freed_at")


def retire_files(tx: Transaction, file_ids: Iterable[int]) -> None:
    """Note that these files are no longer below OUT because `deid undo` took them back."""
    _set(tx, file_ids, "superseded_at")


def _set(tx: Transaction, file_ids: Iterable[int], column: str) -> None:
    ids = list(file_ids)
    now = utc_stamp()
    for start in range(0, len(ids), _BATCH):
        change = update(files).where(files.c.id.in_(ids[start : start + _BATCH]), files.c[column].is_(None))
        tx.execute(change.values({column: now}))


def file_totals(tx: Transaction, subject: str | None = None) -> list[FileTotals]:
    """Return numbers and bytes of the current files by subject and tree."""
    freed = files.c.freed_at.is_not(None)
    query = (
        select(
            files.c.subject,
            files.c.tree,
            func.count(),
            func.sum(files.c.size),
            func.count(files.c.freed_at),
            func.coalesce(func.sum(files.c.size).filter(freed), 0),
        )
        .where(files.c.superseded_at.is_(None))
        .group_by(files.c.subject, files.c.tree)
        .order_by(files.c.subject, files.c.tree)
    )
    if subject is not None:
        query = query.where(files.c.subject == subject)
    return [FileTotals(*row) for row in tx.execute(query)]
