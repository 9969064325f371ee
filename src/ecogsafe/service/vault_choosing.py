"""Which archives of an old vault ``restore`` is to bring back: of each name the newest, or those that were named."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

from ecogsafe.catalog import vaults
from ecogsafe.catalog.vaults import VaultArchiveRow
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.codes import is_code
from ecogsafe.service.running import Run
from ecogsafe.service.target_folder import check_target
from ecogsafe.service.vault_inventory import renew_listing, wait_for
from ecogsafe.service.vault_jobs import in_words
from ecogsafe.stores.glacier_vault import GlacierVault


@dataclass(frozen=True, slots=True, kw_only=True)
class VaultRestoreRequest:
    """What the user asked for."""

    subject: str
    #: ``glacier://VAULT``
    url: str
    #: where the archives go; the folder above it must stand
    folder: Path
    #: names of archives, with ``*``, or archive ids; empty for the newest of each name
    names: tuple[str, ...] = ()
    tier: str | None = None
    #: stay until everything is here
    wait: bool = False

    def check(self) -> None:
        """Raise UsageError where a folder is not there, or a code or a tier is none."""
        if not is_code(self.subject):
            raise UsageError("CODE", "is not a subject code", next="ecogsafe status shows the codes")
        check_target(self.folder)


def wanted_archives(run: Run, vault: GlacierVault, request: VaultRestoreRequest) -> list[VaultArchiveRow] | None:
    """Return the archives to be fetched; None where the vault has to be listed first, which was told."""
    with run.catalog.read() as tx:
        last = vaults.last_inventory(tx, vault.url)
    if last is None:
        waiting = renew_listing(run, vault)
        if waiting is not None:
            wait_for(run, vault.url, waiting, "the list of archives, which is needed first")
            run.message = f"the vault is being listed first: come back after {in_words(waiting.expected_at)}"
            return None
    with run.catalog.read() as tx:
        last = vaults.last_inventory(tx, vault.url)
        found = [a for a in vaults.archives_of(tx, vault.url, request.subject) if a.gone_at is None]
    chosen = _chosen(run, found, request.names)
    if not chosen:
        of_list = f"the list of {in_words(last.as_of)}" if last is not None else "its list"
        raise UsageError(
            request.subject,
            f"{of_list} has no archive of it{' that fits -f' if request.names else ''}",
            next=f"ecogsafe inventory {vault.url} shows what it has",
        )
    return chosen


def _chosen(run: Run, found: Sequence[VaultArchiveRow], names: tuple[str, ...]) -> list[VaultArchiveRow]:
    """Return one archive for each name: the one whose id was given, else the newest."""
    by_key: dict[str, VaultArchiveRow] = {}
    for archive in found:
        if archive.key is None:
            continue
        by_id = archive.archive_id in names
        if names and not by_id and not any(fnmatch(archive.key, name) for name in names):
            continue
        other = by_key.get(archive.key)
        if other is not None and other.tree_hash != archive.tree_hash:
            left = archive if other.archive_id in names else other
            message = (
                f"the vault has another one of this name, stored {in_words(left.created_at)}; -f {left.archive_id}"
            )
            run.tell(Item(action="restore", status="note", key=archive.key, store=archive.vault, message=message))
            if left is archive:
                continue
        by_key[archive.key] = archive
    return list(by_key.values())
