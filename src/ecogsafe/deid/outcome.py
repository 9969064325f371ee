"""What an apply or undo came to."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from ecogsafe.core.errors import ExitStatus
from ecogsafe.core.events import Item
from ecogsafe.deid.journal import Entry
from ecogsafe.deid.planned import masked_path


@dataclass(frozen=True, slots=True, kw_only=True)
class NotDone:
    """One file that stayed as it was; ``path`` is private, and that of a source unless an undo left it."""

    path: Path
    #: where it would have gone, below OUT
    place: str
    segment: int
    reason: str
    status: ExitStatus

    def event(self, action: str, code: str, root: Path) -> Item:
        """Return what may be shown of it."""
        return Item(
            action=action,
            status="left_behind" if self.status is ExitStatus.SOURCE_CHANGED else "failed",
            subject=code,
            segment=self.segment,
            path=self.place if action == "undo" else masked_path(self.path, root),
            message=self.reason,
            details={"exit_status": int(self.status)},
        )


@dataclass(slots=True)
class Outcome:
    """What stands after a run; of a continued journal, all of it."""

    #: None where there was nothing to do
    journal: str | None = None
    #: entries that are where the journal wants them
    done: list[Entry] = field(default_factory=list)
    not_done: list[NotDone] = field(default_factory=list)

    @property
    def statuses(self) -> set[ExitStatus]:
        """The exit statuses that occurred."""
        return {n.status for n in self.not_done}

    @property
    def bytes(self) -> int:
        """Size of what was done."""
        return sum(e.size for e in self.done)
