"""What every subject has and where it stands, counted once and corrected file by file when a row changes.

A lab has a million files; `status` shall not look at each. Files of which the same is held in the same stores
are *alike*: they are kept as one row with their number. Triggers of the database note every file that was
touched, whoever changed it; such a file is taken out of the row it was counted in and put into the one where it
belongs now (`keep_sums`), by the run that touched it, while it works and at its end. What nobody has put in its
place yet is reckoned with by whoever reads (`sums`), so the sums are those of the rows, always.

Times of proof are kept by the hour, rounded down: a proof never looks younger than it is.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

from sqlalchemy import delete, func, insert, select, update

from ecogsafe.catalog.copies import LEVELS
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.schema import alike, touched
from ecogsafe.catalog.standing import BAD, REMOVED, Group, Numbers, changes, is_pending, keep_standings
from ecogsafe.core.errors import EcogsafeError

#: changes that are put in their place at once: nobody waits longer for the catalogue than for so many
_CHUNK = 4_000

_log = logging.getLogger(__name__)


class CopyState(NamedTuple):
    """What proves one copy of a file."""

    store_id: str
    #: place in `LEVELS`; `BAD`, or `REMOVED` where it was removed on purpose after its subject withdrew
    rank: int
    #: the newest proof of that level, ``2026-01-02T03`` (UTC, hour); empty for a copy that is not good
    proven: str
    #: when it was last fetched and opened, in the same form; empty: never
    restored: str


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
    #: copies that were removed on purpose after the subject withdrew
    removed: int = 0
    #: of the bad copies: those of files with such a good copy in the same store
    replaced: int = 0


@dataclass(frozen=True, slots=True)
class AlikeFiles:
    """Current files of one tree and kind of which the same is held in the same stores."""

    tree: str
    #: its extension: ``avi``, ``edf``, ``erd``, …
    kind: str
    #: every copy, those in archives too
    held: tuple[CopyState, ...]
    files: int
    bytes: int
    #: of them deleted here by `free`
    freed_files: int
    freed_bytes: int


@dataclass(frozen=True, slots=True)
class SubjectSums:
    """The sums of one subject."""

    subject: str
    files: tuple[AlikeFiles, ...]

    @property
    def copies(self) -> tuple[CopySummary, ...]:
        """Return what each store holds of each tree, ordered by them."""
        held: dict[tuple[str, str], list[tuple[AlikeFiles, list[CopyState]]]] = {}
        for files in self.files:
            by_store: dict[str, list[CopyState]] = {}
            for state in files.held:
                by_store.setdefault(state.store_id, []).append(state)
            for store_id, states in by_store.items():
                held.setdefault((files.tree, store_id), []).append((files, states))
        return tuple(_summary(self.subject, tree, store, found) for (tree, store), found in sorted(held.items()))


def _summary(
    subject: str, tree: str, store_id: str, found: Iterable[tuple[AlikeFiles, list[CopyState]]]
) -> CopySummary:
    by_rank = dict.fromkeys((REMOVED, BAD, *range(len(LEVELS))), 0)
    size = proven = replaced = 0
    proofs: set[str] = set()
    restored: set[str] = set()
    for files, states in found:
        good = [state for state in states if state.rank >= 0]
        for state in states:
            by_rank[state.rank] += files.files
        size += len(good) * files.bytes
        if any(state.rank > 0 for state in good):
            proven += files.files
            replaced += files.files * sum(state.rank == BAD for state in states)
        proofs |= {state.proven for state in good}
        restored |= {state.restored for state in good if state.restored}
    stored, checksum, restored_now = (by_rank[rank] for rank in range(len(LEVELS)))
    return CopySummary(
        subject=subject,
        tree=tree,
        store_id=store_id,
        files=stored + checksum + restored_now,
        bytes=size,
        stored=stored,
        checksum=checksum,
        restored=restored_now,
        oldest_evidence=stamp_of_hour(min(proofs)) if proofs else None,
        newest_restored=stamp_of_hour(max(restored)) if restored else None,
        bad=by_rank[BAD],
        proven_files=proven,
        removed=by_rank[REMOVED],
        replaced=replaced,
    )


def stamp_of_hour(hour: str) -> str:
    """Return the beginning of an hour in the form of `ecogsafe.core.clock.utc_stamp`."""
    return f"{hour}:00:00.000000Z"


def sums(tx: Transaction, subject: str | None = None) -> list[SubjectSums]:
    """Return the sums of ``subject``, or of every subject that has files, by code."""
    found: dict[Group, Numbers] = {}
    columns = (alike.c.subject, alike.c.tree, alike.c.kind, alike.c.held)
    numbers = (alike.c.files, alike.c.bytes, alike.c.freed_files, alike.c.freed_bytes)
    query = select(*columns, *numbers)
    if subject is not None:
        query = query.where(alike.c.subject == subject)
    for row in tx.execute(query):
        found[Group(*row[:4])] = Numbers(*row[4:])
    for group, change in changes(tx).by_group().items():
        if subject is None or group.subject == subject:
            found[group] = found.get(group, Numbers(0, 0, 0, 0)) + change
    by_subject: dict[str, list[AlikeFiles]] = {}
    for group in sorted(group for group, many in found.items() if many.files):
        files = AlikeFiles(group.tree, group.kind, states_of(group.held), *found[group].parts())
        by_subject.setdefault(group.subject, []).append(files)
    return [SubjectSums(code, tuple(files)) for code, files in sorted(by_subject.items())]


@lru_cache(maxsize=4096)
def states_of(held: str) -> tuple[CopyState, ...]:
    """Return the copies that the column ``held`` tells of."""
    return tuple(CopyState(*state) for state in json.loads(held))


def keep_sums(catalog: Catalog) -> None:
    """Put every file that was touched until now in its place; where that does not work, `sums` reckons with it."""
    try:
        with catalog.read() as tx:
            upto = tx.execute(select(func.max(touched.c.seq))).scalar()
        while upto is not None:
            with catalog.write() as tx:
                if not _keep_some(tx, upto):
                    return
    except EcogsafeError as error:
        _log.info("sums were not kept code=%s", error.code)


def _keep_some(tx: Transaction, upto: int) -> bool:
    """Count up to `_CHUNK` changes and forget them; false if there was none."""
    if tx.dialect.name == "postgresql":
        # a file must not be counted by two at once, nor touched unseen between reading and forgetting
        tx.exec_driver_sql("LOCK TABLE touched, standings, alike IN EXCLUSIVE MODE")
    if not is_pending(tx, upto):
        return False
    some = select(touched.c.seq).where(touched.c.seq <= upto).order_by(touched.c.seq).limit(_CHUNK).subquery()
    last: int = tx.execute(select(func.max(some.c.seq))).scalar_one()
    found = changes(tx, last)
    by_group = found.by_group()
    ids = _groups(tx, {group.subject for group in by_group})
    _change_groups(tx, by_group, ids)
    keep_standings(tx, found, ids)
    tx.execute(delete(touched).where(touched.c.seq <= last))
    return True


def _groups(tx: Transaction, subjects: Iterable[str]) -> dict[Group, int]:
    found: dict[Group, int] = {}
    for code in subjects:
        query = select(alike.c.tree, alike.c.kind, alike.c.held, alike.c.id).where(alike.c.subject == code)
        found |= {Group(code, *row[:3]): row.id for row in tx.execute(query)}
    return found


def _change_groups(tx: Transaction, by_group: dict[Group, Numbers], ids: dict[Group, int]) -> None:
    """Add the numbers to the rows of their groups, and the ids of new ones to ``ids``; empty rows are removed."""
    new: Sequence[Group] = [group for group in by_group if group not in ids]
    if new:
        nothing = dict(zip(("files", "bytes", "freed_files", "freed_bytes"), (0, 0, 0, 0), strict=True))
        tx.execute(insert(alike), [group._asdict() | nothing for group in new])
        ids |= _groups(tx, {group.subject for group in new})
    for group, change in by_group.items():
        if change.is_nothing():
            continue
        values = {
            "files": alike.c.files + change.files,
            "bytes": alike.c.bytes + change.bytes,
            "freed_files": alike.c.freed_files + change.freed_files,
            "freed_bytes": alike.c.freed_bytes + change.freed_bytes,
        }
        tx.execute(update(alike).where(alike.c.id == ids[group]).values(values))
    for code in {group.subject for group in by_group}:
        tx.execute(delete(alike).where(alike.c.subject == code, alike.c.files == 0))
