"""What a running service reports; the terminal, JSON Lines and the web page render the same events.

Field names are the JSON Lines contract of DESIGN 4; fields are only ever added.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ecogsafe.core.errors import EcogsafeError, ExitStatus


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing done, skipped, left behind or told; nothing in it is private.

    ``status`` is one of ``done``, ``present`` (was already there and right), ``skipped``, ``failed``,
    ``left_behind``, ``conflict``, ``planned``, ``note``.
    """

    message_type: ClassVar[str] = "item"
    action: str
    status: str
    subject: str | None = None
    segment: int | None = None
    path: str | None = None
    key: str | None = None
    store: str | None = None
    bytes: int | None = None
    digest: str | None = None
    #: one line for a person; also the reason of anything that is not ``done``
    message: str = ""
    #: further facts by name (numbers and words, nothing private)
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class FileProgress:
    """One file on its way."""

    path: str
    bytes_done: int
    bytes_total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress:
    """How far a run is; totals and ``seconds_left`` are None until known."""

    message_type: ClassVar[str] = "progress"
    files_done: int
    files_total: int | None
    bytes_done: int
    bytes_total: int | None
    bytes_per_s: float
    seconds_left: float | None
    #: what was worked on last (a path below OUT, or a key)
    current: str = ""
    #: what was there before this run and need not move; not in the totals
    files_present: int = 0
    bytes_present: int = 0
    #: large files on their way, the one begun first in front
    current_files: tuple[FileProgress, ...] = ()
    #: what the run waits for: ``waiting until 18:00``
    waiting: str = ""
    #: requests that were repeated
    retries: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """An identifier seen in a file, masked; ``id`` is what ``--accept`` takes."""

    message_type: ClassVar[str] = "finding"
    id: str
    path: str
    offset: int
    encoding: str
    kind: str
    masked: str
    subject: str | None = None
    accepted: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorEvent:
    """A failure, of one item or of the run."""

    message_type: ClassVar[str] = "error"
    code: str
    exit_status: int
    item: str
    message: str
    safe: str
    next: str

    @classmethod
    def of(cls, error: EcogsafeError) -> ErrorEvent:
        """Return the event that tells of ``error``."""
        return cls(
            code=error.code,
            exit_status=int(error.exit_status),
            item=error.item,
            message=f"{error.item}: {error.problem}",
            safe=error.safe,
            next=error.next,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """The last event of a run."""

    message_type: ClassVar[str] = "summary"
    command: str
    exit_status: int
    files: Mapping[str, int]
    bytes: int
    seconds: float
    counts: Mapping[str, int] = field(default_factory=dict)
    #: the verdict in one line
    message: str = ""


Event = Item | Progress | Finding | ErrorEvent | Summary
EventSink = Callable[[Event], None]


def as_record(event: Event) -> dict[str, Any]:
    """Return the JSON Lines record of ``event``: its fields and ``message_type``.

    An item leaves out what it has no value for; the other types always have all their fields, and a summary
    all the counts of files, so that a script need not ask.
    """
    record = asdict(event)
    if isinstance(event, Item):
        record = {k: v for k, v in record.items() if v is not None and v not in ({}, "")}
    if isinstance(event, Summary):
        record["files"] = {**Tally().files(), **event.files}
    return {"message_type": event.message_type, **record}


@dataclass(slots=True)
class Tally:
    """Counts what became of the items of a run, and the exit status that follows."""

    done: int = 0
    present: int = 0
    skipped: int = 0
    failed: int = 0
    left_behind: int = 0
    bytes: int = 0
    statuses: set[ExitStatus] = field(default_factory=set)

    def note(self, status: ExitStatus) -> None:
        """Remember that ``status`` occurred."""
        self.statuses.add(status)

    def files(self) -> dict[str, int]:
        """Return the ``files`` record of the summary."""
        return {
            "done": self.done,
            "present": self.present,
            "skipped": self.skipped,
            "failed": self.failed,
            "left_behind": self.left_behind,
        }
