"""Who did what: append-only rows, each holding the hash of the one before it in its run.

The first row of a run holds the hash of the newest row of the catalogue, so the runs hang together.
``hash`` is the SHA-256 of the JSON list of all other columns, in the order of `AuditRow`, without spaces,
ASCII only. ``seq`` runs from 1 without holes; the newest one is also kept in the table ``meta``. Order is
by ``seq``, never by clock.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields

from sqlalchemy import bindparam, or_, select
from sqlalchemy.exc import DBAPIError

from ecogsafe.catalog import meta
from ecogsafe.catalog.bulk import add_rows
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import audit
from ecogsafe.core.clock import utc_stamp

#: what the very first row holds
BEGINNING = "0" * 64
_HEAD = "audit_head"
#: differences from a snapshot that are told one by one
_MOST_TOLD = 20


@dataclass(frozen=True, slots=True)
class AuditRow:
    """One act; nothing in it is private."""

    seq: int
    run_id: str
    prev_hash: str
    hash: str
    at: str
    #: the account on this machine
    who: str
    host: str
    #: of ecogsafe
    version: str
    #: "deid apply", "upload", "accept", …
    act: str
    subject: str | None
    #: a path below OUT, a key, a journal, a finding
    object: str | None
    digest: str | None
    #: store id
    store: str | None
    result: str


_COLUMNS = columns_of(AuditRow, audit)
#: all columns after the hash
_REST = tuple(f.name for f in fields(AuditRow))[4:]
# built once: every act is appended
_NEWEST = select(audit.c.seq, audit.c.hash).order_by(audit.c.seq.desc()).limit(1)
_NEWEST_OF_RUN = select(audit.c.hash).where(audit.c.run_id == bindparam("a_run")).order_by(audit.c.seq.desc()).limit(1)
_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=True)


def hash_of(row: AuditRow) -> str:
    """Return the hash that ``row`` should hold."""
    return _hash(row.seq, row.run_id, row.prev_hash, [getattr(row, name) for name in _REST])


def _hash(seq: int, run_id: str, prev_hash: str, rest: Sequence[str | None]) -> str:
    text = _ENCODER.encode([seq, run_id, prev_hash, *rest])
    return hashlib.sha256(text.encode("ascii")).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class Act:
    """What was done to one thing; nothing in it is private."""

    act: str
    subject: str | None = None
    object: str | None = None
    digest: str | None = None
    #: store id
    store: str | None = None
    result: str = "done"


def append(
    tx: Transaction,
    *,
    run_id: str,
    who: str,
    host: str,
    version: str,
    act: str,
    subject: str | None = None,
    object: str | None = None,
    digest: str | None = None,
    store: str | None = None,
    result: str = "done",
) -> AuditRow:
    """Add an act to the record, in the caller's transaction, and return its row."""
    one = Act(act=act, subject=subject, object=object, digest=digest, store=store, result=result)
    return append_all(tx, [one], run_id=run_id, who=who, host=host, version=version)[0]


def append_all(
    tx: Transaction, acts: Sequence[Act], *, run_id: str, who: str, host: str, version: str
) -> list[AuditRow]:
    """Add ``acts`` to the record in their order, in the caller's transaction, and return their rows."""
    if not acts:
        return []
    newest = tx.execute(_NEWEST).first()
    before = tx.execute(_NEWEST_OF_RUN, {"a_run": run_id}).scalar() or (newest.hash if newest else BEGINNING)
    seq = newest.seq if newest else 0
    now = utc_stamp()
    rows: list[AuditRow] = []
    for one in acts:
        seq += 1
        rest = (now, who, host, version, one.act, one.subject, one.object, one.digest, one.store, one.result)
        after = _hash(seq, run_id, before, rest)
        rows.append(AuditRow(seq, run_id, before, after, *rest))
        before = after
    add_rows(tx, audit, [values_of(row) for row in rows])
    meta.set(tx, _HEAD, f"{seq} {before}")
    return rows


