"""``decrypt``: files that were locked with age, or long ago with OpenSSL DES, opened beside themselves or elsewhere.

Works on any machine: only sealed data needs the home, for its lab key. Nothing has its name before it is whole.
"""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

from ecogsafe.core.errors import (
    STOPPING,
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    LockedError,
    MalformedFileError,
    NoSpaceError,
    SourceChangedError,
    SourceUnreadableError,
    UsageError,
)
from ecogsafe.core.events import ErrorEvent, EventSink, Item, Tally
from ecogsafe.service.expanding import expand
from ecogsafe.service.running import raise_if_all_failed
from ecogsafe.service.shown_names import code_in, shown_name
from ecogsafe.service.unlocking import Unlocked, UnlockKeys, unlock
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.hidden_folder import HiddenFolder
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.received import digest_of_file
from ecogsafe.transfer.unzipping import unzipped

_READ_BYTES = 1 << 20
#: what stands at the end of the names of locked files
LOCKED_ENDS = (".enc", ".age", ".des", ".openssl")
_TAR_ENDS = (".tar.gz", ".tgz", ".tar.zst", ".tar")
_SAFE = "The locked file is not touched, and nothing was made of it"


@dataclass(frozen=True, slots=True, kw_only=True)
class DecryptRequest:
    """What the user asked for."""

    files: tuple[Path, ...]
    #: the file, or with ``untar`` the folder; default: beside each file, without its extension
    out: Path | None = None
    untar: bool = False

    def check(self) -> None:
        """Raise UsageError where the wishes do not fit together."""
        if self.out is not None and len(self.files) > 1:
            raise UsageError("-o", "names one place, and there are several files", next="give one file at a time")
        if self.out is not None and not self.out.absolute().parent.is_dir():
            raise UsageError("-o", "the folder above it does not exist", next="make it (mkdir)")
        for file in self.files:
            if self.out is None and not _without_ends(file.name, LOCKED_ENDS):
                raise UsageError(
                    shown_name(file.name),
                    f"does not end with one of {' '.join(LOCKED_ENDS)}, so there is no name to give what it holds",
                    next="name it with -o",
                )

    def target(self, file: Path) -> Path:
        """Return what ``file`` becomes."""
        if self.out is not None:
            return self.out.absolute()
        name = _without_ends(file.name, LOCKED_ENDS)
        return file.absolute().with_name((_without_ends(name, _TAR_ENDS) or name) if self.untar else name)


def _without_ends(name: str, ends: tuple[str, ...]) -> str:
    """Return ``name`` without the one of ``ends`` that it has; nothing where it has none or nothing else."""
    return next((name[: -len(end)] for end in ends if name.lower().endswith(end)), "")


@dataclass(frozen=True, slots=True)
class Opened:
    """One file that was opened; nothing in it is private."""

    subject: str | None
    name: str
    #: SHA-256 of what the file held, or, unpacked, of the locked file
    sha256: str


