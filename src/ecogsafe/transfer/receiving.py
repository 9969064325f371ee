"""Objects back to files: one stream receives, opens and digests; a file is named only when it is right."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import (
    InterruptedRunError,
    LockedError,
    NoSpaceError,
    SourceUnreadableError,
    VerificationError,
)
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.unsealer import Unsealer
from ecogsafe.stores.protocol import ObjectInfo, Store

_TEMPORARY_SUFFIX = ".ecogsafe-part"
_READ_BACK = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """What one object turned out to hold."""

    sha256: str
    #: bytes of the content, opened
    size: int
    #: CRC64NVME of the object's bytes as they arrived
    crc64: int


class Reception:
    """One object, streamed once; ``pieces`` yields its content, ``received`` tells of it afterwards.

    Parameters
    ----------
    identities
        Keys that open a sealed object; None to take the bytes as they are.
    on_bytes
        Called with the count of object bytes that arrived.
    """

    def __init__(
        self,
        store: Store,
        info: ObjectInfo,
        *,
        identities: Sequence[Identity] | None,
        on_bytes: Callable[[int], None] = lambda _count: None,
        stop: threading.Event | None = None,
    ) -> None:
        self._store = store
        self._info = info
        self._unsealer = Unsealer(identities) if identities is not None else None
        self._on_bytes = on_bytes
        self._stop = stop or threading.Event()
        self._digest = hashlib.sha256()
        self._size = 0
        self._crc = 0

    def pieces(self) -> Iterator[bytes]:
        """Yield the content.

        Raises
        ------
        VerificationError
            The bytes are not what was sealed, end early, or differ from the store's own checksum. What was
            yielded before is not to be used.
        InterruptedRunError
            ``stop`` was set.
        """
        arrived = 0
        for chunk in self._store.read(self._info.key):
            if self._stop.is_set():
                raise InterruptedRunError(self._info.key, "was interrupted", safe="No partial file was left")
            arrived += len(chunk)
            self._crc = crc64nvme(chunk, self._crc)
            self._on_bytes(len(chunk))
            for piece in self._unsealer.feed(chunk) if self._unsealer else (chunk,):
                yield self._note(piece)
        if self._unsealer:
            yield self._note(self._unsealer.finish())
        if arrived != self._info.size:
            raise self._wrong(f"has {arrived:,} bytes where the store announced {self._info.size:,}")
        if self._info.crc64 is not None and self._crc != self._info.crc64:
            raise self._wrong("does not have the checksum that the store recorded")

    def _note(self, piece: bytes) -> bytes:
        self._digest.update(piece)
        self._size += len(piece)
        return piece

    def _wrong(self, problem: str) -> VerificationError:
        return VerificationError(
            self._info.key,
            problem,
            safe="Nothing was put in place of it",
            next="ecogsafe verify --deep, then download from another store",
        )

    @property
    def received(self) -> Received:
        """What has been yielded so far; the whole object once ``pieces`` ended."""
        return Received(self._digest.hexdigest(), self._size, self._crc)


def digest_object(reception: Reception) -> Received:
    """Receive and open an object without keeping it."""
    for _ in reception.pieces():
        continue
    return reception.received


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a regular file, not following a link."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        while piece := file.read(_READ_BACK):
            digest.update(piece)
    return digest.hexdigest()


def folder_for(root: Path, relative: PurePosixPath) -> Path:
    """Make the folders of ``relative`` below ``root`` and return the last; no component may be a link.

    Raises
    ------
    SourceUnreadableError
        Something that is not a folder, or a link, is in the way.
    """
    if relative.is_absolute() or ".." in relative.parts:
        raise SourceUnreadableError("DIR", "a name would lie outside it", safe="Nothing was written there")
    folder = root
    for part in relative.parts[:-1]:
        folder = folder / part
        try:
            folder.mkdir(mode=0o750)
            fsync_directory(folder.parent)
        except FileExistsError:
            if not stat.S_ISDIR(folder.lstat().st_mode):
                raise SourceUnreadableError(
                    str(relative),
                    "a link or file stands where a folder should be",
                    safe="Nothing was written there",
                ) from None
    return folder


def write_file(
    root: Path,
    relative: PurePosixPath,
    reception: Reception,
    *,
    expected_sha256: str | None,
    content_size: int,
    mtime_ns: int | None,
) -> Received:
    """Receive an object into ``root/relative``; the name appears only when every byte is proven and durable.

    Raises
    ------
    VerificationError
        As `Reception.pieces`; also when the digest is not ``expected_sha256``.
    NoSpaceError
        The disk is, or became, full.
    LockedError
        Another run is receiving the same file.
    FileExistsError
        The name appeared meanwhile.
    """
    folder = folder_for(root, relative)
    room = os.statvfs(folder)
    if room.f_bavail * room.f_frsize < content_size:
        raise _full(relative)
    temporary = folder / f".{relative.name}{_TEMPORARY_SUFFIX}"
    try:
        with _own_file(temporary, relative) as out:
            for piece in reception.pieces():
                out.write(piece)
            received = reception.received
            if expected_sha256 is not None and received.sha256 != expected_sha256:
                raise VerificationError(
                    str(relative),
                    "is not the file that was uploaded: its digest differs",
                    safe="Nothing was put in place of it",
                    next="ecogsafe verify --deep, then download from another store",
                )
            out.flush()
            if mtime_ns is not None:
                os.utime(out.fileno(), ns=(mtime_ns, mtime_ns))
            os.fsync(out.fileno())
            rename_noreplace(temporary, folder / relative.name)
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise _full(relative) from error
        raise
    fsync_directory(folder)
    return received


@contextmanager
def _own_file(temporary: Path, relative: PurePosixPath) -> Iterator[BinaryIO]:
    """Give the empty file ``temporary``, held by this run alone; it is gone afterwards unless it was renamed.

    What a killed run left under the name is used again.
    """
    descriptor = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o640)
    with os.fdopen(descriptor, "wb") as out:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _received_elsewhere(relative) from None
        # between open and lock another run may have finished: what is open here then has its final name
        here = os.fstat(descriptor)
        if not stat.S_ISREG(here.st_mode) or here.st_nlink != 1 or not _is_still(temporary, here):
            raise _received_elsewhere(relative)
        try:
            out.truncate(0)
            yield out
        except BaseException:
            # still locked, so nobody else can have begun with this name
            temporary.unlink(missing_ok=True)
            raise


def _is_still(path: Path, status: os.stat_result) -> bool:
    try:
        return os.path.samestat(path.lstat(), status)
    except FileNotFoundError:
        return False


def _received_elsewhere(relative: PurePosixPath) -> LockedError:
    return LockedError(
        str(relative),
        "is being received by another run, or something else has the name of its unfinished file",
        next="wait for that run to end, then run the same command again",
    )


def _full(relative: PurePosixPath) -> NoSpaceError:
    return NoSpaceError(
        str(relative),
        "there is not enough room for it on this disk",
        safe="No partial file was left; the files already there are complete",
        next="make room, or choose another folder with -d, then run the same command again",
    )
