"""Files below OUT: where they are, what they were when last read, and which content is the current one.

One row is one content of one path. At most one row of a path is current; a changed file gets a new row and
the older ones stay, superseded, because copies and intents speak of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from sqlalchemy import Select, bindparam, func, select, update

from ecogsafe.catalog.bulk import add_rows, among
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import files
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import EcogsafeError

#: "archive" is no folder below OUT: its rows are the volumes and indexes of `ecogsafe.catalog.archives`
Tree = Literal["video", "edf", "text", "archive"]

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


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenFile:
    """A file as it was found on the disk."""

    tree: Tree
    #: below the tree
    path: str
    subject: str
    segment: int | None
    #: bytes
    size: int
    mtime_ns: int
    inode: int
    device: int
    #: of the whole file; None if it was not read to its end
    sha256: str | None = None


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
# built once: every file that is sent is noted
_CONTENTS = (
    select(*_COLUMNS)
    .where(files.c.tree == bindparam("a_tree"), files.c.path.in_(bindparam("paths", expanding=True)))
    .order_by(files.c.id.desc())
)
_KNOWN_PATHS = select(files.c.path).where(
    files.c.tree == bindparam("a_tree"), files.c.path.in_(bindparam("paths", expanding=True))
)
_NEWEST = select(func.coalesce(func.max(files.c.id), 0))
_ADDED = select(files.c.tree, files.c.path, files.c.id).where(files.c.id > bindparam("an_id"))
_CHANGED = ("size", "mtime_ns", "inode", "device", "segment", "sha256")
_CHANGE = (
    update(files)
    .where(files.c.id == bindparam("an_id"))
    .values(freed_at=None, superseded_at=None, **{name: bindparam(f"the_{name}") for name in _CHANGED})
)


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


def upsert_file(tx: Transaction, seen: SeenFile) -> int:
    """Do `upsert_files` for one file; return its id."""
    return upsert_files(tx, [seen])[0]


def upsert_files(tx: Transaction, seen: Sequence[SeenFile]) -> list[int]:
    """Note each file as it is now, make that row current, and return the ids in the order of ``seen``.

    With ``sha256``: the row of that content, else the current row if its digest is not known yet, else a
    new row. Without: the current row if size, mtime, inode and device are the same or its digest is not
    known yet, else a new row. A file that is back after `free` is no longer freed. The row of an object that
    was found in a store (`is_unseen`) never becomes that of a file here.
    """
    for one in seen:
        check_path(one.path, one.subject)
    if len({(one.tree, one.path) for one in seen}) < len(seen):
        return [number for one in seen for number in upsert_files(tx, [one])]
    known = _contents(tx, seen)
    now = utc_stamp()
    replaced: list[dict[str, Any]] = []
    changed: list[dict[str, Any]] = []
    added: list[dict[str, Any]] = []
    ids: list[int | None] = []
    for one in seen:
        current, found = _match(known.get((one.tree, one.path), ()), one)
        if current is not None and (found is None or found.id != current.id):
            replaced.append({"an_id": current.id})
        values = values_of(one)
        if found is None:
            added.append(values | {"first_seen": now})
        else:
            digest = one.sha256 if one.sha256 is not None else found.sha256
            now_so = values | {"sha256": digest}
            changed.append({f"the_{name}": now_so[name] for name in _CHANGED} | {"an_id": found.id})
        ids.append(None if found is None else found.id)
    if replaced:
        tx.execute(update(files).where(files.c.id == bindparam("an_id")).values(superseded_at=now), replaced)
    if changed:
        tx.execute(_CHANGE, changed)
    if not added:
        return [number for number in ids if number is not None]
    before = tx.execute(_NEWEST).scalar_one()
    add_rows(tx, files, added)
    # every number that was given out before is smaller, and nobody else's rows are seen in this transaction
    new = {(tree, path): number for tree, path, number in tx.execute(_ADDED, {"an_id": before}).all()}
    return [new[one.tree, one.path] if number is None else number for one, number in zip(seen, ids, strict=True)]


def _contents(tx: Transaction, seen: Sequence[SeenFile]) -> dict[tuple[str, str], list[FileRow]]:
    """Return every content that is known of these paths, newest first."""
    found: dict[tuple[str, str], list[FileRow]] = {}
    for tree in {one.tree for one in seen}:
        paths = [one.path for one in seen if one.tree == tree]
        # most are new
        paths = list({path for (path,) in among(tx, _KNOWN_PATHS, {"a_tree": tree}, paths=paths)})
        for start in range(0, len(paths), _BATCH):
            for row in tx.execute(_CONTENTS, {"a_tree": tree, "paths": paths[start : start + _BATCH]}):
                found.setdefault((tree, row.path), []).append(FileRow(*row))
    return found


def _match(known: Sequence[FileRow], seen: SeenFile) -> tuple[FileRow | None, FileRow | None]:
    """Return the current row of a path, and the row that ``seen`` is; ``known`` comes newest first."""
    current = next((row for row in known if row.superseded_at is None), None)
    found: FileRow | None = None
    if seen.sha256 is not None:
        found = next((row for row in known if row.sha256 == seen.sha256), None)
    elif current is not None:
        same = (current.size, current.mtime_ns, current.inode, current.device)
        found = current if same == (seen.size, seen.mtime_ns, seen.inode, seen.device) else None
    if found is None and current is not None and current.sha256 is None and not is_unseen(current):
        found = current
    return current, found


def is_unseen(row: FileRow) -> bool:
    """Return whether ``row`` is the content of an adopted object that nobody has read yet."""
    return row.sha256 is None and row.inode == 0 and row.device == 0


def file(tx: Transaction, file_id: int) -> FileRow | None:
    """Return the row ``file_id``, current or not."""
    row = tx.execute(select(*_COLUMNS).where(files.c.id == file_id)).first()
    return None if row is None else FileRow(*row)


def set_size(tx: Transaction, file_id: int, size: int) -> None:
    """Note the size, in bytes, that a volume of an archive will have: it is planned anew where a file of it changed."""
    tx.execute(update(files).where(files.c.id == file_id).values(size=size))


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


def mark_back(tx: Transaction, file_ids: Iterable[int]) -> None:
    """Note that these files stand here after all, or again."""
    ids = list(file_ids)
    for start in range(0, len(ids), _BATCH):
        tx.execute(update(files).where(files.c.id.in_(ids[start : start + _BATCH])).values(freed_at=None))


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
        .where(files.c.superseded_at.is_(None), files.c.tree != "archive")
        .group_by(files.c.subject, files.c.tree)
        .order_by(files.c.subject, files.c.tree)
    )
    if subject is not None:
        query = query.where(files.c.subject == subject)
    return [FileTotals(*row) for row in tx.execute(query)]
