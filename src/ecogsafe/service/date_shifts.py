"""``--shift-dates`` of one subject: whether it may begin, whether it goes on, what is said of it (DESIGN 5.3)."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, timedelta
from zoneinfo import ZoneInfo

from ecogsafe.core.errors import LabKeyError, UsageError
from ecogsafe.core.events import Item
from ecogsafe.deid.birth_dates import spellings
from ecogsafe.deid.linking_key import Person
from ecogsafe.deid.planned import PartRecord
from ecogsafe.service.deid_journals import History
from ecogsafe.service.running import Run
from ecogsafe.service.segment_records import existing_segments, has_shifted_dates, is_published

#: what a record, a page or a statement says; the number itself is nowhere but in the linking key
KEPT = "dates of service kept"
SHIFTED = "dates shifted by a whole number of days (the number is in the linking key)"


def check_shift(
    run: Run, code: str, person: Person | None, history: History, *, wanted: bool, keep_native_content: bool
) -> int:
    """Return by how many days the dates of ``code`` are moved already; 0: they are true, or nothing is known of it.

    Parameters
    ----------
    wanted
        ``--shift-dates`` was given.

    Raises
    ------
    UsageError
        Files with true dates are published, or contents are to be kept, in which the dates stay true.
    LabKeyError
        The catalogue knows shifted dates and the linking key knows of no shift: it is not the newest one.
    """
    days = (person.date_shift_days if person else None) or 0
    with run.catalog.read() as tx:
        is_marked, published = has_shifted_dates(tx, code), is_published(tx, code)
    if is_marked and not days:
        raise LabKeyError(
            code,
            "has shifted dates in the catalogue and none in the linking key, which is not the newest one",
            next="copy the newest linking key from a key_backup place to linking-key.age, then run again",
        )
    if wanted and not days and (published or history.places):
        refuse_shift(code)
    if keep_native_content and (wanted or days):
        raise UsageError(
            "--keep-native-content",
            "would leave true dates inside the Natus files of a subject whose dates are shifted",
            next="leave it out",
        )
    return days


def refuse_shift(code: str) -> None:
    """Refuse ``--shift-dates`` for a subject of whom files with true dates are out.

    Raises
    ------
    UsageError
        Always.
    """
    raise UsageError(
        "--shift-dates",
        f"{code} has files with true dates already, and shifted ones beside them would tell by how much",
        safe="Nothing was changed: its dates are the true ones, as before",
        next=f"leave --shift-dates out; or, if nothing of it was sent, ecogsafe deid undo {code} and apply again",
    )


def tell_shift(run: Run, code: str, *, example: bool = False) -> None:
    """Say that the dates shown, and those of every file that moves, are shifted; never by how much."""
    text = "every date, that of the files as well, is shifted by the same whole number of days; shown are shifted dates"
    if example:
        text += " of an example: ecogsafe deid apply draws the number"
    run.tell(Item(action="plan", status="note", subject=code, message=text))


def true_date_spellings(run: Run, person: Person, zone: ZoneInfo | None) -> frozenset[str]:
    """Return how the true dates of service of a subject whose dates are shifted are written; else nothing.

    What a shifted date of the same subject is written like as well is left out: it is found in clean files.
    """
    days = person.date_shift_days
    if not days:
        return frozenset()
    known = existing_segments(run.catalog, person.code, shift_days=days)
    true = {day for segment in known for record in segment.parts.values() for day in _days(record, zone)}
    moved = {day + timedelta(days=days) for day in true}
    return frozenset(_written(true)) - frozenset(_written(moved))


def _written(days: set[date]) -> Iterator[str]:
    for day in days:
        yield from spellings(day, short_years=False)


def _days(record: PartRecord, zone: ZoneInfo | None) -> Iterator[date]:
    """Yield every day on which a part was recorded, by its own clock and, for UTC, by that of the site."""
    if record.start is None:
        return
    clocks = [record.start.tzinfo] if record.start.tzinfo is None else [UTC, zone or UTC]
    for clock in clocks:
        moments = (record.start, record.end or record.start)
        first, last = (m.date() if clock is None else m.astimezone(clock).date() for m in moments)
        for number in range((last - first).days + 1):
            yield first + timedelta(days=number)
