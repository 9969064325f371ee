"""The policy: more evidence never makes anything less safe, a bad copy never counts, the future proves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.catalog.sums import AlikeFiles, CopyState
from ecogsafe.core.config import Policy
from ecogsafe.service.policy import Assessment, Location, Sample, assess, enough, hours_ago, samples

NOW = datetime(2026, 3, 4, 5, 30, tzinfo=UTC)
CODE = "abcd1234"
TWO = Policy(copies=2, offsite=1, restored_within_days=0)
PLACES = {
    "nas": Location("nas", "device:1", offsite=False),
    "nas2": Location("nas2", "device:1", offsite=False),
    "cloud": Location("cloud", "s3://one", offsite=True),
    "cloud2": Location("cloud2", "s3://two", offsite=True),
}


def hour(days: float) -> str:
    """The hour so many days ago."""
    return (NOW - timedelta(days=days)).strftime("%Y-%m-%dT%H")


def held(store: str, rank: int = 1, proven: float = 1, restored: float | None = None) -> CopyState:
    good = rank >= 0
    back = hour(restored) if restored is not None and good else ""
    return CopyState(store, rank, hour(proven) if good else "", back)


def alike(*states: CopyState, kind: str = "avi", files: int = 4, size: int = 4_000) -> AlikeFiles:
    return AlikeFiles("video", kind, tuple(sorted(states)), files, size, 0, 0)


def judged(*files: AlikeFiles, policy: Policy = TWO) -> Assessment:
    return assess(CODE, files, PLACES, policy, NOW)


def test_enough_copies_in_different_places_one_off_site() -> None:
    assert judged(alike(held("nas"), held("cloud"))).is_safe
    assert judged(alike(held("cloud"), held("cloud2"))).is_safe


@pytest.mark.parametrize(
    ("states", "least", "least_away"),
    [
        ((), 0, 0),
        ((held("nas"),), 1, 0),
        ((held("nas"), held("nas2")), 1, 0),
        ((held("cloud"), held("cloud")), 1, None),
        ((held("nas"), held("cloud", rank=0)), 1, 0),
        ((held("nas"), held("cloud", rank=-1)), 1, 0),
        ((held("nas"), held("cloud", rank=-2)), 1, 0),
        ((held("nas"), held("cloud", proven=-1)), 1, 0),
        ((held("nas"), held("nobody knows")), 1, 0),
    ],
    ids=["none", "one", "one device", "one bucket", "stored only", "bad", "removed", "of the future", "unknown store"],
)
def test_what_does_not_count(states: Sequence[CopyState], least: int, least_away: int | None) -> None:
    found = judged(alike(*states), alike(held("nas"), held("cloud"), files=3))
    assert not found.is_safe
    assert (found.safe_files, found.files) == (3, 7)
    assert found.copies is not None
    assert (found.copies.least, found.copies.files) == (least, 4)
    assert (found.offsite.least if found.offsite else None) == least_away


def test_levels() -> None:
    files = alike(held("nas", rank=0), held("cloud", rank=0))
    assert judged(files, policy=replace(TWO, level="stored")).is_safe
    files = alike(held("nas", rank=1), held("cloud", rank=2, restored=3))
    assert judged(files).is_safe
    assert not judged(files, policy=replace(TWO, level="restored")).is_safe


# what was brought back

SAMPLED = replace(TWO, copies=1, restored_within_days=10)


def sample(*files: AlikeFiles, policy: Policy = SAMPLED) -> Sample:
    return samples(files, policy, NOW)["cloud"]


def test_twenty_files_one_per_cent_of_bytes_and_one_of_every_kind() -> None:
    back, lying = held("cloud", 2, 1, 1), held("cloud")
    assert sample(alike(back, files=20, size=100), alike(lying, files=980, size=9_900)).is_enough
    few = sample(alike(back, files=19, size=500), alike(lying, files=981, size=9_500))
    assert not few.is_enough
    assert (few.restored_files, few.files_wanted) == (19, 20)
    light = sample(alike(back, files=20, size=99), alike(lying, files=980, size=9_901))
    assert not light.is_enough
    assert (light.restored_bytes, light.bytes_wanted) == (99, 100)
    other = sample(alike(back, files=20, size=500), alike(lying, kind="erd", files=1, size=1))
    assert other.kinds_missing == ("erd",)
    assert not other.is_enough
    assert sample(alike(back, files=3), alike(back, kind="erd", files=2)).is_enough, "fewer than twenty are there"


@pytest.mark.parametrize(("days", "is_enough"), [(9.9, True), (10.0, True), (10.1, False), (-1, False)])
def test_brought_back_within_the_days(days: float, is_enough: bool) -> None:
    files = alike(held("cloud", 2, 1, days))
    assert sample(files).is_enough is is_enough
    found = judged(files, policy=SAMPLED)
    assert found.is_safe is is_enough
    assert found.unsampled == (() if is_enough else ("cloud",))
    assert found.copies is None


def test_what_a_bad_copy_once_gave_back_counts_no_more() -> None:
    bad = CopyState("cloud", -1, "", hour(1))
    assert not sample(alike(bad, files=2), alike(held("cloud"), files=2)).restored_files


def test_no_days_no_sample() -> None:
    assert sample(alike(held("cloud")), policy=TWO).is_enough


@pytest.mark.parametrize(("files", "percent"), [(5, 100), (20, 100), (40, 50), (1000, 2), (1_000_000, 1)])
def test_how_much_to_bring_back(files: int, percent: int) -> None:
    assert sample(alike(held("cloud"), files=files)).percent == percent


def test_hours() -> None:
    assert hours_ago("2026-03-04T05", NOW) == 0.5
    assert hours_ago("2026-03-04T06", NOW) is None
    assert hours_ago("", NOW) is None


# for every subject that could be

STATES = st.builds(
    held,
    st.sampled_from(sorted(PLACES)),
    st.integers(-2, 2),
    st.floats(-2, 300),
    st.none() | st.floats(-2, 300),
)
FILES = st.lists(
    st.builds(
        lambda states, kind, files, size: alike(*states, kind=kind, files=files, size=size * files),
        st.lists(STATES, max_size=4),
        st.sampled_from(["avi", "edf", "erd"]),
        st.integers(1, 30),
        st.integers(0, 50),
    ),
    min_size=1,
    max_size=4,
)
POLICIES = st.builds(
    Policy,
    copies=st.integers(0, 3),
    offsite=st.integers(0, 2),
    level=st.sampled_from(["stored", "checksum", "restored"]),
    restored_within_days=st.sampled_from([0, 30, 180]),
)


def better(state: CopyState, rank: int, age: float) -> CopyState:
    """The same copy with one more proof, made ``age`` days ago; one that was bad is proven good by it."""
    back = hour(age) if rank == 2 else ""
    now = NOW.strftime("%Y-%m-%dT%H")
    # times of proof only grow, but one of the future is no proof that could hide another
    newest = [t for t in (state.proven if state.rank == rank else "", hour(age)) if t <= now]
    restored = max([t for t in (state.restored, back) if t <= now], default="")
    return CopyState(state.store_id, max(state.rank, rank), max(newest), restored)


@settings(max_examples=80, deadline=None)
@given(files=FILES, policy=POLICIES, data=st.data())
def test_more_evidence_never_makes_it_less_safe(files: list[AlikeFiles], policy: Policy, data: st.DataObject) -> None:
    before = judged(*files, policy=policy)
    at = data.draw(st.integers(0, len(files) - 1))
    if not files[at].held or files[at].held[0].rank == -2:
        return
    number = data.draw(st.integers(0, len(files[at].held) - 1))
    state = files[at].held[number]
    if state.rank == -2:
        return
    proof = better(state, data.draw(st.integers(max(state.rank, 1), 2)), data.draw(st.floats(0, 1)))
    states = (*files[at].held[:number], proof, *files[at].held[number + 1 :])
    after = judged(*files[:at], replace(files[at], held=states), *files[at + 1 :], policy=policy)
    assert after.safe_files >= before.safe_files


@settings(max_examples=50, deadline=None)
@given(files=FILES, policy=POLICIES, states=st.lists(STATES, min_size=4, max_size=4))
def test_a_further_store_never_makes_it_less_safe(
    files: list[AlikeFiles], policy: Policy, states: list[CopyState]
) -> None:
    more = [
        replace(each, held=(*each.held, state._replace(store_id="new")))
        for each, state in zip(files, states, strict=False)
    ]
    places = PLACES | {"new": Location("new", "s3://new", offsite=True)}
    before = assess(CODE, files, places, policy, NOW)
    after = assess(CODE, more, places, policy, NOW)
    assert after.safe_files >= before.safe_files


@settings(max_examples=50, deadline=None)
@given(files=FILES, policy=POLICIES)
def test_bad_copies_and_those_of_the_future_never_count(files: list[AlikeFiles], policy: Policy) -> None:
    def told(state: CopyState) -> CopyState:
        future = hours_ago(state.proven, NOW) is None and hours_ago(state.restored, NOW) is None
        return state._replace(rank=-1) if future and state.rank >= 0 else state

    without = [replace(each, held=tuple(map(told, each.held))) for each in files]
    assert judged(*files, policy=policy).safe_files == judged(*without, policy=policy).safe_files
    if policy.copies or policy.offsite:
        bad = [replace(each, held=tuple(s._replace(rank=-1) for s in each.held)) for each in files]
        assert judged(*bad, policy=policy).safe_files == 0


def test_no_policy_is_met_by_nothing_but_the_one_that_asks_nothing() -> None:
    assert enough([], PLACES, Policy(copies=0, offsite=0))
    assert not enough([], PLACES, Policy(copies=1, offsite=0))
