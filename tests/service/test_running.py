"""One run: its leases, its heartbeat, its end; and who counts as dead."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager

import pytest
from sqlalchemy import func, select

from ecogsafe.catalog import files, leases, runs, subjects
from ecogsafe.catalog.database import Transaction
from ecogsafe.catalog.files import SeenFile
from ecogsafe.catalog.schema import touched
from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    LockedError,
    NoSpaceError,
    StoreUnreachableError,
    VerificationError,
    WrongPasswordError,
    worst,
)
from ecogsafe.core.events import Progress
from ecogsafe.service import owner, running
from ecogsafe.service.running import Run, raise_if_all_failed
from tests.service.small_lab import CODES, SmallLab

CODE = CODES[0]


def other_owner() -> str:
    """An owner of this machine whose process lives: not ours, and not dead."""
    return owner.owner_here("someone-else")


def take(small: SmallLab, name: str, who: str, *, shared: bool = False) -> None:
    with small.writing() as tx:
        leases.acquire(tx, name, who, 60, shared=shared)


def held(small: SmallLab) -> list[str]:
    with small.reading() as tx:
        return [held.name for c in CODES for held in leases.holders(tx, f"subject:{c}")]


# leases on subjects


def test_shared_and_exclusive(small_lab: SmallLab) -> None:
    take(small_lab, f"subject:{CODE}", other_owner(), shared=True)
    assert small_lab.run("a", lambda run: run.hold_subject(CODE, shared=True)).status is ExitStatus.DONE
    ended = small_lab.run("b", lambda run: run.hold_subject(CODE, shared=False))
    assert ended.status is ExitStatus.LOCKED
    assert ended.error is not None
    assert ended.error.item == CODE
    assert small_lab.run("c", lambda run: run.hold_subject(CODES[1], shared=False)).status is ExitStatus.DONE


def test_an_exclusive_lease_keeps_uploads_of_that_subject_away(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    take(small_lab, f"subject:{CODE}", other_owner())
    assert small_lab.upload("v").status is ExitStatus.LOCKED
    assert small_lab.stored() == []
    assert small_lab.upload("v", folder=small_lab.out / "video" / CODES[1]).status is ExitStatus.DONE


def test_leases_end_with_the_run_however_it_ends(small_lab: SmallLab) -> None:
    def fails(run: Run) -> None:
        run.hold_subject(CODE, shared=False)
        raise NoSpaceError("home", "is full")

    assert small_lab.run("a", fails).status is ExitStatus.PARTIAL
    assert held(small_lab) == []
    with small_lab.reading() as tx:
        assert leases.holders(tx, running.RUN_LEASE) == []
        (row,) = runs.recent_runs(tx)
    assert row.exit_status == ExitStatus.PARTIAL
    assert row.ended_at is not None


def test_a_lease_of_a_dead_process_is_free_at_once(small_lab: SmallLab) -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    pid = process.pid
    machine, boot, _, _, _ = owner.owner_here("x").split("/")
    dead = f"{machine}/{boot}/{pid}/{owner._process_start(pid)}/x"
    assert not owner.is_dead(dead)
    take(small_lab, f"subject:{CODE}", dead)
    ended = small_lab.run("a", lambda run: run.hold_subject(CODE, shared=True))
    assert ended.status is ExitStatus.LOCKED
    process.communicate(b"\n")
    assert owner.is_dead(dead)
    ended = small_lab.run("a", lambda run: run.hold_subject(CODE, shared=False))
    assert ended.status is ExitStatus.DONE


def test_what_killed_runs_held_is_swept_by_the_next_run(small_lab: SmallLab) -> None:
    machine, boot, _, _, _ = owner.owner_here("x").split("/")
    # a process number that was given to somebody else meanwhile: another start time
    dead = f"{machine}/{boot}/{os.getpid()}/1/x"
    for name in (running.RUN_LEASE, "upload:abc", f"subject:{CODE}"):
        take(small_lab, name, dead, shared=True)
    small_lab.run("a", lambda run: None)
    with small_lab.reading() as tx:
        assert not any(leases.holders(tx, n) for n in (running.RUN_LEASE, "upload:abc", f"subject:{CODE}"))


def test_an_open_journal_stops_an_upload(small_lab: SmallLab) -> None:
    small_lab.two_subjects()
    with small_lab.writing() as tx:
        subjects.add_subject(tx, CODE)
        subjects.open_journal(tx, f"{CODE}-0001-00000000", subject=CODE, kind="apply", sha256="0" * 64)
    ended = small_lab.upload("v")
    assert ended.status is ExitStatus.LOCKED
    assert ended.error is not None
    assert "deid apply" in ended.error.next
    assert small_lab.stored() == []
    with small_lab.writing() as tx:
        subjects.close_journal(tx, f"{CODE}-0001-00000000")
    assert small_lab.upload("v").status is ExitStatus.DONE


def test_a_journal_opened_while_the_lease_is_taken_is_seen(
    small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An apply may begin, and be killed, between the walk and the lease."""
    small_lab.two_subjects()
    real = Run.hold_subject

    def hold(self: Run, code: str, *, shared: bool) -> None:
        with self.catalog.write() as tx:
            if subjects.subject(tx, code) is None:
                subjects.add_subject(tx, code)
                subjects.open_journal(tx, f"{code}-0001-00000000", subject=code, kind="apply", sha256="0" * 64)
        real(self, code, shared=shared)

    monkeypatch.setattr(Run, "hold_subject", hold)
    assert small_lab.upload("v").status is ExitStatus.LOCKED


