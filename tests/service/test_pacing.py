"""Uploads and downloads that share the line, keep to the night, and end cleanly when credentials do."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest

from ecogsafe.catalog import runs
from ecogsafe.core.errors import ExitStatus, StoreCredentialsError
from ecogsafe.core.events import Item, Progress
from ecogsafe.service import pacing
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.limited import Limited, Rate
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.pace import Pace
from tests.service.small_lab import URL, SmallLab, StoresInMemory

NOON = datetime(2026, 7, 1, 19, 0, tzinfo=UTC)
ZONE = 'time_zone = "America/Los_Angeles"\n'


@pytest.fixture
def clips(small_lab: SmallLab) -> SmallLab:
    """Six clips of two subjects; the site is in Seattle."""
    small_lab.home.config.write_text(ZONE)
    for code in ("abcd1234", "bcde2345"):
        for index in (1, 2, 3):
            small_lab.avi(code, 1, index)
    return small_lab


class Wall:
    """The clock on the wall; noon in Seattle."""

    at = NOON

    def __call__(self) -> datetime:
        return self.at


@pytest.fixture
def wall(monkeypatch: pytest.MonkeyPatch) -> Wall:
    clock = Wall()
    monkeypatch.setattr(pacing, "Pace", partial(Pace, now=clock, look_every_s=0.01))
    return clock


def when(fact: Callable[[], object], then: Callable[[], object]) -> threading.Thread:
    """Do ``then`` once ``fact`` holds."""

    def work() -> None:
        began = time.monotonic()
        try:
            while not fact() and time.monotonic() - began < 10:
                time.sleep(0.01)
        finally:
            then()

    thread = threading.Thread(target=work)
    thread.start()
    return thread


def current_run(lab: SmallLab) -> runs.RunRow:
    with lab.reading() as tx:
        return runs.recent_runs(tx, 1)[0]


def is_waiting(lab: SmallLab) -> bool:
    with lab.reading() as tx:
        return any(run.waiting for run in runs.recent_runs(tx, 1))


def test_an_upload_at_noon_waits_for_the_evening(clips: SmallLab, store: MemoryStore, wall: Wall) -> None:
    seen: list[runs.RunRow] = []

    sent_at_noon: list[ObjectInfo] = []

    def evening() -> None:
        time.sleep(0.2)
        sent_at_noon.extend(store.list())
        try:
            seen.append(current_run(clips))
        finally:
            wall.at = NOON + timedelta(hours=6)

    waiting = when(lambda: is_waiting(clips), evening)
    ended = clips.upload("v", URL, between="18:00-06:00")
    waiting.join()
    assert ended.status is ExitStatus.DONE
    assert not sent_at_noon and len(list(store.list())) == 6
    assert seen[0].waiting == "waiting until 18:00"
    notes = [e.message for e in ended.events if isinstance(e, Item) and e.action == "wait"]
    assert notes[0] == "waiting until 18:00" and len(notes) == 2
    assert current_run(clips).waiting == ""


def test_ctrl_c_while_waiting_ends_130_at_once(clips: SmallLab, store: MemoryStore, wall: Wall) -> None:
    stop = threading.Event()
    waiting = when(lambda: is_waiting(clips), stop.set)
    began = time.monotonic()
    ended = clips.upload("v", URL, between="18:00-06:00", stop=stop)
    waiting.join()
    assert ended.status is ExitStatus.INTERRUPTED and time.monotonic() - began < 10
    assert not list(store.list())


def test_in_the_evening_nothing_waits(clips: SmallLab, store: MemoryStore, wall: Wall) -> None:
    wall.at = NOON + timedelta(hours=8)
    ended = clips.upload("v", URL, between="18:00-06:00")
    assert ended.status is ExitStatus.DONE and not ended.items(action="wait")


def test_a_download_waits_too(clips: SmallLab, store: MemoryStore, wall: Wall) -> None:
    assert clips.upload("v", URL).status is ExitStatus.DONE
    waiting = when(lambda: is_waiting(clips), lambda: setattr(wall, "at", NOON + timedelta(hours=6)))
    ended = clips.download(URL, between="18:00-06:00")
    waiting.join()
    assert ended.status is ExitStatus.DONE
    assert next(e.message for e in ended.items(action="wait")) == "waiting until 18:00"


@pytest.mark.parametrize(
    "wish", [{"limit_rate": "fast"}, {"between": "always"}, {"between": "18:00-18:00"}, {"limit_rate": "20"}]
)
def test_what_cannot_be_understood_ends_2_before_anything(clips: SmallLab, store: MemoryStore, wish: Any) -> None:
    for ended in (clips.upload("v", URL, **wish), clips.download(URL, **wish)):
        assert ended.status is ExitStatus.USAGE
    assert not list(store.list("_ecogsafe/"))


def test_a_limited_upload_and_download_take_their_time(
    clips: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = MemoryStore(URL)
    rates: list[Rate | None] = []

    def opened(url: str, *, rate: Rate | None = None, **_options: Any) -> Store:
        rates.append(rate)
        return Limited(inner, rate) if rate is not None else inner

    monkeypatch.setattr(in_memory, "open", opened)
    monkeypatch.setattr("ecogsafe.service.connections.open_store", opened)
    size = 30_000
    clips.write("video/abcd1234/abcd1234_1/abcd1234_1_0009.avi", clips.avi("abcd1234", 9).read_bytes() + bytes(size))
    for run in (clips.upload, clips.download):
        began = time.monotonic()
        ended = run("v", URL, limit_rate="60K") if run == clips.upload else run(URL, limit_rate="60K")
        assert ended.status is ExitStatus.DONE
        assert time.monotonic() - began > size / 60_000 * 0.9
    assert {rate.bytes_per_s for rate in rates if rate is not None} == {60_000}


def expired() -> StoreCredentialsError:
    return StoreCredentialsError(
        URL,
        "the credentials have expired (ExpiredToken)",
        safe="What was sent is kept",
        next="get new ones (such as aws sso login), then run the same command again: it goes on where it stopped",
    )


def test_credentials_that_expire_are_told_once_and_what_was_sent_is_kept(
    clips: SmallLab, in_memory: StoresInMemory
) -> None:
    """aws-cli#4863: one failure for each of ten thousand files hides what happened."""
    inner = MemoryStore(URL)
    # the id of the store and two clips, then no more
    in_memory.add(URL, Faulty(inner, {"put": [None, None, None, *[Fault(error=expired())] * 99]}))
    ended = clips.upload("v", URL, jobs=1)
    assert ended.status is ExitStatus.STORE and isinstance(ended.error, StoreCredentialsError)
    assert "What was sent is kept" in str(ended.error) and "same command again" in str(ended.error)
    assert not ended.errors(), "told for a file, too"
    assert len(list(inner.list())) == 2
    in_memory.add(URL, inner)
    again = clips.upload("v", URL)
    assert again.status is ExitStatus.DONE
    assert again.run is not None and (again.run.tally.done, again.run.tally.present) == (4, 2)


