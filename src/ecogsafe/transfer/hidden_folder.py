"""A folder that is filled under a hidden name and then named, or taken apart: nobody ever sees half of it."""

from __future__ import annotations

import fcntl
import os
import shutil
import stat
from contextlib import suppress
from pathlib import Path
from types import TracebackType

from ecogsafe.core.durable import fsync_directory, rename_noreplace
from ecogsafe.core.errors import LockedError, SourceUnreadableError
from ecogsafe.transfer.landing_names import part_path


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
        On entry: another run fills the same folder.
    SourceUnreadableError
        On entry: something else has its name.
    """

    def __init__(self, target: Path, *, shown: str) -> None:
        self._target = target
        self._shown = shown
        self.path = part_path(target)
        self._fd = -1

    def __enter__(self) -> HiddenFolder:
        with suppress(FileExistsError):
            self.path.mkdir(mode=0o700)
        try:
            self._fd = os.open(self.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except NotADirectoryError as error:
            raise SourceUnreadableError(
                self._shown, "something else has the name of its unfinished folder", next="choose another name with -o"
            ) from error
        try:
            fcntl.flock(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if not os.path.samestat(self.path.lstat(), os.fstat(self._fd)):
                raise BlockingIOError
        except (BlockingIOError, FileNotFoundError) as error:
            os.close(self._fd)
            raise LockedError(self._shown, "is being made by another run", next="wait for that run to end") from error
        self._empty()
        return self

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
