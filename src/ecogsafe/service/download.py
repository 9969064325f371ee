"""``download``: subjects back from a store, opened, proven, under the names they had below OUT."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from pathlib import Path

from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    SourceUnreadableError,
    UsageError,
    VerificationError,
)
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.download_planning import DownloadPlan, DownloadRequest, Wanted
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.running import Run, raise_if_all_failed
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.context import Meter
from ecogsafe.transfer.receiving import Reception, digest_object, digest_of_file, write_file


@dataclass(frozen=True, slots=True)
class _End:
    """What became of one object; ``status`` is done, present or different."""

    status: str
    message: str
    sha256: str | None = None
    #: the digest is the one the catalogue knows
    is_known: bool = False


def download(run: Run, request: DownloadRequest, password: PasswordSource) -> None:
    """Carry ``request`` out and tell of every file; nothing is written to the store.

    Raises
    ------
    UsageError
        There is nothing to fetch, or nowhere to put it.
    WrongPasswordError
        The password does not open the lab key; nothing was fetched.
    EcogsafeError
        What stops the run; complete files are kept.
    """
    request.check()
    with connected(run.catalog, request.url, to_write=False) as connection:
        wanted = DownloadPlan(run, connection, request).wanted
        if not wanted and not run.counts.get("not_missing"):
            raise UsageError(
                request.url, "holds nothing that fits", next="ecogsafe status shows which subjects are where"
            )
        if request.dry_run:
            _tell_plan(run, wanted)
            return
        identities: Sequence[Identity] | None = None
        if any(w.sealed for w in wanted):
            identities = [run.home.identity(password, run.home.recipients(run.catalog))]
        meter = Meter(run.tell, files_total=len(wanted), bytes_total=sum(w.info.size for w in wanted))
        receiver = _Receiver(run, connection, request.folder, identities, meter)
        receiver.receive_all(wanted, jobs=request.jobs)
        run.tell(meter.now())
    if receiver.ended < len(wanted):
        run.check_stop(safe="Complete files are kept")
    raise_if_all_failed(receiver.failures, len(wanted))
    run.message = receiver.verdict(len(wanted))


def _tell_plan(run: Run, wanted: list[Wanted]) -> None:
    for w in wanted:
        run.tell(
            Item(
                action="download",
                status="planned",
                key=w.info.key,
                path=str(w.target),
                bytes=w.info.size,
                subject=w.subject,
            )
        )
    total = sum(w.info.size for w in wanted)
    run.message = f"{len(wanted)} files, {total:,} bytes would be fetched"


class _Receiver:
    """Fetches the objects of one run into DIR."""

    def __init__(
        self,
        run: Run,
        connection: Connection,
        folder: Path,
        identities: Sequence[Identity] | None,
        meter: Meter,
    ) -> None:
        self._run = run
        self._store = connection.store
        self._folder = folder
        self._identities = identities
        self._meter = meter
        self.failures: list[EcogsafeError] = []
        #: objects that came to an end, whatever it is
        self.ended = 0
        self._not_known = 0

    def receive_all(self, wanted: list[Wanted], *, jobs: int) -> None:
        """Receive every object; a failure of one is told and the others go on."""
        waiting = iter(wanted)
        stop = self._run.stop
        with ThreadPoolExecutor(jobs, thread_name_prefix="receiver") as pool:
            running: dict[Future[_End], Wanted] = {}
            while True:
                while len(running) < jobs and not stop.is_set() and (w := next(waiting, None)) is not None:
                    running[pool.submit(self._receive, w)] = w
                if not running:
                    return
                finished, _ = wait(running, return_when=FIRST_COMPLETED)
                for future in finished:
                    self._note(running.pop(future), future)
                    self._meter.file_done()

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

    def _receive(self, wanted: Wanted) -> _End:
        """Receive one object; a bad one is told by its key."""
        try:
            return self._received(wanted)
        except VerificationError as error:
            if error.item == wanted.info.key:
                raise
            raise VerificationError(
                wanted.info.key,
                f"its content does not open ({error.problem})",
                safe="Nothing was put in place of it",
                next="ecogsafe verify --deep, then download from another store",
            ) from error

    def _received(self, wanted: Wanted) -> _End:
        expected = wanted.expected_sha256
        info = self._asked(wanted)
        reception = Reception(
            self._store,
            info,
            identities=self._identities if wanted.sealed else None,
            on_bytes=lambda count: self._meter.bytes_moved(count, current=str(wanted.target)),
            stop=self._run.stop,
        )
        target = self._folder / wanted.target
        if os.path.lexists(target):
            self._meter.bytes_moved(info.size, over_the_wire=False)
            return _compare(target, expected, reception)
        received = write_file(
            self._folder,
            wanted.target,
            reception,
            expected_sha256=expected,
            content_size=wanted.content_size,
            mtime_ns=wanted.file.mtime_ns if wanted.file else None,
        )
        return _End("done", _proof(wanted, info), received.sha256, is_known=expected is not None)

    def _asked(self, wanted: Wanted) -> ObjectInfo:
        """Return what the store says of the object, with the checksum that its bytes must have where one is known."""
        no_digest = wanted.expected_sha256 is None
        info = self._store.head(wanted.info.key, checksum=no_digest and not wanted.sealed) or wanted.info
        if info.crc64 is None and no_digest and wanted.copy is not None:
            return replace(info, crc64=wanted.copy.crc64)
        return info

    def _note(self, wanted: Wanted, future: Future[_End]) -> None:
        run = self._run
        try:
            end = future.result()
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
                    safe="No partial file was left",
                )
            )
        self.ended += 1
        if end.status == "done":
            run.tally.done += 1
            run.tally.bytes += wanted.content_size
        elif end.status == "present":
            run.tally.present += 1
        elif end.status == "different":
            run.tally.skipped += 1
            run.tally.note(ExitStatus.PARTIAL)
        self._not_known += end.status in ("done", "present") and not end.is_known
        run.tell(
            Item(
                action="download",
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


def _proof(wanted: Wanted, info: ObjectInfo) -> str:
    if wanted.expected_sha256 is not None:
        return "digest equal"
    if wanted.sealed:
        return "opened whole, every part authentic; the catalogue knows no digest of it"
    if info.crc64 is not None:
        return "the checksum of the store is equal; the catalogue knows no digest of it"
    return "as it came: neither the catalogue nor the store knows a digest of it"


def _compare(target: Path, expected: str | None, reception: Reception) -> _End:
    try:
        here = digest_of_file(target)
    except OSError:
        return _End("different", "something that cannot be read as a file stands under this name")
    there = expected or digest_object(reception).sha256
    if here == there:
        return _End("present", "already here, digest equal", here, is_known=True)
    return _End("different", "another content stands here under this name; it is never replaced", here)
