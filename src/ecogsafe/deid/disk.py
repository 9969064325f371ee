"""The system calls by which de-identification changes a disk; a seam, so that tests can cut the power at each.

Every file is opened with O_NOFOLLOW. Nothing here decides anything.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from ecogsafe.core.durable import fsync_directory, rename_noreplace

_GONE = (errno.ENOENT, errno.ENOTDIR)
#: 0 where the system has no such flag (macOS)
_KEEP_ATIME: int = getattr(os, "O_NOATIME", 0)
_COMMON = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class Disk:
    """The disk as it is. Each method is one step; what changes something is done wholly or raises OSError."""

    def lstat(self, path: Path) -> os.stat_result | None:
        """Return what ``path`` itself is, None where there is nothing."""
        try:
            return path.lstat()
        except OSError as error:
            if error.errno in _GONE:
                return None
            raise

    def open_to_read(self, path: Path) -> int:
        """Return a descriptor of the plain file ``path``; never follows a link, and leaves its time of access."""
        if _KEEP_ATIME:
            try:
                return os.open(path, os.O_RDONLY | _KEEP_ATIME | _COMMON)
            except PermissionError:
                # only the owner may ask for that (open(2), O_NOATIME)
                return os.open(path, os.O_RDONLY | _COMMON)
        return os.open(path, os.O_RDONLY | _COMMON)

    def open_to_patch(self, path: Path) -> int:
        """Return a descriptor for reading and writing the file ``path`` in place; never follows a link."""
        try:
            return os.open(path, os.O_RDWR | _COMMON)
        except PermissionError:
            return self._open_protected(path)

    def _open_protected(self, path: Path) -> int:
        """Open a file of ours that is write-protected (copies of discs are): its mode is restored by the caller."""
        fd = os.open(path, os.O_RDONLY | _COMMON)
        try:
            state = os.fstat(fd)
            if not stat.S_ISREG(state.st_mode):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            self.set_mode(fd, stat.S_IMODE(state.st_mode) | 0o600)
            again = os.open(path, os.O_RDWR | _COMMON)
            if os.fstat(again).st_ino != state.st_ino:
                os.close(again)
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            return again
        finally:
            os.close(fd)

    def create(self, path: Path, mode: int = 0o600) -> int:
        """Return a descriptor of the new file ``path``; FileExistsError where the name is taken."""
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | _COMMON, mode)

    def state(self, fd: int) -> os.stat_result:
        """Return what the open file is now."""
        return os.fstat(fd)

    def read_at(self, fd: int, offset: int, length: int) -> bytes:
        """Return ``length`` bytes from ``offset``; fewer only at the end of the file."""
        pieces = []
        while length > 0:
            piece = os.pread(fd, length, offset)
            if not piece:
                break
            pieces.append(piece)
            offset += len(piece)
            length -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def write_at(self, fd: int, data: bytes | memoryview, offset: int) -> None:
        """Write all of ``data`` at ``offset``."""
        view = memoryview(data)
        while view:
            written = os.pwrite(fd, view, offset)
            offset += written
            view = view[written:]

    def set_mode(self, fd: int, mode: int) -> None:
        """Set the permission bits."""
        if stat.S_IMODE(os.fstat(fd).st_mode) != mode:
            os.fchmod(fd, mode)

    def set_times(self, fd: int, *, atime_ns: int, mtime_ns: int) -> None:
        """Set the times of access and change."""
        os.utime(fd, ns=(atime_ns, mtime_ns))

    def sync(self, fd: int) -> None:
        """Make the file durable, contents and properties."""
        os.fsync(fd)

    def drop_cache(self, fd: int) -> None:
        """Have the next read come from the disk, where the system can be asked for that."""
        if hasattr(os, "posix_fadvise"):
            os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def rename(self, source: Path, target: Path) -> None:
        """Rename without replacing; the folders are not durable yet."""
        rename_noreplace(source, target)

    def unlink(self, path: Path) -> None:
        """Remove a name."""
        path.unlink()

    def make_folder(self, path: Path, mode: int) -> None:
        """Make one folder; its parent exists."""
        path.mkdir(mode)

    def remove_folder(self, path: Path) -> bool:
        """Remove an empty folder; False where it holds something or is gone."""
        try:
            path.rmdir()
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST, errno.ENOENT):
                return False
            raise
        return True

    def restore_folder(self, path: Path, *, mode: int, atime_ns: int, mtime_ns: int) -> None:
        """Give a folder its mode and times back; never follows a link."""
        fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            self.set_mode(fd, mode)
            os.utime(fd, ns=(atime_ns, mtime_ns))
            os.fsync(fd)
        finally:
            os.close(fd)

    def sync_folder(self, path: Path) -> None:
        """Make the names in a folder durable, where its file system can (some network ones cannot be asked)."""
        try:
            fsync_directory(path)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EOPNOTSUPP):
                raise

    def free_bytes(self, path: Path) -> int:
        """Return the room on the file system of ``path`` that we may fill."""
        state = os.statvfs(path)
        return state.f_bavail * state.f_frsize

    def mount_of(self, folder: Path) -> tuple[int, str]:
        """Return what two folders share when a rename between them can work: device and, on Linux, mount.

        A bind mount has the device of its origin and still refuses a rename across (rename(2), EXDEV).
        """
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            device = os.fstat(fd).st_dev
            try:
                text = Path(f"/proc/self/fdinfo/{fd}").read_text(encoding="ascii")
            except OSError:
                return device, ""
            mounts = [line.split()[1] for line in text.splitlines() if line.startswith("mnt_id:")]
            return device, mounts[0] if mounts else ""
        finally:
            os.close(fd)
