"""As what each current file is counted in the sums, and as what it ought to be since it was touched."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from sqlalchemy import CompoundSelect, bindparam, delete, func, select, update

from ecogsafe.catalog import bulk, inventories
from ecogsafe.catalog.copies import LEVELS
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.schema import alike, archive_members, copies, files, standings, touched

#: letters of a stamp up to its hour
_HOUR = 13
_RANKS = {level: rank for rank, level in enumerate(LEVELS)}
#: ranks of copies that are not good
BAD, REMOVED = -1, -2


class Group(NamedTuple):
    """What files have in common that are counted together."""

    subject: str
    tree: str
    kind: str
    #: JSON: the states of all copies in their order
    held: str


@dataclass(frozen=True, slots=True)
class Numbers:
    """Files, and their bytes; may be negative where they are a change."""

    files: int
    bytes: int
    freed_files: int
    freed_bytes: int

    def __add__(self, other: Numbers) -> Numbers:
        return Numbers(*(a + b for a, b in zip(self.parts(), other.parts(), strict=True)))

    def parts(self) -> tuple[int, int, int, int]:
        """Return the four numbers."""
        return self.files, self.bytes, self.freed_files, self.freed_bytes

    def is_nothing(self) -> bool:
        """Return whether they change nothing."""
        return not any(self.parts())


class Standing(NamedTuple):
    """As what one file is counted; sizes in bytes."""

    group: Group
    size: int
    freed: bool


@dataclass(frozen=True, slots=True)
class Changes:
    """The touched files: as what they were counted, and as what they ought to be; a file may lack either."""

    before: dict[int, Standing] = field(default_factory=dict)
    now: dict[int, Standing] = field(default_factory=dict)

    def by_group(self) -> dict[Group, Numbers]:
        """Return what changes in each group that one of the files leaves or joins."""
        found: dict[Group, list[int]] = {}
        for standing_of, sign in ((self.before, -1), (self.now, 1)):
            for each in standing_of.values():
                total = found.setdefault(each.group, [0, 0, 0, 0])
                total[0] += sign
                total[1] += sign * each.size
                if each.freed:
                    total[2] += sign
                    total[3] += sign * each.size
        return {group: Numbers(*total) for group, total in found.items()}


def is_pending(tx: Transaction, upto: int) -> bool:
    """Return whether a file was touched up to that change and not counted since."""
    return tx.execute(select(touched.c.seq).where(touched.c.seq <= upto).limit(1)).first() is not None


def changes(tx: Transaction, upto: int | None = None) -> Changes:
    """Return what is to be changed for the files touched, all of them or up to the change ``upto``."""
    if upto is None:
        upto = tx.execute(select(func.max(touched.c.seq))).scalar()
        if upto is None:
            return Changes()
    due = _due(upto)
    before, now = _before(tx, due), _now(tx, due)
    for file_id in [file_id for file_id, standing in now.items() if before.get(file_id) == standing]:
        # touched, and the same again
        del before[file_id], now[file_id]
    return Changes(before, now)


def _due(upto: int) -> CompoundSelect[Any]:
    """Return the ids of the files touched: those noted, and the members of the volumes noted."""
    noted = touched.c.seq <= bindparam("upto", upto)
    within = archive_members.join(touched, touched.c.file_id == archive_members.c.volume_id)
    return (
        select(touched.c.file_id).where(noted).union(select(archive_members.c.file_id).select_from(within).where(noted))
    )


def _before(tx: Transaction, due: CompoundSelect[Any]) -> dict[int, Standing]:
    query = (
        select(standings.c.file_id, standings.c.size, standings.c.freed, alike.c.subject, alike.c.tree, alike.c.kind)
        .add_columns(alike.c.held)
        .select_from(standings.join(alike, alike.c.id == standings.c.alike_id))
        .where(standings.c.file_id.in_(due))
    )
    groups: dict[tuple[str, ...], Group] = {}
    found: dict[int, Standing] = {}
    for file_id, size, freed, *rest in tx.execute(query).all():
        key = tuple(rest)
        group = groups.get(key)
        if group is None:
            group = groups[key] = Group(*key)
        found[file_id] = Standing(group, size, bool(freed))
    return found


def _now(tx: Transaction, due: CompoundSelect[Any]) -> dict[int, Standing]:
    held: dict[int, list[tuple[str, int, str, str]]] = {}
    for file_id, state in _copy_states(tx, due):
        held.setdefault(file_id, []).append(state)
    here = (files.c.id.in_(due), files.c.superseded_at.is_(None), files.c.tree != "archive")
    query = select(files.c.id, files.c.subject, files.c.tree, files.c.path, files.c.size, files.c.freed_at).where(*here)
    found: dict[int, Standing] = {}
    texts: dict[tuple[tuple[str, int, str, str], ...], str] = {}
    for file_id, subject, tree, path, size, freed_at in tx.execute(query).all():
        states = tuple(sorted(held.get(file_id, ())))
        text = texts.get(states)
        if text is None:
            text = texts[states] = json.dumps(states, separators=(",", ":"))
        found[file_id] = Standing(Group(subject, tree, kind_of(path), text), size, freed_at is not None)
    return found


def kind_of(path: str) -> str:
    """Return what kind of file stands at ``path``: its extension."""
    return path.rpartition(".")[2].lower()


def _copy_states(tx: Transaction, due: CompoundSelect[Any]) -> Iterator[tuple[int, tuple[str, int, str, str]]]:
    told = (copies.c.store_id, copies.c.level, copies.c.stored_at, copies.c.checksum_at, copies.c.restored_at)
    bad = (copies.c.bad_at, copies.c.bad_reason)
    for file_id, *row in tx.execute(select(copies.c.file_id, *told, *bad).where(copies.c.file_id.in_(due))).all():
        yield file_id, _state(*row)
    within = archive_members.join(copies, copies.c.file_id == archive_members.c.volume_id)
    members = select(archive_members.c.file_id, archive_members.c.restored_at, *told, *bad).select_from(within)
    for file_id, fetched, store_id, level, stored, checksum, restored, *rest in tx.execute(
        members.where(archive_members.c.file_id.in_(due))
    ).all():
        # a member that was fetched alone is proven as its volume is not
        newest = max(filter(None, (fetched, restored)), default=None)
        yield file_id, _state(store_id, LEVELS[-1] if fetched else level, stored, checksum, newest, *rest)


def _state(
    store_id: str,
    level: str,
    stored: str,
    checksum: str | None,
    restored: str | None,
    bad_at: str | None,
    reason: str | None,
) -> tuple[str, int, str, str]:
    if bad_at is not None:
        return store_id, REMOVED if reason == inventories.REMOVED else BAD, "", ""
    rank = _RANKS[level]  # type: ignore[index]
    proof = stored if rank == 0 else max(checksum or "", restored or "")
    return store_id, rank, proof[:_HOUR], (restored or "")[:_HOUR]


_CHANGE = (
    update(standings)
    .where(standings.c.file_id == bindparam("a_file"))
    .values(alike_id=bindparam("an_alike"), size=bindparam("a_size"), freed=bindparam("is_freed"))
)


def keep_standings(tx: Transaction, found: Changes, ids: Mapping[Group, int]) -> None:
    """Note as what the files are counted from now on."""
    gone = [{"an_id": file_id} for file_id in found.before if file_id not in found.now]
    if gone:
        tx.execute(delete(standings).where(standings.c.file_id == bindparam("an_id")), gone)
    known = [(file_id, each) for file_id, each in found.now.items() if file_id in found.before]
    changed = [
        {"a_file": file_id, "an_alike": ids[each.group], "a_size": each.size, "is_freed": each.freed}
        for file_id, each in known
    ]
    bulk.carry_out(tx, _CHANGE, changed)
    new = [
        {"file_id": file_id, "alike_id": ids[each.group], "size": each.size, "freed": each.freed}
        for file_id, each in found.now.items()
        if file_id not in found.before
    ]
    bulk.add_rows(tx, standings, new)
