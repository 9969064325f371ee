"""``restore CODE --from glacier://VAULT``: archives of an old vault, asked for in one run, fetched in a later one."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from pathlib import Path, PurePosixPath

from ecogsafe.catalog import vaults
from ecogsafe.catalog.vaults import VaultArchiveRow
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    NoSpaceError,
    ObjectMissingError,
    SourceUnreadableError,
    UsageError,
)
from ecogsafe.core.events import Item
from ecogsafe.crypt.tree_hash import LEAF_BYTES, TreeHash
from ecogsafe.service.price_estimates import fetching_cost, hours_in_words, money, tiers
from ecogsafe.service.price_table import load_price_table
from ecogsafe.service.restore_request import RestoreRequest
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.target_folder import make_target
from ecogsafe.service.vault_choosing import VaultRestoreRequest, wanted_archives
from ecogsafe.service.vault_inventory import vault_class, wait_for
from ecogsafe.service.vault_jobs import ask, expired, note_vault_act, opened_vault, standing
from ecogsafe.service.vault_receiving import VaultReception
from ecogsafe.stores.glacier_vault import GlacierVault, VaultJob
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.landing_names import allocated, clear_leftovers, part_path
from ecogsafe.transfer.meter import Meter

DEFAULT_TIER = "Bulk"
#: with ``--wait`` the store is asked so often, seconds
POLL_S = 600.0


def vault_request(request: RestoreRequest) -> VaultRestoreRequest:
    """Return the same wish for a vault: thawed copies and their days are none of its words."""
    return VaultRestoreRequest(
        subject=request.subject,
        url=request.url,
        folder=request.folder,
        names=request.globs,
        tier=request.tier,
        wait=request.wait,
    )


def restore_from_vault(run: Run, request: VaultRestoreRequest, confirm: Callable[[str], None]) -> None:
    """Ask for the archives of a subject, or fetch those that the store has ready.

    Parameters
    ----------
    confirm
        Is asked before anything that costs money; raises where the answer is no.

    Raises
    ------
    UsageError
        There is nothing to fetch, nowhere to put it, or no such tier.
    EcogsafeError
        What stops the run; complete files and what came of unfinished ones are kept.
    """
    request.check()
    run.hold_subject(request.subject, shared=True)
    with opened_vault(run, request.url) as vault:
        wanted = wanted_archives(run, vault, request)
        if wanted is None:
            return
        make_target(request.folder)
        _Restore(run, vault, request, wanted, confirm).carry_out()


class _Restore:
    """One run over the archives of a subject."""

    def __init__(
        self,
        run: Run,
        vault: GlacierVault,
        request: VaultRestoreRequest,
        wanted: list[VaultArchiveRow],
        confirm: Callable[[str], None],
    ) -> None:
        self._run = run
        self._vault = vault
        self._folder = request.folder
        self._request = request
        self._wanted = wanted
        self._confirm = confirm
        self._failures: list[EcogsafeError] = []
        #: ids of archives that came to an end, whatever it is
        self._ended: set[str] = set()
        self._meter = Meter(run.tell, files_total=len(wanted), bytes_total=sum(a.size for a in wanted))

    def carry_out(self) -> None:
        """Compare what stands here, fetch what is ready, ask for the rest; with ``wait`` until all is here."""
        run = self._run
        missing = [a for a in self._wanted if not self._stands(a)]
        self._check_room(missing)
        while missing:
            jobs = {a.archive_id: standing(run, self._vault, "retrieval", a) for a in missing}
            # outputs are kept for a day only: what is ready comes first
            for archive in missing:
                job = jobs[archive.archive_id]
                if job is not None and job.is_ended:
                    self._fetch(archive, job)
            self._ask_for([a for a in missing if jobs[a.archive_id] is None])
            missing = [a for a in missing if a.archive_id not in self._ended]
            if not missing or not self._request.wait:
                break
            run.tell(Item(action="restore", status="note", message=f"waiting for {len(missing)} archives"))
            run.stop.wait(POLL_S)
            run.check_stop(safe="What was asked for is remembered, and the store goes on with it")
        raise_if_all_failed(self._failures, len(self._wanted))
        self._tell_waiting(missing)
        run.tell(self._meter.now())
        back = run.tally.done + run.tally.present
        run.message = f"{back} of {len(self._wanted)} archives are here{', tree hashes equal' if back else ''}"
        if missing:
            run.message += f"; {len(missing)} are being prepared by the store: the same command fetches them later"

    def _stands(self, archive: VaultArchiveRow) -> bool:
        """Return whether something stands here under the archive's name; what it is, is told."""
        target = self._folder / (archive.key or "")
        if not os.path.lexists(target):
            return False
        if _tree_hash_of(target, archive.size) == archive.tree_hash:
            clear_leftovers(target)
            self._run.tally.present += 1
            self._tell(archive, "present", "is here and has the tree hash of the vault's list")
        else:
            self._run.tally.skipped += 1
            self._run.tally.note(ExitStatus.PARTIAL)
            self._tell(archive, "skipped", "another content stands here under this name; it is never replaced")
        self._meter.bytes_moved(archive.size, over_the_wire=False)
        self._meter.file_done()
        return True

    def _check_room(self, missing: Sequence[VaultArchiveRow]) -> None:
        needed = sum(max(a.size - allocated(part_path(self._folder / (a.key or ""))), 0) for a in missing)
        disk = os.statvfs(self._folder)
        free = disk.f_bavail * disk.f_frsize
        if disk.f_blocks and needed > free:
            raise NoSpaceError(
                "DIR",
                f"the archives need {needed:,} bytes and {free:,} are free: {needed - free:,} too few",
                safe="Nothing was asked for or fetched",
                next="make room, or choose another folder with -d or fewer archives with -f",
            )

    def _ask_for(self, archives: Sequence[VaultArchiveRow]) -> None:
        if not archives:
            return
        tier = self._request.tier or DEFAULT_TIER
        self._confirm(self._question(archives, tier))
        for archive in archives:
            self._run.check_stop(safe="What was asked for is remembered")
            try:
                ask(self._run, self._vault, archive, tier)
            except EcogsafeError as error:
                self._failed(archive, error)

    def _question(self, archives: Sequence[VaultArchiveRow], tier: str) -> str:
        """Return what is going to be asked for, with price and time of each tier; tell the latter, too."""
        table = load_price_table(self._run.home.root)
        storage_class = vault_class(table)
        offered = tiers(table, storage_class)
        if tier not in offered:
            raise UsageError("--tier", "vaults have no such tier", next=f"choose one of {', '.join(offered)}")
        size = sum(a.size for a in archives)
        chosen = ""
        for each in offered:
            cost = fetching_cost(table, storage_class, each, objects=len(archives), size=size, days=0)
            if cost is not None:
                words = f"{each}: {hours_in_words(cost.hours)}, about {money(cost.total, table.currency)}"
                details = {
                    "tier": each,
                    "price": str(cost.total),
                    "currency": table.currency,
                    "hours": list(cost.hours),
                }
                message = f"{words} ({table.standing}; S3's prices, a vault's may differ)"
                self._run.tell(Item(action="cost", status="note", bytes=size, message=message, details=details))
                chosen = words if each == tier else chosen
        return f"Ask the vault for {len(archives)} archives, {size:,} bytes, {chosen}?"

    def _fetch(self, archive: VaultArchiveRow, job: VaultJob) -> None:
        run = self._run
        landing = Landing(self._folder, PurePosixPath(archive.key or ""), mtime_ns=None)
        reception = VaultReception(
            self._vault,
            job,
            archive,
            landing,
            on_bytes=lambda count: self._meter.bytes_moved(count, current=archive.key or ""),
            on_kept=lambda count: self._meter.bytes_moved(count, over_the_wire=False),
            stop=run.stop,
        )
        try:
            reception.receive()
        except ObjectMissingError:
            with run.catalog.read() as tx:
                row = vaults.open_job(tx, self._vault.url, "retrieval", archive.archive_id)
            if row is not None:
                expired(run, self._vault, row, archive.key or "the archive")
            return
        except FileExistsError:
            self._failed(archive, _cannot_land(archive, "a file of this name appeared meanwhile; it was not replaced"))
        except OSError as error:
            self._failed(archive, _cannot_land(archive, f"the disk refused ({os.strerror(error.errno or 0)})"))
        except InterruptedRunError:
            raise
        except EcogsafeError as error:
            self._failed(archive, error)
        else:
            self._came(archive)

    def _came(self, archive: VaultArchiveRow) -> None:
        run = self._run
        with run.catalog.write() as tx:
            row = vaults.open_job(tx, self._vault.url, "retrieval", archive.archive_id)
            if row is not None:
                vaults.close_job(tx, row.token, "used")
            vaults.note_vault_restored(tx, self._vault.url, archive.archive_id)
            note_vault_act(tx, run, "restore", self._vault.url, archive)
        self._ended.add(archive.archive_id)
        run.tally.done += 1
        run.tally.bytes += archive.size
        self._meter.file_done()
        self._tell(
            archive,
            "done",
            "has the tree hash of the list; ecogsafe decrypt opens it with the old password",
        )

    def _failed(self, archive: VaultArchiveRow, error: EcogsafeError) -> None:
        self._ended.add(archive.archive_id)
        self._failures.append(error)
        self._run.fail(error)

    def _tell_waiting(self, missing: Sequence[VaultArchiveRow]) -> None:
        for archive in missing:
            with self._run.catalog.read() as tx:
                row = vaults.open_job(tx, self._vault.url, "retrieval", archive.archive_id)
            if row is not None:
                wait_for(self._run, self._vault.url, row, archive.key or "")
            else:
                self._run.tally.note(ExitStatus.COLD)
                self._tell(archive, "planned", "the same command asks for it again")

    def _tell(self, archive: VaultArchiveRow, status: str, message: str) -> None:
        self._run.tell(
            Item(
                action="restore",
                status=status,
                subject=archive.subject,
                key=archive.key,
                path=archive.key,
                store=archive.vault,
                bytes=archive.size,
                digest=archive.tree_hash,
                message=message,
                details={"archive_id": archive.archive_id},
            )
        )


def _cannot_land(archive: VaultArchiveRow, problem: str) -> SourceUnreadableError:
    return SourceUnreadableError(
        archive.key or "the archive",
        problem,
        safe="What came of it is kept; the files already there are complete",
        next="look at DIR, then run the same command again",
    )


def _tree_hash_of(path: Path, size: int) -> str | None:
    """Return the tree hash of a file of ``size`` bytes; None where it is something else."""
    whole = TreeHash()
    try:
        if path.is_symlink() or not path.is_file() or path.stat().st_size != size:
            return None
        with path.open("rb", buffering=0) as file:
            while data := file.read(LEAF_BYTES):
                whole.update(data)
    except OSError:
        return None
    return whole.hexdigest()
