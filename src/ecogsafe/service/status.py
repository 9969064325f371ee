"""``status``: which subject is where, proven how, and what is missing; answered from the catalogue alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from ecogsafe.catalog import inventories, leases, runs, subjects, summaries
from ecogsafe.catalog import stores as catalog_stores
from ecogsafe.catalog import sums as catalog_sums
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.files import FileTotals
from ecogsafe.catalog.runs import RunRow
from ecogsafe.catalog.sums import CopySummary, keep_sums
from ecogsafe.core.clock import utc_now
from ecogsafe.core.config import Settings
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import is_code
from ecogsafe.service.connections import one_url
from ecogsafe.service.home import Home
from ecogsafe.service.key_backup import linking_key_digest, places_with
from ecogsafe.service.owner import is_dead, word_of
from ecogsafe.service.policy import Sample
from ecogsafe.service.running import RUN_LEASE
from ecogsafe.service.safety import Lack, Lacks, assessments, locations_of

#: one command that has not ended
RunAtWork = RunRow


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
    #: files with at least one good copy there that a checksum or a full read proved
    proven_files: int
    #: removed on purpose after the subject withdrew
    removed: int = 0
    #: of the bad ones: those that a proven good copy in the same store makes up for
    replaced: int = 0
    newest_restored: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SubjectState:
    """One tree of one subject."""

    subject: str
    tree: str
    files: int
    bytes: int
    cells: tuple[StoreCell, ...]
    #: deleted here by `free`
    freed_files: int = 0

    @property
    def copied_everywhere_complete(self) -> int:
        """Number of stores that hold every file, with the store's own checksum or more."""
        return sum(1 for c in self.cells if c.proven_files >= self.files)


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusReport:
    """Everything ``status`` shows."""

    states: tuple[SubjectState, ...]
    stores: tuple[str, ...]
    #: subjects whose de-identification is unfinished
    unfinished: tuple[str, ...]
    #: (store, key, reason)
    bad: tuple[tuple[str, str, str], ...]
    #: runs at work now
    running: tuple[RunAtWork, ...]
    copies_wanted: int
    #: places that hold the present linking key
    key_backups: int
    #: what keeps something from being safe, each with the command that supplies it
    lacks: tuple[Lack, ...] = ()
    #: what was brought back, by subject and store; those that withdrew are left out
    samples: Mapping[tuple[str, str], Sample] | None = None
    #: what the config calls a store, by URL
    names: Mapping[str, str] | None = None
    #: when it was made
    at: datetime | None = None

    @property
    def problems(self) -> tuple[str, ...]:
        """What keeps something from being safe, in words."""
        return tuple(lack.message for lack in self.lacks)

    @property
    def unsafe(self) -> bool:
        """True if anything falls short of the policy, or is bad."""
        return bool(self.lacks)

    @property
    def bad_found(self) -> bool:
        """True if a copy is not what it ought to be, and no good one stands beside it."""
        return any(lack.is_bad for lack in self.lacks)


def status(home: Home, subject: str | None) -> StatusReport:
    """Return the state of ``subject``, or of all.

    Raises
    ------
    UsageError
        Nobody knows that subject.
    """
    home.require()
    if subject is not None and not is_code(subject):
        raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
    settings = home.settings()
    linking_key = linking_key_digest(home)
    catalog = home.open_catalog(only_look=True)
    try:
        keep_sums(catalog)
        return _report(catalog, subject, settings, linking_key)
    finally:
        catalog.close()


