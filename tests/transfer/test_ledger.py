"""Durable notes in batches."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager
from functools import partial
from pathlib import Path

import pytest

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog, Transaction
from ecogsafe.catalog.failures import ITEM
from ecogsafe.core.errors import EcogsafeError, LockedError, NoSpaceError
from ecogsafe.transfer.ledger import Ledger

from .bench import Bench


@pytest.fixture
def ledger(bench: Bench) -> Ledger:
    return Ledger(bench.catalog)


def _hold_up(ledger: Ledger, opened: threading.Event) -> Future[None]:
    """Keep the writer in a commit until ``opened``."""
    begun = threading.Event()

    def write(tx: Transaction) -> None:
        begun.set()
        assert opened.wait(10)

    future = ledger.submit(write)
    assert begun.wait(10)
    return future


def test_writes_that_wait_share_a_commit(bench: Bench, ledger: Ledger) -> None:
    opened = threading.Event()
    inside: list[object] = []
    first = _hold_up(ledger, opened)

    def note(number: int) -> int:
        def write(tx: Transaction) -> int:
            meta.set(tx, f"n{number}", str(number))
            inside.append(id(tx))
            return number

        return ledger.record(write)

    with ThreadPoolExecutor(40) as pool:
        waiting = [pool.submit(note, number) for number in range(40)]
        while ledger._queue.qsize() < 40:
            time.sleep(0.001)
        opened.set()
        commits = [future.result() for future in waiting]
    first.result()
    ledger.close()
    assert commits == list(range(40))
    assert len(set(inside)) == 1
    with bench.catalog.read() as tx:
        assert [meta.get(tx, f"n{n}") for n in range(40)] == [str(n) for n in range(40)]


@pytest.mark.parametrize("failure", [ValueError("no"), SystemExit(3)])
def test_one_bad_write_does_not_fail_its_neighbours(bench: Bench, ledger: Ledger, failure: BaseException) -> None:
    opened = threading.Event()
    _hold_up(ledger, opened)

    def bad(tx: Transaction) -> None:
        meta.set(tx, "bad", "half")
        raise failure

    before = ledger.submit(lambda tx: meta.set(tx, "before", "1"))
    wrong = ledger.submit(bad)
    after = ledger.submit(lambda tx: meta.set(tx, "after", "2"))
    opened.set()
    before.result()
    after.result()
    with pytest.raises(type(failure)):
        wrong.result()
    assert ledger.record(lambda tx: meta.get(tx, "before")) == "1"
    ledger.close()
    with bench.catalog.read() as tx:
        assert [meta.get(tx, name) for name in ("before", "bad", "after")] == ["1", None, "2"]


@pytest.mark.parametrize(
    ("failure", "tries"),
    [(LockedError(ITEM, "another run is writing to it"), 2), (NoSpaceError(ITEM, "its disk is full"), 1)],
)
def test_what_the_catalogue_itself_refuses_is_not_tried_entry_by_entry(
    bench: Bench, ledger: Ledger, monkeypatch: pytest.MonkeyPatch, failure: EcogsafeError, tries: int
) -> None:
    """Each try on a catalogue that somebody keeps locked takes half a minute."""
    opened = threading.Event()
    _hold_up(ledger, opened)
    waiting = [ledger.submit(lambda tx, n=n: meta.set(tx, f"n{n}", "yes")) for n in range(20)]  # type: ignore[misc]
    tried: list[int] = []

    def refuse() -> AbstractContextManager[Transaction]:
        tried.append(1)
        raise failure

    monkeypatch.setattr(bench.catalog, "write", refuse)
    opened.set()
    assert [future.exception(timeout=5) for future in waiting] == [failure] * 20
    assert len(tried) == tries
    monkeypatch.undo()
    ledger.record(lambda tx: meta.set(tx, "after", "yes"))
    ledger.close()


def test_a_batch_that_was_refused_once_is_written_as_a_whole(
    bench: Bench, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = threading.Event()
    _hold_up(ledger, opened)
    waiting = [ledger.submit(lambda tx, n=n: meta.set(tx, f"n{n}", "yes")) for n in range(20)]  # type: ignore[misc]
    write, tried = bench.catalog.write, list[int]()

    def refuse_once() -> AbstractContextManager[Transaction]:
        tried.append(1)
        if len(tried) == 1:
            raise LockedError(ITEM, "another run is writing to it")
        return write()

    monkeypatch.setattr(bench.catalog, "write", refuse_once)
    opened.set()
    for future in waiting:
        future.result(timeout=5)
    ledger.close()
    assert len(tried) == 2


@pytest.mark.parametrize("number", [0, 1])
def test_a_lock_that_one_write_met_is_its_own(bench: Bench, ledger: Ledger, number: int) -> None:
    """Such as an upload that another run has taken over: the others are written."""
    opened = threading.Event()
    _hold_up(ledger, opened)

    def taken(tx: Transaction) -> None:
        raise LockedError("upload", "another run has taken it over")

    waiting = [ledger.submit(taken if n == number else partial(meta.set, name=f"n{n}", value="yes")) for n in range(3)]
    opened.set()
    failed = [n for n, future in enumerate(waiting) if future.exception(timeout=5) is not None]
    ledger.close()
    assert failed == [number]


def test_a_closed_ledger_refuses_instead_of_hanging(ledger: Ledger) -> None:
    last = ledger.submit(lambda tx: meta.set(tx, "last", "1"))
    ledger.close()
    ledger.close()
    last.result(timeout=0)
    assert ledger.read(lambda tx: meta.get(tx, "last")) == "1"
    with pytest.raises(RuntimeError, match="closed"):
        ledger.record(lambda tx: None)


_CHILD = """
import os, signal, sys
from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.transfer.ledger import Ledger
ledger = Ledger(Catalog.open(sys.argv[1]))
for name in ("a", "b"):
    ledger.record(lambda tx: meta.set(tx, name, "kept"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_recorded_survives_a_kill(bench: Bench) -> None:
    path: Path = bench.catalog_path
    child = subprocess.run([sys.executable, "-c", _CHILD, str(path)], check=False)
    assert child.returncode == -signal.SIGKILL
    with Catalog.open(path) as catalog, catalog.read() as tx:
        assert [meta.get(tx, name) for name in ("a", "b", "c")] == ["kept", "kept", None]


def test_writes_that_may_wait_share_a_commit_and_one_that_may_not_ends_the_wait(
    bench: Bench, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ecogsafe.transfer.ledger.SOON_S", 30.0)
    patient = [ledger.submit(lambda tx, n=n: meta.set(tx, f"n{n}", "yes"), may_wait=True) for n in range(3)]  # type: ignore[misc]
    time.sleep(0.05)
    assert not any(future.done() for future in patient)
    ledger.record(lambda tx: meta.set(tx, "now", "yes"))
    assert all(future.done() for future in patient)
    last = ledger.submit(lambda tx: meta.set(tx, "last", "yes"), may_wait=True)
    ledger.close()
    assert last.done()
    with bench.catalog.read() as tx:
        assert [meta.get(tx, name) for name in ("n0", "n2", "now", "last")] == ["yes"] * 4


def test_a_write_that_may_wait_is_carried_out_though_nobody_comes(ledger: Ledger) -> None:
    ledger.submit(lambda tx: meta.set(tx, "alone", "yes"), may_wait=True).result(timeout=5)
    ledger.close()


def test_rows_of_one_kind_that_wait_are_written_together_and_overtake_nothing(bench: Bench, ledger: Ledger) -> None:
    opened = threading.Event()
    _hold_up(ledger, opened)
    seen: list[object] = []

    def odd(tx: Transaction, rows: Sequence[int]) -> None:
        seen.append(("odd", *rows))

    def even(tx: Transaction, rows: Sequence[int]) -> None:
        seen.append(("even", *rows))

    before = [ledger.submit_row(odd if n % 2 else even, n) for n in range(4)]
    between = ledger.submit(lambda tx: seen.append("between"))
    after = [ledger.submit_row(odd, n) for n in (5, 7)]
    opened.set()
    for future in (*before, between, *after):
        future.result(timeout=5)
    ledger.close()
    assert seen == [("even", 0, 2), ("odd", 1, 3), "between", ("odd", 5, 7)]


def test_a_bad_row_fails_alone(bench: Bench, ledger: Ledger) -> None:
    opened = threading.Event()
    _hold_up(ledger, opened)

    def write(tx: Transaction, rows: Sequence[str]) -> None:
        for row in rows:
            meta.set(tx, row, "there")
            if row == "bad":
                raise ValueError(row)

    futures = [ledger.submit_row(write, row) for row in ("one", "bad", "two")]
    opened.set()
    assert [futures[0].result(timeout=5), futures[2].result(timeout=5)] == [None, None]
    with pytest.raises(ValueError, match="bad"):
        futures[1].result(timeout=5)
    ledger.close()
    with bench.catalog.read() as tx:
        assert [meta.get(tx, row) for row in ("one", "bad", "two")] == ["there", None, "there"]
