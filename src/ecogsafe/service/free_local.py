"""A file of our own about to be deleted: read once through one descriptor, looked at again, then its name removed."""

from __future__ import annotations

import hashlib
import os
import threading

from ecogsafe.catalog.files import FileRow
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import InterruptedRunError, SourceChangedError
from ecogsafe.service.outgoing import OutgoingFile
from ecogsafe.transfer.meter import Meter
from ecogsafe.transfer.source import FileSource, folder_below, source_stat


class LocalFile:
    """One file below DIR, open from its reading to its end.

    Parameters
    ----------
    root
        Descriptor of DIR.
    row
        What the catalogue knows of it.

    Raises
    ------
    SourceUnreadableError
        It cannot be opened, or is no regular file.
    """

    def __init__(self, root: int, file: OutgoingFile, row: FileRow) -> None:
        self.file = file
        self.row = row
        self._root = root
        self._source = FileSource(root, file.relative, name=file.shown)

    @property
    def stat(self) -> SourceStat:
        """What it was when it was opened."""
        return self._source.stat

    def is_what_was_sent(self, meter: Meter, stop: threading.Event) -> bool:
        """Read all of it and return whether its digest is the one that the copies are of.

        Raises
        ------
        SourceChangedError, SourceUnreadableError
            It changed meanwhile, or cannot be read.
        InterruptedRunError
            The run was told to stop.
        """
        if self._source.size != self.row.size:
            return False
        digest = hashlib.sha256()
        for piece in self._source.pieces():
            if stop.is_set():
                raise InterruptedRunError("free", "was interrupted", safe="This file was not touched")
            digest.update(piece)
            meter.bytes_moved(len(piece), current=self.file.shown, over_the_wire=False)
        self._source.check_unchanged()
        return digest.hexdigest() == self.row.sha256

    def delete(self) -> None:
        """Remove its name, if what stands there is still the very file that was read; durable on return.

        Raises
        ------
        SourceChangedError
            It is not; it was left as it is.
        OSError
            The disk refused.
        """
        with folder_below(self._root, self.file.relative.parts[:-1]) as folder:
            name = self.file.relative.name
            opened = source_stat(os.fstat(self._source.descriptor))
            standing = source_stat(os.stat(name, dir_fd=folder, follow_symlinks=False))
            if not opened == standing == self.stat:
                raise SourceChangedError(
                    self.file.shown,
                    "changed after it was read",
                    safe="It was left as it is",
                    next="send it again (ecogsafe upload), then run ecogsafe free again",
                )
            os.unlink(name, dir_fd=folder)
            os.fsync(folder)

    def close(self) -> None:
        """Close it; may be called twice."""
        self._source.close()
