"""A worker as its parent's messages drive it, in this process: what it keeps, and what it lets go of."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe

import pytest

from ecogsafe.transfer.file_order import FileOrder
from ecogsafe.transfer.messages import Begin, Drop, End, Forget, Pack, Results, Send, WasMade
from ecogsafe.transfer.packing import Going, Job, Made
from ecogsafe.transfer.worker import _Worker

from .bench import IDENTITY, SMALL, Bench
from .test_stalls_and_bugs import Hanging
from .test_workers import folder_place


@dataclass
class Driven:
    worker: _Worker
    parent: Connection
    jobs: list[Job]
    store_id: str
    keys: list[str]

    def pack(self, number: int) -> None:
        self.parent.send(Pack(number, self.jobs))
        heard = self.parent.recv()
        assert isinstance(heard, WasMade)
        assert [type(one) for one in heard.made] == [Made] * len(self.jobs)
        assert number in self.worker._packed

    def going(self) -> list[Going]:
        return [Going(n, True, self.store_id, key, f"{n:032x}", None) for n, key in enumerate(self.keys)]

    def send(self, number: int) -> None:
        self.parent.send(Send(number, self.going()))
        self.hear_results(number, len(self.keys))

    def hear_results(self, number: int, left: int) -> None:
        while left:
            heard = self.parent.recv()
            assert isinstance(heard, Results)
            assert heard.number == number
            left -= len(heard.results)


@pytest.fixture
def driven(bench: Bench) -> Iterator[Driven]:
    place = folder_place(bench, "a")
    assert place.order is not None
    paths = [str(bench.write(f"{n:04}", bench.data(300))) for n in range(5)]
    jobs = [Job(FileOrder(bench.root, path, path), SMALL, (True,)) for path in paths]
    parent, theirs = Pipe()
    worker = _Worker(theirs, Begin([IDENTITY.recipient], {place.store_id: place.order}, 2))
    worker.open()
    running = threading.Thread(target=worker.run)
    running.start()
    yield Driven(worker, parent, jobs, place.store_id, [f"{path}.age" for path in paths])
    parent.send(End())
    running.join(10)
    assert not running.is_alive()
    parent.close()
    theirs.close()


def until(what: Callable[[], bool], told: str) -> None:
    began = time.monotonic()
    while not what():
        assert time.monotonic() - began < 10, told
        time.sleep(0.005)


def test_what_could_not_be_announced_is_let_go_of(driven: Driven) -> None:
    """A catalogue on a full disk takes nothing: what was sealed for it must not pile up in the workers."""
    for number in range(1, 4):
        driven.pack(number)
    driven.parent.send(Forget(2))
    driven.parent.send(Forget(3))
    driven.parent.send(Forget(3))
    until(lambda: driven.worker._packed.keys() == {1}, "the worker keeps what will never be sent")
    # the other one is none the worse
    driven.send(1)
    until(lambda: driven.worker._packed == {}, "the worker keeps what was sent")


def test_what_was_answered_is_told_though_every_thread_of_the_store_hangs(
    driven: Driven, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two threads hang and two files wait for them: the first one stands there, and is no longer waited for."""
    for module in ("packing", "worker"):
        monkeypatch.setattr(f"ecogsafe.transfer.{module}.TELL_EVERY_S", 0.1)
    hanging = driven.worker._stores[driven.store_id] = Hanging("memory://1", after=1)
    driven.pack(1)
    driven.parent.send(Send(1, driven.going()))
    told = driven.parent.poll(10)
    hanging.go.set()
    assert told, "what was answered is kept back"
    heard = driven.parent.recv()
    assert isinstance(heard, Results)
    driven.hear_results(1, len(driven.keys) - len(heard.results))


def test_a_word_about_what_is_through_harms_nothing(driven: Driven) -> None:
    driven.pack(1)
    driven.send(1)
    until(lambda: driven.worker._packed == {}, "the worker keeps what was sent")
    driven.parent.send(Drop(1, frozenset({0})))
    driven.parent.send(Forget(1))
    driven.pack(2)