def check(tx: Transaction, *, anchor: str | None = None) -> list[str]:
    """Return what is wrong with the record, one line each; nothing where it is whole.

    Parameters
    ----------
    anchor
        A hash that an older copy of the record ends with; it must still be in this one.
    """
    problems = []
    expected_seq = 1
    newest = BEGINNING
    last_of_run: dict[str, str] = {}
    anchored = anchor is None
    try:
        for row in _in_order(tx):
            if row.seq != expected_seq:
                problems.append(f"audit rows {expected_seq} to {row.seq - 1} are missing")
            if not _has_its_hash(row):
                problems.append(f"audit row {row.seq} was changed")
            if row.prev_hash != last_of_run.get(row.run_id, newest):
                problems.append(f"audit row {row.seq} does not follow the row before it")
            anchored = anchored or row.hash == anchor
            last_of_run[row.run_id] = newest = row.hash
            expected_seq = row.seq + 1
    except DBAPIError:
        # text that is none any more; what follows it is not looked at
        return [*problems, f"the record cannot be read from audit row {expected_seq} on"]
    head = meta.get(tx, _HEAD) or f"0 {BEGINNING}"
    if head != f"{expected_seq - 1} {newest}":
        problems.append(f"the record ends at audit row {expected_seq - 1}, the catalogue says {head.split()[0]}")
    if not anchored:
        problems.append("the record does not hold the row that an older copy ends with")
    return problems


def _in_order(tx: Transaction) -> Iterator[AuditRow]:
    query = select(*_COLUMNS).order_by(audit.c.seq).execution_options(yield_per=1000)
    for found in tx.execute(query):
        yield AuditRow(*found)


def _has_its_hash(row: AuditRow) -> bool:
    try:
        return hash_of(row) == row.hash
    except TypeError:
        # bytes where text was
        return False


def against(tx: Transaction, older: Transaction) -> tuple[int, list[str]]:
    """Hold the record against an older copy of it, row by row: the hashes of two records made to fit do not.

    Returns
    -------
    int
        The newest row of the older copy, up to which nothing can have been changed unseen.
    list of str
        What is not as it was, one line each, the first few.
    """
    problems: list[str] = []
    here = _in_order(tx)
    mine = next(here, None)
    last = 0
    try:
        for row in _in_order(older):
            last = row.seq
            while mine is not None and mine.seq < row.seq:
                mine = next(here, None)
            if mine != row and len(problems) < _MOST_TOLD:
                gone = mine is None or mine.seq != row.seq
                problems.append(f"audit row {row.seq} {'is gone' if gone else 'is not what the snapshot holds'}")
    except DBAPIError:
        problems.append("the record cannot be compared to its end")
    return last, problems


def head(tx: Transaction) -> int:
    """Return the number of the newest row, 0 where there is none."""
    return tx.execute(select(audit.c.seq).order_by(audit.c.seq.desc()).limit(1)).scalar() or 0


def recent(
    tx: Transaction, limit: int = 100, *, object: str | None = None, run_id: str | None = None
) -> list[AuditRow]:
    """Return the newest acts, the newest first, of one object or run where given."""
    query = select(*_COLUMNS).order_by(audit.c.seq.desc()).limit(limit)
    if object is not None:
        # a path below OUT and the key of its sealed copy are one thing to a person
        bare = object.removesuffix(".age")
        query = query.where(or_(audit.c.object == bare, audit.c.object == f"{bare}.age"))
    if run_id is not None:
        query = query.where(audit.c.run_id == run_id)
    return [AuditRow(*row) for row in tx.execute(query)]


def of_subject(tx: Transaction, subject: str) -> list[AuditRow]:
    """Return every act on ``subject``, the newest first."""
    query = select(*_COLUMNS).where(audit.c.subject == subject).order_by(audit.c.seq.desc())
    return [AuditRow(*row) for row in tx.execute(query)]
