"""What a folder store asks of the disk: names that last, files read back, errors in our words."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import secrets
import stat
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ecogsafe.core.clock import utc_now
from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import (
    StoreError,
    StoreForbiddenError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.stores.bodies import crc64_of
from ecogsafe.stores.keys import TEMPORARY_PREFIX

#: bytes read at a time
CHUNK_BYTES = 1 << 20
PUT_SUFFIX = ".put"
#: a younger file of an interrupted write is left alone, whoever wrote it, in seconds
ABANDONED_AFTER_S = 3600.0

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
_FORBIDDEN = frozenset({errno.EACCES, errno.EPERM, errno.EROFS})
_REFUSED = {
    errno.EACCES: "the folder's permissions do not allow it",
    errno.EPERM: "the folder's permissions do not allow it",
    errno.EROFS: "the folder is mounted read-only",
    errno.ENOTDIR: "a file lies where a folder is needed",
    errno.EISDIR: "a folder lies where a file is needed",
    errno.ELOOP: "a link lies where a file or folder is needed",
    errno.ENAMETOOLONG: "the file system does not take names this long",
    errno.EINVAL: "the file system does not take this name or size",
    errno.EILSEQ: "the file system does not take this name",
}


def disk_error(url: str, error: OSError) -> StoreError:
    """Return what ``error`` of the disk means for the store ``url``; no path is repeated."""
    number = error.errno or errno.EIO
    if number in _FULL:
        return StoreFullError(url, "no space left", next="make room there and run again")
    if number in _REFUSED:
        kind = StoreForbiddenError if number in _FORBIDDEN else StoreRefusedError
        return kind(url, _REFUSED[number], next="check its permissions (ls -ld)")
    problem = "the folder is not there" if number == errno.ENOENT else os.strerror(number).lower()
    return StoreUnreachableError(url, problem, next="check that it is mounted (df -h)")


@contextmanager
def disk_errors(url: str) -> Iterator[None]:
    """Turn an `OSError` of the block into one of ours."""
    try:
        yield
    except OSError as error:
        raise disk_error(url, error) from error


def refuse_link(url: str) -> StoreRefusedError:
    """Return the error for a link or device inside a store: following it would leave the store."""
    return StoreRefusedError(
        url,
        "a link or special file lies below the folder",
        next="put the real file or folder in its place",
    )


def drop_cache(fd: int) -> None:
    """Make the next read of ``fd`` come from the medium, as far as this system can be asked to."""
    if hasattr(os, "posix_fadvise"):
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
    elif hasattr(fcntl, "F_NOCACHE"):
        fcntl.fcntl(fd, fcntl.F_NOCACHE, 1)


def chunks(fd: int, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes ``[start, stop)`` of a file; ends early where the file does."""
    position = start
    while position < stop:
        data = os.pread(fd, min(CHUNK_BYTES, stop - position), position)
        if not data:
            return
        position += len(data)
        yield data


def chunks_into(fd: int, start: int, stop: int, into: memoryview) -> Iterator[memoryview]:
    """Do `chunks` with the caller's memory, as much at a time as fits into it."""
    position = start
    while position < stop:
        view = into[: stop - position]
        count = os.preadv(fd, [view], position)
        if not count:
            return
        position += count
        yield view[:count]


def crc64_from_disk(fd: int) -> tuple[int, int]:
    """Return size and CRC64NVME of a file as the medium gives it back; what was written is fsynced before."""
    drop_cache(fd)
    size = os.fstat(fd).st_size
    read = 0

    def counted() -> Iterator[bytes]:
        nonlocal read
        for chunk in chunks(fd, 0, size):
            read += len(chunk)
            yield chunk

    crc64 = crc64_of(counted())
    drop_cache(fd)
    return read, crc64


def write_all(fd: int, views: Iterable[memoryview], offset: int) -> None:
    """Write ``views`` one after the other from byte ``offset`` on."""
    position = offset
    for view in views:
        done = 0
        while done < len(view):
            done += os.pwrite(fd, view[done:], position + done)
        position += done


def is_file_of(fd: int, path: Path) -> bool:
    """Whether ``path`` is the open file ``fd`` itself."""
    try:
        there = path.lstat()
    except FileNotFoundError:
        return False
    return os.path.samestat(there, os.fstat(fd))


def publish(fd: int, temporary: Path, target: Path, *, replace: bool) -> None:
    """Give a complete, fsynced file its name, durably.

    Raises
    ------
    FileExistsError
        ``replace`` is false and ``target`` exists.
    OSError
        It does not have the name. An error after which the disk shows the file under its name is none:
        a network file system may repeat a rename that was already done.
    """
    try:
        if replace:
            temporary.replace(target)
        else:
            rename_noreplace(temporary, target)
    except OSError:
        if not is_file_of(fd, target):
            raise
        temporary.unlink(missing_ok=True)
    fsync_directory(target.parent)


def lock(fd: int, operation: int) -> bool:
    """Take a lock on an open file; False when another holds it. Without locks in the file system: True."""
    try:
        fcntl.flock(fd, operation)
    except BlockingIOError:
        return False
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
    return True


@contextmanager
def temporary_file(folder: Path, mode: int) -> Iterator[tuple[int, Path]]:
    """Give a new hidden file in ``folder``, locked while written, gone afterwards unless it was renamed."""
    path = folder / f"{TEMPORARY_PREFIX}{secrets.token_hex(16)}{PUT_SUFFIX}"
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, mode)
    try:
        lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield fd, path
    finally:
        os.close(fd)
        with contextlib.suppress(OSError):
            path.unlink()


def remove_abandoned(folder: Path, *, older_than_s: float = ABANDONED_AFTER_S) -> int:
    """Remove the temporary files that killed writers left in ``folder``; return how many.

    Only by their temporary name, so a published file is never touched; only old ones that nobody holds
    locked, so a writer at work (here or on another machine) keeps its own.
    """
    removed = 0
    for entry in os.scandir(folder):
        if not (entry.name.startswith(TEMPORARY_PREFIX) and entry.name.endswith((PUT_SUFFIX, ".tmp"))):
            continue
        with contextlib.suppress(OSError):
            if utc_now().timestamp() - entry.stat(follow_symlinks=False).st_mtime < older_than_s:
                continue
            fd = os.open(entry.path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
            try:
                if lock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB):
                    Path(entry.path).unlink()
                    removed += 1
            finally:
                os.close(fd)
    return removed


def make_folder(folder: Path, mode: int, url: str) -> bool:
    """Make one folder where there is none, and its name durable; return whether it was made now.

    Raises
    ------
    StoreRefusedError
        Something that is not a folder has the name.
    """
    made = True
    try:
        folder.mkdir(mode)
    except FileExistsError:
        made = False
        there = folder.lstat().st_mode
        if stat.S_ISLNK(there):
            raise refuse_link(url) from None
        if not stat.S_ISDIR(there):
            raise disk_error(url, NotADirectoryError(errno.ENOTDIR, "")) from None
    fsync_directory(folder.parent)
    return made
