"""``restore``: a subject back from a store, out of archives and cold storage, in as many runs as it takes.

Nothing is kept between two runs but what the store and the disk say, and what the catalogue remembers of
requests: who runs it again goes on where the last run stopped.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import PurePosixPath

from ecogsafe.core.errors import ExitStatus, NoSpaceError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.download_planning import Wanted
from ecogsafe.service.download_receiving import Receiver
from ecogsafe.service.download_room import room_for_sizes, split_by_presence
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.pacing import pace_of
from ecogsafe.service.price_table import load_price_table, price_table_for
from ecogsafe.service.restore_evidence import note_proven
from ecogsafe.service.restore_indexes import Indexes
from ecogsafe.service.restore_offers import Offers, group
from ecogsafe.service.restore_planning import plan_restore
from ecogsafe.service.restore_request import RestorePlan, RestoreRequest, Volume, may_be_cold
from ecogsafe.service.restore_thawing import Thawing, shown_time
from ecogsafe.service.restore_unpacking import Unpacker
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.service.target_folder import make_target
from ecogsafe.service.vault_retrieval import restore_from_vault, vault_request
from ecogsafe.service.withdrawn import refuse_bringing_back
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.stores.vault_address import is_vault_url
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.pace import Pace

#: asks a person; raises unless the answer is yes
Confirm = Callable[[str], None]


def restore(run: Run, request: RestoreRequest, password: PasswordSource, confirm: Confirm) -> None:
    """Carry ``request`` out as far as it can be now; what is still cold is asked for and told (exit status 31).

    Raises
    ------
    UsageError
        There is nothing to restore, nowhere to put it, or the tier is not offered.
    ConfirmationNeededError
        It costs, and nobody said yes; nothing was asked of the store.
    WrongPasswordError
        The password does not open the lab key.
    NoSpaceError
        It does not fit on the disk; nothing was asked of the store.
    EcogsafeError
        What stops the run; complete files are kept.
    """
    request.check()
    refuse_bringing_back(run, [request.subject])
    if is_vault_url(request.url):
        restore_from_vault(run, vault_request(request), confirm)
        return
    identities = [run.home.identity(password, run.home.recipients(run.catalog))]
    meter = Meter(run.tell, files_total=None, bytes_total=None)
    pace = pace_of(run, run.home.settings(), meter, limit_rate=None, between=None)
    with connected(
        run.catalog, request.url, to_write=False, stop=run.stop, tell=run.tell, rate=pace.rate
    ) as connection:
        with Indexes(run, connection, identities) as indexes:
            plan = plan_restore(run, connection, request, indexes)
        if not plan.fetched and not plan.missing and not any(v.wishes for v in plan.volumes):
            raise UsageError(
                request.url, "holds nothing that fits", next="ecogsafe status shows which subjects are where"
            )
        make_target(request.folder)
        _Restoring(run, connection, request, identities, plan, meter, pace).work(confirm)


class _Restoring:
    def __init__(
        self,
        run: Run,
        connection: Connection,
        request: RestoreRequest,
        identities: Sequence[Identity],
        plan: RestorePlan,
        meter: Meter,
        pace: Pace,
    ) -> None:
        self._run = run
        self._request = request
        self._plan = plan
        self._connection = connection
        #: files, as far as they are known before the archives are opened
        self._total = sum(len(v.wishes) for v in plan.volumes) + len(plan.singles) + len(plan.old) + len(plan.missing)
        self._meter = meter
        meter.files_total, meter.bytes_total = self._total, sum(count for _, count in plan.fetched.values())
        self._unpacker = Unpacker(run, connection, request, identities, meter, pace)
        self._receiver = Receiver(run, connection, request.folder, identities, meter, pace=pace, act="restore")
        priced = price_table_for(connection.store.url, run.home.root)
        table = priced or load_price_table(run.home.root)
        self._offers = Offers(run, request, table, is_priced=priced is not None)
        self._thawing = Thawing(run, connection, request, self._offers)

    def work(self, confirm: Confirm) -> None:
        run, plan, thawing = self._run, self._plan, self._thawing
        for error in plan.missing:
            run.fail(error)
        self._unpacker.compare(plan.volumes)
        self._leave_cold_comparisons()
        self._check_room()
        needed = self._needed()
        thawing.look(info for info, _ in needed.values())
        self._ask(confirm)
        if thawing.frozen:
            thawing.tell_expired()
            thawing.request()
        with self._meter:
            self._fetch()
            while thawing.pending and self._request.wait:
                thawing.wait()
                self._fetch()
        run.tell(self._meter.now())
        if thawing.pending:
            thawing.tell_pending()
        failures = [*self._unpacker.failures, *self._receiver.failures]
        raise_if_all_failed(failures, self._unpacker.ended + self._receiver.ended)
        self._receiver.check_all_there()
        run.message = self._verdict()

    def _needed(self) -> dict[str, tuple[ObjectInfo, int]]:
        """Return the objects that are fetched, without those of files that stand here and are only compared."""
        here, _ = split_by_presence(self._request.folder, chain(self._plan.singles, self._plan.old))
        compared = {w.info.key for w in here if w.expected_sha256 is not None}
        return {key: what for key, what in self._plan.fetched.items() if key not in compared}

    def _leave_cold_comparisons(self) -> None:
        """Leave files that stand here and could be compared only by thawing their object."""
        here, _ = split_by_presence(self._request.folder, self._plan.singles)
        left = {w.info.key for w in here if may_be_cold(w.info) and w.expected_sha256 is None}
        for w in self._plan.singles:
            if w.info.key in left:
                self._run.tally.skipped += 1
                self._run.tally.note(ExitStatus.PARTIAL)
                message = "stands here and was not compared: the catalogue knows no digest, and its object is cold"
                self._run.tell(
                    Item(action="restore", status="skipped", key=w.info.key, path=str(w.target), message=message)
                )
        self._plan.singles = [w for w in self._plan.singles if w.info.key not in left]

    def _check_room(self) -> None:
        """Raise NoSpaceError where what is missing does not fit on the disk together."""
        _, missing = split_by_presence(self._request.folder, chain(self._plan.singles, self._plan.old))
        sizes = {w.target: w.content_size for w in missing}
        sizes |= {PurePosixPath(wish.path): wish.size for v in self._plan.volumes for wish in v.wishes}
        room = room_for_sizes(self._request.folder, sizes)
        if room.short:
            raise NoSpaceError(
                "DIR",
                f"the files that are missing need {room.needed:,} bytes and {room.free:,} are free: "
                f"{room.short:,} too few",
                safe="Nothing was fetched, and nothing was asked of the store",
                next="make room, or choose another folder with -d or fewer files with -f",
            )

    def _ask(self, confirm: Confirm) -> None:
        groups = group(self._needed(), self._thawing.frozen, self._thawing.pending - self._thawing.frozen)
        for each in groups:
            if each.is_frozen:
                self._offers.tier_for(each.storage_class)
        question = self._offers.question(groups)
        if groups:
            self._offers.tell(groups)
        if question is not None:
            confirm(question)

    def _fetch(self) -> None:
        """Bring everything that can be read now and was not brought before."""
        readable = self._thawing.is_readable
        self._receive(self._take(self._plan.singles, readable))
        old = self._take(self._plan.old, readable)
        self._receive(old)
        for w in old:
            self._tell_old(w)
        for volume in [v for v in self._plan.volumes if v.is_needed and readable(v.key)]:
            self._unpacker.unpack(volume)
            self._settle(volume)

    def _receive(self, wanted: list[Wanted]) -> None:
        try:
            if wanted:
                self._receiver.receive_all(wanted, jobs=self._request.jobs)
        finally:
            self._receiver.note_acts()
            proven, self._receiver.proven = self._receiver.proven, []
            note_proven(self._run, proven)
        self._run.check_stop(safe="Complete files are kept, and what came of unfinished ones")

    def _take(self, waiting: list[Wanted], readable: Callable[[str], bool]) -> list[Wanted]:
        """Take those out of ``waiting`` that can be fetched, or stand here and need only be compared."""
        here, _ = split_by_presence(self._request.folder, waiting)
        compared = {w.info.key for w in here if w.expected_sha256 is not None}
        now = [w for w in waiting if readable(w.info.key) or w.info.key in compared]
        waiting[:] = [w for w in waiting if not readable(w.info.key) and w.info.key not in compared]
        return now

    def _settle(self, volume: Volume) -> None:
        """Do not fetch ``volume`` again in this run, whatever came of it."""
        volume.wishes, volume.contents = [], ()

    def _tell_old(self, wanted: Wanted) -> None:
        opened = shlex.quote(str(wanted.target).removesuffix(".tar.gz.enc"))
        message = (
            "is an archive of the lab's old script, still locked with the lab's old password, which is asked for: "
            f"ecogsafe decrypt {shlex.quote(f'DIR/{wanted.target}')} --untar -o {opened} unpacks it (DIR: what -d was)"
        )
        self._run.tell(
            Item(action="restore", status="note", key=wanted.info.key, path=str(wanted.target), message=message)
        )

    def _verdict(self) -> str:
        tally = self._run.tally
        restored = tally.done + tally.present
        of = f" of {self._total}" if restored < self._total else ""
        text = f"restored {restored}{of} files"
        text += ", digests equal" if restored and not tally.failed else ""
        if self._thawing.pending:
            when = shown_time(self._thawing.come_back_at())
            text += f"; {len(self._thawing.pending)} objects are still cold: run the same command again after {when}"
        return text
