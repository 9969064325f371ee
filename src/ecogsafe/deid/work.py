"""What going forward and going back have in common: groups, marker, marks, events, errors in words."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import groupby
from pathlib import Path

from ecogsafe.core.clock import monotonic
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    LockedError,
    NoSpaceError,
    SourceUnreadableError,
)
from ecogsafe.core.events import EventSink, Item, Progress
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Entry, Journal, JournalKind
from ecogsafe.deid.journal_files import JournalFolder, Marks
from ecogsafe.deid.layout import open_marker
from ecogsafe.deid.mover import put_back
from ecogsafe.deid.outcome import NotDone, Outcome

#: Asked between two segments; True ends the run there, to be continued.
Stop = Callable[[], bool]
Numbered = tuple[int, Entry]

_FULL = (errno.ENOSPC, errno.EDQUOT)


@dataclass(slots=True)
class Work:
    """One journal being carried out."""

    journal: Journal
    journals: JournalFolder
    disk: Disk
    events: EventSink
    stop: Stop
    marks: Marks
    outcome: Outcome = field(default_factory=Outcome)
    #: on the clock that only differences mean anything of
    began: float = field(default_factory=monotonic)

    @classmethod
    def of(cls, journal: Journal, *, journals: JournalFolder, disk: Disk, events: EventSink, stop: Stop) -> Work:
        """Return the work that ``journal`` asks for, with what was noted of it."""
        marks = journals.marks(journal.id)
        outcome = Outcome(journal=journal.id)
        return cls(journal, journals, disk, events, stop, marks, outcome)

    @property
    def action(self) -> str:
        """Word for the events."""
        return self.journal.kind.value

    def groups(self) -> list[list[Numbered]]:
        """Return the entries by segment; each group is made durable and marked together."""
        numbered = sorted(enumerate(self.journal.entries), key=lambda pair: (pair[1].segment, pair[0]))
        return [list(group) for _, group in groupby(numbered, key=lambda pair: pair[1].segment)]

    def check_stop(self) -> None:
        """End the run between two segments if it was asked to.

        Raises
        ------
        InterruptedRunError
            The journal stays open; the same command goes on with it.
        """
        if self.stop():
            raise InterruptedRunError(
                self.journal.subject,
                "stopped between two segments",
                safe="Every file is either as it was or done",
                next="run the same command again to continue",
            )

    def done(self, entry: Entry, *, before: bool = False) -> None:
        """Report ``entry`` as where it should be; ``before``: an earlier run did it."""
        self.outcome.done.append(entry)
        self.events(
            Item(
                action=self.action,
                status="present" if before else "done",
                subject=self.journal.subject,
                segment=entry.segment,
                path=entry.place,
                bytes=entry.size,
            )
        )

    def not_done(self, entry: Entry, reason: str, status: ExitStatus) -> None:
        """Report ``entry`` as left where it is."""
        path = entry.source
        if self.journal.kind is JournalKind.UNDO:
            path = self.journal.target(entry)
        left = NotDone(path=path, place=entry.place, segment=entry.segment, reason=reason, status=status)
        self.outcome.not_done.append(left)
        root = self.journal.out_root if self.journal.kind is JournalKind.UNDO else self.journal.export_root
        shown = left.event(self.action, self.journal.subject, root)
        self.events(shown)

    def failed(self, entry: Entry, error: OSError | EcogsafeError) -> None:
        """Report ``entry`` as left because of ``error``; a full disk ends the run instead.

        Raises
        ------
        NoSpaceError
            Nothing more can be written; the journal stays open.
        """
        if isinstance(error, OSError) and error.errno in _FULL:
            raise NoSpaceError(
                "OUT",
                "the disk is full",
                safe="Every file is either as it was or done",
                next="make room and run the same command again to continue",
            ) from None
        self.not_done(entry, reason_of(error), status_of(error))

    def note(self, text: str) -> None:
        """Tell something that changes nothing about the files."""
        self.events(Item(action=self.action, status="note", subject=self.journal.subject, message=text))

    def progress(self, started: int) -> None:
        """Report how far the journal is; ``started`` entries are behind us."""
        entries = self.journal.entries
        total = sum(e.size for e in entries)
        rate = self.outcome.bytes / max(monotonic() - self.began, 1e-3)
        self.events(
            Progress(
                files_done=started,
                files_total=len(entries),
                bytes_done=self.outcome.bytes,
                bytes_total=total,
                bytes_per_s=rate,
                seconds_left=max(total - self.outcome.bytes, 0) / rate if rate else None,
            )
        )

    def give_up(self, entry: Entry, error: OSError | EcogsafeError) -> None:
        """Put ``entry`` back as it was at its source and report it.

        Raises
        ------
        NoSpaceError
            The disk is full; the journal stays open.
        SourceUnreadableError
            It can be neither finished nor put back now; the journal stays open and holds every byte.
        """
        try:
            put_back(self.disk, entry)
        except OSError as second:
            raise stuck(entry, second) from None
        self.failed(entry, error)

    def sync_folders(self, paths: Iterable[Path]) -> None:
        """Make the names in each folder durable, each once."""
        for path in dict.fromkeys(paths):
            self.disk.sync_folder(path)


def stuck(entry: Entry, error: OSError) -> SourceUnreadableError:
    """Return the error for a file that the disk lets us neither finish nor put back."""
    return SourceUnreadableError(
        entry.place,
        f"can be neither finished nor put back ({reason_of(error)})",
        safe="The journal stays open and holds every byte that was changed",
        next="mend the disk, then run the same command again",
    )


def reason_of(error: OSError | EcogsafeError) -> str:
    """Return what went wrong, without any path."""
    if isinstance(error, EcogsafeError):
        return error.problem
    if error.errno == errno.EEXIST:
        return "the name is taken"
    return os.strerror(error.errno).lower() if error.errno else "the disk refused"


def status_of(error: OSError | EcogsafeError) -> ExitStatus:
    """Return the exit status that one file's failure asks for."""
    return error.exit_status if isinstance(error, EcogsafeError) else ExitStatus.PARTIAL


