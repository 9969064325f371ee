"""Counts over the whole catalogue, for `status`: from the kept sums of `ecogsafe.catalog.sums` where they do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

from sqlalchemy import func, select

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.due import has_good_beside
from ecogsafe.catalog.files import FileTotals, Tree
from ecogsafe.catalog.schema import copies, files, segments
from ecogsafe.catalog.sums import CopySummary, SubjectSums, sums


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
    return [summary for each in sums(tx, subject) for summary in each.copies]


def file_totals(of: Sequence[SubjectSums]) -> list[FileTotals]:
    """Return numbers and bytes of the current files by subject and tree, as `ecogsafe.catalog.files.file_totals`."""
    totals: dict[tuple[str, str], list[int]] = {}
    for each in of:
        for alike in each.files:
            numbers = (alike.files, alike.bytes, alike.freed_files, alike.freed_bytes)
            before = totals.get((each.subject, alike.tree), [0] * len(numbers))
            totals[each.subject, alike.tree] = [a + b for a, b in zip(before, numbers, strict=True)]
    return [FileTotals(subject, cast(Tree, tree), *numbers) for (subject, tree), numbers in sorted(totals.items())]


def bad_copies(tx: Transaction, subject: str | None = None) -> list[tuple[str, str, str]]:
    """Return store id, key and reason of every bad copy, by store and key."""
    query = select(copies.c.store_id, copies.c.key, copies.c.bad_reason).where(copies.c.bad_at.is_not(None))
    if subject is not None:
        query = query.join(files, files.c.id == copies.c.file_id).where(files.c.subject == subject)
    return [(row[0], row[1], row[2]) for row in tx.execute(query.order_by(copies.c.store_id, copies.c.key))]


def repaired_copies(tx: Transaction) -> set[tuple[str, str]]:
    """Return store id and key of every bad copy that something in the same store makes up for."""
    query = select(copies.c.store_id, copies.c.key).where(copies.c.bad_at.is_not(None), has_good_beside())
    return {(row[0], row[1]) for row in tx.execute(query)}
