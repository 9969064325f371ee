"""A folder that is filled under a hidden name and then named, or taken apart: nobody ever sees half of it."""

from __future__ import annotations

import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import LockedError, SourceUnreadableError
from ecogsafe.transfer.landing_names import part_path
from ecogsafe.transfer.part_file import has_name, left_without_locks, lock


class HiddenFolder:
    """The hidden folder of ``target``; a context, at whose end what is left of it is removed.

    Parameters
    ----------
    target
        The folder that it becomes, or beside which its files are needed.
    shown
        What messages call it.

    Raises
    ------
    LockedError
        On entry: another run fills the same folder, or without locks it cannot be told whether one does.
    SourceUnreadableError
        On entry: something else has its name.
    """

    def __init__(self, target: Path, *, shown: str) -> None:
        self._target = target
        self._shown = shown
        self.path = part_path(target)
        self._fd = -1

    def __enter__(self) -> HiddenFolder:
        is_new = True
        try:
            self.path.mkdir(mode=0o700)
        except FileExistsError:
            is_new = False
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError as error:
            raise SourceUnreadableError(
                self._shown, "something else has the name of its unfinished folder", next="choose another name with -o"
            ) from error
        try:
            self._take(is_new=is_new)
            self._empty()
        except BaseException:
            os.close(self._fd)
            raise
        return self

    def _take(self, *, is_new: bool) -> None:
        try:
            is_locked = lock(self._fd)
        except BlockingIOError:
            is_ours = False
        else:
            if not is_locked and not is_new:
                raise left_without_locks(self._shown)
            is_ours = has_name(os.fstat(self._fd), self.path)
        if not is_ours:
            raise LockedError(self._shown, "is being made by another run", next="wait for that run to end")

    def _empty(self) -> None:
        """Remove what a killed run left."""
        for entry in list(self.path.iterdir()):
            if stat.S_ISDIR(entry.lstat().st_mode):
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def publish(self) -> None:
        """Give the folder its name, durably; an empty folder of that name is taken over.

        Raises
        ------
        FileExistsError
            Something stands there.
        OSError
            The disk refused.
        """
        if self._target.is_dir() and not self._target.is_symlink():
            here = self._target.stat()
            with suppress(PermissionError):
                os.chown(self.path, -1, here.st_gid)
            self.path.chmod(stat.S_IMODE(here.st_mode))
            try:
                # of a folder this replaces an empty one only
                self.path.rename(self._target)
            except OSError as error:
                raise FileExistsError(error.errno, os.strerror(error.errno or 0)) from error
        else:
            self.path.chmod(0o750)
            rename_noreplace(self.path, self._target)
        fsync_directory(self._target.parent)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            with suppress(FileNotFoundError):
                if os.path.samestat(self.path.lstat(), os.fstat(self._fd)):
                    shutil.rmtree(self.path)
        finally:
            os.close(self._fd)
