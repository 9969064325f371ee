"""Which copies `verify` looks at, the oldest evidence first: read page by page, in memory that does not grow.

A copy that was looked at is put at the end of the line, whatever came of it. So a run that stops early is
continued by the next one, and a copy that cannot be judged does not stand in the way of the others.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import ColumnElement, Select, and_, exists, func, or_, select, true, tuple_, update

from ecogsafe.catalog.copies import LEVELS, CopyRow
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import FileRow, Tree
from ecogsafe.catalog.inventories import REMOVED
from ecogsafe.catalog.rows import columns_of
from ecogsafe.catalog.schema import archive_members, copies, files

_BATCH = 500
_COLUMNS = columns_of(CopyRow, copies)
_FILE = columns_of(FileRow, files)

Pair = tuple[CopyRow, FileRow]
#: where a page ends: time and id of its last copy
Position = tuple[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """The copies that wait to be looked at, in their order."""

    #: all of each is to be read; else its store is asked
    deep: bool
    #: at these stores; None: at all of them
    store_ids: tuple[str, ...] | None = None
    #: of this subject only
    subject: str | None = None
    #: looked at before or at this time; what was looked at later is fresh
    until: str

    @property
    def _time(self) -> ColumnElement[str]:
        return copies.c.read_at if self.deep else copies.c.asked_at

    def _select(self, *columns: Any) -> Select[Any]:
        """Return a query of the copies that wait.

        What is put together with an empty text has no index: left to it, the database would begin with the store,
        which is half of all copies, and not with the time, or with the files of the subject.
        """
        here = true() if self.store_ids is None else copies.c.store_id.concat("").in_(self.store_ids)
        if self.subject is None:
            return select(*columns).select_from(copies).where(self._time <= self.until, here)
        joined = files.join(copies, copies.c.file_id == files.c.id)
        waiting = and_(self._time.concat("") <= self.until, here)
        return select(*columns).select_from(joined).where(files.c.subject == self.subject, waiting)


class Candidate(NamedTuple):
    """What a choice among copies needs to know of one; there are millions."""

    copy_id: int
    looked_at: str
    #: bytes
    size: int
    store_id: str
    tree: Tree
    path: str


def distrust_future(tx: Transaction, now: str) -> None:
    """Put first whatever was looked at later than now: a negative age proves nothing (DESIGN 5.12)."""
    for column in (copies.c.asked_at, copies.c.read_at):
        tx.execute(update(copies).where(column > now).values({column.name: ""}))


def totals(tx: Transaction, line: Line) -> tuple[int, int]:
    """Return how many copies wait, and their bytes."""
    counted = (func.count(), func.coalesce(func.sum(copies.c.size), 0))
    count, size = tx.execute(line._select(*counted)).one()
    # few are bad: they are looked up by that, and not among all that wait
    is_waiting = line._time.concat("") <= line.until
    removed = select(copies.c.id, copies.c.size, copies.c.store_id, copies.c.file_id).where(_is_removed(), is_waiting)
    for _, removed_size, store_id, file_id in tx.execute(removed):
        is_here = line.store_ids is None or store_id in line.store_ids
        if is_here and (line.subject is None or _subject_of(tx, file_id) == line.subject):
            count, size = count - 1, size - removed_size
    return int(count), int(size)


def _subject_of(tx: Transaction, file_id: int) -> str:
    return str(tx.execute(select(files.c.subject).where(files.c.id == file_id)).scalar_one())


def page(tx: Transaction, line: Line, after: Position | None, count: int) -> tuple[list[Pair], Position | None]:
    """Return the next ``count`` copies of the line at most, with their files, and where to go on; None at the end."""
    ids = line._select(line._time.label("at"), copies.c.id)
    if after is not None:
        ids = ids.where(tuple_(line._time, copies.c.id) > after)
    places = tx.execute(ids.order_by(line._time, copies.c.id).limit(count)).all()
    if not places:
        return [], None
    pairs = by_ids(tx, [row.id for row in places])
    last = places[-1]
    return [pair for pair in pairs if pair[0].bad_reason != REMOVED], (last.at, last.id)


def by_ids(tx: Transaction, copy_ids: Sequence[int]) -> list[Pair]:
    """Return these copies with their files, in this order; those that are no longer recorded are left out."""
    found: dict[int, Pair] = {}
    for start in range(0, len(copy_ids), _BATCH):
        batch = copy_ids[start : start + _BATCH]
        for row in tx.execute(_pairs().where(copies.c.id.in_(batch))):
            pair = _pair(row)
            found[pair[0].id] = pair
    return [found[number] for number in copy_ids if number in found]


def candidates(tx: Transaction, line: Line) -> list[Candidate]:
    """Return what waits of the one subject of ``line``, by id."""
    told = (copies.c.id, line._time, copies.c.size, copies.c.store_id, files.c.tree, files.c.path)
    query = line._select(*told).where(~_is_removed()).order_by(copies.c.id)
    return list(map(Candidate._make, tx.execute(query)))


def listed_as_known(tx: Transaction, store_id: str, listed: Mapping[str, tuple[int, str | None]]) -> list[int]:
    """Return the ids of the good copies that a listing shows as they are known.

    Parameters
    ----------
    listed
        Size in bytes and ETag by key.
    """
    same: list[int] = []
    keys = list(listed)
    told = (copies.c.id, copies.c.key, copies.c.size, copies.c.etag)
    for start in range(0, len(keys), _BATCH):
        here = (copies.c.store_id == store_id, copies.c.key.in_(keys[start : start + _BATCH]))
        for number, key, size, etag in tx.execute(select(*told).where(*here, copies.c.bad_at.is_(None))):
            if etag is not None and (size, etag) == listed[key]:
                same.append(number)
    return same


def unseen(tx: Transaction, store_id: str, subject: str, since: str) -> list[int]:
    """Return the ids of the copies of a subject that no listing has shown as they are since this time."""
    query = (
        select(copies.c.id)
        .select_from(files.join(copies, copies.c.file_id == files.c.id))
        .where(files.c.subject == subject, copies.c.store_id.concat("") == store_id, ~_is_removed())
        # what arrived meanwhile was not there to be listed
        .where(copies.c.stored_at < since, or_(copies.c.seen_at.is_(None), copies.c.seen_at < since))
        .order_by(copies.c.id)
    )
    return list(tx.execute(query).scalars())


def bad(tx: Transaction, store_ids: Collection[str], subject: str | None = None) -> list[Pair]:
    """Return the bad copies that nothing in the same store makes up for, by store and key."""
    query = _pairs().where(
        copies.c.bad_at.is_not(None), copies.c.store_id.in_(store_ids), ~_is_removed(), ~has_good_beside()
    )
    if subject is not None:
        query = query.where(files.c.subject == subject)
    return [_pair(row) for row in tx.execute(query.order_by(copies.c.store_id, copies.c.key))]


def is_replaced(tx: Transaction, copy_id: int) -> bool:
    """Return whether something in the same store makes up for a bad copy."""
    query = select(copies.c.id).where(copies.c.id == copy_id, has_good_beside())
    return tx.execute(query).first() is not None


def codes(tx: Transaction) -> list[str]:
    """Return the subjects that have files, by code; each is one look into the index, not one a file."""
    first = select(func.min(files.c.subject).label("subject")).cte("walk", recursive=True)
    after = select(func.min(files.c.subject)).where(files.c.subject > first.c.subject).scalar_subquery()
    walk = first.union_all(select(after).where(first.c.subject.is_not(None)))
    return list(tx.execute(select(walk.c.subject).where(walk.c.subject.is_not(None))).scalars())


def holds_sealed(tx: Transaction, store_ids: Collection[str], subject: str | None = None) -> bool:
    """Return whether a sealed copy is recorded in these stores."""
    query = select(copies.c.id).where(copies.c.sealed, copies.c.store_id.in_(store_ids))
    if subject is not None:
        query = query.join(files, files.c.id == copies.c.file_id).where(files.c.subject == subject)
    return tx.execute(query.limit(1)).first() is not None


def has_good_beside() -> ColumnElement[bool]:
    """Return the condition that a bad copy is made up for in its store.

    A good copy stands there that is proven to be the same content; or, for a volume of an archive, every file of it
    is in another good volume there.
    """
    beside = copies.alias()
    same = exists().where(
        and_(
            beside.c.file_id == copies.c.file_id,
            beside.c.store_id == copies.c.store_id,
            beside.c.bad_at.is_(None),
            # what was only found there may be another content of the file
            beside.c.level != LEVELS[0],
        )
    )
    member, other, volume = archive_members.alias(), archive_members.alias(), copies.alias()
    packed_again = (
        select(other.c.volume_id)
        .join(volume, volume.c.file_id == other.c.volume_id)
        .where(
            other.c.file_id == member.c.file_id,
            other.c.volume_id != member.c.volume_id,
            volume.c.store_id == copies.c.store_id,
            volume.c.bad_at.is_(None),
        )
        .correlate(member, copies)
        .exists()
    )
    of_volume = member.c.volume_id == copies.c.file_id
    lacking = select(member.c.volume_id).where(of_volume, ~packed_again).correlate(copies).exists()
    is_volume = select(member.c.volume_id).where(of_volume).correlate(copies).exists()
    return or_(same, and_(is_volume, ~lacking))


def _is_removed() -> ColumnElement[bool]:
    return and_(copies.c.bad_at.is_not(None), func.coalesce(copies.c.bad_reason, "") == REMOVED)


def _pairs() -> Select[Any]:
    return select(*_COLUMNS, *_FILE).join(files, files.c.id == copies.c.file_id)


def _pair(row: Any) -> Pair:
    return CopyRow(*row[: len(_COLUMNS)]), FileRow(*row[len(_COLUMNS) :])
