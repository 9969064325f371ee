"""``inventory glacier://VAULT``: the list of an old vault's archives, asked for in one run and read in a later one.

The store takes such a list about once a day, needs hours to hand it out, and keeps what it prepared for about a day.
What was read once is in the catalogue, with the time it was taken, and is shown at once from then on.
"""

from __future__ import annotations

from datetime import datetime

from ecogsafe.catalog import subjects, vaults
from ecogsafe.catalog.vaults import VaultArchiveRow, VaultJobRow
from ecogsafe.core.clock import stamp_of, utc_now
from ecogsafe.core.errors import ExitStatus, ObjectMissingError, StillColdError, UsageError, VerificationError
from ecogsafe.core.events import Item
from ecogsafe.service.price_estimates import Weight, keeping_cost, money
from ecogsafe.service.price_table import PriceTable, load_price_table
from ecogsafe.service.running import Run
from ecogsafe.service.vault_jobs import (
    ask,
    expired,
    in_words,
    name_of,
    note_vault_act,
    opened_vault,
    standing,
)
from ecogsafe.service.vault_listing import parse_listing, read_listing
from ecogsafe.stores.glacier_vault import OUTPUT_KEPT, GlacierVault, VaultJob
from ecogsafe.stores.vault_address import SCHEME, vault_name

