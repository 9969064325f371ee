"""As many requests at once as make a store faster, fewer when it complains; never more than allowed."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.transfer.concurrency import FIRST, Concurrency

MB = 1_000_000


def run(
    controller: Concurrency, per_s: Callable[[int], float], *, seconds: float, at: float, size: int = 8 * MB
) -> float:
    """Let a store answer that moves ``per_s(requests at once)`` bytes a second; return the time afterwards."""
    until = at + seconds
    while at < until:
        at += size / per_s(controller.limit)
        controller.done(size, at=at, is_full=True)
    return at


def half(_: float = 0) -> float:
    return 0.5


def test_it_begins_with_a_few_or_with_what_is_allowed() -> None:
    assert Concurrency(64, at=0).limit == FIRST
    assert Concurrency(3, at=0).limit == 3
    assert Concurrency(0, at=0).limit == 1


def test_it_grows_while_that_makes_it_faster() -> None:
    """A far store: every connection gives 5 MB/s, up to 40 of them."""
    controller = Concurrency(64, at=0, chance=half)
    run(controller, lambda n: 5 * MB * min(n, 40), seconds=60, at=0)
    assert 32 <= controller.limit <= 60


def test_it_stays_where_more_brings_nothing() -> None:
    """A near store whose line is full with 8."""
    controller = Concurrency(64, at=0, chance=half)
    at, seen = 0.0, []
    for _ in range(300):
        at = run(controller, lambda n: 12 * MB * min(n, 8), seconds=1, at=at)
        seen.append(controller.limit)
    assert seen.count(FIRST) > 0.9 * len(seen) and max(seen) <= 12


def test_it_grows_for_small_files_too() -> None:
    controller = Concurrency(64, at=0, chance=half)
    run(controller, lambda n: 16_000 * 20 * n, seconds=60, at=0, size=16_000)
    assert controller.limit == 64


def test_nobody_waiting_is_no_reason_to_grow() -> None:
    controller = Concurrency(64, at=0, chance=half)
    for n in range(1000):
        controller.done(MB, at=n / 10, is_full=False)
    assert controller.limit == FIRST


def test_it_halves_when_the_store_complains_once_for_each_storm() -> None:
    controller = Concurrency(64, at=0, chance=half)
    for n in range(50):
        controller.troubled(at=100 + n / 100)
    assert (controller.limit, controller.slowed) == (4, 1)
    controller.troubled(at=110)
    controller.troubled(at=120)
    controller.troubled(at=130)
    controller.troubled(at=140)
    assert (controller.limit, controller.slowed) == (1, 5)


def test_it_finds_the_most_that_a_store_stands() -> None:
    """More than 20 at once are answered with SlowDown."""
    controller = Concurrency(64, at=0, chance=half)
    at, seen = 0.0, []
    for _ in range(600):
        at = run(controller, lambda n: 5 * MB * n, seconds=0.5, at=at)
        if controller.limit > 20:
            controller.troubled(at=at)
        seen.append(controller.limit)
    late = seen[100:]
    assert sum(limit > 20 for limit in late) < 0.1 * len(late)
    assert sum(late) / len(late) > 9


def test_those_who_were_slowed_down_together_do_not_grow_together() -> None:
    grown: set[float] = set()
    for chance in (0.0, 0.3, 0.6, 0.9):
        controller = Concurrency(64, at=0, chance=lambda chance=chance: chance)  # type: ignore[misc]
        controller.troubled(at=0.0)
        at = 0.0
        while controller.limit <= 4:
            at = run(controller, lambda n: 5 * MB * n, seconds=0.1, at=at)
        grown.add(round(at))
    assert len(grown) == 4


@settings(max_examples=60, deadline=None)
@given(
    st.integers(1, 64),
    st.lists(
        st.one_of(
            st.tuples(st.just("done"), st.integers(0, 10**8), st.booleans()),
            st.tuples(st.just("trouble"), st.just(0), st.booleans()),
        ),
        max_size=300,
    ),
    st.floats(0, 0.999),
)
def test_it_is_never_none_and_never_more_than_allowed(
    most: int, events: list[tuple[str, int, bool]], step: float
) -> None:
    controller = Concurrency(most, at=0)
    at = 0.0
    for kind, size, is_full in events:
        at += step
        if kind == "done":
            controller.done(size, at=at, is_full=is_full)
        else:
            before = controller.limit
            controller.troubled(at=at)
            assert controller.limit <= before
        assert 1 <= controller.limit <= most


@pytest.mark.parametrize("most", [1, 2, 5])
def test_a_bound_is_a_bound(most: int) -> None:
    controller = Concurrency(most, at=0, chance=half)
    run(controller, lambda n: 5 * MB * n, seconds=60, at=0)
    assert controller.limit == most
