"""The number of days of ``--shift-dates``: random, a year at least, and never past what a date can be written as."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ecogsafe.core.errors import UsageError
from ecogsafe.deid.date_shift import (
    FEWEST_CHOICES,
    LEAST_DAYS,
    MOST_DAYS,
    choose_shift,
    possible_shifts,
    shifted_file_time,
    shifted_plan,
)
from ecogsafe.deid.planned import DeidPlan, Part, PartRecord, PlannedSegment, PlanNote, as_record
from ecogsafe.formats.date_shift import EDF_FIRST, EDF_LAST

_EPOCH = date(1970, 1, 1).toordinal()
_DAY_NS = 86_400 * 10**9

edf_days = st.dates(EDF_FIRST, EDF_LAST).map(lambda day: day.toordinal() - _EPOCH)
natus_days = st.integers(-(2**31) // 86_400 + 1, 2**31 // 86_400 - 1)
file_days = st.integers(-10_000, 40_000)


def _plan(*starts: datetime, notes: tuple[PlanNote, ...] = ()) -> DeidPlan:
    segments = tuple(
        PlannedSegment(
            number=number,
            is_new=True,
            parts={Part.RECORDING: PartRecord(start=start, end=start + timedelta(hours=3))},
            start=start.replace(tzinfo=UTC),
        )
        for number, start in enumerate(starts, 1)
    )
    return DeidPlan(
        root=Path("export"), code="a1b2c3d4", moves=(), left=(), conflicts=(), notes=notes, segments=segments
    )


@given(st.lists(edf_days, max_size=4), st.lists(natus_days, max_size=4), st.lists(file_days, max_size=4))
def test_no_possible_number_takes_a_date_out_of_its_place(edf: list[int], natus: list[int], files: list[int]) -> None:
    for days in possible_shifts(edf=edf, time_t=natus, files=files):
        assert LEAST_DAYS <= abs(days) <= MOST_DAYS
        assert all(EDF_FIRST <= date.fromordinal(day + days + _EPOCH) <= EDF_LAST for day in edf)
        # whatever the time of day
        assert all(-(2**31) <= (day + days) * 86_400 <= 2**31 - 86_400 for day in natus)
        for day in files:
            stamp = day * _DAY_NS + 12 * 3600 * 10**9
            if date(1980, 1, 2) <= date.fromordinal(day + _EPOCH) < date(2038, 1, 18):
                assert shifted_file_time(stamp, days) == stamp + days * _DAY_NS


@given(st.dates(date(1996, 1, 1), date(2037, 1, 1)), st.data())
def test_every_possible_number_can_be_drawn_and_goes_into_the_past(day: date, data: st.DataObject) -> None:
    drawn: list[int] = []

    def below(bound: int) -> int:
        drawn.append(bound)
        return data.draw(st.integers(0, bound - 1))

    days = choose_shift(_plan(datetime(day.year, day.month, day.day)), below=below)
    assert drawn == [MOST_DAYS - LEAST_DAYS + 1]
    assert -MOST_DAYS <= days <= -LEAST_DAYS


def test_near_1985_a_shift_goes_forward() -> None:
    days = choose_shift(_plan(datetime(1985, 1, 1), datetime(1986, 5, 4, 3, 2, 1)))
    assert LEAST_DAYS <= days <= MOST_DAYS


def test_dates_that_lie_too_far_apart_are_refused_in_words() -> None:
    with pytest.raises(UsageError, match="too far apart") as raised:
        choose_shift(_plan(datetime(1985, 2, 1), datetime(2084, 11, 1)))
    assert "leave --shift-dates out" in raised.value.next
    assert len(possible_shifts(edf=[0], files=[])) < FEWEST_CHOICES


def test_two_draws_of_one_plan_hardly_ever_agree() -> None:
    plan = _plan(datetime(2024, 3, 1), datetime(2024, 3, 2))
    assert len({choose_shift(plan) for _ in range(20)}) > 10


def test_a_file_time_stays_within_what_every_file_system_keeps() -> None:
    old, late = shifted_file_time(0, -400), shifted_file_time(2_140_000_000 * 10**9, 3000)
    assert datetime.fromtimestamp(old / 1e9, UTC).year == 1980
    assert datetime.fromtimestamp(late / 1e9, UTC).year == 2038 and late < 2**31 * 10**9
    assert shifted_file_time(123, 0) == 123


def test_a_shifted_plan_tells_shifted_dates_alone_and_nothing_of_when_the_clocks_changed() -> None:
    note = PlanNote(topic="clock-change", text="starts in the hour that the clock change repeats", segments=(1,))
    gap = PlanNote(topic="gap", text="21 h between segments 1 and 2", segments=(1, 2))
    made = shifted_plan(_plan(datetime(2024, 11, 3, 1, 30), datetime(2024, 11, 4, 1, 30), notes=(note, gap)), -1000)
    record = as_record(made)
    assert [s["parts"]["recording"]["start"] for s in record["segments"]] == [
        "2022-02-07T01:30:00",
        "2022-02-08T01:30:00",
    ]
    assert "2024" not in str(record) and "1000" not in str(record) and "1000" not in repr(made)
    assert [n["topic"] for n in record["notes"]] == ["gap"]
    assert shifted_plan(made, 0) is made