def _report(catalog: Catalog, subject: str | None, settings: Settings, linking_key: str | None) -> StatusReport:
    now = utc_now()
    with catalog.read() as tx:
        stores = catalog_stores.all_stores(tx)
        urls = {s.store_id: s.url for s in stores}
        sums = catalog_sums.sums(tx, subject)
        totals = summaries.file_totals(sums)
        copied = [summary for each in sums for summary in each.copies]
        bad_copies = [bad for bad in summaries.bad_copies(tx, subject) if bad[2] != inventories.REMOVED]
        repaired = summaries.repaired_copies(tx) if bad_copies else set()
        unfinished = tuple(sorted({j.subject for j in subjects.open_journals(tx, subject)}))
        rows = subjects.subjects(tx)
        known = {s.code for s in rows} | {t.subject for t in totals}
        if subject is not None and subject not in known:
            raise UsageError(subject, "is not a subject of this catalogue", next="ecogsafe status")
        key_urls = settings.key_backup_urls()
        holding = places_with(tx, key_urls, linking_key) if linking_key else list(key_urls)
        running = _at_work(tx)
    lacks = [_unfinished(code) for code in unfinished]
    lacks += [
        _bad(urls.get(store_id, store_id), key, reason)
        for store_id, key, reason in bad_copies
        if (store_id, key) not in repaired
    ]
    # of a subject that withdrew nobody wants copies
    withdrawn = {s.code for s in rows if s.withdrawn_at is not None}
    wanted = [each for each in sums if each.subject not in withdrawn]
    locations = locations_of(stores, settings)
    in_words = Lacks(settings, urls, locations)
    found = assessments(wanted, locations, settings, now)
    for assessment, each in zip(found, wanted, strict=True):
        lacks += in_words.of_subject(assessment, each, now)
    states = tuple(_state(t, copied, urls) for t in totals)
    if linking_key and not holding:
        lacks.append(_key_problem(key_urls))
    shown = {c.store for s in states for c in s.cells}
    return StatusReport(
        states=states,
        stores=tuple(url for url in urls.values() if url in shown),
        unfinished=unfinished,
        bad=tuple((urls.get(i, i), key, reason) for i, key, reason in bad_copies),
        running=running,
        copies_wanted=settings.policy.copies,
        key_backups=len(holding),
        lacks=tuple(lacks),
        samples={(a.subject, urls[store]): sample for a in found for store, sample in a.samples.items()},
        names={one_url(d.url): d.name for d in settings.destination},
        at=now,
    )


def _unfinished(code: str) -> Lack:
    return Lack(code, f"{code}: de-identification is unfinished", "run the same ecogsafe deid apply again")


def _bad(store: str, key: str, reason: str) -> Lack:
    code = key.partition("/")[0].partition("_")[0]
    repair = f"ecogsafe verify {code} --store {store} --repair"
    return Lack(code, f"{key} at {store} is bad: {reason}", repair, is_bad=True)


def _key_problem(urls: tuple[str, ...]) -> Lack:
    if not urls:
        text = "the linking key has no second copy: set [key_backup] urls in config.toml"
        return Lack(None, text, "set [key_backup] urls in config.toml, then ecogsafe backup")
    text = f"the linking key as it is now has no second copy: it was not yet put to {', '.join(urls)}"
    return Lack(None, text, "ecogsafe backup, once that place can be reached")


def _at_work(tx: Transaction) -> tuple[RunRow, ...]:
    """Return the runs that hold their lease; the rows of those that were killed never get an end."""
    words = [word_of(held.owner) for held in leases.holders(tx, RUN_LEASE) if not is_dead(held.owner)]
    rows = (runs.run(tx, word) for word in words)
    return tuple(row for row in rows if row is not None and row.ended_at is None)


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
            proven_files=c.proven_files,
            removed=c.removed,
            replaced=c.replaced,
            newest_restored=c.newest_restored,
        )
        for c in copied
        if c.subject == total.subject and c.tree == total.tree
    )
    return SubjectState(
        subject=total.subject,
        tree=total.tree,
        files=total.files,
        bytes=total.bytes,
        cells=cells,
        freed_files=total.freed_files,
    )


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
                        "freed_files": state.freed_files,
                        **(
                            {
                                "copies": cell.files,
                                "stored": cell.stored,
                                "checksum": cell.checksum,
                                "restored": cell.restored,
                                "bad": cell.bad,
                                "oldest_evidence": cell.oldest_evidence,
                                "proven_files": cell.proven_files,
                                "removed": cell.removed,
                                "replaced": cell.replaced,
                                "newest_restored": cell.newest_restored,
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
                    "files_present": row.files_present,
                    "bytes_present": row.bytes_present,
                    "retries": row.retries,
                    "waiting": row.waiting,
                    "current_files": [
                        {"path": path, "bytes_done": done, "bytes_total": total}
                        for path, done, total in row.files_under_way()
                    ],
                },
            )
        )
    return items
