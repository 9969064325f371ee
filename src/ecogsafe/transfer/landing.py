"""The file that a download fills: under a hidden name until it is proven, and kept when it is interrupted.

What a killed run left is gone on with where the notes beside it (`landing_notes`) tell what is durable.
Large files are reserved at once and written past the page cache where the file system takes that: a
recording is not read again soon, and copying it into the cache costs more than opening it.
"""

from __future__ import annotations

import errno
import mmap
import os
from contextlib import suppress
from pathlib import Path, PurePosixPath

from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import SourceUnreadableError
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.allocation import reserve
from ecogsafe.transfer.durable_ranges import DurableRanges
from ecogsafe.transfer.landing_names import allocated, folder_for, notes_path, part_path
from ecogsafe.transfer.landing_notes import Landed, LandingNotes, Noted
from ecogsafe.transfer.part_file import elsewhere, has_name, open_again, take_part
from ecogsafe.transfer.received import no_room

#: file systems keep times as exactly as this, nanoseconds
_SAME_TIME_NS = 2_000_000_000


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
        self._durable = DurableRanges(self._notes)
        self._fd = -1
        self._direct_fd = -1
        #: permissions that the file gets with its name
        self._mode = 0
        self._is_locked = False
        #: size and time of what was set aside
        self._aside = (-1, -1)

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
            raise no_room(self.relative, is_kept=False)
        is_left = self._take()
        landed = self._notes.read(info) if is_left else None
        if landed is not None and os.fstat(self._fd).st_size:
            self._mode = landed.mode
            self._durable.count = len(landed.ranges)
            return landed
        if is_left:
            # of another object, or of a run that was killed before it noted anything
            self._part.unlink()
            os.close(self._fd)
            self._fd = -1
            self._take()
        return None

    def _take(self) -> bool:
        """Take the hidden name; return whether something of an earlier run is there."""
        self._fd, mode, self._is_locked = take_part(self._part, shown=str(self.relative))
        self._mode = mode or 0
        return mode is None

    def begin(self, info: ObjectInfo, content_size: int, prefix: bytes, *, in_ranges: bool) -> None:
        """Empty the file and reserve its room; with ``in_ranges`` it is going to be worth keeping unfinished.

        Raises
        ------
        OSError
            The disk refused, or is full.
        """
        self._durable.forget()
        self._notes.forget()
        os.ftruncate(self._fd, 0)
        if in_ranges:
            reserve(self._fd, content_size)
            self._open_direct()
            # where there are no locks, the next run could not know that this one has ended
            if self._is_locked:
                self._notes.begin(info, prefix, self._mode)
                self._durable.follow(self._fd, count=0)

    def begin_again(self) -> None:
        """Forget what an earlier run left: it is not of this object."""
        self._durable.forget()
        self._notes.forget()

    def go_on(self) -> None:
        """Go on with what `open` returned."""
        self._notes.go_on()
        self._durable.follow(self._fd, count=self._durable.count)
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

    def note(self, number: int, crc64: int, size: int, *, content: int | None = None) -> None:
        """Note that a range was written; now and then what was written becomes durable.

        Parameters
        ----------
        content
            CRC64NVME of the file's bytes, where nothing else would tell whether they are still those.

        Raises
        ------
        OSError
            The disk refused; nothing is noted from here on.
        """
        self._durable.add(Noted(number, crc64, content), size)

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
        self._set_time()
        with suppress(PermissionError):
            os.fchmod(self._fd, self._mode)
        os.fsync(self._fd)

    def _set_time(self) -> None:
        if self._mtime_ns is not None:
            os.utime(self._fd, ns=(self._mtime_ns, self._mtime_ns))

    def name(self) -> None:
        """Give the durable file its name; it is kept over a power failure once the folder is on the disk.

        Raises
        ------
        FileExistsError
            The name appeared meanwhile.
        LockedError
            What has the hidden name is not this file any more.
        OSError
            The disk refused.
        """
        ours = os.fstat(self._fd)
        if not has_name(ours, self._part):
            raise elsewhere(str(self.relative))
        try:
            rename_noreplace(self._part, self._target)
        except OSError:
            # a network file system may repeat a request that went well: the disk is asked what happened
            if not has_name(ours, self._target):
                raise
            with suppress(OSError):
                self._part.unlink(missing_ok=True)
        # without a part they say nothing
        with suppress(OSError):
            self._notes.forget()

    def publish(self) -> None:
        """Do `make_durable` and `name`, wait for the folder, and give back what is open.

        Raises
        ------
        FileExistsError, LockedError, OSError
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
        # what cannot be noted is fetched again
        with suppress(OSError):
            self._durable.sync()
        if self._durable.count:
            self.close()
            return True
        self.discard()
        return False

    def set_aside(self) -> None:
        """Close the whole file, durable, under its hidden name until `take_back`.

        Raises
        ------
        OSError
            The disk refused.
        """
        self._set_time()
        os.fsync(self._fd)
        here = os.fstat(self._fd)
        self._aside = here.st_size, here.st_mtime_ns
        # the next run does not go on with it
        self._notes.forget()
        self.close()

    def take_back(self) -> None:
        """Open what was set aside.

        Raises
        ------
        LockedError
            Another run has it.
        SourceUnreadableError
            It was removed or changed meanwhile.
        """
        size, mtime_ns = self._aside
        try:
            self._fd = open_again(self._part, shown=str(self.relative))
            here = os.fstat(self._fd)
            is_same = here.st_size == size and abs(here.st_mtime_ns - mtime_ns) < _SAME_TIME_NS
        except FileNotFoundError:
            is_same = False
        if not is_same:
            raise SourceUnreadableError(
                str(self.relative),
                "was changed here before it was proven, under its hidden name",
                safe="Nothing was put in place of it; the copy at the store is as it was",
                next="see who else works in this folder, then run the same command again",
            )

    def discard(self) -> None:
        """Remove the unfinished file; it is still locked, so nobody else can have begun with its name."""
        if self._fd < 0:
            return
        # a disk that takes nothing any more must not hide the error that it was
        with suppress(OSError):
            if has_name(os.fstat(self._fd), self._part):
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
