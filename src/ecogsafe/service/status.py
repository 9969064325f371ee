"""``status``: which subject is where, proven how, and what is missing; answered from the catalogue alone."""

from __future__ import annotations

from dataclasses import dataclass, field

from ecogsafe.catalog import files, runs, subjects, summaries
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.files import FileTotals
from ecogsafe.catalog.runs import RunRow
from ecogsafe.catalog.summaries import CopySummary
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.home import Home


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreCell:
    """One subject's one tree at one store."""

    store: str
    files: int
    bytes: int
    #: good copies by level
    stored: int
    checksum: int
    restored: int
    bad: int
    oldest_evidence: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectState:
    """One tree of one subject."""

    subject: str
    tree: str
    files: int
    bytes: int
    cells: tuple[StoreCell, ...]

    @property
    def copied_everywhere_complete(self) -> int:
        """Number of stores that hold every file, with the store's own checksum or more."""
        return sum(1 for c in self.cells if c.bad == 0 and c.checksum + c.restored >= self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Everything ``status`` shows."""

    states: tuple[SubjectState, ...]
    stores: tuple[str, ...]
    #: subjects whose de-identification is unfinished
    unfinished: tuple[str, ...]
    #: (store, key, reason)
    bad: tuple[tuple[str, str, str], ...]
    running: tuple[RunRow, ...]
    copies_wanted: int
    key_backups: int
    problems: tuple[str, ...] = field(default=())

    @property
    def unsafe(self) -> bool:
        """True if anything falls short of the policy's number of proven copies, or is bad."""
        return bool(self.problems)


def status(home: Home, subject: str | None) -> StatusReport:
    """Return the state of ``subject``, or of all."""
    home.require()
    settings = home.settings()
    catalog = home.open_catalog()
    try:
        return _report(catalog, subject, settings.policy.copies, len(settings.key_backup_urls()))
    finally:
        catalog.close()


def _report(catalog: Catalog, subject: str | None, wanted: int, key_backups: int) -> StatusReport:
    with catalog.read() as tx:
        stores = {s.store_id: s.url for s in catalog_stores.all_stores(tx)}
        totals = files.file_totals(tx, subject)
        copied = summaries.copy_summaries(tx, subject)
        bad = tuple((stores.get(i, i), key, reason) for i, key, reason in summaries.bad_copies(tx, subject))
        unfinished = tuple(sorted({j.subject for j in subjects.open_journals(tx, subject)}))
        known = {s.code for s in subjects.subjects(tx)} | {t.subject for t in totals}
        recent = tuple(r for r in runs.recent_runs(tx) if r.ended_at is None)
    if subject is not None and subject not in known:
        raise UsageError(subject, "is not a subject of this catalogue", next="ecogsafe status")
    states = tuple(_state(t, copied, stores) for t in totals)
    shown = {c.store for s in states for c in s.cells}
    return StatusReport(
        states=states,
        stores=tuple(url for url in stores.values() if url in shown),
        unfinished=unfinished,
        bad=bad,
        running=recent,
        copies_wanted=wanted,
        key_backups=key_backups,
        problems=tuple(_problems(states, unfinished, bad, wanted, key_backups)),
    )


def _state(total: FileTotals, copied: list[CopySummary], stores: dict[str, str]) -> SubjectState:
    cells = tuple(
        StoreCell(
            store=stores.get(c.store_id, c.store_id),
            files=c.files,
            bytes=c.bytes,
            stored=c.stored,
            checksum=c.checksum,
            restored=c.restored,
            bad=c.bad,
            oldest_evidence=c.oldest_evidence,
        )
        for c in copied
        if c.subject == total.subject and c.tree == total.tree
    )
    return SubjectState(subject=total.subject, tree=total.tree, files=total.files, bytes=total.bytes, cells=cells)


def _problems(
    states: tuple[SubjectState, ...],
    unfinished: tuple[str, ...],
    bad: tuple[tuple[str, str, str], ...],
    wanted: int,
    key_backups: int,
) -> list[str]:
    problems = [f"{code}: de-identification is unfinished" for code in unfinished]
    problems += [f"{key} at {store} is bad: {reason}" for store, key, reason in bad]
    for s in states:
        proven = s.copied_everywhere_complete
        if proven < wanted:
            problems.append(f"{s.subject} {s.tree}: {proven} of {wanted} proven copies")
    if not key_backups and states:
        problems.append("the linking key has no second copy: set [key_backup] urls in config.toml")
    return problems


def as_items(report: StatusReport) -> list[Item]:
    """Return the report as events, one a subject, tree and store."""
    items: list[Item] = []
    for state in report.states:
        for cell in state.cells or (None,):
            items.append(
                Item(
                    action="status",
                    status="note",
                    subject=state.subject,
                    store=cell.store if cell else None,
                    bytes=cell.bytes if cell else state.bytes,
                    message="" if cell else "no copy recorded",
                    details={
                        "tree": state.tree,
                        "files": state.files,
                        **(
                            {
                                "copies": cell.files,
                                "stored": cell.stored,
                                "checksum": cell.checksum,
                                "restored": cell.restored,
                                "bad": cell.bad,
                                "oldest_evidence": cell.oldest_evidence,
                            }
                            if cell
                            else {}
                        ),
                    },
                )
            )
    for row in report.running:
        items.append(
            Item(
                action="run",
                status="note",
                message=row.command,
                details={
                    "started_at": row.started_at,
                    "files_done": row.files_done,
                    "files_total": row.files_total,
                    "bytes_done": row.bytes_done,
                    "bytes_total": row.bytes_total,
                    "bytes_per_s": row.bytes_per_s,
                    "seconds_left": row.seconds_left,
                    "current": row.current,
                },
            )
        )
    return items
