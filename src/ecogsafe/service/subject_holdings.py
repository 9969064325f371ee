"""What the lab has of each subject: segments, files, copies. From the catalogue alone; codes, never names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ecogsafe.catalog import files, subjects, summaries
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import is_code
from ecogsafe.service.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """One subject."""

    code: str
    #: when the catalogue got it; None for data that another home de-identified
    created: str | None
    withdrawn: str | None
    segments: int
    #: by the clinic's clock, or in UTC with ``+00:00``
    first_start: str | None
    #: that were sent or are about to be; current contents only
    files: int
    bytes: int
    #: good copies of them, and in how many stores
    copies: int
    stores: int
    bad_copies: int
    #: of them: those that a proven good copy in the same store makes up for
    replaced_copies: int


def holdings(catalog: Catalog) -> list[Holding]:
    """Return every subject of the catalogue, by code."""
    with catalog.read() as tx:
        rows = {row.code: row for row in subjects.subjects(tx)}
        segments = {s.subject: s for s in summaries.segment_summaries(tx)}
        totals = files.file_totals(tx)
        copied = summaries.copy_summaries(tx)
    result = []
    for code in sorted({*rows, *(t.subject for t in totals)}):
        row, segment = rows.get(code), segments.get(code)
        ours = [t for t in totals if t.subject == code]
        theirs = [c for c in copied if c.subject == code]
        result.append(
            Holding(
                code=code,
                created=row.created_at if row else None,
                withdrawn=row.withdrawn_at if row else None,
                segments=segment.segments if segment else 0,
                first_start=segment.first_start if segment else None,
                files=sum(t.files for t in ours),
                bytes=sum(t.bytes for t in ours),
                copies=sum(c.files for c in theirs),
                stores=len({c.store_id for c in theirs if c.files}),
                bad_copies=sum(c.bad for c in theirs),
                replaced_copies=sum(c.replaced for c in theirs),
            )
        )
    return result


def list_subjects(home: Home) -> list[Holding]:
    """Return every subject of the home; asks no password."""
    home.require()
    catalog = home.open_catalog()
    try:
        return holdings(catalog)
    finally:
        catalog.close()


def check_subject(catalog: Catalog, code: str) -> None:
    """Raise UsageError unless the catalogue has heard of the subject ``code``."""
    if not is_code(code):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe subjects list shows the codes")
    with catalog.read() as tx:
        known = subjects.subject(tx, code) is not None or bool(files.file_totals(tx, code))
    if not known:
        raise UsageError(code, "is not a subject of this catalogue", next="ecogsafe subjects list")


def as_items(found: list[Holding]) -> Iterator[Item]:
    """Yield the subjects as events."""
    for holding in found:
        yield Item(
            action="subject",
            status="note",
            subject=holding.code,
            bytes=holding.bytes,
            details={
                "created": holding.created,
                "withdrawn": holding.withdrawn,
                "segments": holding.segments,
                "first_start": holding.first_start,
                "files": holding.files,
                "copies": holding.copies,
                "stores": holding.stores,
                "bad_copies": holding.bad_copies,
                "replaced_copies": holding.replaced_copies,
            },
        )
