"""``download --decrypt``: what the old scripts stored, fetched, unlocked and laid out in one go.

Archives are unpacked as they come: no byte of the locked file is kept here. So an interrupted one begins
again, while a lost connection goes on at the byte that was reached.
"""

from __future__ import annotations

import os
import threading
from collections import Counter
from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, NoSpaceError, VerificationError
from ecogsafe.core.events import Item
from ecogsafe.core.private import Private
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.acts import Fetched, note_begun, note_fetched
from ecogsafe.service.connections import Connection
from ecogsafe.service.download_planning import DownloadRequest
from ecogsafe.service.old_copies import OldCopy, OldCopyTaker
from ecogsafe.service.old_layout import OldObject, old_object
from ecogsafe.service.running import Run
from ecogsafe.service.shown_names import key_hidden, shown_path
from ecogsafe.service.unlocking import UnlockKeys
from ecogsafe.service.withdrawn import tell_left_out, withdrawn_on
from ecogsafe.stores.protocol import OWN_PREFIX, ObjectInfo, Store
from ecogsafe.transfer.meter import Meter

#: old objects that are opened at once; each has threads of its own for unlocking
_MOST_AT_ONCE = 4


def find_old(run: Run, connection: Connection, request: DownloadRequest, taken: Collection[str]) -> list[OldObject]:
    """Return the old objects that are wished for, in the order of the listing.

    Parameters
    ----------
    taken
        Paths that come from objects of today's form, which are better.
    """
    withdrawn = withdrawn_on(run)
    left: Counter[str] = Counter()
    prefixes = dict.fromkeys(request.subjects) or [""]
    found = []
    for prefix in prefixes:
        for info in connection.store.list(prefix):
            old = None if info.key.startswith(OWN_PREFIX) else old_object(info)
            if old is None or not request.selects(old.code, info.key, old.target):
                continue
            if old.code in withdrawn:
                left[old.code] += 1
                continue
            if old.place is not None and (
                old.target in taken
                or (request.missing_in is not None and os.path.lexists(request.missing_in / old.target))
            ):
                continue
            found.append(old)
    tell_left_out(run, left, action="download")
    # the plan for today's objects took them for somebody else's
    if foreign := run.counts.pop("foreign_objects", 0) - len(found) - left.total():
        run.counts["foreign_objects"] = foreign
    return found


def tell_old(run: Run, objects: Collection[OldObject]) -> None:
    """Tell what would be fetched."""
    for old in objects:
        what = "a file of the old scripts" if old.place else "an archive of the old scripts, which would be unpacked"
        run.tell(
            Item(
                action="download",
                status="planned",
                subject=old.code,
                key=old.shown,
                bytes=old.info.size,
                message=f"{what}; opened with the old password",
            )
        )


@dataclass(slots=True)
class OldDownload:
    """Fetches old objects into DIR."""

    run: Run
    connection: Connection
    request: DownloadRequest
    keys: UnlockKeys
    meter: Meter

    def receive_all(self, objects: Collection[OldObject]) -> list[EcogsafeError]:
        """Fetch every object; one that fails is told and the others go on. Return the failures.

        Raises
        ------
        NoSpaceError
            They do not fit on this disk as they are; nothing was begun.
        InterruptedRunError
            The run was told to stop; complete files are kept.
        """
        self._check_room(objects)
        taker = OldCopyTaker(
            self.request.folder,
            self.keys,
            with_trees=False,
            action="download",
            tell=self.run.tell,
            tally=self.run.tally,
            stop=self.run.stop,
        )
        failures: list[EcogsafeError] = []
        fetched: list[Fetched] = []
        #: those that the run was stopped over, or did not begin
        unfinished: list[OldObject] = []

        def one(old: OldObject) -> None:
            try:
                self.run.check_stop(safe="Complete files are kept")
                fetched.append(self._take(taker, old))
            except InterruptedRunError:
                unfinished.append(old)
                return
            except EcogsafeError as error:
                failures.append(error)
                self.run.fail(error)
            self.meter.file_done()

        note_begun(self.run, "download", self.connection.store_id, (old.code for old in objects))
        try:
            with ThreadPoolExecutor(min(self.request.jobs, _MOST_AT_ONCE), "old-copies") as pool:
                list(pool.map(one, objects))
        finally:
            note_fetched(self.run, "download", self.connection.store_id, fetched)
        if unfinished:
            self.run.check_stop(safe="Complete files are kept")
        return failures

    def _check_room(self, objects: Collection[OldObject]) -> None:
        needed = sum(old.info.size for old in objects)
        disk = os.statvfs(self.request.folder)
        free = disk.f_bavail * disk.f_frsize
        if disk.f_blocks and needed > free:
            raise NoSpaceError(
                "DIR",
                f"the old copies alone have {needed:,} bytes and {free:,} are free",
                safe="Nothing of them was fetched",
                next="make room, or choose fewer with -s and -f",
            )

    def _take(self, taker: OldCopyTaker, old: OldObject) -> Fetched:
        with key_hidden(old.info.key):
            info = self.connection.store.head(old.info.key) or old.info
            pieces = Fetching(self.connection.store, info, self.meter, self.run.stop)
            taken = taker.take(OldCopy(Private(info.key), pieces, info.size), key=old.shown)
        return Fetched(old.code, old.shown, taken.sha256)


class Fetching:
    """The bytes of one object as they come, compared at their end with what the store says of it."""

    def __init__(self, store: Store, info: ObjectInfo, meter: Meter, stop: threading.Event) -> None:
        self._store = store
        self._info = info
        self._meter = meter
        self._stop = stop

    def __iter__(self) -> Iterator[bytes]:
        crc = size = 0
        key, shown = self._info.key, shown_path(self._info.key)
        # a lost connection goes on in the same object, or not at all: nothing else would show a mixture of two
        for data in self._store.read(key, etag=self._info.etag):
            if self._stop.is_set():
                raise InterruptedRunError(shown, "was interrupted", safe="Complete files are kept")
            crc = crc64nvme(data, crc)
            size += len(data)
            self._meter.bytes_moved(len(data), current=shown)
            yield bytes(data)
        if size != self._info.size or self._info.crc64 not in (None, crc):
            raise VerificationError(
                shown, "did not arrive as the store has it", safe="Nothing of it was put in place", next="run it again"
            )
