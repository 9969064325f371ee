"""What every subject has and where it stands, added up once and kept until a row it rests on changes.

A lab has a million files; `status` shall not look at each every time. The sums of a subject are kept as one
record. Triggers of the database delete it as soon as a file or a copy of the subject is added, changed or
removed, by whom ever; what has no record is added up anew. So a kept sum is never older than the rows.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Iterable, Sequence
from dataclasses import astuple, dataclass

from sqlalchemy import Subquery, and_, case, delete, func, insert, select, union_all, update
from sqlalchemy.sql.elements import ColumnElement

from ecogsafe.catalog.copies import LEVELS
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.schema import archive_members, copies, files
from ecogsafe.catalog.schema import sums as table
from ecogsafe.core.errors import EcogsafeError

#: of a record; one of another format is added up anew
_FORMAT = 1

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class CopySummary:
    """What one store holds of one tree of one subject; current contents only."""

    subject: str
    tree: str
    store_id: str
    #: good copies, and their plain bytes
    files: int
    bytes: int
    #: of them by level
    stored: int
    checksum: int
    restored: int
    #: of the good copies: the oldest newest proof; None where there is no good copy
    oldest_evidence: str | None
    #: of the good copies: the newest time one was fetched and opened
    newest_restored: str | None
    #: copies that are bad
    bad: int
    #: files with at least one good copy that the store's own checksum or a full read proved
    proven_files: int


@dataclass(frozen=True, slots=True)
class AlikeFiles:
    """Current files of one tree that have good copies of the same levels in the same stores."""

    tree: str
    #: store id and the best level of a good copy there, as its place in `LEVELS`; stores without one are left out
    held: tuple[tuple[str, int], ...]
    files: int
    bytes: int
    #: of them deleted here by `free`
    freed_files: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class SubjectSums:
    """The sums of one subject."""

    subject: str
    #: by tree and store
    copies: tuple[CopySummary, ...]
    #: by tree
    files: tuple[AlikeFiles, ...]


def sums(tx: Transaction, subject: str | None = None) -> list[SubjectSums]:
    """Return the sums of ``subject``, or of every subject that has files, by code."""
    codes = _subjects(tx) if subject is None else [subject]
    kept = _kept(tx)
    return [kept.get(code) or add_up(tx, code) for code in codes]


def keep_sums(catalog: Catalog) -> None:
    """Add up what is not kept and keep it; where that does not work now, `sums` adds up all the same.

    The claim is written before the rows are read: a change after it deletes the claim, and a sum that has
    lost its claim is not kept.
    """
    try:
        with catalog.read() as tx:
            kept = _kept(tx)
            stale = [code for code in _subjects(tx) if code not in kept]
        if stale:
            _keep(catalog, stale)
    except EcogsafeError as error:
        _log.info("sums were not kept code=%s", error.code)


def _keep(catalog: Catalog, codes: Sequence[str]) -> None:
    claim = secrets.token_hex(16)
    with catalog.write() as tx:
        for code in codes:
            tx.execute(delete(table).where(table.c.subject == code))
            tx.execute(insert(table).values(subject=code, claim=claim))
    with catalog.read() as tx:
        made = [add_up(tx, code) for code in codes]
    with catalog.write() as tx:
        for each in made:
            ours = and_(table.c.subject == each.subject, table.c.claim == claim)
            tx.execute(update(table).where(ours).values(record=_record(each)))


def _subjects(tx: Transaction) -> list[str]:
    """Return the subjects that have files, by code; each is one look into the index, not one a file."""
    first = select(func.min(files.c.subject).label("subject")).cte("walk", recursive=True)
    after = select(func.min(files.c.subject)).where(files.c.subject > first.c.subject).scalar_subquery()
    walk = first.union_all(select(after).where(first.c.subject.is_not(None)))
    return list(tx.execute(select(walk.c.subject).where(walk.c.subject.is_not(None))).scalars())


def _kept(tx: Transaction) -> dict[str, SubjectSums]:
    rows = tx.execute(select(table.c.subject, table.c.record).where(table.c.record.is_not(None)))
    kept = {subject: _sums_of(subject, record) for subject, record in rows}
    return {subject: each for subject, each in kept.items() if each is not None}


def _record(of: SubjectSums) -> str:
    return json.dumps(
        {
            "format": _FORMAT,
            # the subject is not said twice
            "copies": [astuple(each)[1:] for each in of.copies],
            "files": [astuple(each) for each in of.files],
        }
    )


def _sums_of(subject: str, record: str) -> SubjectSums | None:
    told = json.loads(record)
    if told["format"] != _FORMAT:
        return None
    return SubjectSums(
        subject=subject,
        copies=tuple(CopySummary(subject, *each) for each in told["copies"]),
        files=tuple(
            AlikeFiles(tree, tuple((store, level) for store, level in held), *numbers)
            for tree, held, *numbers in told["files"]
        ),
    )


def add_up(tx: Transaction, subject: str) -> SubjectSums:
    """Return the sums of ``subject`` from its files and copies."""
    summaries = _copy_summaries(tx, subject)
    stores = sorted({each.store_id for each in summaries})
    return SubjectSums(subject, tuple(summaries), tuple(_alike_files(tx, subject, stores)))


def _held(subject: str) -> Subquery:
    """Return the copies of the current files of ``subject``, those in archives too; each arm has an index."""
    here = (files.c.subject == subject, files.c.superseded_at.is_(None), files.c.tree != "archive")
    whose = (files.c.id.label("file_id"), files.c.subject, files.c.tree, files.c.size)
    told = (copies.c.store_id, copies.c.stored_at, copies.c.checksum_at, copies.c.bad_at)
    alone = (
        select(*whose, *told, copies.c.level, copies.c.restored_at)
        .select_from(files.join(copies, copies.c.file_id == files.c.id))
        .where(*here)
    )
    fetched = archive_members.c.restored_at
    within = (
        select(
            *whose,
            *told,
            # a member that was fetched alone is proven as its volume is not
            case((fetched.is_not(None), LEVELS[-1]), else_=copies.c.level).label("level"),
            case((fetched > func.coalesce(copies.c.restored_at, ""), fetched), else_=copies.c.restored_at),
        )
        .select_from(
            files.join(archive_members, archive_members.c.file_id == files.c.id).join(
                copies, copies.c.file_id == archive_members.c.volume_id
            )
        )
        .where(*here)
    )
    return union_all(alone, within).subquery()


def _copy_summaries(tx: Transaction, subject: str) -> list[CopySummary]:
    held = _held(subject).c
    good = held.bad_at.is_(None)
    proof = case(
        (held.level == "stored", held.stored_at),
        (held.restored_at > func.coalesce(held.checksum_at, ""), held.restored_at),
        else_=held.checksum_at,
    )
    by_level = [func.count().filter(good, held.level == level) for level in LEVELS]
    query = (
        select(
            held.subject,
            held.tree,
            held.store_id,
            func.count().filter(good),
            func.coalesce(func.sum(held.size).filter(good), 0),
            *by_level,
            func.min(proof).filter(good),
            func.max(held.restored_at).filter(good),
            func.count(held.bad_at),
            func.count(held.file_id.distinct()).filter(good, held.level.in_(LEVELS[1:])),
        )
        .group_by(held.subject, held.tree, held.store_id)
        .order_by(held.subject, held.tree, held.store_id)
    )
    return [CopySummary(*row) for row in tx.execute(query)]


def _alike_files(tx: Transaction, subject: str, stores: Sequence[str]) -> Iterable[AlikeFiles]:
    """Yield the files by what is held of them: one column a store, the rank of the best good copy there."""
    held = _held(subject).c
    rank: ColumnElement[int] = case({level: n for n, level in enumerate(LEVELS, 1)}, value=held.level, else_=0)
    best = [
        func.max(case((held.store_id == store, rank), else_=0)).label(f"rank_{n}") for n, store in enumerate(stores)
    ]
    good = select(held.file_id, *best).where(held.bad_at.is_(None)).group_by(held.file_id).subquery()
    ranks_of = [func.coalesce(good.c[column.name], 0).label(column.name) for column in best]
    each = (
        select(files.c.tree, files.c.size, files.c.freed_at, *ranks_of)
        .select_from(files.outerjoin(good, good.c.file_id == files.c.id))
        .where(files.c.subject == subject, files.c.superseded_at.is_(None), files.c.tree != "archive")
        .subquery()
    )
    alike = [each.c.tree, *(each.c[column.name] for column in best)]
    query = (
        select(
            *alike,
            func.count(),
            func.sum(each.c.size),
            func.count(each.c.freed_at),
            func.coalesce(func.sum(each.c.size).filter(each.c.freed_at.is_not(None)), 0),
        )
        .group_by(*alike)
        .order_by(*alike)
    )
    for tree, *row in tx.execute(query):
        ranks, numbers = row[: len(stores)], row[len(stores) :]
        standing = tuple((store, found - 1) for store, found in zip(stores, ranks, strict=True) if found)
        yield AlikeFiles(tree, standing, *(int(number) for number in numbers))
