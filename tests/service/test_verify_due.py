"""`verify` with limits: the oldest evidence first, a sample, so much time; the next run goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import update

from ecogsafe.catalog import schema
from ecogsafe.catalog.due import Candidate
from ecogsafe.core.clock import stamp_of
from ecogsafe.core.errors import ExitStatus, StillColdError, StoreRefusedError, UsageError
from ecogsafe.service import verify_planning, verify_request
from ecogsafe.service.verify_request import Deadline, VerifyRequest, seconds_of
from ecogsafe.service.verify_sampling import choose
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from tests.service.small_lab import (
    CODES,
    URL,
    Ended,
    Forgetful,
    Made,
    SmallLab,
    StoresInMemory,
    bytes_in,
    lose,
    overwrite,
)

OTHER = "s3://elsewhere"
FILES = 6


def key(code: str, number: int) -> str:
    return f"{code}_edf/{code}_{number}.edf.age"


KEYS = [key(code, number) for code in CODES for number in (1, 2, 3)]


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        for code in CODES:
            for number in (1, 2, 3):
                small.edf(code, number)
        assert small.upload("e", URL, encrypt=True).status is ExitStatus.DONE

    return Made.by(made_home, tmp_path_factory.mktemp("due"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Three sealed recordings of each of two subjects, proven a moment ago."""
    return made.copy_to(small_lab, store)


def date(lab: SmallLab, days_ago: float, *keys: str) -> None:
    """Let the evidence of these copies (of all without any) be of another day."""
    at = stamp_of(datetime.now(UTC) - timedelta(days=days_ago))
    change = update(schema.copies).values(checksum_at=at, asked_at=at, read_at=at, seen_at=None)
    with lab.writing() as tx:
        tx.execute(change.where(schema.copies.c.key.in_(keys)) if keys else change)


def asked(ended: Ended) -> list[str]:
    """Return the keys in the order in which they were judged good."""
    return [item.key or "" for item in ended.items(action="verify", status="done")]


# --max-age


def test_only_what_is_old_enough_is_asked_about_the_oldest_first(sent: SmallLab, store: MemoryStore) -> None:
    date(sent, 40, KEYS[4])
    date(sent, 90, KEYS[1])
    date(sent, 10, KEYS[2])
    before = sent.copy(KEYS[2]).checksum_at
    ended = sent.verify(max_age_days=30)
    assert ended.status is ExitStatus.DONE
    assert asked(ended) == [KEYS[1], KEYS[4]]
    assert sent.copy(KEYS[2]).checksum_at == before
    assert asked(sent.verify(max_age_days=30)) == []


def test_nothing_due_is_no_failure(sent: SmallLab) -> None:
    ended = sent.verify(max_age_days=30)
    assert ended.status is ExitStatus.DONE
    assert ended.run is not None
    assert "nothing is due" in ended.run.message


def test_a_listing_renews_that_the_object_is_the_same(sent: SmallLab) -> None:
    date(sent, 5)
    ended = sent.verify(max_age_days=30)
    assert asked(ended) == []
    assert all(sent.copy(k).seen_at is not None for k in KEYS)


@pytest.mark.parametrize("days_ahead", [1 / 24, 400])
@pytest.mark.parametrize("deep", [False, True])
def test_evidence_of_the_future_proves_nothing(sent: SmallLab, days_ahead: float, deep: bool) -> None:
    date(sent, -days_ahead, KEYS[0], KEYS[3])
    ended = sent.verify(max_age_days=30, deep=deep)
    never_read = set(KEYS) if deep else {KEYS[0], KEYS[3]}
    assert set(asked(ended)) == never_read
    now = stamp_of(datetime.now(UTC))
    for k in (KEYS[0], KEYS[3]):
        assert (sent.copy(k).checksum_at or "") <= now or deep
        assert sent.copy(k).asked_at <= now


def test_what_a_listing_shows_otherwise_does_not_wait_for_its_turn(sent: SmallLab, store: MemoryStore) -> None:
    lose(store, KEYS[0])
    overwrite(store, KEYS[4], bytes_in(store, KEYS[3]))
    ended = sent.verify(max_age_days=30)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert {sent.copy(k).bad_at is not None for k in (KEYS[0], KEYS[4])} == {True}
    assert ended.counts["in_doubt"] == 2
    # what was bad is asked about in every run, until it is proven good
    assert sent.verify(max_age_days=30).status is ExitStatus.VERIFY_FAILED


def test_the_same_bytes_written_once_more_are_no_loss(sent: SmallLab, store: MemoryStore) -> None:
    overwrite(store, KEYS[1], bytes_in(store, KEYS[1]))
    ended = sent.verify(max_age_days=30)
    assert ended.status is ExitStatus.DONE
    assert asked(ended) == [KEYS[1]]


