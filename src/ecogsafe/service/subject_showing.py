"""``subjects show``: everything the lab knows of one subject, on one page."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from ecogsafe.catalog import clearances, files, subjects, summaries
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.clearances import ClearanceRow
from ecogsafe.catalog.files import FileTotals
from ecogsafe.catalog.subjects import JournalRow, SegmentRow, SubjectRow
from ecogsafe.catalog.sums import CopySummary
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.core.private import mask
from ecogsafe.deid.codes import is_code
from ecogsafe.deid.linking_key import Person
from ecogsafe.service.date_shifts import KEPT, SHIFTED
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.persons import open_keys
from ecogsafe.service.running import Run


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearanceState:
    """What was searched of one tree, and is clean."""

    tree: str
    #: for the identifiers known now
    current: int
    #: for fewer identifiers: they must be searched again
    lapsed: int
    #: findings that a person called harmless
    accepted: int
    oldest: str
    newest: str
    scanner_versions: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectPage:
    """One subject. Only `identifiers` is private."""

    code: str
    row: SubjectRow | None
    #: their entry of the linking key; None if it has none
    person: Person | None
    segments: tuple[SegmentRow, ...]
    files: tuple[FileTotals, ...]
    #: (URL, what it holds)
    copies: tuple[tuple[str, CopySummary], ...]
    journals: tuple[JournalRow, ...]
    clearances: tuple[ClearanceState, ...]

    def identifiers(self, *, reveal: bool) -> list[tuple[str, str]]:
        """Return field and value of every identifier; masked unless ``reveal``, never with control characters."""
        if self.person is None:
            return []
        found: list[tuple[str, str]] = []
        for name, value in self.person.identifiers.as_record().items():
            found += [(name, text) for text in (value if isinstance(value, list) else [value]) if text]
        return [(name, _printable(text) if reveal else mask(text)) for name, text in found]

    @property
    def is_shifted(self) -> bool:
        """Whether every date of the subject is shifted."""
        return bool(self.person and self.person.date_shift_days)

    @property
    def dates(self) -> str:
        """What became of the dates, in words that never say by how much they are shifted."""
        return SHIFTED if self.is_shifted else KEPT

    @property
    def history(self) -> tuple[tuple[str, str], ...]:
        """When the entry of the linking key changed and how; names no value."""
        return tuple((e.at, e.what) for e in self.person.history) if self.person else ()


def _printable(text: str) -> str:
    """Return ``text`` so that it cannot steer a terminal: names come from files of others."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)


def show_subject(run: Run, code: str, password: PasswordSource) -> SubjectPage:
    """Return the page of ``code``, linking key included.

    Raises
    ------
    UsageError
        Neither the catalogue nor the linking key knows the code.
    WrongPasswordError
        The password does not open the lab key.
    """
    if not is_code(code):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe subjects list shows the codes")
    person = open_keys(run.home, run.catalog, password).file.read().person(code)
    with run.catalog.read() as tx:
        urls = {s.store_id: s.url for s in catalog_stores.all_stores(tx)}
        row = subjects.subject(tx, code)
        page = SubjectPage(
            code=code,
            row=row,
            person=person,
            segments=tuple(subjects.segments_of(tx, code)),
            files=tuple(files.file_totals(tx, code)),
            copies=tuple((urls.get(c.store_id, c.store_id), c) for c in summaries.copy_summaries(tx, code)),
            journals=tuple(subjects.journals_of(tx, code)),
            clearances=tuple(_states(list(clearances.clearances_of(tx, code).values()), row)),
        )
    if row is None and person is None and not page.files:
        raise UsageError(code, "is not known here", next="ecogsafe subjects list shows the codes")
    return page


def _states(rows: list[ClearanceRow], subject: SubjectRow | None) -> Iterator[ClearanceState]:
    revision = subject.revision if subject else None
    for tree in sorted({row.tree for row in rows}):
        of_tree = [row for row in rows if row.tree == tree]
        current = sum(row.revision == revision for row in of_tree)
        yield ClearanceState(
            tree=tree,
            current=current,
            lapsed=len(of_tree) - current,
            accepted=sum(len(row.accepted) for row in of_tree),
            oldest=min(row.at for row in of_tree),
            newest=max(row.at for row in of_tree),
            scanner_versions=tuple(sorted(Counter(row.scanner_version for row in of_tree))),
        )


def parts_of(segment: SegmentRow) -> tuple[str, ...]:
    """Return the parts a segment has below OUT, and in brackets those that apply left behind or undo took back."""
    planned = set(json.loads(segment.fingerprint)) if segment.fingerprint.startswith("{") else set()
    return (*segment.kinds, *(f"({part})" for part in sorted(planned - set(segment.kinds))))


def as_items(page: SubjectPage) -> Iterator[Item]:
    """Yield the page as events; identifiers masked."""

    def item(action: str, message: str = "", **details: object) -> Item:
        return Item(action=action, status="note", subject=page.code, message=message, details=details)

    if page.row is not None:
        yield item(
            "subject",
            created=page.row.created_at,
            revision=page.row.revision,
            withdrawn=page.row.withdrawn_at,
            in_linking_key=page.person is not None,
        )
    for name, masked in page.identifiers(reveal=False):
        yield item("identifier", f"{name}: {masked}", field=name, masked=masked)
    if page.person is not None:
        yield item("dates", page.dates, shifted=page.is_shifted)
    for at, what in page.history:
        yield item("history", f"{at[:10]} {what}", at=at, what=what)
    for segment in page.segments:
        facts = {
            "start_local": segment.start_local,
            "start_utc": segment.start_utc,
            "duration_s": segment.duration_s,
            "parts": list(parts_of(segment)),
        }
        yield Item(action="segment", status="note", subject=page.code, segment=segment.number, details=facts)
    for url, copy in page.copies:
        levels = {"stored": copy.stored, "checksum": copy.checksum, "restored": copy.restored}
        bad = {"bad": copy.bad, "replaced": copy.replaced}
        facts = {"tree": copy.tree, "files": copy.files, **levels, **bad, "oldest_evidence": copy.oldest_evidence}
        yield Item(
            action="copies", status="note", subject=page.code, store=url, bytes=copy.bytes, message="", details=facts
        )
    for journal in page.journals:
        words = f"{journal.kind} {journal.id} {journal.state}"
        yield item("journal", words, id=journal.id, kind=journal.kind, state=journal.state, at=journal.created_at)
    for state in page.clearances:
        yield item(
            "clearance",
            f"{state.tree}: {state.current} files cleared, {state.lapsed} lapsed",
            tree=state.tree,
            current=state.current,
            lapsed=state.lapsed,
            accepted=state.accepted,
            oldest=state.oldest,
            newest=state.newest,
            scanner_versions=list(state.scanner_versions),
        )
