"""Which ranges of an unfinished file are on the disk for certain: noted after the fsync, many together."""

from __future__ import annotations

import os
import threading

from ecogsafe.core.clock import monotonic
from ecogsafe.transfer.landing_notes import LandingNotes, Noted

#: ranges are made durable together: after so many bytes or seconds, whichever comes first
_BATCH_BYTES = 64 << 20
_BATCH_S = 2.0


class DurableRanges:
    """Makes what was written durable and notes it; `add` may come from any thread."""

    def __init__(self, notes: LandingNotes) -> None:
        self._notes = notes
        #: -1: nothing is noted, or nothing any more
        self._fd = -1
        self._lock = threading.Lock()
        #: one fsync at a time; who only adds does not wait for it
        self._syncing = threading.Lock()
        self._written: list[Noted] = []
        self._written_bytes = 0
        self._durable_at = monotonic()
        #: ranges that will be there for the next run
        self.count = 0

    def follow(self, fd: int, *, count: int) -> None:
        """Begin: the file is open as ``fd``, and ``count`` ranges of it are noted already."""
        self.forget()
        self._fd, self.count = fd, count

    def forget(self) -> None:
        """Note nothing any more: the file is emptied."""
        self._fd, self.count = -1, 0
        self._written, self._written_bytes = [], 0
        self._durable_at = monotonic()

    def add(self, noted: Noted, size: int) -> None:
        """Add a range of ``size`` bytes that was written; now and then what was written becomes durable.

        Raises
        ------
        OSError
            The disk refused; nothing is noted from here on.
        """
        with self._lock:
            if self._fd < 0:
                return
            self._written.append(noted)
            self._written_bytes += size
            if self._written_bytes < _BATCH_BYTES and monotonic() - self._durable_at < _BATCH_S:
                return
        self.sync()

    def sync(self) -> None:
        """Make what was written durable, and only then note it; raises as `add`."""
        with self._syncing:
            with self._lock:
                written, self._written = self._written, []
                self._written_bytes, self._durable_at = 0, monotonic()
            fd = self._fd
            if not written or fd < 0:
                return
            try:
                os.fsync(fd)
                self._notes.add(written)
            except BaseException:
                # an error is told once, whoever's bytes it is of: the next fsync would say that all is well
                self._fd = -1
                raise
            self.count += len(written)