# the heartbeat


@pytest.fixture
def fast_heart(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(running, "_HEARTBEAT_S", 0.02)
    yield


@pytest.mark.usefixtures("fast_heart")
def test_the_heartbeat_keeps_leases(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "LEASE_S", 1.5)

    def work(run: Run) -> None:
        run.hold_subject(CODE, shared=False)
        with run.catalog.write() as tx:
            leases.acquire(tx, "upload:abc", run.owner, 1.5, shared=False)
        run.stop.wait(2.5)
        with run.catalog.read() as tx:
            assert [h.owner for h in leases.holders(tx, f"subject:{CODE}")] == [run.owner]
            assert [h.owner for h in leases.holders(tx, "upload:abc")] == [run.owner]

    assert small_lab.run("a", work).status is ExitStatus.DONE


def test_what_was_changed_is_added_up_beside_other_work(small_lab: SmallLab) -> None:
    path = f"{CODE}/{CODE}_1/{CODE}_1_00001.avi"
    seen = SeenFile(tree="video", path=path, subject=CODE, segment=1, size=5, mtime_ns=1, inode=1, device=1)

    def work(run: Run) -> None:
        with run.catalog.write() as tx:
            files.upsert_file(tx, seen)
        run.add_up()
        deadline = time.monotonic() + running._SUMS_S / 2
        while True:
            with run.catalog.read() as tx:
                left = tx.execute(select(func.count()).select_from(touched)).scalar_one()
            if not left:
                return
            assert time.monotonic() < deadline, f"{left} changes wait for the end of the run"
            time.sleep(0.01)

    assert small_lab.run("a", work).status is ExitStatus.DONE


@pytest.mark.usefixtures("fast_heart")
@pytest.mark.parametrize("how", ["taken", "given back"])
def test_a_run_that_lost_its_lease_stops(small_lab: SmallLab, how: str) -> None:
    def work(run: Run) -> None:
        run.hold_subject(CODE, shared=False)
        with run.catalog.write() as tx:
            leases.release_all(tx, run.owner)
            if how != "given back":
                leases.acquire(tx, f"subject:{CODE}", other_owner(), 60, shared=False)
        assert run.stop.wait(30)
        run.check_stop(safe="")

    ended = small_lab.run("a", work)
    assert ended.status is ExitStatus.LOCKED
    assert ended.error is not None
    assert ended.error.item == CODE


@pytest.mark.usefixtures("fast_heart")
def test_the_lease_of_every_run_is_taken_again_after_a_long_sleep(small_lab: SmallLab) -> None:
    """Another run that began meanwhile swept it as expired; it protects nothing, so nothing is lost."""

    def work(run: Run) -> None:
        run.hold_subject(CODE, shared=False)
        with run.catalog.write() as tx:
            leases.release(tx, run._held[running.RUN_LEASE])
        # a disk may take its time over a heartbeat
        deadline = time.monotonic() + 30
        owners: list[str] = []
        while not owners and time.monotonic() < deadline:
            assert not run.stop.wait(0.05)
            with run.catalog.read() as tx:
                owners = [h.owner for h in leases.holders(tx, running.RUN_LEASE)]
        assert owners == [run.owner]

    assert small_lab.run("a", work).status is ExitStatus.DONE


@pytest.mark.usefixtures("fast_heart")
def test_a_lost_lease_is_told_even_if_the_work_went_through(small_lab: SmallLab) -> None:
    def work(run: Run) -> None:
        run.hold_subject(CODE, shared=False)
        with run.catalog.write() as tx:
            leases.release_all(tx, run.owner)
        assert run.stop.wait(30)

    assert small_lab.run("a", work).status is ExitStatus.LOCKED


@pytest.mark.usefixtures("fast_heart")
def test_a_lease_held_twice_is_not_lost(small_lab: SmallLab) -> None:
    def work(run: Run) -> None:
        run.hold_subject(CODE, shared=True)
        run.hold_subject(CODE, shared=False)
        assert not run.stop.wait(0.2)

    assert small_lab.run("a", work).status is ExitStatus.DONE


def test_a_lease_replaced_while_the_heartbeat_waits_to_write_is_not_lost(
    small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`verify --repair` lets go of a subject and takes it for itself alone; what the heartbeat knew is old then."""

    def work(run: Run) -> None:
        run.hold_subject(CODE, shared=True)
        write = run.catalog.write

        def write_after_the_other() -> AbstractContextManager[Transaction]:
            monkeypatch.undo()
            run.release_subject(CODE)
            run.hold_subject(CODE, shared=False)
            return write()

        monkeypatch.setattr(run.catalog, "write", write_after_the_other)
        run.renew_leases()
        assert not run.stop.is_set(), "the run stops itself: it takes its own lease for lost"
        # and now it is lost
        with run.catalog.write() as tx:
            leases.release_all(tx, run.owner)
        run.renew_leases()
        assert run.stop.is_set()

    assert small_lab.run("a", work).status is ExitStatus.LOCKED


@pytest.mark.usefixtures("fast_heart")
@pytest.mark.parametrize("lease_s", [0.1, 60.0])
def test_a_catalogue_that_cannot_be_written_for_long_counts_as_lost(
    small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch, lease_s: float
) -> None:
    def no_renewal(self: Run) -> None:
        raise LockedError("catalogue", "another run is writing to it")

    monkeypatch.setattr(running, "LEASE_S", lease_s)
    monkeypatch.setattr(Run, "renew_leases", no_renewal)
    waits = 5.0 if lease_s < 1 else 0.3
    ended = small_lab.run("a", lambda run: run.stop.wait(waits) and None)
    assert ended.status is (ExitStatus.LOCKED if lease_s < 1 else ExitStatus.DONE)


def test_progress_that_cannot_be_noted_harms_nothing(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_a: object, **_k: object) -> None:
        raise NoSpaceError("catalogue", "its disk is full")

    monkeypatch.setattr(runs, "update_run", full)
    progress = Progress(
        files_done=1, files_total=2, bytes_done=3, bytes_total=4, bytes_per_s=0.5, seconds_left=None, current=""
    )
    ended = small_lab.run("a", lambda run: run.tell(progress))
    assert ended.status is ExitStatus.DONE
    assert progress in ended.events


def test_only_one_run_at_a_time_on_a_network_file_system(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    take(small_lab, running.RUN_LEASE, other_owner(), shared=True)
    assert small_lab.run("a", lambda run: None).status is ExitStatus.DONE
    monkeypatch.setattr("ecogsafe.catalog.database.is_on_network", lambda _path: True)
    assert small_lab.run("a", lambda run: None).status is ExitStatus.LOCKED


# how runs end


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (LockedError("x", "y"), ExitStatus.PARTIAL),
        (StoreUnreachableError("x", "y"), ExitStatus.PARTIAL),
        (WrongPasswordError("x", "y"), ExitStatus.PARTIAL),
        (EcogsafeError("x", "y"), ExitStatus.PARTIAL),
        (VerificationError("x", "y"), ExitStatus.VERIFY_FAILED),
    ],
)
def test_one_failed_item_never_ends_0(small_lab: SmallLab, error: EcogsafeError, status: ExitStatus) -> None:
    assert small_lab.run("a", lambda run: run.fail(error)).status is status


def test_what_stops_a_run_decides() -> None:
    both = {ExitStatus.VERIFY_FAILED, ExitStatus.PARTIAL}
    assert worst(both) is ExitStatus.VERIFY_FAILED
    assert worst({*both, ExitStatus.IDENTIFIERS}) is ExitStatus.IDENTIFIERS
    assert worst(set()) is ExitStatus.DONE


def test_all_failed_in_one_way() -> None:
    store, key = StoreUnreachableError("x", "y"), WrongPasswordError("x", "y")
    with pytest.raises(StoreUnreachableError):
        raise_if_all_failed([store, store], 2)
    raise_if_all_failed([store], 2)
    raise_if_all_failed([store, key], 2)
    raise_if_all_failed([VerificationError("x", "y")] * 2, 2)
    raise_if_all_failed([], 0)


@pytest.mark.parametrize("stopped", [True, False])
def test_interrupted(small_lab: SmallLab, stopped: bool) -> None:
    stop = threading.Event()

    def work(run: Run) -> None:
        if stopped:
            stop.set()
        run.check_stop(safe="All is kept")

    ended = small_lab.run("a", work, stop=stop)
    assert ended.status is (ExitStatus.INTERRUPTED if stopped else ExitStatus.DONE)
    assert isinstance(ended.error, InterruptedRunError) == stopped


@pytest.mark.parametrize(("raised", "noted"), [(KeyboardInterrupt, 130), (ZeroDivisionError, 1)])
def test_the_end_is_noted_whatever_happens(small_lab: SmallLab, raised: type[BaseException], noted: int) -> None:
    def work(run: Run) -> None:
        raise raised

    with pytest.raises(raised):
        small_lab.run("a", work)
    with small_lab.reading() as tx:
        assert [row.exit_status for row in runs.recent_runs(tx)] == [noted]


def test_a_failure_is_not_hidden_by_one_of_noting_it(small_lab: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_a: object) -> None:
        raise NoSpaceError("catalogue", "its disk is full")

    monkeypatch.setattr(runs, "end_run", full)

    def work(run: Run) -> None:
        raise VerificationError("x", "is bad")

    assert isinstance(small_lab.run("a", work).error, VerificationError)
    assert isinstance(small_lab.run("a", lambda run: None).error, NoSpaceError)


# who is dead


def test_this_process_lives() -> None:
    assert not owner.is_dead(owner.owner_here())
    assert owner.word_of(owner.owner_here("abc")) == "abc"


def changed(**parts: str) -> str:
    names = ("machine", "boot", "pid", "start", "word")
    here = dict(zip(names, owner.owner_here("x").split("/"), strict=True))
    return "/".join({**here, **parts}.values())


@pytest.mark.parametrize("text", ["", "a/b/c", "host/boot/notanumber/1/x", "host/boot/1/1/x"])
def test_an_owner_nobody_knows_is_not_dead(text: str) -> None:
    assert not owner.is_dead(text)


def test_dead_for_certain() -> None:
    boot = owner.owner_here().split("/")[1]
    assert owner.is_dead(changed(start="1"))
    assert owner.is_dead(changed(pid=str(2**22 + 5)))
    assert owner.is_dead(changed(boot=f"0123456789ab~{boot.split('~')[1]}"))


def test_not_dead_for_certain() -> None:
    """Another machine of the same name, a container of the same name, a kernel that tells nothing."""
    boot = owner.owner_here().split("/")[1]
    assert not owner.is_dead(changed(machine="localhost", start="1"))
    assert not owner.is_dead(changed(boot=f"{boot.split('~')[0]}~99", start="1"))
    assert not owner.is_dead(changed(boot="unknown", start="1"))


def test_a_process_that_is_hidden_from_us_is_not_dead(monkeypatch: pytest.MonkeyPatch, tmp_path: object) -> None:
    """/proc mounted with hidepid shows only our own processes."""
    here = owner.owner_here()
    boot = owner._boot()

    def refused(_pid: int, _signal: int) -> None:
        raise PermissionError

    monkeypatch.setattr(owner, "_boot", lambda: boot)
    monkeypatch.setattr(owner, "_PROC", tmp_path)
    monkeypatch.setattr(owner.os, "kill", refused)
    assert not owner.is_dead(here)


def test_a_zombie_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    pid = child.pid
    start = owner._process_start(pid)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert owner.is_dead(changed(pid=str(pid), start=start or "1"))
    child.wait()
