"""Telling what a search of files left out: parts that could not be opened, words that were spared."""

from __future__ import annotations

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.core.events import Item
from ecogsafe.deid.scan import ScanResult
from ecogsafe.service.running import Run

#: Parts of one container that are told one by one.
_MOST_TOLD = 20


def tell_unsearched(run: Run, result: ScanResult, *, shown: str, subject: str | None) -> None:
    """Tell what lies in the file ``shown`` and could not be opened, and how many words beside a name were left."""
    for part in result.not_searched[:_MOST_TOLD]:
        error = MalformedFileError(
            part.path,
            f"not searched: {part.reason}",
            safe="Whatever else is in the file was searched",
            next="unpack it by hand and search that, or leave it behind",
        )
        run.fail(error)
    more = len(result.not_searched) - _MOST_TOLD
    if more > 0:
        run.tell(Item(action="scan", status="note", path=shown, message=f"{more} more parts of it were not searched"))
    if result.spared:
        message = f"{len(result.spared)} ordinary words one letter away from a name were left as they are"
        run.tell(Item(action="scan", status="note", subject=subject, path=shown, message=message))
