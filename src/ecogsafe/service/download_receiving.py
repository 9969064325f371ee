"""The objects of one ``download`` become files: compared where one stands, received where none does."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path, PurePosixPath

from ecogsafe.catalog.copies import CopyRow
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    SourceUnreadableError,
    VerificationError,
)
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.acts import Fetched, note_begun, note_fetched
from ecogsafe.service.connections import Connection
from ecogsafe.service.download_planning import Wanted
from ecogsafe.service.download_room import check_room, split_by_presence
from ecogsafe.service.running import Run
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.landing_names import clear_leftovers
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.pace import Pace
from ecogsafe.transfer.received import Received, digest_of_file, interrupted
from ecogsafe.transfer.receivers import receive_all
from ecogsafe.transfer.receiving import Reception

#: rows of the audit record that are made durable together
_ACTS_AT_ONCE = 64
#: said of what is right, and says nothing of the store
NO_PROOF = "part of it came in an earlier run, so it does not count as a proof of this copy"


@dataclass(frozen=True, slots=True)
class _End:
    """What became of one object; ``status`` is done, present or different."""

    status: str
    message: str
    sha256: str | None = None
    #: the digest is the one the catalogue knows
    is_known: bool = False
    #: and all of it came from this store in this run
    is_proof: bool = False
    #: bytes of the file
    size: int = 0


class Receiver:
    """Fetches the objects of one run into DIR.

    Parameters
    ----------
    act
        What the run does, in the audit record and the events.
    """

    def __init__(
        self,
        run: Run,
        connection: Connection,
        folder: Path,
        identities: Sequence[Identity] | None,
        meter: Meter,
        *,
        pace: Pace | None = None,
        act: str = "download",
    ) -> None:
        self._run = run
        self._act = act
        #: copies that were fetched, opened, and had the digest that the catalogue knows
        self.proven: list[CopyRow] = []
        self._store = connection.store
        self._store_id = connection.store_id
        self._folder = folder
        self._identities = identities
        self._meter = meter
        self._pace = pace
        self.failures: list[EcogsafeError] = []
        #: objects that came to an end, whatever it is
        self.ended = 0
        self._not_known = 0
        #: what stands here and is right: bytes by path below DIR
        self._standing: dict[PurePosixPath, int] = {}
        #: done, and not in the audit record yet
        self._fetched: list[Fetched] = []

    def receive_all(self, wanted: list[Wanted], *, jobs: int) -> None:
        """Receive every object; a failure of one is told and the others go on.

        Raises
        ------
        NoSpaceError
            The files that are not here yet do not fit on the disk; nothing was begun.
        """
        here, missing = split_by_presence(self._folder, wanted)
        check_room(self._folder, missing)
        self._compare_all(here, jobs)
        note_begun(self._run, self._act, self._store_id, (w.subject for w in missing))
        under_way: dict[Reception, Wanted] = {}

        def receptions() -> Iterator[Reception]:
            for w in missing:
                reception = self._reception(w)
                under_way[reception] = w
                yield reception

        for ended in receive_all(receptions(), connections=jobs, stop=self._run.stop, pace=self._pace):
            w = under_way.pop(ended)
            self._note(w, partial(self._end_of, ended, w))

    def _compare_all(self, here: list[Wanted], jobs: int) -> None:
        """Compare what stands here already with what it should be."""
        waiting = iter(here)
        stop = self._run.stop
        with ThreadPoolExecutor(jobs, thread_name_prefix="comparer") as pool:
            running: dict[Future[_End], Wanted] = {}
            while True:
                while len(running) < jobs and not stop.is_set() and (w := next(waiting, None)) is not None:
                    running[pool.submit(self._compare, w)] = w
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._note(running.pop(future), future.result)

    def note_acts(self) -> None:
        """Put what was fetched into the audit record."""
        fetched, self._fetched = self._fetched, []
        note_fetched(self._run, self._act, self._store_id, fetched)

    def check_all_there(self) -> None:
        """Look once more, at the end, whether everything that was told of stands here: the disk is believed, not us."""
        for target, size in self._standing.items():
            try:
                status = (self._folder / target).lstat()
                is_there = stat.S_ISREG(status.st_mode) and status.st_size == size
            except OSError:
                is_there = False
            if not is_there:
                self._run.fail(
                    VerificationError(
                        str(target),
                        "is not there whole, though it was received and proven",
                        safe="The copy at the store is as it was",
                        next="see who else works in this folder, then run the same command again",
                    )
                )

    def verdict(self, total: int) -> str:
        """Return what came of it, in one line."""
        tally = self._run.tally
        restored = tally.done + tally.present
        text = f"restored {restored} of {total} files"
        if restored == total and not self._not_known:
            text += ", digests equal"
        elif self._not_known:
            text += f"; {self._not_known} of them could not be compared with a digest of this catalogue"
        if skipped := self._run.counts.get("not_missing"):
            text += f"; {skipped} were not missing"
        return text

    def _reception(self, wanted: Wanted) -> Reception:
        target = str(wanted.target)
        self._meter.file_begins(target, wanted.info.size)
        return Reception(
            self._store,
            wanted.info,
            identities=self._identities if wanted.sealed else None,
            landing=Landing(
                self._folder, wanted.target, mtime_ns=wanted.file.mtime_ns if wanted.file is not None else None
            ),
            expected_sha256=wanted.expected_sha256,
            content_size=wanted.content_size,
            # a digest proves more than any checksum of the store could
            look=None if wanted.expected_sha256 is not None else lambda: self._asked(wanted),
            on_bytes=lambda count: self._meter.bytes_moved(count, current=target),
            on_kept=lambda count: self._meter.bytes_moved(count, current=target, over_the_wire=False),
            stop=self._run.stop,
        )

    def _end_of(self, reception: Reception, wanted: Wanted) -> _End:
        """Return what became of one object; a bad one is told by its key."""
        expected = wanted.expected_sha256
        received = _by_key(reception, wanted)
        return _End(
            "done",
            _proof(wanted, reception.info, came_whole=reception.came_whole),
            received.sha256,
            is_known=expected is not None,
            # a store that holds the same sealing tells the same ETag: what was left may be of the other one
            is_proof=expected is not None and reception.came_whole,
            size=received.size,
        )

    def _compare(self, wanted: Wanted) -> _End:
        target = self._folder / wanted.target
        expected = wanted.expected_sha256
        self._meter.bytes_moved(wanted.info.size, over_the_wire=False)
        try:
            here = digest_of_file(target)
            size = target.lstat().st_size
        except OSError:
            return _End("different", "something that cannot be read as a file stands under this name")
        there = expected or self._digest_there(wanted)
        if here != there:
            return _End("different", "another content stands here under this name; it is never replaced", here)
        clear_leftovers(target)
        return _End("present", "already here, digest equal", here, is_known=True, size=size)

    def _digest_there(self, wanted: Wanted) -> str:
        identities = self._identities if wanted.sealed else None
        reception = Reception(self._store, self._asked(wanted), identities=identities, stop=self._run.stop)
        for ended in receive_all([reception], connections=1, stop=self._run.stop):
            return _by_key(ended, wanted).sha256
        raise interrupted(wanted.info.key)

    def _asked(self, wanted: Wanted) -> ObjectInfo:
        """Return what the store says of the object, with the checksum that its bytes must have where one is known."""
        info = self._store.head(wanted.info.key, checksum=not wanted.sealed) or wanted.info
        if info.crc64 is None and wanted.copy is not None:
            return replace(info, crc64=wanted.copy.crc64)
        return info

    def _note(self, wanted: Wanted, outcome: Callable[[], _End]) -> None:
        run = self._run
        self._meter.file_done(str(wanted.target))
        try:
            end = outcome()
        except InterruptedRunError:
            return
        except EcogsafeError as error:
            end = self._fail(error)
        except FileExistsError:
            end = _End("different", "a file of this name appeared meanwhile; it was not replaced")
        except OSError as error:
            end = self._fail(
                SourceUnreadableError(
                    str(wanted.target),
                    f"could not be written ({os.strerror(error.errno or 0)})",
                    safe="Nothing has its name that is not whole",
                )
            )
        self.ended += 1
        if end.status == "done":
            run.tally.done += 1
            run.tally.bytes += wanted.content_size
            if end.is_proof and wanted.copy is not None:
                self.proven.append(wanted.copy)
            self._fetched.append(Fetched(wanted.subject, wanted.info.key, end.sha256))
            if len(self._fetched) >= _ACTS_AT_ONCE:
                self.note_acts()
        elif end.status == "present":
            run.tally.present += 1
        elif end.status == "different":
            run.tally.skipped += 1
            run.tally.note(ExitStatus.PARTIAL)
        if end.status in ("done", "present"):
            self._standing[wanted.target] = end.size
        self._not_known += end.status in ("done", "present") and not end.is_known
        run.tell(
            Item(
                action=self._act,
                status="skipped" if end.status == "different" else end.status,
                subject=wanted.subject,
                path=str(wanted.target),
                key=wanted.info.key,
                store=self._store.name,
                bytes=wanted.content_size,
                digest=end.sha256,
                message=end.message,
            )
        )

    def _fail(self, error: EcogsafeError) -> _End:
        self.failures.append(error)
        self._run.fail(error)
        return _End("failed", str(error))


def _proof(wanted: Wanted, info: ObjectInfo, *, came_whole: bool) -> str:
    if wanted.expected_sha256 is not None:
        return "digest equal" if came_whole else f"digest equal; {NO_PROOF}"
    if wanted.sealed:
        return "opened whole, every part authentic; the catalogue knows no digest of it"
    if info.crc64 is not None:
        return "the checksum of the store is equal; the catalogue knows no digest of it"
    return "as it came: neither the catalogue nor the store knows a digest of it"


def _by_key(reception: Reception, wanted: Wanted) -> Received:
    """Return what ``reception`` held; what is wrong with it is told by its key."""
    try:
        return reception.result()
    except VerificationError as error:
        if error.item == wanted.info.key:
            raise
        raise VerificationError(
            wanted.info.key,
            f"its content does not open ({error.problem})",
            safe="Nothing was put in place of it",
            next="ecogsafe verify --deep, then download from another store",
        ) from error
