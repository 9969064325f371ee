"""The file that a download fills: under a hidden name until it is proven, and kept when it is interrupted.

What a killed run left is gone on with where the notes beside it (`landing_notes`) tell what is durable.
Large files are reserved at once and written past the page cache where the file system takes that: a
recording is not read again soon, and copying it into the cache costs more than opening it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
import threading
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ecogsafe.core.clock import monotonic
from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import LockedError, NoSpaceError
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.allocation import reserve
from ecogsafe.transfer.landing_names import allocated, folder_for, notes_path, part_path
from ecogsafe.transfer.landing_notes import Landed, LandingNotes

#: ranges are made durable together: after so many bytes or seconds, whichever comes first
_BATCH_BYTES = 64 << 20
_BATCH_S = 2.0
_FILE_MODE = 0o640
_HIDDEN_MODE = 0o600


class Landing:
    """The unfinished file of ``root/relative``; `open` first. `write` and `note` may come from any thread.

    Parameters
    ----------
    mtime_ns
        Time that the file gets, nanoseconds; None for the time of writing.

    Attributes
    ----------
    relative : PurePosixPath
        What messages call it.
    """

    def __init__(self, root: Path, relative: PurePosixPath, *, mtime_ns: int | None) -> None:
        self._root = root
        self.relative = relative
        self._mtime_ns = mtime_ns
        self._target = root / relative
        self._part = part_path(self._target)
        self._notes = LandingNotes(notes_path(self._target))
        self._takes_notes = False
        self._fd = -1
        self._direct_fd = -1
        self._mode = _FILE_MODE
        self._lock = threading.Lock()
        self._written: list[tuple[int, int]] = []
        self._written_bytes = 0
        self._durable_at = monotonic()
        #: ranges that will be there for the next run
        self._durable = 0

    def open(self, info: ObjectInfo, content_size: int) -> Landed | None:
        """Take the hidden name for this run alone, and return what an earlier run left of ``info``.

        Parameters
        ----------
        content_size
            Bytes of the file, as far as is known.

        Raises
        ------
        LockedError
            Another run is receiving the same file.
        NoSpaceError
            It does not fit on this disk.
        """
        folder = folder_for(self._root, self.relative)
        room = os.statvfs(folder)
        if room.f_blocks and room.f_bavail * room.f_frsize + allocated(self._part) < content_size:
            raise self._full()
        self._take(os.O_CREAT)
        landed = self._notes.read(info)
        if landed is not None:
            self._mode = landed.mode
            self._durable = len(landed.ranges)
        elif os.fstat(self._fd).st_size:
            # of another object, or of a run that was killed before it noted anything
            self._part.unlink()
            os.close(self._fd)
            self._take(os.O_CREAT | os.O_EXCL)
        return landed

    def _take(self, creation: int) -> None:
        flags = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        try:
            self._fd = os.open(self._part, flags | creation, _FILE_MODE)
        except FileExistsError:
            raise self._elsewhere() from None
        try:
            self._lock_part(self._fd)
        except BaseException:
            os.close(self._fd)
            self._fd = -1
            raise

    def _lock_part(self, fd: int) -> None:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise self._elsewhere() from None
        # between open and lock another run may have finished: what is open here then has its final name
        here = os.fstat(fd)
        if not stat.S_ISREG(here.st_mode) or here.st_nlink != 1 or not self._is_part(here):
            raise self._elsewhere()
        if not here.st_size:
            self._mode = stat.S_IMODE(here.st_mode)
        # a file system without permissions (FAT) keeps those of its mount
        with suppress(PermissionError):
            os.fchmod(fd, _HIDDEN_MODE)

    def _is_part(self, status: os.stat_result) -> bool:
        try:
            return os.path.samestat(self._part.lstat(), status)
        except FileNotFoundError:
            return False

    def begin(self, info: ObjectInfo, content_size: int, prefix: bytes, *, in_ranges: bool) -> None:
        """Empty the file and reserve its room; with ``in_ranges`` it is going to be worth keeping unfinished.

        Raises
        ------
        OSError
            The disk refused, or is full.
        """
        self._durable = 0
        self._notes.forget()
        os.ftruncate(self._fd, 0)
        if in_ranges:
            reserve(self._fd, content_size)
            self._notes.begin(info, prefix, self._mode)
            self._takes_notes = True
            self._open_direct()

    def begin_again(self) -> None:
        """Forget what an earlier run left: it is not of this object."""
        self._durable = 0
        self._takes_notes = False
        self._notes.forget()

    def go_on(self) -> None:
        """Go on with what `open` returned."""
        self._notes.go_on()
        self._takes_notes = True
        self._open_direct()

    def _open_direct(self) -> None:
        """Open the file past the page cache where this system and disk can."""
        flag = getattr(os, "O_DIRECT", 0)
        if not flag or self._direct_fd >= 0:
            return
        with suppress(OSError):
            fd = os.open(self._part, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC | flag)
            if os.path.samestat(os.fstat(fd), os.fstat(self._fd)):
                self._direct_fd = fd
            else:
                os.close(fd)

    def write(self, view: memoryview, offset: int) -> None:
        """Write ``view`` at ``offset``; past the cache only where it lies on whole pages in memory and file."""
        done = 0
        whole = len(view) - len(view) % mmap.PAGESIZE
        if self._direct_fd >= 0 and whole and offset % mmap.PAGESIZE == 0:
            try:
                while done < whole:
                    done += os.pwrite(self._direct_fd, view[done:whole], offset + done)
            except OSError as error:
                if error.errno != errno.EINVAL:
                    raise
        while done < len(view):
            done += os.pwrite(self._fd, view[done:], offset + done)

    def read(self, out: memoryview, offset: int) -> int:
        """Read into ``out`` from ``offset``; return how many bytes there were."""
        return os.preadv(self._fd, [out], offset)

    def note(self, number: int, crc64: int, size: int) -> None:
        """Note that a range was written; now and then what was written becomes durable."""
        if not self._takes_notes:
            return
        with self._lock:
            self._written.append((number, crc64))
            self._written_bytes += size
            if self._written_bytes < _BATCH_BYTES and monotonic() - self._durable_at < _BATCH_S:
                return
            self._sync()

    def _sync(self) -> None:
        """Make what was written durable, and only then note it."""
        if self._written:
            os.fsync(self._fd)
            self._notes.add(self._written)
            self._durable += len(self._written)
        self._written, self._written_bytes, self._durable_at = [], 0, monotonic()

    @property
    def folder(self) -> Path:
        """Where the file gets its name."""
        return self._target.parent

    def make_durable(self) -> None:
        """Give the file its time and permissions, and wait until all of it is on the disk; it is whole and proven.

        Raises
        ------
        OSError
            The disk refused.
        """
        if self._mtime_ns is not None:
            os.utime(self._fd, ns=(self._mtime_ns, self._mtime_ns))
        with suppress(PermissionError):
            os.fchmod(self._fd, self._mode)
        os.fsync(self._fd)

    def name(self) -> None:
        """Give the durable file its name; it is kept over a power failure once the folder is on the disk.

        Raises
        ------
        FileExistsError
            The name appeared meanwhile.
        OSError
            The disk refused.
        """
        rename_noreplace(self._part, self._target)
        self._notes.forget()

    def publish(self) -> None:
        """Do `make_durable` and `name`, wait for the folder, and give back what is open.

        Raises
        ------
        FileExistsError, OSError
            As `name`.
        """
        self.make_durable()
        self.name()
        fsync_directory(self.folder)
        self.close()

    def leave(self) -> bool:
        """End unfinished; return whether the next run goes on with it. What is not worth that is removed."""
        if self._fd < 0:
            return False
        with self._lock:
            # what cannot be noted is fetched again
            with suppress(OSError):
                if self._takes_notes:
                    self._sync()
            is_kept = self._durable > 0
        if is_kept:
            self.close()
        else:
            self.discard()
        return is_kept

    def discard(self) -> None:
        """Remove the unfinished file; it is still locked, so nobody else can have begun with its name."""
        if self._fd >= 0:
            self._part.unlink(missing_ok=True)
            self._notes.forget()
            self.close()

    def close(self) -> None:
        """Give back what is open."""
        self._notes.close()
        for fd in (self._direct_fd, self._fd):
            if fd >= 0:
                os.close(fd)
        self._direct_fd = self._fd = -1

    def _elsewhere(self) -> LockedError:
        return LockedError(
            str(self.relative),
            "is being received by another run, or something else has the name of its unfinished file",
            next="wait for that run to end, then run the same command again",
        )

    def _full(self) -> NoSpaceError:
        return no_room(self.relative, is_kept=False)


def no_room(relative: PurePosixPath, *, is_kept: bool) -> NoSpaceError:
    """Return the error for a file that does not fit."""
    part = "What came of it is kept" if is_kept else "No partial file was left"
    return NoSpaceError(
        str(relative),
        "there is not enough room for it on this disk",
        safe=f"{part}; the files already there are complete",
        next="make room, or choose another folder with -d, then run the same command again",
    )
