"""Jobs at an old vault: remembered before they are asked for, so that a killed run asks for none twice."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timedelta

from ecogsafe.catalog import audit, vaults
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.vaults import JobKind, JobState, VaultArchiveRow, VaultJobRow
from ecogsafe.core.clock import stamp_of, utc_now
from ecogsafe.core.errors import ObjectMissingError, StoreError
from ecogsafe.core.events import Item
from ecogsafe.service.connections import telling_of_waits
from ecogsafe.service.running import Run
from ecogsafe.stores.glacier_vault import INVENTORY_TAKES, OUTPUT_KEPT, TIER_TAKES, GlacierVault, VaultJob, open_vault

#: begins the word that the store keeps with each job
_TOKEN = "ecogsafe-"  # noqa: S105  a name, no secret


@contextmanager
def opened_vault(run: Run, url: str) -> Iterator[GlacierVault]:
    """Open the vault at ``url`` for this run alone.

    Raises
    ------
    UsageError, StoreRefusedError, LockedError
        As `open_vault`; another run works with it.
    """
    vault = open_vault(url, stop=run.stop, on_wait=telling_of_waits(run.tell))
    try:
        run.hold_vault(vault.url)
        yield vault
    finally:
        vault.close()


def ask(
    run: Run,
    vault: GlacierVault,
    archive: VaultArchiveRow | None,
    tier: str | None = None,
    *,
    as_of: datetime | None = None,
) -> VaultJobRow:
    """Ask the store for an archive, or for its list where ``archive`` is None, and return what is remembered of it.

    Parameters
    ----------
    as_of
        When the store took its last list; the one it is going to hand out is no older.

    Raises
    ------
    StoreError
        It refused; or nobody knows whether it has the job, and the next run finds out.
    """
    kind: JobKind = "inventory" if archive is None else "retrieval"
    now = utc_now()
    takes = INVENTORY_TAKES if tier is None else TIER_TAKES.get(tier, timedelta(0))
    row = VaultJobRow(
        token=f"{_TOKEN}{secrets.token_hex(16)}",
        vault=vault.url,
        kind=kind,
        archive_id=None if archive is None else archive.archive_id,
        tier=tier,
        asked_at=stamp_of(now),
        expected_at=stamp_of(now + takes),
        as_of=None if as_of is None else stamp_of(as_of),
    )
    with run.catalog.write() as tx:
        vaults.remember_job(tx, row)
    return _begin(run, vault, row, archive)


def _begin(run: Run, vault: GlacierVault, row: VaultJobRow, archive: VaultArchiveRow | None) -> VaultJobRow:
    try:
        if row.archive_id is None:
            job_id = vault.start_inventory(row.token)
        else:
            job_id = vault.start_retrieval(row.archive_id, row.token, tier=row.tier or "Standard")
    except StoreError as error:
        if not error.retry:
            close(run, row, "failed")
        raise
    with run.catalog.write() as tx:
        vaults.job_begun(tx, row.token, job_id)
        _note_asked(tx, run, row, archive)
        return vaults.open_job(tx, row.vault, row.kind, row.archive_id) or row


def _note_asked(tx: Transaction, run: Run, row: VaultJobRow, archive: VaultArchiveRow | None) -> None:
    note_vault_act(tx, run, f"ask for {row.kind}", row.vault, archive, result=row.tier or "done")


def note_vault_act(
    tx: Transaction, run: Run, act: str, vault: str, archive: VaultArchiveRow | None = None, *, result: str = "done"
) -> None:
    """Add a row to the audit record; a digest is a tree hash here."""
    audit.append(
        tx,
        run_id=run.run_id,
        who=run.actor.who,
        host=run.actor.host,
        version=run.actor.version,
        act=act,
        subject=None if archive is None else archive.subject,
        object=None if archive is None else archive.key or archive.archive_id,
        digest=None if archive is None else archive.tree_hash,
        store=vault,
        result=result,
    )


def close(run: Run, row: VaultJobRow, state: JobState) -> None:
    """Note what became of a job."""
    with run.catalog.write() as tx:
        vaults.close_job(tx, row.token, state)


def standing(run: Run, vault: GlacierVault, kind: JobKind, archive: VaultArchiveRow | None = None) -> VaultJob | None:
    """Return how the remembered job stands at the store; None where there is none that is of use any more.

    A job that failed or whose output has expired is told and forgotten.
    """
    with run.catalog.read() as tx:
        row = vaults.open_job(tx, vault.url, kind, None if archive is None else archive.archive_id)
    if row is None:
        return None
    what = name_of(archive) if archive else "the list of archives"
    if row.job_id is None:
        # the run that asked was killed, or had no answer
        found = vault.job_of(row.token)
        if found is None:
            close(run, row, "failed")
            return None
        with run.catalog.write() as tx:
            vaults.job_begun(tx, row.token, found.job_id)
            _note_asked(tx, run, row, archive)
        job = found
    else:
        try:
            job = vault.job(row.job_id)
        except ObjectMissingError:
            expired(run, vault, row, what)
            return None
    if job.has_failed:
        close(run, row, "failed")
        _tell(run, vault, archive, f"the store could not prepare {what}; it is asked again")
        return None
    if job.ended_at is not None and row.ended_at is None:
        with run.catalog.write() as tx:
            vaults.job_ended(tx, row.token, stamp_of(job.ended_at))
    return job


def expired(run: Run, vault: GlacierVault, row: VaultJobRow, what: str) -> None:
    """Note and tell that what the store had prepared is gone."""
    close(run, row, "expired")
    hours = int(OUTPUT_KEPT.total_seconds() // 3600)
    message = f"the store prepared {what} and threw it away again, about {hours} h after: nobody fetched it in time"
    _tell(run, vault, None, message)


def _tell(run: Run, vault: GlacierVault, archive: VaultArchiveRow | None, message: str) -> None:
    key = None if archive is None else archive.key
    run.tell(Item(action="inventory", status="note", store=vault.url, key=key, message=message))


def name_of(archive: VaultArchiveRow) -> str:
    """Return what a person can call an archive; nothing private."""
    return archive.key or f"archive {archive.archive_id[:12]}…"


def in_words(at: str | datetime | None) -> str:
    """Return a time as people read it."""
    if at is None:
        return "an unknown time"
    return f"{(at if isinstance(at, str) else stamp_of(at))[:16].replace('T', ' ')} UTC"
