"""A tar stream that somebody else made becomes files in a hidden folder: all of it or nothing.

Only regular files and folders are made. A link, a device, a name that leads outside or two names that some
file system takes for one: the whole is refused.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecogsafe.core.durable import fsync_directory
from ecogsafe.core.errors import InterruptedRunError, MalformedFileError, NoSpaceError, VerificationError
from ecogsafe.core.private import Private
from ecogsafe.deid.layout import collision_key
from ecogsafe.formats.tar_members import Member, TarMembers, problem_with

_FILE_MODE = 0o640
_FOLDER_MODE = 0o750
_MOST_MTIME_S = 1 << 40
_SAFE = "Nothing of it was put in place"


@dataclass(frozen=True, slots=True)
class ExpandedFile:
    """One file in the hidden folder."""

    #: below the folder; perhaps a patient's name
    path: Private
    size: int
    sha256: str

    def below(self, folder: Path) -> Path:
        """Return where it is."""
        return folder / self.path.reveal()


def expand(
    tar: Iterable[bytes],
    folder: Path,
    *,
    item: str,
    stop: threading.Event,
    on_file: Callable[[int], None] = lambda _size: None,
) -> list[ExpandedFile]:
    """Write every file of ``tar`` below ``folder``, durably, and return them; the stream was whole then.

    Parameters
    ----------
    folder
        Hidden, empty, ours alone; whoever made it removes it after an error.
    on_file
        Called with the size of each file that was written.

    Raises
    ------
    MalformedFileError
        It holds what must not become files here, or is no tar file.
    VerificationError
        It is cut or damaged.
    NoSpaceError
        It does not fit on this disk.
    InterruptedRunError
        ``stop`` was set.
    """
    work = _Expansion(folder, item, stop)
    members = TarMembers(tar)
    try:
        for member in members:
            written = work.add(member)
            if written is not None:
                on_file(written.size)
    except MalformedFileError as error:
        if error.item == item:
            raise
        if not work.count:
            raise _refused(item, "holds no tar file that can be read") from error
        raise VerificationError(item, error.problem, safe=_SAFE, next="try another copy of it") from error
    except OSError as error:
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise _no_room(item) from error
    work.sync_folders()
    return work.files


class _Expansion:
    def __init__(self, folder: Path, item: str, stop: threading.Event) -> None:
        self._folder = folder
        self._item = item
        self._stop = stop
        #: folders that were made or told, and files; by what a file system may take for the same name
        self._names: dict[str, tuple[str, bool]] = {}
        self.count = 0
        self.files: list[ExpandedFile] = []

    def add(self, member: Member) -> ExpandedFile | None:
        """Make one entry; return the file if it is one."""
        self.count += 1
        problem = problem_with(member.path)
        if member.refused_kind is not None or problem is not None:
            raise _refused(self._item, f"holds {problem or member.refused_kind} ({member.path})")
        path = PurePosixPath(member.path.reveal())
        for parent in reversed(path.parents[:-1]):
            self._make_folder(parent)
        if member.is_folder:
            if path.parts:
                self._make_folder(path)
            return None
        if not path.parts:
            raise _refused(self._item, "holds a file without a name")
        if not self._is_new(path, is_folder=False):
            raise _refused(self._item, f"holds two files of one name ({member.path})")
        room = os.statvfs(self._folder)
        if room.f_blocks and room.f_bavail * room.f_frsize < member.size:
            raise _no_room(self._item)
        written = self._write(member, self._folder / path)
        self.files.append(written)
        return written

    def _is_new(self, path: PurePosixPath, *, is_folder: bool) -> bool:
        """Remember a name; return whether it was not there. A folder may be told twice, in the same spelling."""
        known = self._names.setdefault(collision_key(str(path)), (str(path), is_folder))
        if known != (str(path), is_folder):
            raise _refused(self._item, f"holds two entries that some disks take for one ({Private(str(path))})")
        return not os.path.lexists(self._folder / path)

    def _make_folder(self, path: PurePosixPath) -> None:
        if self._is_new(path, is_folder=True):
            (self._folder / path).mkdir(mode=_FOLDER_MODE)

    def _write(self, member: Member, target: Path) -> ExpandedFile:
        digest = hashlib.sha256()
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        with os.fdopen(os.open(target, flags, _FILE_MODE), "wb") as out:
            for piece in member.content:
                if self._stop.is_set():
                    raise InterruptedRunError(self._item, "was interrupted", safe=_SAFE, next="run it again")
                digest.update(piece)
                out.write(piece)
            out.flush()
            if 0 <= member.mtime < _MOST_MTIME_S:
                with suppress(OSError, OverflowError):
                    os.utime(out.fileno(), (member.mtime, member.mtime))
            os.fsync(out.fileno())
        return ExpandedFile(member.path, member.size, digest.hexdigest())

    def sync_folders(self) -> None:
        """Make the names durable."""
        for path, is_folder in self._names.values():
            if is_folder:
                fsync_directory(self._folder / path)
        fsync_directory(self._folder)


def _refused(item: str, problem: str) -> MalformedFileError:
    return MalformedFileError(
        item, problem, safe=_SAFE, next="ecogsafe decrypt without --untar gives the tar file itself, to look into"
    )


def _no_room(item: str) -> NoSpaceError:
    return NoSpaceError(
        item, "does not fit on this disk unpacked", safe=f"{_SAFE}, and no partial file was left", next="make room"
    )
