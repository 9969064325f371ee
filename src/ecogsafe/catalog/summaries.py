"""Counts over the whole catalogue, for `status`: few statements, each one pass over an index or a table."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import and_, case, exists, func, select

from ecogsafe.catalog.copies import LEVELS, Level
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.schema import copies, files, segments


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
class ProtectionSummary:
    """How many current files of a subject have a number of good copies, in distinct stores."""

    subject: str
    #: stores
    copies: int
    files: int
    bytes: int


@dataclass(frozen=True, slots=True)
class SegmentSummary:
    """What a subject has been recorded in; segments of which nothing stands below OUT are left out."""

    subject: str
    segments: int
    #: by the clinic's clock where it is known, else in UTC with ``+00:00``
    first_start: str | None


def segment_summaries(tx: Transaction, subject: str | None = None) -> list[SegmentSummary]:
    """Return one summary per subject that has segments, by code."""
    query = (
        select(
            segments.c.subject,
            func.count(),
            func.min(func.coalesce(segments.c.start_local, segments.c.start_utc)),
        )
        .where(segments.c.retired_at.is_(None), segments.c.kinds != ())
        .group_by(segments.c.subject)
        .order_by(segments.c.subject)
    )
    if subject is not None:
        query = query.where(segments.c.subject == subject)
    return [SegmentSummary(*row) for row in tx.execute(query)]


def copy_summaries(tx: Transaction, subject: str | None = None) -> list[CopySummary]:
    """Return one summary per subject, tree and store, ordered by them."""
    good = copies.c.bad_at.is_(None)
    proof = case(
        (copies.c.level == "stored", copies.c.stored_at),
        (copies.c.restored_at > func.coalesce(copies.c.checksum_at, ""), copies.c.restored_at),
        else_=copies.c.checksum_at,
    )
    by_level = [func.count().filter(good, copies.c.level == level) for level in LEVELS]
    query = (
        select(
            files.c.subject,
            files.c.tree,
            copies.c.store_id,
            func.count().filter(good),
            func.coalesce(func.sum(files.c.size).filter(good), 0),
            *by_level,
            func.min(proof).filter(good),
            func.max(copies.c.restored_at).filter(good),
            func.count(copies.c.bad_at),
            func.count(copies.c.file_id.distinct()).filter(good, copies.c.level.in_(LEVELS[1:])),
        )
        .select_from(copies)
        .join(files, files.c.id == copies.c.file_id)
        .where(files.c.superseded_at.is_(None))
        .group_by(files.c.subject, files.c.tree, copies.c.store_id)
        .order_by(files.c.subject, files.c.tree, copies.c.store_id)
    )
    if subject is not None:
        query = query.where(files.c.subject == subject)
    return [CopySummary(*row) for row in tx.execute(query)]


def protection_summaries(
    tx: Transaction, level: Level, subject: str | None = None, *, stores: Collection[str] | None = None
) -> list[ProtectionSummary]:
    """Return, per subject, how many files have 0, 1, 2 … good copies of ``level`` or above.

    Parameters
    ----------
    stores
        Count only the copies in these stores, by id.
    """
    enough = LEVELS[LEVELS.index(level) :]
    counts = copies.c.bad_at.is_(None) & copies.c.level.in_(enough)
    if stores is not None:
        counts = counts & copies.c.store_id.in_(list(stores))
    per_file = (
        select(
            files.c.subject,
            files.c.size,
            func.count(copies.c.store_id.distinct()).label("copies"),
        )
        .select_from(files.outerjoin(copies, (copies.c.file_id == files.c.id) & counts))
        .where(files.c.superseded_at.is_(None))
        .group_by(files.c.id, files.c.subject, files.c.size)
    )
    if subject is not None:
        per_file = per_file.where(files.c.subject == subject)
    each = per_file.subquery()
    query = (
        select(each.c.subject, each.c.copies, func.count(), func.sum(each.c.size))
        .group_by(each.c.subject, each.c.copies)
        .order_by(each.c.subject, each.c.copies)
    )
    return [ProtectionSummary(*row) for row in tx.execute(query)]


def bad_copies(tx: Transaction, subject: str | None = None) -> list[tuple[str, str, str]]:
    """Return store id, key and reason of every bad copy, by store and key."""
    query = select(copies.c.store_id, copies.c.key, copies.c.bad_reason).where(copies.c.bad_at.is_not(None))
    if subject is not None:
        query = query.join(files, files.c.id == copies.c.file_id).where(files.c.subject == subject)
    return [(row[0], row[1], row[2]) for row in tx.execute(query.order_by(copies.c.store_id, copies.c.key))]


def repaired_copies(tx: Transaction) -> set[tuple[str, str]]:
    """Return store id and key of every bad copy beside which a good one of the same content stands."""
    beside = copies.alias()
    good = exists().where(
        and_(beside.c.file_id == copies.c.file_id, beside.c.store_id == copies.c.store_id, beside.c.bad_at.is_(None))
    )
    query = select(copies.c.store_id, copies.c.key).where(copies.c.bad_at.is_not(None), good)
    return {(row[0], row[1]) for row in tx.execute(query)}
