"""Small files read whole, many of one folder after the other: the folder is opened once for all of them.

Opening and closing every folder of a path costs several times what reading 16 KiB does
(``docs/performance.md``). Whatever is out of the ordinary is left to `ecogsafe.transfer.source.FileSource`,
which knows what to say of it.
"""

from __future__ import annotations

import os
import stat

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.source import folder_below, source_stat

_FLAGS = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK


class FolderReading:
    """Reads files; to be closed when the last one was read."""

    def __init__(self) -> None:
        self._where: tuple[int, str] | None = None
        self._folder = -1

    def read(self, order: FileOrder, most: int) -> tuple[SourceStat, bytes] | None:
        """Return a file's state and all of its bytes, read in that state.

        Parameters
        ----------
        most
            A file that has more bytes is not read.

        Returns
        -------
        None where anything is not as it should be: the file cannot be opened, is no regular file, is too large, is
        not what was cleared, or changed while it was read.
        """
        below, _, name = order.relative.rpartition("/")
        try:
            folder = self._enter(order.root, below)
            descriptor = os.open(name, _FLAGS, dir_fd=folder)
            try:
                status = os.fstat(descriptor)
                if not stat.S_ISREG(status.st_mode) or status.st_size > most:
                    return None
                plain = os.pread(descriptor, status.st_size, 0)
            finally:
                os.close(descriptor)
            # the same file, in the same state, still under its name: so it was all the time
            now = os.stat(name, dir_fd=folder, follow_symlinks=False)
        except OSError:
            return None
        before = source_stat(status)
        is_same = source_stat(now) == before and len(plain) == before.size
        if not is_same or (order.cleared is not None and order.cleared.stat != before):
            return None
        return before, plain

    def _enter(self, root: int, below: str) -> int:
        """Return a descriptor of a folder; no component of the way to it may be a link."""
        if self._where != (root, below):
            self.close()
            with folder_below(root, tuple(below.split("/")) if below else ()) as folder:
                self._folder = os.dup(folder)
            self._where = (root, below)
        return self._folder

    def close(self) -> None:
        """Let go of the folder; may be called twice."""
        self._where = None
        if self._folder >= 0:
            os.close(self._folder)
            self._folder = -1
