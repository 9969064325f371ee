"""Leases: who works on what, until when by the database's clock, with a number that fences off the dead.

Names are fixed words and codes: ``subject:<code>``, ``upload:<token>``, ``run``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import bindparam, delete, or_, select, update

from ecogsafe.catalog.database import Transaction, database_time
from ecogsafe.catalog.rows import columns_of, insert_numbered
from ecogsafe.catalog.schema import leases
from ecogsafe.core.errors import LockedError


@dataclass(frozen=True, slots=True)
class Lease:
    """A hold on ``name``; valid until ``expires`` unless renewed."""

    name: str
    owner: str
    #: higher than that of every earlier lease of any name
    fence: int
    shared: bool
    host: str
    acquired_at: str
    expires_at: str


_OF_UPLOADS = "upload:"
_COLUMNS = columns_of(Lease, leases)
# built once: a lease is taken for every large file
_FORGET_STALE = delete(leases).where(
    # those of uploads too: a run that was killed never comes back for them, and no name is taken twice there
    or_(leases.c.name == bindparam("a_name"), leases.c.name.startswith(_OF_UPLOADS)),
    leases.c.expires_at <= bindparam("now"),
)
_HOLDERS = (
    select(*_COLUMNS)
    .where(leases.c.name == bindparam("a_name"), leases.c.expires_at > bindparam("now"))
    .order_by(leases.c.fence)
)
_GIVE_UP = delete(leases).where(leases.c.name == bindparam("a_name"), leases.c.owner == bindparam("an_owner"))
_RELEASE = delete(leases).where(leases.c.fence == bindparam("a_fence"))


def stamp(time: datetime) -> str:
    """Return ``time`` (UTC) as the catalogue keeps times; sorts as text."""
    return time.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def acquire(
    tx: Transaction,
    name: str,
    owner: str,
    ttl_s: float,
    *,
    shared: bool,
    gone: Callable[[str], bool] | None = None,
) -> Lease:
    """Take ``name`` for ``ttl_s`` seconds and return the lease.

    Many owners may hold a name shared, or one alone. An owner who holds it already gets a new lease in
    place of the old one (so a hold is made exclusive, or shared, if the others allow it).

    Parameters
    ----------
    owner
        A random text, one per run.
    gone
        Tells whether the process of an owner has certainly ended; what it held is free at once.

    Raises
    ------
    LockedError
        Another owner's lease stands in the way.
    """
    now = database_time(tx)
    tx.execute(_FORGET_STALE, {"a_name": name, "now": stamp(now)})
    for held in _holders(tx, name, now):
        if held.owner == owner or (shared and held.shared):
            continue
        if gone is not None and gone(held.owner):
            release_all(tx, held.owner)
            continue
        raise LockedError(
            name,
            f"another run on {held.host} holds it since {held.acquired_at}",
            next="wait until it has ended, then run again",
        )
    tx.execute(_GIVE_UP, {"a_name": name, "an_owner": owner})
    return _take(tx, name, owner, ttl_s, now, shared=shared)


def acquire_new(tx: Transaction, name: str, owner: str, ttl_s: float) -> Lease:
    """Take ``name``, alone, that is made of a random token and that nobody else can know yet."""
    return _take(tx, name, owner, ttl_s, database_time(tx), shared=False)


def _take(tx: Transaction, name: str, owner: str, ttl_s: float, now: datetime, *, shared: bool) -> Lease:
    values: dict[str, Any] = {
        "name": name,
        "owner": owner,
        "host": socket.gethostname(),
        "shared": shared,
        "acquired_at": stamp(now),
        "expires_at": stamp(now + timedelta(seconds=ttl_s)),
    }
    return Lease(fence=insert_numbered(tx, leases, values), **values)


def renew(tx: Transaction, lease: Lease, ttl_s: float) -> Lease:
    """Hold ``lease`` for ``ttl_s`` seconds from now, and return it so.

    A lease that expired but that nobody took since is renewed too.

    Raises
    ------
    LockedError
        It was taken by another, or given back: stop working under it.
    """
    expires_at = stamp(database_time(tx) + timedelta(seconds=ttl_s))
    changed = update(leases).where(leases.c.fence == lease.fence).values(expires_at=expires_at)
    if not tx.execute(changed).rowcount:
        raise LockedError(lease.name, "this run no longer holds it", next="run again")
    return replace(lease, expires_at=expires_at)


def renew_all(tx: Transaction, owner: str, ttl_s: float) -> None:
    """Hold everything ``owner`` holds for ``ttl_s`` seconds from now."""
    expires_at = stamp(database_time(tx) + timedelta(seconds=ttl_s))
    tx.execute(update(leases).where(leases.c.owner == owner).values(expires_at=expires_at))


def release(tx: Transaction, lease: Lease) -> None:
    """Give ``lease`` back; one that is no longer held is none the worse."""
    tx.execute(_RELEASE, {"a_fence": lease.fence})


def release_all(tx: Transaction, owner: str) -> None:
    """Give back everything ``owner`` holds."""
    tx.execute(delete(leases).where(leases.c.owner == owner))


def holders(tx: Transaction, name: str) -> list[Lease]:
    """Return who holds ``name`` now, the longest first."""
    return _holders(tx, name, database_time(tx))


def _holders(tx: Transaction, name: str, now: datetime) -> list[Lease]:
    return [Lease(*row) for row in tx.execute(_HOLDERS, {"a_name": name, "now": stamp(now)})]