def check_marker(disk: Disk, journals: JournalFolder, out: Path, code: str) -> None:
    """Refuse a subject whose marker below OUT is another home's; take away one whose journal has ended.

    Raises
    ------
    LockedError
        Another run, or another home, works on the subject.
    """
    path = open_marker(out, code)
    if disk.lstat(path) is None:
        return
    fd = disk.open_to_read(path)
    try:
        name = disk.read_at(fd, 0, 200).decode("ascii", "replace").strip()
    finally:
        os.close(fd)
    if name in journals.ids(code) and journals.marks(name).ended:
        disk.unlink(path)
        return
    raise LockedError(
        code,
        "is being worked on by a journal that is not of this home, or was cut there",
        next="finish it from where it was begun (ecogsafe deid apply or deid undo)",
    )


def set_marker(disk: Disk, journal: Journal, *, first: bool = False) -> None:
    """Say below OUT that the journal is open; may be called again.

    A marker that an apply left is kept by its undo: what it says is that the subject is being worked on.

    Raises
    ------
    FileExistsError
        ``first``, and somebody else was quicker.
    """
    path = open_marker(journal.out_root, journal.subject)
    if not first and disk.lstat(path) is not None:
        return
    fd = disk.create(path, 0o640)
    try:
        disk.write_at(fd, f"{journal.id}\n".encode("ascii"), 0)
        disk.sync(fd)
    finally:
        os.close(fd)
    disk.sync_folder(path.parent)


def remove_marker(disk: Disk, journal: Journal) -> None:
    """Take the sign away; may be called again."""
    path = open_marker(journal.out_root, journal.subject)
    if disk.lstat(path) is not None:
        disk.unlink(path)
        disk.sync_folder(path.parent)
