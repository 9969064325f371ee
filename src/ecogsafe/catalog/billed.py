"""What stands in the stores, added up for a bill: by store, class and subject, what is recent by day too."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import case, func, select

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.schema import copies, files

#: letters of a stamp up to its day
_DAY = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldObjects:
    """Objects of one subject that one store holds in one class, sizes in bytes."""

    store_id: str
    #: as the store tells it; None: it told none
    storage_class: str | None
    subject: str
    #: when the store took them: UTC, ``2026-01-02``; empty for all that are older than was asked
    day: str
    objects: int
    bytes: int
    #: number and bytes of those below each of the limits that were asked for, in their order
    small: tuple[tuple[int, int], ...]


def held_objects(
    tx: Transaction, *, gone: Sequence[str], since: str, limits: Sequence[int] = (), subject: str | None = None
) -> list[HeldObjects]:
    """Return what the stores hold of ours, earlier contents of files and bad copies included: they are billed too.

    Parameters
    ----------
    gone
        Reasons of bad copies that are not there any more.
    since
        Only what was stored later than this stamp is told by its day.
    limits
        Sizes below which objects are counted apart, bytes: a class may bill a least size.
    subject
        Only this one.
    """
    # no column as it is: for the order of an index the database would look up each of a million rows by itself
    each_query = (
        select(
            copies.c.store_id.concat("").label("store_id"),
            copies.c.storage_class,
            files.c.subject.concat("").label("subject"),
            case((copies.c.stored_at > since, func.substr(copies.c.stored_at, 1, _DAY)), else_="").label("day"),
            copies.c.size,
        )
        .select_from(copies.join(files, files.c.id == copies.c.file_id))
        .where(func.coalesce(copies.c.bad_reason, "").not_in(list(gone)))
    )
    if subject is not None:
        each_query = each_query.where(files.c.subject == subject)
    each = each_query.subquery().c
    small = [
        column
        for limit in limits
        for column in (
            func.count().filter(each.size < limit),
            func.coalesce(func.sum(each.size).filter(each.size < limit), 0),
        )
    ]
    keys = (each.store_id, each.storage_class, each.subject, each.day)
    query = select(*keys, func.count(), func.sum(each.size), *small).group_by(*keys).order_by(*keys)
    return [
        HeldObjects(
            store_id=store_id,
            storage_class=storage_class,
            subject=code,
            day=at,
            objects=int(number),
            bytes=int(size),
            small=tuple((int(n), int(b)) for n, b in zip(rest[::2], rest[1::2], strict=True)),
        )
        for store_id, storage_class, code, at, number, size, *rest in tx.execute(query)
    ]
