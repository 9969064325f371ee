"""The files of archive volumes into DIR: what stands there is compared, the rest is fetched, told and recorded."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import PurePosixPath

from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    SourceUnreadableError,
    VerificationError,
)
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.acts import Fetched, note_fetched
from ecogsafe.service.connections import Connection
from ecogsafe.service.download_receiving import NO_PROOF
from ecogsafe.service.restore_evidence import note_bad, note_restored
from ecogsafe.service.restore_planning import stands
from ecogsafe.service.restore_request import RestoreRequest, Volume
from ecogsafe.service.running import Run
from ecogsafe.transfer.archive.frame_fetching import FrameFetcher
from ecogsafe.transfer.archive.tar_stream import Entry
from ecogsafe.transfer.archive.unpacked import Arrival, Wish, whole_seconds
from ecogsafe.transfer.archive.unpacking import Unpacking
from ecogsafe.transfer.archive.unpacking_whole import WholeUnpacking
from ecogsafe.transfer.landing_names import clear_leftovers
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.pace import Pace
from ecogsafe.transfer.received import digest_of_file

#: rows of the audit record that are made durable together
_ACTS_AT_ONCE = 64
_OTHER = "another content stands here under this name; it is never replaced"


class Unpacker:
    """Unpacks the volumes of one run."""

    def __init__(
        self,
        run: Run,
        connection: Connection,
        request: RestoreRequest,
        identities: Sequence[Identity],
        meter: Meter,
        pace: Pace,
    ) -> None:
        self._run = run
        self._pace = pace
        self._store = connection.store
        self._store_id = connection.store_id
        self._request = request
        self._identities = identities
        self._meter = meter
        self.failures: list[EcogsafeError] = []
        #: files that came to an end, whatever it is
        self.ended = 0
        #: done, and not in the audit record yet
        self._fetched: list[Fetched] = []
        self._restored: list[str] = []

    # what stands here

    def compare(self, volumes: Iterable[Volume]) -> None:
        """Take what stands in DIR already off the wishes: it is right and kept, or different and never replaced."""
        with ThreadPoolExecutor(self._request.jobs, thread_name_prefix="comparer") as pool:
            for volume in volumes:
                standing = [wish for wish in volume.wishes if stands(self._request, wish.path)]
                paths = {wish.path for wish in standing}
                volume.wishes = [wish for wish in volume.wishes if wish.path not in paths]
                for wish, digest in zip(standing, pool.map(self._digest_here, standing), strict=True):
                    self._run.check_stop(safe="Nothing was fetched")
                    self._tell_standing(volume, wish, digest, wish.sha256)

    def _digest_here(self, wish: Wish) -> str | None:
        if self._run.stop.is_set():
            return None
        try:
            return digest_of_file(self._request.folder / wish.path)
        except OSError:
            return None

    def _tell_standing(self, volume: Volume, wish: Wish, digest: str | None, expected: str | None) -> None:
        self.ended += 1
        if digest is not None and digest == expected:
            clear_leftovers(self._request.folder / wish.path)
            self._run.tally.present += 1
            self._tell(volume, wish, "present", "already here, digest equal", digest)
        else:
            self._tell_different(volume, wish, _OTHER)

    def _tell_different(self, volume: Volume, wish: Wish, message: str) -> None:
        self._run.tally.skipped += 1
        self._run.tally.note(ExitStatus.PARTIAL)
        self._tell(volume, wish, "skipped", message, None)

    def _tell(self, volume: Volume, wish: Wish, status: str, message: str, digest: str | None) -> None:
        self._run.tell(
            Item(
                action="restore",
                status=status,
                subject=self._request.subject,
                path=wish.path,
                key=volume.key,
                store=self._store.name,
                bytes=wish.size,
                digest=digest,
                message=message,
            )
        )

    # fetching

    def unpack(self, volume: Volume) -> None:
        """Bring the wishes of ``volume`` into DIR; failures are told and counted.

        Raises
        ------
        InterruptedRunError
            The run was told to stop; what came is kept.
        """
        self._restored = []
        before = len(self.failures)
        try:
            if volume.index is not None:
                self._through_index(volume)
            else:
                self._whole(volume)
        except InterruptedRunError:
            raise
        except EcogsafeError as error:
            self._fail(error)
        finally:
            self._note(volume)
        wrong = [error for error in self.failures[before:] if isinstance(error, VerificationError)]
        if wrong:
            note_bad(self._run, volume, wrong[0])

    def _note(self, volume: Volume) -> None:
        self._note_acts()
        note_restored(self._run, self._store_id, volume, self._restored)

    def _through_index(self, volume: Volume) -> None:
        assert volume.index is not None
        fetcher = FrameFetcher(self._store, volume.index, self._identities, self._moved(volume), self._pace.wait)
        fetcher.open()
        unpacking = Unpacking(
            fetcher,
            volume.info,
            self._request.folder,
            connections=self._request.jobs,
            stop=self._run.stop,
            on_kept=lambda count: self._meter.bytes_moved(count, over_the_wire=False),
        )
        for arrival in unpacking.run(volume.wishes):
            self._end(volume, arrival)
        self._run.check_stop(safe="Complete files are kept, and what came of unfinished ones")

    def _whole(self, volume: Volume) -> None:
        self._pace.wait()
        wanted = {wish.path: wish for wish in volume.wishes}
        standing: list[Wish] = []

        def decide(entry: Entry) -> Wish | None:
            if volume.contents is not None:
                return self._as_known(volume, wanted.get(entry.path), entry)
            wish = Wish(entry.path, entry.size, None, whole_seconds(entry.mtime))
            if not self._request.selects(entry.path):
                return None
            if stands(self._request, entry.path):
                standing.append(wish)
                return None
            return wish

        unpacking = WholeUnpacking(
            self._store,
            volume.info,
            self._identities,
            self._request.folder,
            crc64=volume.crc64,
            is_ours=self._request.is_ours,
            stop=self._run.stop,
            on_bytes=self._moved(volume),
        )
        for arrival in unpacking.run(decide):
            self._end(volume, arrival)
        for wish in standing:
            self._tell_standing(volume, wish, self._digest_here(wish), unpacking.digests.get(wish.path))

    def _as_known(self, volume: Volume, wish: Wish | None, entry: Entry) -> Wish | None:
        if wish is not None and wish.size != entry.size:
            raise VerificationError(
                volume.key,
                f"holds {entry.path} with another size than was sent",
                safe="Nothing was put in place of it",
                next="ecogsafe restore from another store, or ecogsafe download",
            )
        return wish

    def _moved(self, volume: Volume) -> _Moved:
        return _Moved(self._meter, volume.key)

    def _end(self, volume: Volume, arrival: Arrival) -> None:
        self._meter.file_done()
        wish, error = arrival.wish, arrival.error
        if isinstance(error, InterruptedRunError):
            return
        if error is None:
            self.ended += 1
            self._run.tally.done += 1
            self._run.tally.bytes += wish.size
            # what an earlier run left may have come from another store
            if not arrival.landed:
                self._restored.append(wish.path)
            self._fetched.append(Fetched(self._request.subject, volume.key, arrival.sha256))
            if len(self._fetched) >= _ACTS_AT_ONCE:
                self._note_acts()
            message = f"digest equal; {NO_PROOF}" if arrival.landed else "digest equal"
            self._tell(volume, wish, "done", message, arrival.sha256)
        elif isinstance(error, FileExistsError):
            self.ended += 1
            self._tell_different(volume, wish, "a file of this name appeared meanwhile; it was not replaced")
        elif isinstance(error, EcogsafeError):
            self._fail(error)
        elif isinstance(error, OSError):
            self._fail(
                SourceUnreadableError(
                    str(PurePosixPath(wish.path)),
                    f"could not be written ({os.strerror(error.errno or 0)})",
                    safe="Nothing has its name that is not whole",
                )
            )
        else:
            raise error

    def _fail(self, error: EcogsafeError) -> None:
        self.ended += 1
        self.failures.append(error)
        self._run.fail(error)

    def _note_acts(self) -> None:
        fetched, self._fetched = self._fetched, []
        note_fetched(self._run, "restore", self._store_id, fetched)


class _Moved:
    """Tells the meter of bytes of one volume."""

    def __init__(self, meter: Meter, key: str) -> None:
        self._meter = meter
        self._key = key

    def __call__(self, count: int) -> None:
        self._meter.bytes_moved(count, current=self._key)
