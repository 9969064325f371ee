"""The answers of ``doctor`` on their way out."""

from __future__ import annotations

from ecogsafe.core.errors import EcogsafeError
from ecogsafe.core.events import EventSink, Item


class Report:
    """Tells and counts; an item's ``details`` hold the ``check`` and, where something is wrong, the ``fix``."""

    def __init__(self, emit: EventSink) -> None:
        self._emit = emit
        self.good_count = 0
        self.bad_count = 0

    def good(self, check: str, text: str, *, store: str | None = None) -> None:
        """Tell of something that is as it should be."""
        self.good_count += 1
        self._tell(check, "done", text, "", store)

    def bad(self, check: str, text: str, fix: str, *, store: str | None = None) -> None:
        """Tell of something that must be fixed."""
        self.bad_count += 1
        self._tell(check, "failed", text, fix, store)

    def note(self, check: str, text: str, fix: str = "", *, store: str | None = None) -> None:
        """Tell of something that is not wrong, or that is not told."""
        self._tell(check, "note", text, fix, store)

    def error(self, check: str, error: EcogsafeError, *, store: str | None = None) -> None:
        """Tell of a check that ended with ``error``."""
        text = error.problem if store is not None else f"{error.item} {error.problem}"
        self.bad(check, text, error.next or "see docs/errors.md", store=store)

    def _tell(self, check: str, status: str, text: str, fix: str, store: str | None) -> None:
        details = {"check": check, **({"fix": fix} if fix else {})}
        self._emit(Item(action="doctor", status=status, store=store, message=text, details=details))
