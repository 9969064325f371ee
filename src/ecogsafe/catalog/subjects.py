"""Subjects by code, their segments (numbers are for ever) and the journals of deid apply and undo."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import and_, exists, func, insert, or_, select, update

from ecogsafe.catalog import revisions
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import archive_members, copies, files, intents, journals, segments, uploads
from ecogsafe.catalog.schema import sealings as sealings_table
from ecogsafe.catalog.schema import subjects as subjects_table
from ecogsafe.core.clock import utc_stamp
from ecogsafe.core.errors import PlanConflictError, UsageError


@dataclass(frozen=True, slots=True)
class SubjectRow:
    """One subject; who it is only the linking key knows."""

    #: 8 lower-case hexadecimal digits, the first a letter
    code: str
    created_at: str
    #: of the set of identifiers that files are searched for; a clearance of an older one has lapsed
    revision: int
    #: when the person withdrew; nothing of the subject is sent from then on
    withdrawn_at: str | None = None


@dataclass(frozen=True, slots=True)
class SegmentRow:
    """One interval of recording."""

    subject: str
    number: int
    start_utc: str | None
    #: the clinic's clock, without zone
    start_local: str | None
    duration_s: float | None
    #: what the segment has, as `formats.kinds` names it
    kinds: tuple[str, ...]
    #: tells the same study again from another one
    fingerprint: str
    retired_at: str | None = None


@dataclass(frozen=True, slots=True)
class JournalRow:
    """One sealed journal in the home."""

    id: str
    subject: str
    kind: Literal["apply", "undo"]
    state: Literal["open", "closed"]
    created_at: str
    closed_at: str | None
    #: of the sealed file
    sha256: str
    #: the apply journal that an undo takes back
    undoes: str | None = None


_SUBJECT = columns_of(SubjectRow, subjects_table)
_SEGMENT = columns_of(SegmentRow, segments)
_JOURNAL = columns_of(JournalRow, journals)


def add_subject(tx: Transaction, code: str, *, revision: int = 1) -> SubjectRow:
    """Add the subject ``code`` where it is new, and return its row."""
    known = subject(tx, code)
    if known is not None:
        return known
    row = SubjectRow(code, utc_stamp(), revision)
    tx.execute(insert(subjects_table).values(values_of(row)))
    return row


def subject(tx: Transaction, code: str) -> SubjectRow | None:
    """Return the subject ``code``."""
    row = tx.execute(select(*_SUBJECT).where(subjects_table.c.code == code)).first()
    return None if row is None else SubjectRow(*row)


def subjects(tx: Transaction) -> list[SubjectRow]:
    """Return every subject, by code."""
    return [SubjectRow(*row) for row in tx.execute(select(*_SUBJECT).order_by(subjects_table.c.code))]


def set_revision(tx: Transaction, code: str, revision: int) -> None:
    """Note that the identifiers of ``code`` now have ``revision``; it never goes down.

    Raises
    ------
    UsageError
        There is no such subject, or it has a newer revision.
    """
    change = (
        update(subjects_table)
        .where(subjects_table.c.code == code, subjects_table.c.revision <= revision)
        .values(revision=revision)
    )
    if not tx.execute(change).rowcount:
        raise UsageError(code, "is unknown, or its identifiers are newer than this", next="ecogsafe subjects list")
    revisions.reached(tx, code, revision)


def withdraw_subject(tx: Transaction, code: str) -> SubjectRow:
    """Note that the person behind ``code`` withdrew, and return the row; the first time stays.

    A subject that only files tell of (another home de-identified it) gets its row.
    """
    add_subject(tx, code)
    here = (subjects_table.c.code == code, subjects_table.c.withdrawn_at.is_(None))
    tx.execute(update(subjects_table).where(*here).values(withdrawn_at=utc_stamp()))
    row = subject(tx, code)
    if row is None:
        raise UsageError(code, "is unknown", next="ecogsafe subjects list")
    return row


def reinstate_subject(tx: Transaction, code: str) -> None:
    """Take a withdrawal back; where there is none nothing changes."""
    tx.execute(update(subjects_table).where(subjects_table.c.code == code).values(withdrawn_at=None))


def numbers_sent(tx: Transaction, code: str) -> set[int]:
    """Return the numbers of segments of ``code`` of which any file was ever sent, by whatever home it was."""
    sent = or_(exists().where(copies.c.file_id == files.c.id), exists().where(archive_members.c.file_id == files.c.id))
    query = select(files.c.segment).where(files.c.subject == code, files.c.segment.is_not(None), sent).distinct()
    return set(tx.execute(query).scalars())


def next_segment_number(tx: Transaction, code: str) -> int:
    """Return the number after the highest one ever published for ``code``; retired numbers count."""
    highest = tx.execute(select(func.max(segments.c.number)).where(segments.c.subject == code)).scalar()
    return (highest or 0) + 1


def add_segments(tx: Transaction, rows: Iterable[SegmentRow]) -> None:
    """Add new segments.

    Raises
    ------
    PlanConflictError
        A number was published before.
    """
    for row in rows:
        taken = exists().where(segments.c.subject == row.subject, segments.c.number == row.number)
        if tx.execute(select(taken)).scalar():
            raise PlanConflictError(f"{row.subject}_{row.number}", "was published before; numbers are never used again")
        tx.execute(insert(segments).values(values_of(row)))


def update_segment(tx: Transaction, row: SegmentRow) -> None:
    """Replace what is known of the segment ``row.subject``, ``row.number``.

    Raises
    ------
    UsageError
        There is no such segment.
    """
    change = (
        update(segments)
        .where(segments.c.subject == row.subject, segments.c.number == row.number)
        .values(values_of(row))
    )
    if not tx.execute(change).rowcount:
        raise UsageError(f"{row.subject}_{row.number}", "is no segment of the catalogue")


def segments_of(tx: Transaction, code: str, *, with_retired: bool = False) -> list[SegmentRow]:
    """Return the segments of ``code`` by number."""
    query = select(*_SEGMENT).where(segments.c.subject == code).order_by(segments.c.number)
    if not with_retired:
        query = query.where(segments.c.retired_at.is_(None))
    return [SegmentRow(*row) for row in tx.execute(query)]


def retire_segments(tx: Transaction, code: str, numbers: Iterable[int]) -> None:
    """Note that the segments ``numbers`` are no more; their numbers stay taken."""
    tx.execute(
        update(segments)
        .where(segments.c.subject == code, segments.c.number.in_(list(numbers)), segments.c.retired_at.is_(None))
        .values(retired_at=utc_stamp())
    )


def forget_segments(tx: Transaction, code: str, numbers: Iterable[int]) -> list[int]:
    """Free the segment ``numbers`` of which nothing was ever sent; retire the others, and return those.

    For `deid undo`: what left this machine keeps its numbers for ever, what did not is undone whole.
    """
    kept = []
    for number in sorted(numbers):
        of_segment = and_(files.c.subject == code, files.c.segment == number)
        sent = select(
            exists().where(of_segment, copies.c.file_id == files.c.id)
            | exists().where(of_segment, intents.c.file_id == files.c.id)
            | exists().where(
                of_segment,
                sealings_table.c.file_id == files.c.id,
                uploads.c.sealing_id == sealings_table.c.id,
            )
        )
        if tx.execute(sent).scalar():
            kept.append(number)
        else:
            tx.execute(segments.delete().where(segments.c.subject == code, segments.c.number == number))
    retire_segments(tx, code, kept)
    return kept


def open_journal(
    tx: Transaction,
    journal_id: str,
    *,
    subject: str,
    kind: Literal["apply", "undo"],
    sha256: str,
    undoes: str | None = None,
) -> JournalRow:
    """Note a journal that was sealed, read back and is about to be carried out."""
    row = JournalRow(journal_id, subject, kind, "open", utc_stamp(), None, sha256, undoes)
    tx.execute(insert(journals).values(values_of(row)))
    return row


def close_journal(tx: Transaction, journal_id: str) -> None:
    """Note that everything of the journal is done; a second time changes nothing."""
    tx.execute(
        update(journals)
        .where(journals.c.id == journal_id, journals.c.state == "open")
        .values(state="closed", closed_at=utc_stamp())
    )


def journal(tx: Transaction, journal_id: str) -> JournalRow | None:
    """Return the journal ``journal_id``."""
    row = tx.execute(select(*_JOURNAL).where(journals.c.id == journal_id)).first()
    return None if row is None else JournalRow(*row)


def open_journals(tx: Transaction, code: str | None = None) -> list[JournalRow]:
    """Return the open journals of ``code`` (None: of all), oldest first."""
    query = select(*_JOURNAL).where(journals.c.state == "open").order_by(journals.c.seq)
    if code is not None:
        query = query.where(journals.c.subject == code)
    return [JournalRow(*row) for row in tx.execute(query)]


def journals_of(tx: Transaction, code: str) -> list[JournalRow]:
    """Return every journal of ``code``, oldest first."""
    query = select(*_JOURNAL).where(journals.c.subject == code).order_by(journals.c.seq)
    return [JournalRow(*row) for row in tx.execute(query)]


def newest_applied(tx: Transaction, code: str) -> JournalRow | None:
    """Return the newest apply journal of ``code`` that no finished undo took back: what `undo` may undo."""
    undo = journals.alias()
    taken_back = exists().where(undo.c.undoes == journals.c.id, undo.c.state == "closed")
    query = (
        select(*_JOURNAL)
        .where(journals.c.subject == code, journals.c.kind == "apply", ~taken_back)
        .order_by(journals.c.seq.desc())
        .limit(1)
    )
    row = tx.execute(query).first()
    return None if row is None else JournalRow(*row)