@dataclass(slots=True)
class Decrypting:
    """The work of one command.

    Parameters
    ----------
    tell
        Is told of every file.
    """

    request: DecryptRequest
    keys: UnlockKeys
    tell: EventSink
    stop: threading.Event
    tally: Tally
    #: for the audit record
    opened: list[Opened] = field(default_factory=list)
    _failures: list[EcogsafeError] = field(default_factory=list)

    def run(self) -> str:
        """Open every file; one that fails is told and the others go on. Return the verdict, one line.

        Raises
        ------
        UsageError
            The wishes do not fit together; nothing was done.
        EcogsafeError
            Every file failed in the same way, which stops a run: a wrong password, say.
        InterruptedRunError
            ``stop`` was set; complete files are kept.
        """
        self.request.check()
        sizes = [_size_of(file) for file in self.request.files]
        meter = Meter(self.tell, files_total=len(sizes), bytes_total=sum(sizes))
        for file in self.request.files:
            try:
                self._one(file, meter)
            except InterruptedRunError:
                raise
            except EcogsafeError as error:
                self._fail(error)
            except OSError as error:
                self._fail(_unreadable(shown_name(file.name), error))
            meter.file_done()
        self.tell(meter.now())
        raise_if_all_failed(self._failures, len(self.request.files))
        tally = self.tally
        return f"{tally.done} files opened, {tally.present} were here already, {tally.skipped + tally.failed} not"

    def _fail(self, error: EcogsafeError) -> None:
        self._failures.append(error)
        self.tally.failed += 1
        is_finding = error.exit_status in (
            ExitStatus.VERIFY_FAILED,
            ExitStatus.NOT_UNDERSTOOD,
            ExitStatus.SOURCE_CHANGED,
        )
        self.tally.note(error.exit_status if is_finding else ExitStatus.PARTIAL)
        # the one that stops the run is told as its end
        if len(self.request.files) > 1 or error.exit_status not in STOPPING:
            self.tell(ErrorEvent.of(error))

    def _one(self, file: Path, meter: Meter) -> None:
        target = self.request.target(file)
        source = LocalSource(file, meter, self.stop)
        if self.request.untar and os.path.lexists(target) and not _is_empty_folder(target):
            self._told(source, target, "skipped", "something stands under this name; it is never replaced")
            return
        with source:
            unlocked = unlock(source, self.keys, item=source.shown)
            if not unlocked.was_locked:
                held = unlocked.content.value if unlocked.content else "nothing that is known here"
                raise MalformedFileError(source.shown, f"is not locked: it holds {held}", safe=_SAFE)
            if self.request.untar:
                self._unpack(unlocked, target, source)
            elif os.path.lexists(target):
                self._compare(unlocked, target, source)
            else:
                self._write(unlocked, target, source)

    def _write(self, unlocked: Unlocked, target: Path, source: LocalSource) -> None:
        landing = Landing(target.parent, PurePosixPath(target.name), mtime_ns=None)
        info = ObjectInfo(key=source.shown, size=source.size)
        digest, size = hashlib.sha256(), 0
        try:
            landing.open(info, source.size)
            landing.begin(info, source.size, b"", in_ranges=False)
            for piece in unlocked.pieces:
                landing.write(memoryview(piece), size)
                digest.update(piece)
                size += len(piece)
            source.check_unchanged()
            landing.publish()
        except BaseException as error:
            landing.discard()
            if isinstance(error, LockedError | NoSpaceError | SourceUnreadableError):
                # what it says names the file, which may be a person's name
                raise type(error)(shown_name(target.name), error.problem, safe=_SAFE, next=error.next) from error
            raise
        self._told(source, target, "done", _how(unlocked), size=size, sha256=digest.hexdigest())

    def _compare(self, unlocked: Unlocked, target: Path, source: LocalSource) -> None:
        """Compare what stands there with what the file holds."""
        digest, size = hashlib.sha256(), 0
        for piece in unlocked.pieces:
            digest.update(piece)
            size += len(piece)
        source.check_unchanged()
        here = None
        with suppress(OSError):
            here = digest_of_file(target)
        if here == digest.hexdigest():
            self._told(source, target, "present", "already here, digest equal", size=size, sha256=here)
        else:
            message = "another content stands under this name; it is never replaced"
            self._told(source, target, "skipped", message, size=size)

    def _unpack(self, unlocked: Unlocked, target: Path, source: LocalSource) -> None:
        with HiddenFolder(target, shown=shown_name(target.name)) as hidden:
            tar = unzipped(unlocked.pieces, unlocked.content, item=source.shown)
            files = expand(tar, hidden.path, item=source.shown, stop=self.stop)
            source.check_unchanged()
            try:
                hidden.publish()
            except FileExistsError:
                self._told(source, target, "skipped", "something appeared under this name; it is never replaced")
                return
        size = sum(file.size for file in files)
        message = f"{_how(unlocked)}; {len(files)} files unpacked"
        self._told(source, target, "done", message, size=size, sha256=source.sha256)

    def _told(
        self,
        source: LocalSource,
        target: Path,
        status: str,
        message: str,
        *,
        size: int | None = None,
        sha256: str | None = None,
    ) -> None:
        tally = self.tally
        if status == "done":
            tally.done += 1
            tally.bytes += size or 0
            self.opened.append(Opened(code_in(source.path.name), source.shown, sha256 or ""))
        elif status == "present":
            tally.present += 1
        else:
            tally.skipped += 1
            tally.note(ExitStatus.PARTIAL)
        self.tell(
            Item(
                action="decrypt",
                status=status,
                subject=code_in(source.path.name),
                path=shown_name(target.name),
                bytes=size,
                digest=sha256 if not self.request.untar else None,
                message=message,
            )
        )


class LocalSource:
    """A locked file on this machine, read once from its beginning; a context and an iterable of pieces."""

    def __init__(self, path: Path, meter: Meter, stop: threading.Event) -> None:
        self.path = path
        self.shown = shown_name(path.name)
        self._meter = meter
        self._stop = stop
        self._digest = hashlib.sha256()

    def __enter__(self) -> LocalSource:
        descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self._file = os.fdopen(descriptor, "rb", buffering=0)
        self._before = os.fstat(descriptor)
        if not stat.S_ISREG(self._before.st_mode):
            self._file.close()
            raise SourceUnreadableError(self.shown, "is not a regular file", safe=_SAFE)
        self.size = self._before.st_size
        return self

    def __exit__(self, *error: object) -> None:
        self._file.close()

    def __iter__(self) -> Iterator[bytes]:
        while piece := self._file.read(_READ_BYTES):
            if self._stop.is_set():
                raise InterruptedRunError(
                    self.shown, "was interrupted", safe="Complete files are kept", next="run the same command again"
                )
            self._digest.update(piece)
            self._meter.bytes_moved(len(piece), current=self.shown)
            yield piece

    @property
    def sha256(self) -> str:
        """The digest of the locked file as far as it was read."""
        return self._digest.hexdigest()

    def check_unchanged(self) -> None:
        """Raise SourceChangedError where the file is not what it was when it was opened."""
        after = os.fstat(self._file.fileno())
        before = self._before
        if (after.st_size, after.st_mtime_ns) != (before.st_size, before.st_mtime_ns):
            raise SourceChangedError(self.shown, "changed while it was read", safe=_SAFE, next="run it again")


def _how(unlocked: Unlocked) -> str:
    what = f"holds {unlocked.content.value}" if unlocked.content else "of no known kind; opened with the same password"
    return "; ".join(part for part in (unlocked.how, what, unlocked.note) if part)


def _size_of(file: Path) -> int:
    try:
        return file.stat().st_size
    except OSError:
        return 0


def _is_empty_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink() and not any(path.iterdir())


def _unreadable(shown: str, error: OSError) -> EcogsafeError:
    if isinstance(error, FileExistsError):
        return SourceUnreadableError(shown, "a file of this name appeared meanwhile; it was not replaced", safe=_SAFE)
    return SourceUnreadableError(shown, f"could not be read or written ({os.strerror(error.errno or 0)})", safe=_SAFE)