def test_a_store_that_cannot_be_listed_is_asked_all_the_same(sent: SmallLab, in_memory: StoresInMemory) -> None:
    date(sent, 40)
    store = in_memory.by_url[URL]
    in_memory.add(URL, Faulty(store, {"list": [Fault(error=StoreRefusedError(URL, "no permission"))] * 9}))
    lose(store, KEYS[5])
    ended = sent.verify(max_age_days=30)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert len(asked(ended)) == 5
    assert any("could not be listed" in (item.message or "") for item in ended.items(action="verify", status="note"))


# --max-duration


class Clock:
    """A clock that goes on by a second whenever it is asked."""

    def __init__(self, step: float = 1.0) -> None:
        self.time = 0.0
        self.step = step

    def __call__(self) -> float:
        self.time += self.step
        return self.time


@pytest.fixture
def slow_clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(VerifyRequest, "deadline", lambda self: Deadline(seconds_of(self.max_duration or "9h"), clock))
    return clock


@pytest.mark.parametrize("deep", [False, True])
def test_the_next_run_goes_on_where_time_was_up(sent: SmallLab, slow_clock: Clock, deep: bool) -> None:
    for number, k in enumerate(KEYS):
        date(sent, 100 - number, k)
    seen: list[str] = []
    for _ in range(FILES + 1):
        ended = sent.verify(max_age_days=30, max_duration="9s", deep=deep)
        assert ended.status is ExitStatus.DONE
        assert len(asked(ended)) + ended.counts.get("remaining", 0) == FILES - len(seen)
        seen += asked(ended)
        if len(seen) == FILES:
            break
        assert ended.run is not None
        assert "time is up" in ended.run.message
    assert seen == KEYS


def test_what_cannot_be_judged_does_not_stand_in_the_way_for_ever(
    sent: SmallLab, in_memory: StoresInMemory, slow_clock: Clock
) -> None:
    """Cold objects come last once they had their turn."""
    for number, k in enumerate(KEYS):
        date(sent, 100 - number, k)
    cold = [Fault(error=StillColdError(KEYS[0], "must be thawed first"))] * 2
    in_memory.add(URL, Faulty(in_memory.by_url[URL], {"read": [None, *cold]}))
    ended = sent.verify(max_age_days=30, max_duration="9s", deep=True)
    assert ended.status is ExitStatus.COLD
    in_memory.add(URL, in_memory.by_url[URL].inner)  # type: ignore[attr-defined]
    assert asked(sent.verify(max_age_days=30, max_duration="9h", deep=True))[-1] != KEYS[0]


def test_two_stores_take_turns(sent: SmallLab, in_memory: StoresInMemory, slow_clock: Clock) -> None:
    """A store is not left out because another one takes all the time there is."""
    in_memory.add(OTHER)
    assert sent.upload("e", OTHER, encrypt=True).status is ExitStatus.DONE
    asked_at: set[str] = set()
    for _ in range(8):
        asked_at |= {e.store or "" for e in sent.verify(max_duration="12s").items(action="verify", status="done")}
    assert asked_at == {URL, OTHER}


