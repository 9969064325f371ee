"""Subjects that withdrew: nothing of them is brought back from a store either."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ecogsafe.catalog import subjects
from ecogsafe.core.errors import UsageError
from ecogsafe.core.events import Item
from ecogsafe.service.running import Run


def withdrawn_on(run: Run) -> dict[str, str]:
    """Return the day of the withdrawal of every subject that withdrew, by code."""
    with run.catalog.read() as tx:
        return {row.code: row.withdrawn_at[:10] for row in subjects.subjects(tx) if row.withdrawn_at is not None}


def refuse_bringing_back(run: Run, codes: Iterable[str]) -> None:
    """Raise UsageError if a subject of ``codes`` withdrew: nothing of it is brought back."""
    days = withdrawn_on(run)
    for code in codes:
        if code in days:
            raise brought_back(code, days[code])


def brought_back(code: str, day: str) -> UsageError:
    """Return the refusal to bring back a subject that withdrew on ``day``."""
    return UsageError(
        code,
        f"was withdrawn on {day}: nothing of this subject is brought back",
        safe="Nothing was fetched",
        next=f"ecogsafe subjects show {code} tells what is recorded of it "
        f"(if the withdrawal was a mistake: ecogsafe subjects withdraw {code} --undo)",
    )


def tell_left_out(run: Run, left: Mapping[str, int], *, action: str) -> None:
    """Tell of subjects that withdrew and whose objects were passed over, ``left`` of each."""
    days = withdrawn_on(run)
    for code in sorted(left):
        message = f"was withdrawn on {days.get(code, 'an earlier day')}: its {left[code]} objects are not brought back"
        run.tell(Item(action=action, status="left_behind", subject=code, message=message))
    if left:
        run.counts["withdrawn_subjects"] = len(left)