#: prices of vaults, where a lab's own table has them; else those of the class that vaults became
_VAULT_CLASS, _NEAREST_CLASS = "GLACIER_VAULT", "GLACIER"
_KEPT_HOURS = int(OUTPUT_KEPT.total_seconds() // 3600)


def vault_inventory(run: Run, url: str) -> None:
    """Bring the list of the vault at ``url`` up to date, as far as the store has it, and show what is known.

    Raises
    ------
    StoreError
        It cannot be reached, refuses, or is not there.
    StillColdError
        The store has never taken a list of it.
    """
    with opened_vault(run, url) as vault:
        waiting = renew_listing(run, vault)
        show_listing(run, vault.url)
    if waiting is not None:
        wait_for(run, vault.url, waiting, "the list of archives")
        come_back = f"a newer list is being prepared: come back after {in_words(waiting.expected_at)}"
        run.message = f"{run.message}; {come_back}" if run.message else come_back.replace("a newer", "the")


def known_vault_inventory(run: Run, url: str) -> None:
    """Show what is known of the vault at ``url``; nobody is asked.

    Raises
    ------
    UsageError
        Nothing is known of it.
    """
    address = f"{SCHEME}{vault_name(url)}"
    show_listing(run, address)
    if not run.message:
        raise UsageError(address, "was never listed from here", next=f"ecogsafe inventory {address}")


def renew_listing(run: Run, vault: GlacierVault) -> VaultJobRow | None:
    """Read the list if the store has it ready, ask for it if it has a newer one; return a job to be waited for."""
    job = standing(run, vault, "inventory")
    if job is not None and job.is_ended and _take(run, vault, job):
        return None
    if job is None or job.is_ended:
        facts = vault.facts()
        if facts.inventoried_at is None:
            raise StillColdError(
                vault.url,
                "has no list of its archives yet: the store makes one about once a day",
                safe="What it holds is intact",
                next="run the same command again tomorrow",
            )
        if not _is_newer(run, vault.url, facts.inventoried_at):
            return None
        return ask(run, vault, None, as_of=facts.inventoried_at)
    with run.catalog.read() as tx:
        return vaults.open_job(tx, vault.url, "inventory")


def _is_newer(run: Run, url: str, inventoried_at: datetime) -> bool:
    with run.catalog.read() as tx:
        last = vaults.last_inventory(tx, url)
    # the store tells times in whole seconds in one place and in milliseconds in another
    return last is None or last.as_of is None or stamp_of(inventoried_at)[:19] > last.as_of[:19]


def _take(run: Run, vault: GlacierVault, job: VaultJob) -> bool:
    """Read the list into the catalogue; False where it expired meanwhile."""
    with run.catalog.read() as tx:
        row = vaults.open_job(tx, vault.url, "inventory")
    if row is None:
        return False
    try:
        data = read_listing(vault, job.job_id)
    except ObjectMissingError:
        expired(run, vault, row, "the list of archives")
        return False
    # the date within a list is that of the last change; a list that was taken later still says the same
    listing = parse_listing(vault.url, data, at_least=row.as_of)
    with run.catalog.write() as tx:
        vaults.put_inventory(tx, vault.url, listing.archives, listing.as_of)
        note_vault_act(
            tx, run, "inventory", vault.url, result=f"{len(listing.archives)} archives as of {listing.as_of}"
        )
        vaults.close_job(tx, row.token, "used", as_of=listing.as_of)
    return True


def waiting_words(row: VaultJobRow) -> str:
    """Return when to come back for a job."""
    return (
        f"asked for on {in_words(row.asked_at)}; come back after {in_words(row.expected_at)} with the same command "
        f"(what the store prepares can be read for about {_KEPT_HOURS} h)"
    )


def wait_for(run: Run, url: str, row: VaultJobRow, what: str) -> None:
    """Tell that a job is still under way; the run then ends 31."""
    run.tally.note(ExitStatus.COLD)
    run.counts["waiting"] = run.counts.get("waiting", 0) + 1
    run.tell(
        Item(
            action="inventory" if row.kind == "inventory" else "restore",
            status="planned",
            store=url,
            message=f"{what}: {waiting_words(row)}",
            details={"asked_at": row.asked_at, "come_back_at": row.expected_at},
        )
    )


def show_listing(run: Run, url: str) -> None:
    """Tell of every archive that is known, and of those that the newest list no longer has."""
    with run.catalog.read() as tx:
        last = vaults.last_inventory(tx, url)
        archives = vaults.archives_of(tx, url)
        withdrawn = {row.code for row in subjects.subjects(tx) if row.withdrawn_at is not None}
    if last is None:
        return
    there = [a for a in archives if a.gone_at is None]
    for archive in archives:
        if archive.gone_at is None:
            _tell_there(run, archive, is_withdrawn=archive.subject in withdrawn)
        elif archive.gone_at == last.as_of:
            _tell_gone(run, archive)
    run.message = _verdict(run, there, last)


def _tell_there(run: Run, archive: VaultArchiveRow, *, is_withdrawn: bool) -> None:
    words = [f"stored {in_words(archive.created_at)}"]
    if archive.key is None:
        words.append("not named as the lab's script did, so its name is not kept here")
        run.counts["unknown"] = run.counts.get("unknown", 0) + 1
    if archive.restored_at is not None:
        words.append(f"fetched whole {in_words(archive.restored_at)}")
    if is_withdrawn:
        words.append("the subject withdrew: an administrator deletes it with aws glacier delete-archive")
        run.counts["withdrawn"] = run.counts.get("withdrawn", 0) + 1
        run.tally.note(ExitStatus.PARTIAL)
    run.tally.present += 1
    run.tell(
        Item(
            action="inventory",
            status="present",
            subject=archive.subject,
            key=name_of(archive),
            store=archive.vault,
            bytes=archive.size,
            digest=archive.tree_hash,
            message="; ".join(words),
            details={"archive_id": archive.archive_id, "created_at": archive.created_at, "as_of": archive.as_of},
        )
    )


def _tell_gone(run: Run, archive: VaultArchiveRow) -> None:
    run.fail(
        VerificationError(
            name_of(archive),
            f"is no longer in the vault: the list of {in_words(archive.as_of)} still had it, "
            f"that of {in_words(archive.gone_at)} has not",
            safe="Nothing was done to the vault by ecogsafe, which only reads there",
            next="ask the administrator of the account who deleted it",
        )
    )


def _verdict(run: Run, there: list[VaultArchiveRow], last: VaultJobRow) -> str:
    size = sum(a.size for a in there)
    text = f"{len(there):,} archives, {size:,} bytes, as of {in_words(last.as_of)}{_age(last.as_of)}"
    table = load_price_table(run.home.root)
    cost = keeping_cost(table, vault_class(table), (Weight(a.size) for a in there))
    if cost is not None and there:
        text += f"; about {money(cost.month, table.currency)} a month ({table.standing})"
    return text


def vault_class(table: PriceTable) -> str:
    """Return the class of ``table`` whose prices are taken for a vault."""
    return _VAULT_CLASS if table.of(_VAULT_CLASS) is not None else _NEAREST_CLASS


def _age(as_of: str | None) -> str:
    if as_of is None:
        return ""
    hours = (utc_now() - datetime.fromisoformat(as_of)).total_seconds() / 3600
    # a negative age proves nothing but that a clock is wrong
    if hours < 0:
        return " by the store's clock"
    return f", {hours:.0f} h old" if hours < 72 else f", {hours / 24:.0f} days old"
