"""``download``: subjects back from a store, opened, proven, under the names they had below OUT."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path, PurePosixPath

from ecogsafe.catalog import copies
from ecogsafe.catalog.copies import CopyRow
from ecogsafe.catalog.files import FileRow
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    SourceUnreadableError,
    StoreRefusedError,
    UsageError,
    VerificationError,
)
from ecogsafe.core.events import Item
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.deid.layout import Tree, parse_target
from ecogsafe.service.connections import Connection, connected
from ecogsafe.service.home import PasswordSource
from ecogsafe.service.presence import path_of_key
from ecogsafe.service.running import Run
from ecogsafe.stores.protocol import OWN_PREFIX, ObjectInfo
from ecogsafe.transfer.context import Meter
from ecogsafe.transfer.receiving import Reception, digest_object, digest_of_file, write_file

DEFAULT_JOBS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadRequest:
    """What the user asked for."""

    folder: Path
    url: str
    subjects: tuple[str, ...] = ()
    globs: tuple[str, ...] = ()
    #: skip what already stands, by path, below this folder
    missing_in: Path | None = None
    decrypt: bool = True
    dry_run: bool = False
    jobs: int = DEFAULT_JOBS


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """One object and the file it becomes."""

    info: ObjectInfo
    target: PurePosixPath
    sealed: bool
    copy: CopyRow | None
    file: FileRow | None
    subject: str | None

    @property
    def content_size(self) -> int:
        """Bytes of the file, as far as is known."""
        return self.file.size if self.file else self.info.size


def download(run: Run, request: DownloadRequest, password: PasswordSource) -> None:
    """Carry ``request`` out and tell of every file."""
    if not request.folder.is_dir():
        raise UsageError("DIR", "there is no such folder", next="make it (mkdir) and run the same command again")
    with connected(run.catalog, request.url) as connection:
        wanted = _plan(run, connection, request)
        if not wanted:
            raise UsageError(
                request.url, "holds nothing that fits", next="ecogsafe status shows which subjects are where"
            )
        if request.dry_run:
            _tell_plan(run, wanted)
            return
        identities: Sequence[Identity] | None = None
        if request.decrypt and any(w.sealed for w in wanted):
            identities = [run.home.identity(password, run.home.recipients(run.catalog))]
        meter = Meter(run.tell, files_total=len(wanted), bytes_total=sum(w.info.size for w in wanted))
        _receive_all(run, connection, request, wanted, identities, meter)
        run.tell(meter.now())
    if run.stop.is_set():
        raise InterruptedRunError(
            "download", "was interrupted", safe="Complete files are kept", next="run the same command again to continue"
        )
    total = run.tally.done + run.tally.present
    run.message = f"restored {total} of {len(wanted)} files" + (", digests equal" if total == len(wanted) else "")


def _plan(run: Run, connection: Connection, request: DownloadRequest) -> list[Wanted]:
    with run.catalog.read() as tx:
        known = {copy.key: (copy, file) for copy, file in copies.copies_in_store(tx, connection.store_id)}
    wanted: dict[str, Wanted] = {}
    for info in _listed(connection, request):
        path, sealed = path_of_key(info.key)
        parts = next((p for tree in Tree if (p := parse_target(tree, path))), None)
        if parts is None or (request.subjects and parts.code not in request.subjects):
            if parts is None:
                _tell_foreign(run, info.key)
            continue
        target = info.key.removesuffix(".age") if sealed and request.decrypt else info.key
        if request.globs and not any(fnmatch(target, g) or fnmatch(info.key, g) for g in request.globs):
            continue
        if request.missing_in is not None and (request.missing_in / target).exists():
            continue
        copy, file = known.get(info.key, (None, None))
        entry = Wanted(
            info=info,
            target=PurePosixPath(target),
            sealed=sealed and request.decrypt,
            copy=copy,
            file=file,
            subject=parts.code,
        )
        earlier = wanted.get(target)
        if earlier is not None:
            raise StoreRefusedError(
                info.key, "stands in the store both sealed and plain", next="choose one with -f, or use --no-decrypt"
            )
        wanted[target] = entry
    return list(wanted.values())


def _listed(connection: Connection, request: DownloadRequest) -> Iterator[ObjectInfo]:
    if not request.subjects:
        yield from connection.store.list()
        return
    for code in request.subjects:
        for prefix in (f"{code}/", f"{code}_edf/", f"{code}_vtc/", f"{code}_snc/"):
            yield from connection.store.list(prefix)


def _tell_foreign(run: Run, key: str) -> None:
    if not key.startswith(OWN_PREFIX):
        run.counts["foreign_objects"] = run.counts.get("foreign_objects", 0) + 1


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


def _receive_all(
    run: Run,
    connection: Connection,
    request: DownloadRequest,
    wanted: list[Wanted],
    identities: Sequence[Identity] | None,
    meter: Meter,
) -> None:
    waiting = iter(wanted)
    with ThreadPoolExecutor(request.jobs, thread_name_prefix="receiver") as pool:
        running: dict[Future[tuple[str, str, str]], Wanted] = {}
        while True:
            while len(running) < request.jobs and not run.stop.is_set() and (w := next(waiting, None)) is not None:
                running[pool.submit(_receive, run, connection, request, w, identities, meter)] = w
            if not running:
                return
            finished, _ = wait(running, return_when=FIRST_COMPLETED)
            for future in finished:
                _note(run, connection, running.pop(future), future)
                meter.file_done()


def _receive(
    run: Run,
    connection: Connection,
    request: DownloadRequest,
    wanted: Wanted,
    identities: Sequence[Identity] | None,
    meter: Meter,
) -> tuple[str, str, str]:
    """Return (status, SHA-256, message) of one file; a bad one is told by its key."""
    try:
        return _receive_checked(run, connection, request, wanted, identities, meter)
    except VerificationError as error:
        if error.item == wanted.info.key:
            raise
        raise VerificationError(
            wanted.info.key,
            f"its content does not open ({error.problem})",
            safe="Nothing was put in place of it",
            next="ecogsafe verify --deep, then download from another store",
        ) from error


def _receive_checked(
    run: Run,
    connection: Connection,
    request: DownloadRequest,
    wanted: Wanted,
    identities: Sequence[Identity] | None,
    meter: Meter,
) -> tuple[str, str, str]:
    info = connection.store.head(wanted.info.key) or wanted.info
    expected = wanted.file.sha256 if wanted.file and (wanted.sealed or not info.key.endswith(".age")) else None
    reception = Reception(
        connection.store,
        info,
        identities=identities if wanted.sealed else None,
        on_bytes=lambda count: meter.bytes_moved(count, current=str(wanted.target)),
        stop=run.stop,
    )
    target = request.folder / wanted.target
    if os.path.lexists(target):
        meter.bytes_moved(info.size, over_the_wire=False)
        return _compare(target, expected, reception)
    received = write_file(
        request.folder,
        wanted.target,
        reception,
        expected_sha256=expected,
        content_size=wanted.content_size,
        mtime_ns=wanted.file.mtime_ns if wanted.file else None,
    )
    proof = "digest equal" if expected else "opened whole; the catalogue knows no digest of it"
    return "done", received.sha256, proof


def _compare(target: Path, expected: str | None, reception: Reception) -> tuple[str, str, str]:
    try:
        here = digest_of_file(target)
    except OSError:
        return "different", "", "something that cannot be read as a file stands under this name"
    there = expected or digest_object(reception).sha256
    if here == there:
        return "present", here, "already here, digest equal"
    return "different", here, "another content stands here under this name; it is never replaced"


def _note(run: Run, connection: Connection, wanted: Wanted, future: Future[tuple[str, str, str]]) -> None:
    digest: str | None = None
    try:
        status, digest, message = future.result()
    except InterruptedRunError:
        return
    except EcogsafeError as error:
        status, message = "failed", str(error)
        run.fail(error)
    except FileExistsError:
        status, message = "different", "a file of this name appeared meanwhile; it was not replaced"
    except OSError as error:
        status = "failed"
        failure = SourceUnreadableError(
            str(wanted.target),
            f"could not be written ({os.strerror(error.errno or 0)})",
            safe="No partial file was left",
        )
        message = str(failure)
        run.fail(failure)
    if status == "done":
        run.tally.done += 1
        run.tally.bytes += wanted.content_size
    elif status == "present":
        run.tally.present += 1
    elif status == "different":
        run.tally.skipped += 1
        run.tally.note(ExitStatus.PARTIAL)
        status = "skipped"
    run.tell(
        Item(
            action="download",
            status=status,
            subject=wanted.subject,
            path=str(wanted.target),
            key=wanted.info.key,
            store=connection.store.name,
            bytes=wanted.content_size,
            digest=digest or None,
            message=message,
        )
    )