def test_listing_goes_on_behind_the_subject_where_time_was_up(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    lists: list[str] = []
    real = MemoryStore.list

    def noted(self: MemoryStore, prefix: str = "") -> object:
        if prefix in CODES:
            lists.append(prefix)
        return real(self, prefix)

    monkeypatch.setattr(MemoryStore, "list", noted)
    clock = Clock(step=0.9)
    monkeypatch.setattr(VerifyRequest, "deadline", lambda _self: Deadline(4, clock))
    for _ in range(2):
        sent.verify(max_duration="4s")
        clock.time = 0.0
    assert set(lists) == set(CODES)


@pytest.mark.parametrize(
    ("text", "seconds"), [("30m", 1800), ("2h", 7200), ("1h30m", 5400), (" 90S ", 90), ("1h5s", 3605)]
)
def test_durations(text: str, seconds: float) -> None:
    assert seconds_of(text) == seconds


@pytest.mark.parametrize("text", ["", "0m", "30", "h", "2d", "-1h", "1m2h", "2h two", "٣h"])
def test_what_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        seconds_of(text)


@pytest.mark.parametrize(
    "wishes", [{"sample": 0}, {"sample": 101}, {"sample": -3}, {"max_age_days": -1}, {"max_duration": "soon"}]
)
def test_wishes_that_mean_nothing(sent: SmallLab, wishes: dict[str, object]) -> None:
    assert sent.verify(**wishes).status is ExitStatus.USAGE


def test_no_object_is_begun_that_would_not_be_read_in_time() -> None:
    time = [0.0]
    deadline = Deadline(100, lambda: time[0])
    assert deadline.has_time_for("nas", 10**15)  # nobody knows how fast the store is
    deadline.note("nas", 100 << 20, 10)
    assert deadline.has_time_for("nas", 900 << 20)
    assert not deadline.has_time_for("nas", 1100 << 20)
    assert deadline.has_time_for("cloud", 1100 << 20)
    time[0] = 95
    assert not deadline.has_time_for("nas", 100 << 20)
    assert deadline.has_time_for("nas", 1000)
    assert not deadline.is_over()
    time[0] = 100
    assert deadline.is_over()
    assert not deadline.has_time_for("nas", 1)
    assert Deadline(None).has_time_for("nas", 10**15)


# --sample


def candidates(count: int, *, of: Callable[[int], tuple[str, str, int]]) -> list[Candidate]:
    """Return candidates with (day, path, size)."""
    return [
        Candidate(n, day and f"{day}T00:00:00Z", size, "a store", "video", path)
        for n in range(count)
        for day, path, size in [of(n)]
    ]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["", "2026-01-01", "2026-01-02"]),
            st.sampled_from(["a.avi", "b.erd", "c.snc"]),
            st.integers(0, 1000),
        ),
        max_size=60,
    ),
    st.floats(0.5, 100),
)
def test_a_sample_is_large_enough_old_enough_and_of_every_kind(
    rows: list[tuple[str, str, int]], percent: float
) -> None:
    of = candidates(len(rows), of=lambda n: rows[n])
    chosen = choose(of, percent, random.Random(1))
    ids = {one.copy_id for one in chosen}
    assert len(ids) == len(chosen)
    assert len(ids) * 100 >= len(of) * percent
    assert sum(of[i].size for i in ids) * 100 >= sum(c.size for c in of) * percent - 1e-6
    assert {c.path for c in of} == {of[i].path for i in ids}
    kinds = {c.path for c in of}
    left = [c.looked_at for c in of if c.copy_id not in ids]
    # but for the last of each kind, nothing was left out that is older than what was taken
    taken = sorted(of[i].looked_at for i in ids)
    assert not left or not taken[: len(taken) - len(kinds)] or min(left) >= taken[: len(taken) - len(kinds)][-1]


def test_a_sample_can_be_drawn_again_and_another_seed_draws_another_one() -> None:
    of = candidates(200, of=lambda _n: ("", "x.avi", 5))
    first, again, other = (choose(of, 5, random.Random(seed)) for seed in (7, 7, 8))
    assert first == again
    assert first != other
    assert len(first) == 10


def test_a_sample_of_every_subject_at_every_store(sent: SmallLab, in_memory: StoresInMemory) -> None:
    in_memory.add(OTHER)
    sent.upload("e", OTHER, encrypt=True)
    ended = sent.verify(deep=True, sample=34, seed=11)
    assert ended.status is ExitStatus.DONE
    done = ended.items(action="verify", status="done")
    assert {(item.subject, item.store) for item in done} == {(code, url) for code in CODES for url in (URL, OTHER)}
    assert len(done) == 8  # two of three each: a third and a little of the files and of the bytes
    assert any("--seed 11" in item.message for item in ended.items(action="verify", status="note"))
    # what was never read comes first
    again = sent.verify(deep=True, sample=30, seed=12)
    assert not {(i.store, i.key) for i in again.items(action="verify", status="done")} & {
        (i.store, i.key) for i in done
    }


def test_a_sample_finds_what_it_reads(sent: SmallLab, store: MemoryStore) -> None:
    for k in KEYS:
        overwrite(store, k, bytes_in(store, k)[:-1] + b"!", truthful=False)
    ended = sent.verify(deep=True, sample=1)
    assert ended.status is ExitStatus.VERIFY_FAILED
    assert ended.counts["bad"] == 2  # one of each subject


# pages


@pytest.mark.parametrize("wishes", [{}, {"subject": CODES[0]}, {"sample": 100}, {"max_age_days": 1}])
def test_page_after_page(sent: SmallLab, wishes: dict[str, object], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verify_planning, "_PAGE", 2)
    date(sent, 3)
    ended = sent.verify(**wishes)
    expected = KEYS[:3] if "subject" in wishes else KEYS
    assert sorted(asked(ended)) == expected


def test_a_store_without_checksums_that_shows_another_etag(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    """The token of another write of ours could have been copied along: only a full read tells."""
    store = in_memory.add(URL, Forgetful(URL))
    for number in (1, 2):
        small_lab.edf(number=number)
    small_lab.upload("e", URL, encrypt=True)
    first = key(CODES[0], 1)
    info, data = store._objects[first]  # type: ignore[attr-defined]
    from dataclasses import replace

    store._objects[first] = (replace(info, etag="another"), data)  # type: ignore[attr-defined]
    assert small_lab.verify(max_age_days=1).status is ExitStatus.VERIFY_FAILED
    assert "only a full read" in (small_lab.copy(first).bad_reason or "")
    assert small_lab.verify(deep=True).status is ExitStatus.DONE
    assert small_lab.verify().status is ExitStatus.DONE
    assert verify_request.VerifyRequest().is_limited is False
