"""Old vaults: which jobs were asked for and how they stand, and which archives the last inventory listed.

A vault has no store id; it is known by its URL. The words that a vault keeps beside an archive are not kept here
unless they are a name of our form: elsewhere they may hold anything.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import insert, select, update

from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.rows import columns_of, values_of
from ecogsafe.catalog.schema import vault_archives, vault_jobs
from ecogsafe.core.clock import utc_stamp

JobKind = Literal["inventory", "retrieval"]
#: ``asked``: about to be asked for, or the answer was lost; ``begun``: the store has it;
#: ``used``: its output was read whole; ``failed``; ``expired``: the output was not read in time
JobState = Literal["asked", "begun", "used", "failed", "expired"]
_OPEN = ("asked", "begun")


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultJobRow:
    """One job at a vault."""

    #: random; the store keeps it with the job
    token: str
    #: the vault's URL
    vault: str
    kind: JobKind
    archive_id: str | None = None
    tier: str | None = None
    #: the store's name for it; None until it was told
    job_id: str | None = None
    state: JobState = "asked"
    asked_at: str
    #: when it should have ended
    expected_at: str
    #: when it did, by the store's clock
    ended_at: str | None = None
    #: of an inventory: its list is at least of this time, by the store's clock
    as_of: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultArchiveRow:
    """One archive, as an inventory listed it."""

    vault: str
    archive_id: str
    #: the name it was stored under, where that has our form; else None
    key: str | None
    subject: str | None
    size: int
    tree_hash: str
    #: when it was stored, by the store's clock
    created_at: str
    first_seen: str
    #: when the newest inventory that lists it was taken
    as_of: str
    #: when an inventory was taken that lists it no longer
    gone_at: str | None = None
    #: when it was last fetched and had its tree hash
    restored_at: str | None = None


_JOBS = columns_of(VaultJobRow, vault_jobs)
_ARCHIVES = columns_of(VaultArchiveRow, vault_archives)


def remember_job(tx: Transaction, row: VaultJobRow) -> None:
    """Note a job that is about to be asked for."""
    tx.execute(insert(vault_jobs).values(values_of(row)))


def job_begun(tx: Transaction, token: str, job_id: str) -> None:
    """Note that the store has the job."""
    tx.execute(update(vault_jobs).where(vault_jobs.c.token == token).values(job_id=job_id, state="begun"))


def job_ended(tx: Transaction, token: str, ended_at: str) -> None:
    """Note when the job ended; its output can be read from then on, for a while."""
    tx.execute(update(vault_jobs).where(vault_jobs.c.token == token).values(ended_at=ended_at))


def close_job(tx: Transaction, token: str, state: JobState, *, as_of: str | None = None) -> None:
    """Note what became of the job; ``as_of`` is what its list turned out to be of."""
    known = {} if as_of is None else {"as_of": as_of}
    tx.execute(update(vault_jobs).where(vault_jobs.c.token == token).values(state=state, **known))


def open_job(tx: Transaction, vault: str, kind: JobKind, archive_id: str | None = None) -> VaultJobRow | None:
    """Return the newest job that is still of use; of one archive, or the inventory."""
    query = select(*_JOBS).where(
        vault_jobs.c.vault == vault,
        vault_jobs.c.kind == kind,
        vault_jobs.c.state.in_(_OPEN),
        vault_jobs.c.archive_id.is_(None) if archive_id is None else vault_jobs.c.archive_id == archive_id,
    )
    row = tx.execute(query.order_by(vault_jobs.c.asked_at.desc()).limit(1)).first()
    return None if row is None else VaultJobRow(**row._mapping)


def last_inventory(tx: Transaction, vault: str) -> VaultJobRow | None:
    """Return the inventory that was read last."""
    query = select(*_JOBS).where(
        vault_jobs.c.vault == vault, vault_jobs.c.kind == "inventory", vault_jobs.c.state == "used"
    )
    row = tx.execute(query.order_by(vault_jobs.c.as_of.desc()).limit(1)).first()
    return None if row is None else VaultJobRow(**row._mapping)


def archives_of(tx: Transaction, vault: str, subject: str | None = None) -> list[VaultArchiveRow]:
    """Return every archive that an inventory of the vault ever listed, the gone ones too; by name, the oldest first."""
    query = select(*_ARCHIVES).where(vault_archives.c.vault == vault)
    if subject is not None:
        query = query.where(vault_archives.c.subject == subject)
    columns = vault_archives.c
    ordered = query.order_by(columns.key.is_(None), columns.key, columns.created_at, columns.archive_id)
    return [VaultArchiveRow(**row._mapping) for row in tx.execute(ordered)]


def put_inventory(tx: Transaction, vault: str, listed: Iterable[VaultArchiveRow], as_of: str) -> None:
    """Make the catalogue know what an inventory taken ``as_of`` lists; what it no longer lists is noted as gone."""
    columns = vault_archives.c
    known = {row.archive_id for row in archives_of(tx, vault)}
    for row in listed:
        if row.archive_id in known:
            seen = update(vault_archives).where(columns.vault == vault, columns.archive_id == row.archive_id)
            tx.execute(seen.values(as_of=as_of, gone_at=None))
        else:
            tx.execute(insert(vault_archives).values(values_of(row)))
            known.add(row.archive_id)
    gone = update(vault_archives).where(columns.vault == vault, columns.as_of < as_of, columns.gone_at.is_(None))
    tx.execute(gone.values(gone_at=as_of))


def note_vault_restored(tx: Transaction, vault: str, archive_id: str) -> None:
    """Note that an archive came back whole just now."""
    columns = vault_archives.c
    one = update(vault_archives).where(columns.vault == vault, columns.archive_id == archive_id)
    tx.execute(one.values(restored_at=utc_stamp()))
