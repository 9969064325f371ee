"""`reidentify`: a copy of a subject's files under their original names, with their original bytes.

Read from OUT, which stays as it is. What was patched is written back from the journals, each copy is read
again before it gets its name, and a file that is no longer what apply left is not copied but listed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    NoSpaceError,
    SourceUnreadableError,
)
from ecogsafe.core.events import EventSink, Item, Progress
from ecogsafe.deid import mover
from ecogsafe.deid.apply import never
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Entry
from ecogsafe.deid.judge import TIME_GRAIN_NS, is_left_by_apply
from ecogsafe.deid.outcome import NotDone, Outcome
from ecogsafe.deid.reidentify_plan import Wanted, marker
from ecogsafe.deid.work import Stop, reason_of, status_of

_SPARE_BYTES = 16 << 20
#: names stand in DIR: nobody else gets in
_FOLDER_MODE, _FILE_MODE = 0o700, 0o600
_SAFE = "OUT is as it was; what has its name in DIR is whole"
_ALTERED = "changed under OUT since apply"
_LOST = "no longer under OUT; if it was freed, ecogsafe download brings it back"
_AT_SOURCE = "stands in EXPORT as it was, and was not copied"
#: seconds between two tellings of how far it is
_TELL_EVERY_S = 1.0


@dataclass(slots=True, kw_only=True)
class Reidentification:
    """One run; `carry_out` fills ``folder`` (from `reidentify_plan.check_folder`)."""

    code: str
    files: Sequence[Wanted]
    folder: Path
    events: EventSink
    #: where the files stand now, if not where apply put them
    out: Path | None = None
    disk: Disk = field(default_factory=Disk)
    stop: Stop = never
    _began: float = field(default_factory=monotonic)
    _told: float = float("-inf")

    def carry_out(self) -> Outcome:
        """Make every file that can be made; what cannot is in ``not_done``.

        Raises
        ------
        NoSpaceError
            DIR has too little room.
        InterruptedRunError
            Asked to stop; the same command goes on.
        SourceUnreadableError
            DIR cannot be written.
        """
        try:
            self._check_room()
            self._take_folder()
            self._set_marker()
            outcome = self._make_all()
            self._restore_folders()
            self.disk.unlink(marker(self.folder, self.code))
            self.disk.sync_folder(self.folder)
        except OSError as error:
            # the chain would carry an original name
            raise SourceUnreadableError(
                "DIR",
                f"cannot be written ({reason_of(error)})",
                safe=_SAFE,
                next="mend the disk, then run the same command again",
            ) from None
        return outcome

    def _check_room(self) -> None:
        needed = sum(f.entry.size for f in self.files if self._present(f) is False) + _SPARE_BYTES
        free = self.disk.free_bytes(self.folder if self.disk.lstat(self.folder) else self.folder.parent)
        if free < needed:
            problem = f"{needed / 1e9:.1f} GB are needed, {free / 1e9:.1f} GB are free"
            raise NoSpaceError("DIR", problem, safe="Nothing was written", next="make room, or name another disk")

    def _take_folder(self) -> None:
        """Make DIR, or close it to others: the names in it could be listed."""
        state = self.disk.lstat(self.folder)
        if state is None:
            self.disk.make_folder(self.folder, _FOLDER_MODE)
            self.disk.sync_folder(self.folder.parent)
        elif stat.S_IMODE(state.st_mode) != _FOLDER_MODE:
            times = {"atime_ns": state.st_atime_ns, "mtime_ns": state.st_mtime_ns}
            self.disk.restore_folder(self.folder, mode=_FOLDER_MODE, **times)

    def _set_marker(self) -> None:
        path = marker(self.folder, self.code)
        if self.disk.lstat(path) is None:
            os.close(self.disk.create(path, _FILE_MODE))
            self.disk.sync_folder(self.folder)

    def _make_all(self) -> Outcome:
        outcome = Outcome()
        for number, file in enumerate(self.files, 1):
            if self.stop():
                raise InterruptedRunError(
                    self.code, "was interrupted", safe=_SAFE, next="run the same command again to continue"
                )
            problem = self._make(file)
            if problem is None:
                outcome.done.append(file.entry)
            else:
                outcome.not_done.append(problem)
            self.events(_item(self.code, file.entry, problem))
            self._tell_progress(number, outcome.bytes)
        return outcome

    def _tell_progress(self, number: int, done: int) -> None:
        now = monotonic()
        if now - self._told < _TELL_EVERY_S and number < len(self.files):
            return
        self._told = now
        total = sum(f.entry.size for f in self.files)
        rate = done / (now - self._began) if now > self._began else 0.0
        self.events(
            Progress(
                files_done=number,
                files_total=len(self.files),
                bytes_done=done,
                bytes_total=total,
                bytes_per_s=rate,
                seconds_left=(total - done) / rate if rate else None,
            )
        )

    def _present(self, file: Wanted) -> bool | None:
        """Return whether an interrupted run made the file already; None where another one has its name."""
        state = self.disk.lstat(self.folder / file.relative)
        if state is None:
            return False
        # a file gets its name when it is whole
        same_time = abs(state.st_mtime_ns - file.entry.mtime_ns) <= TIME_GRAIN_NS
        return True if stat.S_ISREG(state.st_mode) and state.st_size == file.entry.size and same_time else None

    def _make(self, file: Wanted) -> NotDone | None:
        present = self._present(file)
        if present is not False:
            return None if present else _not_done(file, "another file has its original name in DIR")
        try:
            found = self._find(file)
            if found is None:
                return _not_done(file, _AT_SOURCE, ExitStatus.DONE) if self._at_source(file) else _not_done(file, _LOST)
            origin, state = found
            if not is_left_by_apply(self.disk, file.entry, origin, state):
                return _not_done(file, _ALTERED)
            self._make_folders(file.relative.parent)
            result = self.folder / file.relative
            mover.copy_back(self.disk, replace(file.entry, source=result, mode=_FILE_MODE), origin)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise NoSpaceError(
                    "DIR", "the disk is full", safe=_SAFE, next="make room and run the same command again to continue"
                ) from None
            return _not_done(file, reason_of(error), status_of(error))
        except EcogsafeError as error:
            return _not_done(file, reason_of(error), status_of(error))
        return None

    def _find(self, file: Wanted) -> tuple[Path, os.stat_result] | None:
        """Return where the file stands: in OUT, or in a folder that download filled without OUT's three trees."""
        places = [file.journal.target(file.entry)]
        if self.out is not None:
            places = [self.out / file.entry.place, self.out / file.entry.target]
        return next(((p, state) for p in places if (state := self.disk.lstat(p)) is not None), None)

    def _at_source(self, file: Wanted) -> bool:
        """Return whether the file never left the export, or was taken back with a cut apply."""
        state = self.disk.lstat(file.entry.source)
        return state is not None and (state.st_size, state.st_mtime_ns) == (file.entry.size, file.entry.mtime_ns)

    def _make_folders(self, relative: Path) -> None:
        for part in [*reversed(relative.parents), relative]:
            folder = self.folder / part
            if self.disk.lstat(folder) is None:
                self.disk.make_folder(folder, _FOLDER_MODE)
                self.disk.sync_folder(folder.parent)

    def _restore_folders(self) -> None:
        """Make every name durable, and give the folders the times they had, the innermost first."""
        made = {self.folder / p for f in self.files for p in f.relative.parents}
        known = {
            self.folder / f.relative.parent: folder
            for f in self.files
            for folder in f.journal.source_folders
            if folder.path == f.entry.source.parent
        }
        for path in sorted(made, key=lambda p: len(p.parts), reverse=True):
            if self.disk.lstat(path) is None:
                continue
            self.disk.sync_folder(path)
            was = known.get(path)
            if was is not None and path != self.folder:
                self.disk.restore_folder(path, mode=_FOLDER_MODE, atime_ns=was.atime_ns, mtime_ns=was.mtime_ns)


def _not_done(file: Wanted, reason: str, status: ExitStatus = ExitStatus.PARTIAL) -> NotDone:
    entry = file.entry
    return NotDone(path=entry.source, place=entry.place, segment=entry.segment, reason=reason, status=status)


def _item(code: str, entry: Entry, problem: NotDone | None) -> Item:
    """Return what may be shown of one file: its place below OUT, never its original name."""
    status = "done"
    if problem is not None:
        status = "left_behind" if problem.status is ExitStatus.DONE else "skipped"
    return Item(
        action="reidentify",
        status=status,
        subject=code,
        segment=entry.segment,
        path=entry.place,
        bytes=entry.size,
        message=problem.reason if problem else "",
    )
