"""Sources of bytes. A file is opened once, below a folder, no link followed, and watched for change."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import PurePosixPath
from types import TracebackType
from typing import Protocol

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import SourceChangedError, SourceUnreadableError

#: bytes of one read call: what is hashed and sealed next is still in the processor's cache
READ_SIZE = 512 * 1024
#: a file up to this size stays in the page cache: whoever looks at it next need not wait for the disk
_KEPT_IN_CACHE = 1024**3
#: a larger one is forgotten behind us, or one recording would drive everything else out; bytes at a time
_FORGET_EVERY = 32 * 1024**2


class Source(Protocol):
    """What the pipeline reads: sequential, of known size; a stream source may allow one pass only."""

    name: str
    size: int
    stat: SourceStat
    #: True if another pass may be asked for (a destination that was detached reads again)
    rereadable: bool

    def pieces(self) -> Iterator[bytes]:
        """Yield the bytes from the start; raises SourceChangedError if they end early or go on."""
        ...

    def check_unchanged(self) -> None:
        """Raise SourceChangedError if the source is not what it was when it was opened."""
        ...

    def close(self) -> None:
        """Release what is held."""
        ...


class RangedSource(Source, Protocol):
    """A source that is also read by range, as an archive does; any range may be asked for again."""

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill ``view`` with the bytes from ``offset`` on; raises as `Source.pieces`."""
        ...


def source_stat(status: os.stat_result) -> SourceStat:
    """Return what tells one state of a file from another."""
    return SourceStat(
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        ctime_ns=status.st_ctime_ns,
        inode=status.st_ino,
        device=status.st_dev,
    )


@contextmanager
def folder_below(root: int, parts: tuple[str, ...]) -> Iterator[int]:
    """Give a descriptor of the folder ``parts`` below the descriptor ``root``; no component may be a link."""
    held = os.dup(root)
    try:
        for part in parts:
            deeper = os.open(part, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=held)
            os.close(held)
            held = deeper
        yield held
    finally:
        os.close(held)


class FileSource:
    """A regular file below a folder, opened with O_NOFOLLOW at every step.

    Parameters
    ----------
    root
        Descriptor of DIR.
    relative
        The path below DIR; it is printed in messages, so it must be one the gate accepted.
    name
        What messages and the catalogue call it.

    Raises
    ------
    SourceUnreadableError
        No permission, a link, a FIFO, a device, or gone.
    """

    rereadable = True

    def __init__(self, root: int, relative: PurePosixPath, *, name: str) -> None:
        self.name = name
        self._root = os.dup(root)
        self._relative = relative
        try:
            self._fd = self._open()
        except OSError as error:
            os.close(self._root)
            raise _unreadable(name, error) from error
        status = os.fstat(self._fd)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            raise SourceUnreadableError(name, "is not a regular file", safe="it was left alone")
        self.stat = source_stat(status)
        self.size = status.st_size
        #: before it the page cache was told to forget
        self._behind = 0

    def _open(self) -> int:
        with folder_below(self._root, self._relative.parts[:-1]) as folder:
            flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
            return os.open(self._relative.name, flags, dir_fd=folder)

    @property
    def descriptor(self) -> int:
        """The open descriptor, for ranged reads."""
        return self._fd

    def pieces(self) -> Iterator[bytes]:
        """Yield the file from the start in pieces of READ_SIZE."""
        self._announce()
        offset = 0
        while offset < self.size:
            piece = self._read(min(READ_SIZE, self.size - offset), offset)
            yield piece
            offset += len(piece)
            self.forget_before(offset)

    def passing(self, memory: memoryview) -> Iterator[memoryview]:
        """Yield the file from the start in pieces that are all read into ``memory``; raises as `pieces`.

        A piece is overwritten when the next one is asked for: what is read stays in the processor's cache, and no
        memory is asked for.
        """
        self._announce()
        offset = 0
        while offset < self.size:
            count = self._read_some(memory[: self.size - offset], offset)
            yield memory[:count]
            offset += count
            self.forget_before(offset)

    def _announce(self) -> None:
        """Tell the system that the file is read from its start to its end."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_SEQUENTIAL)

    def read_at(self, offset: int, size: int) -> bytes:
        """Return ``size`` bytes from ``offset`` on; raises as `pieces`."""
        piece = self._read(size, offset)
        while len(piece) < size:
            piece += self._read(size - len(piece), offset + len(piece))
        return piece

    def read_into(self, view: memoryview, offset: int) -> None:
        """Fill ``view`` with the bytes from ``offset`` on; raises as `pieces`."""
        done = 0
        while done < len(view):
            done += self._read_some(view[done : done + READ_SIZE], offset + done)

    def _read_some(self, view: memoryview, offset: int) -> int:
        try:
            count = os.preadv(self._fd, [view], offset)
        except OSError as error:
            raise _unreadable(self.name, error) from error
        if not count:
            raise changed(self.name)
        return count

    def _read(self, size: int, offset: int) -> bytes:
        try:
            piece = os.pread(self._fd, size, offset)
        except OSError as error:
            raise _unreadable(self.name, error) from error
        if not piece:
            raise changed(self.name)
        return piece

    def forget_before(self, offset: int) -> None:
        """Let the page cache forget what lies before ``offset``, now and then, of a file too large to stay there."""
        if self.size > _KEPT_IN_CACHE and offset - self._behind >= _FORGET_EVERY and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(self._fd, self._behind, offset - self._behind, os.POSIX_FADV_DONTNEED)
            self._behind = offset

    def check_unchanged(self) -> None:
        """Compare the open file, and what now stands under its name, with the state at opening."""
        if source_stat(os.fstat(self._fd)) != self.stat:
            raise changed(self.name)
        try:
            with folder_below(self._root, self._relative.parts[:-1]) as folder:
                now = os.stat(self._relative.name, dir_fd=folder, follow_symlinks=False)
        except OSError as error:
            raise changed(self.name) from error
        if source_stat(now) != self.stat:
            raise changed(self.name)

    def close(self) -> None:
        """Close the file; may be called twice."""
        for descriptor in (self._fd, self._root):
            if descriptor >= 0:
                os.close(descriptor)
        self._fd = self._root = -1

    def __enter__(self) -> FileSource:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def changed(name: str) -> SourceChangedError:
    """Return the error of a file that is no longer what it was when it was opened."""
    return SourceChangedError(
        name,
        "changed while it was read",
        safe="nothing of this state of it is called stored",
        next="wait until nothing writes to it, then run the same command again",
    )


def _unreadable(name: str, error: OSError) -> SourceUnreadableError:
    reasons = {
        errno.EACCES: "may not be read by you",
        errno.EPERM: "may not be read by you",
        errno.ENOENT: "is no longer there",
        errno.ELOOP: "is a symbolic link, which is never followed",
        errno.ENOTDIR: "lies below something that is not a folder",
        errno.EIO: "could not be read: the disk reports an error",
    }
    reason = reasons.get(error.errno or 0, f"could not be opened (error {error.errno})")
    next_step = "check its permissions (ls -l), then run the same command again"
    return SourceUnreadableError(name, reason, safe="the other files are not affected", next=next_step)