def test_files_already_there_are_counted_apart(clips: SmallLab, store: MemoryStore) -> None:
    assert clips.upload("v", URL, exclude=("*_0003.avi",)).status is ExitStatus.DONE
    ended = clips.upload("v", URL)
    last = [e for e in ended.events if isinstance(e, Progress)][-1]
    assert (last.files_present, last.files_done, last.files_total) == (4, 2, 2)
    assert last.bytes_present > 0 and last.bytes_done <= (last.bytes_total or 0)
    assert (current_run(clips).files_present, current_run(clips).files_done) == (4, 2)


class Skewed(MemoryStore):
    """A store whose clock is ``behind`` ours."""

    behind = timedelta()

    def _now(self, info: ObjectInfo) -> ObjectInfo:
        now = datetime.now(UTC)
        return replace(info, checked_at=now, store_date=now - self.behind)

    def head(self, key: str, *, checksum: bool = False) -> ObjectInfo | None:
        info = MemoryStore.head(self, key)
        return self._now(info) if info else None

    def put(self, key: str, body: Any, **options: Any) -> ObjectInfo:
        return self._now(MemoryStore.put(self, key, body, **options))


@pytest.mark.parametrize(
    ("behind_s", "words"),
    [(0, None), (299, None), (-299, None), (301, "5 min ahead of"), (-7200, "120 min behind")],
)
def test_clocks_that_are_apart_are_told_once(
    clips: SmallLab, in_memory: StoresInMemory, behind_s: int, words: str | None
) -> None:
    store = Skewed(URL)
    store.behind = timedelta(seconds=behind_s)
    in_memory.add(URL, store)
    for _ in range(2):
        ended = clips.upload("v", URL)
        assert ended.status is ExitStatus.DONE
        told = [e.message for e in ended.items(action="clock-check")]
        assert len(told) == (0 if words is None else 1)
        assert words is None or words in told[0]
    row = clips.copy("abcd1234/abcd1234_1/abcd1234_1_0001.avi.age")
    assert row.store_date is not None and row.stored_at
