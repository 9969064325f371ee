"""Which snapshots may go: never one of the last thirty, never the only one of a month."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.service.snapshot_copies import Snapshot
from ecogsafe.service.snapshot_retention import LAST, beyond

_START = datetime(2026, 1, 15, tzinfo=UTC)


def made(hours: list[int]) -> list[Snapshot]:
    return [Snapshot(f"k{n}", _START + timedelta(hours=h), 0.0) for n, h in enumerate(hours)]


def test_nights_of_a_year() -> None:
    nights = made([24 * n for n in range(365)])
    gone = beyond(nights)
    kept = [s for s in nights if s not in gone]
    assert len(kept) == LAST + 12
    assert kept[-LAST:] == nights[-LAST:]
    assert [s.at.strftime("%m-%d") for s in kept[:3]] == ["01-15", "02-01", "03-01"]


def test_a_few_stay_whatever_their_age() -> None:
    assert beyond(made([0, 1, 100_000])) == []
    assert beyond([]) == []


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(st.integers(0, 20_000), max_size=120))
def test_what_the_rule_keeps(hours: list[int]) -> None:
    every = made(hours)
    gone = {s.key for s in beyond(every)}
    kept = [s for s in every if s.key not in gone]
    newest = sorted(every, key=lambda s: (s.at, s.key))[-LAST:]
    assert not gone & {s.key for s in newest}, "one of the last may go"
    assert {(s.at.year, s.at.month) for s in kept} == {(s.at.year, s.at.month) for s in every}, "a month is lost"
    assert beyond(kept) == [], "the rule takes more each time it is asked"
