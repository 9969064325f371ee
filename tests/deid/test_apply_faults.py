"""apply on disks that refuse, fill up, change under our hands, or are another file system."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    LockedError,
    NoSpaceError,
    SourceUnreadableError,
)
from ecogsafe.deid.apply import apply_plan, continue_journal
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Mode
from ecogsafe.deid.layout import open_marker
from tests.deid.bench import MODES, Bench
from tests.deid.faulty_disk import Crash, Power, PoweredDisk, RefusingDisk
from tests.deid.small_export import (
    CODE,
    SECRET,
    clean,
    snapshot,
    uncleaned,
    write,
)


@pytest.mark.parametrize("mode", MODES)
def test_a_file_changed_after_the_journal_is_left(bench: Bench, mode: Mode) -> None:
    victim = bench.root / "Quxley_6.edf"

    class Late(PoweredDisk):
        def make_folder(self, path: Path, mode: int) -> None:
            victim.write_bytes(b"A" * victim.stat().st_size)
            super().make_folder(path, mode)

    outcome = bench.apply(mode, disk=Late(Power(), foreign=bench.out if mode is Mode.ACROSS else None))
    assert len(outcome.done) == 9 and outcome.statuses == {ExitStatus.SOURCE_CHANGED}
    assert set(victim.read_bytes()) == {ord("A")}
    bench.undo()
    assert set(victim.read_bytes()) == {ord("A")} and not snapshot(bench.out)


def test_a_name_taken_at_the_last_moment_is_not_replaced(bench: Bench) -> None:
    place = bench.out / "edf" / f"{CODE}_edf" / f"{CODE}_3.edf"
    before = snapshot(bench.root)["Quxley_6.edf"]

    class Late(PoweredDisk):
        def open_to_patch(self, path: Path) -> int:
            write(place, b"somebody else's")
            return super().open_to_patch(path)

    outcome = bench.apply(disk=Late(Power()))
    assert outcome.statuses == {ExitStatus.PARTIAL} and [n.reason for n in outcome.not_done] == ["the name is taken"]
    assert place.read_bytes() == b"somebody else's" and snapshot(bench.root)["Quxley_6.edf"] == before


@pytest.mark.parametrize("done", [False, True])
def test_after_an_error_of_a_move_the_disk_is_asked(bench: Bench, done: bool) -> None:
    disk = RefusingDisk("rename", lambda name: name.endswith("Quxley_6.edf"), done=done)
    before = snapshot(bench.root)["Quxley_6.edf"]
    outcome = bench.apply(disk=disk)
    assert len(outcome.done) == (10 if done else 9)
    if not done:
        assert snapshot(bench.root) == {"Quxley_6.edf": before}


@pytest.mark.parametrize("method", ["write_at", "set_mode", "set_times", "sync"])
def test_a_refused_step_puts_the_file_back(bench: Bench, method: str) -> None:
    before = snapshot(bench.root)["Quxley_6.edf"]
    outcome = bench.apply(disk=RefusingDisk(method, lambda name: name.endswith("Quxley_6.edf"), times=1))
    assert len(outcome.done) == 9 and outcome.statuses == {ExitStatus.PARTIAL}
    assert snapshot(bench.root) == {"Quxley_6.edf": before}


@pytest.mark.parametrize("mode", MODES)
def test_a_disk_that_refuses_for_good_leaves_the_journal_open(bench: Bench, mode: Mode) -> None:
    before = snapshot(bench.root)
    with pytest.raises(SourceUnreadableError) as caught:
        bench.apply(mode, disk=RefusingDisk("sync_folder", lambda name: "_edf" in name))
    assert "Quxley" not in str(caught.value) and caught.value.__cause__ is None
    name = bench.journals.open_id(CODE)
    assert name is not None and open_marker(bench.out, CODE).exists()
    with pytest.raises(LockedError):
        bench.apply(mode)
    assert len(continue_journal(name, journals=bench.journals, events=bench.heard).done) == 10
    bench.undo()
    assert snapshot(bench.root) == before


@pytest.mark.parametrize("mode", MODES)
def test_a_full_disk_stops_and_goes_on_later(bench: Bench, mode: Mode) -> None:
    class Full(PoweredDisk):
        budget = 12

        def write_at(self, fd: int, data: Any, offset: int) -> None:
            self.budget -= 1
            if self.budget < 0:
                raise OSError(errno.ENOSPC, "full")
            super().write_at(fd, data, offset)

    foreign = bench.out if mode is Mode.ACROSS else None
    before = snapshot(bench.root)
    with pytest.raises(EcogsafeError) as caught:
        disk = Full(Power(), foreign=foreign)
        disk.budget = 5
        bench.apply(mode, disk=disk)
    assert caught.value.exit_status == ExitStatus.PARTIAL and not uncleaned(bench.out)
    name = bench.journals.open_id(CODE)
    assert name is not None
    assert len(continue_journal(name, journals=bench.journals, events=bench.heard).done) == 10
    bench.undo()
    assert snapshot(bench.root) == before


def test_a_plan_without_room_does_not_begin(bench: Bench) -> None:
    class Small(PoweredDisk):
        def free_bytes(self, path: Path) -> int:
            return 1000

    for mode in MODES:
        with pytest.raises(NoSpaceError):
            bench.apply(mode, disk=Small(Power(), foreign=bench.out if mode is Mode.ACROSS else None))
    assert not bench.journals.ids(CODE)


def test_stop_ends_between_segments_and_goes_on(bench: Bench) -> None:
    answers = iter([False, True])
    with pytest.raises(InterruptedRunError):
        bench.apply(stop=lambda: next(answers))
    name = bench.journals.open_id(CODE)
    assert name is not None and len(snapshot(bench.root)) == 5
    outcome = continue_journal(name, journals=bench.journals, events=bench.heard)
    assert len(outcome.done) == 10 and not snapshot(bench.root)


def test_a_marker_of_another_home_locks(bench: Bench) -> None:
    open_marker(bench.out, CODE).write_text("abcd1234-0001-ffffffff\n")
    with pytest.raises(LockedError):
        bench.apply()
    assert len(snapshot(bench.root)) == 10 and not bench.journals.ids(CODE)


def test_a_marker_that_outlived_its_journal_goes(bench: Bench) -> None:
    done = bench.apply()
    bench.undo()
    open_marker(bench.out, CODE).write_text(f"{done.journal}\n")
    assert len(bench.apply().done) == 10 and not open_marker(bench.out, CODE).exists()


def test_across_keeps_the_sources_of_a_segment_that_is_not_whole(bench: Bench) -> None:
    disk = PoweredDisk(Power(), foreign=bench.out)
    real = disk.create

    def create(path: Path, mode: int = 0o600) -> int:
        if path.name.endswith("_0000.avi.part") and f"{CODE}_2" in path.name:
            raise OSError(errno.EIO, "no")
        return real(path, mode)

    disk.create = create  # type: ignore[method-assign]
    outcome = bench.apply(Mode.ACROSS, disk=disk)
    kept = set(snapshot(bench.root))
    assert kept == {
        "Quxley_1/Quxley_1.eeg",
        "Quxley_1/Quxley_1.erd",
        "Quxley_1/Quxley_1_0000.AVI",
        "Quxley_1/Decimated/Quxley_1.erd",
    }
    assert outcome.statuses == {ExitStatus.PARTIAL} and len(outcome.done) == 9


def test_a_real_other_file_system_is_crossed(bench: Bench) -> None:
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == bench.root.stat().st_dev:
        pytest.skip("no second file system here")
    import tempfile

    before = snapshot(bench.root)
    with tempfile.TemporaryDirectory(dir=memory) as folder:
        bench.out = Path(folder)
        outcome = bench.apply(disk=Disk())
        assert outcome.journal and bench.journals.read(outcome.journal).mode is Mode.ACROSS
        assert not snapshot(bench.root) and len(snapshot(bench.out)) == 10
        bench.undo(disk=Disk())
        assert snapshot(bench.root) == before and not list(bench.out.iterdir())


def test_every_sync_comes_before_what_relies_on_it(bench: Bench) -> None:
    power = Power()
    bench.apply(disk=PoweredDisk(power))
    steps = [(t[0], t[1] if len(t) > 1 else "") for t in power.trace]
    renames = [i for i, (what, _) in enumerate(steps) if what == "rename"]
    assert len(renames) == 10
    for i in renames:
        source = steps[i][1]
        writes = [j for j, s in enumerate(steps) if s in (("write_at", source), ("set_times", source))]
        syncs = [j for j, s in enumerate(steps) if s == ("sync", source)]
        assert max(writes) < max(syncs) < i
        target = power.trace[i][2]
        for folder in (str(Path(source).parent), str(Path(target).parent)):
            assert any(s == ("sync_folder", folder) for s in steps[i:])


def test_a_file_that_grows_while_it_is_patched_gets_its_bytes_back(bench: Bench) -> None:
    victim = bench.root / "Quxley_6.edf"
    before = victim.read_bytes()

    class Growing(PoweredDisk):
        def write_at(self, fd: int, data: Any, offset: int) -> None:
            super().write_at(fd, data, offset)
            if offset == 0 and os.fstat(fd).st_ino == victim.stat().st_ino and victim.stat().st_size == len(before):
                with victim.open("ab") as file:
                    file.write(b"more")

    outcome = bench.apply(disk=Growing(Power()))
    assert outcome.statuses == {ExitStatus.SOURCE_CHANGED} and len(outcome.done) == 9
    assert victim.read_bytes() == before + b"more"


def test_a_file_that_changes_while_it_is_looked_at_is_left(bench: Bench) -> None:
    victim = bench.root / "Quxley_6.edf"

    def slow(kind: Any, file: Any, stem: str) -> Any:
        patches = list(clean(kind, file, stem))
        if os.fstat(file.fileno()).st_ino == victim.stat().st_ino:
            victim.chmod(0o600)
        return patches

    outcome = bench.apply(clean=slow)
    assert [n.reason for n in outcome.not_done] == ["changed since the plan"]


def test_a_hard_link_made_after_the_plan_is_noticed(bench: Bench, tmp_path: Path) -> None:
    class Linking(PoweredDisk):
        def make_folder(self, path: Path, mode: int) -> None:
            if not (tmp_path / "other").exists():
                os.link(bench.root / "Quxley_6.edf", tmp_path / "other")
            super().make_folder(path, mode)

    outcome = bench.apply(disk=Linking(Power()))
    assert outcome.statuses == {ExitStatus.SOURCE_CHANGED} and SECRET in (tmp_path / "other").read_bytes()


def test_the_marker_stands_while_a_cut_run_is_continued(bench: Bench) -> None:
    power = Power(at=0)
    with pytest.raises(Crash):
        bench.apply(disk=PoweredDisk(power))
    name = bench.journals.open_id(CODE)
    assert name is not None and not open_marker(bench.out, CODE).exists()
    seen: list[bool] = []

    class Watching(Disk):
        def rename(self, source: Path, target: Path) -> None:
            seen.append(open_marker(bench.out, CODE).exists())
            super().rename(source, target)

    continue_journal(name, journals=bench.journals, events=bench.heard, disk=Watching())
    assert seen == [True] * 10 and not open_marker(bench.out, CODE).exists()


def test_two_runs_that_begin_at_once_do_not_both(bench: Bench) -> None:
    class Slow(PoweredDisk):
        def free_bytes(self, path: Path) -> int:
            open_marker(bench.out, CODE).write_text("abcd1234-0001-ffffffff\n")
            return super().free_bytes(path)

    with pytest.raises(LockedError):
        bench.apply(disk=Slow(Power()))
    assert len(snapshot(bench.root)) == 10 and bench.journals.open_id(CODE) is None


def test_another_users_files_are_left_with_a_hint(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    outcome = bench.apply()
    assert outcome.journal is None and all("--copy" in n.reason for n in outcome.not_done)
    assert outcome.statuses == {ExitStatus.PARTIAL}


def test_a_link_in_place_of_a_source_is_not_followed(bench: Bench, tmp_path: Path) -> None:
    plan = bench.export.plan(bench.out)
    victim = bench.root / "Quxley_6.edf"
    victim.rename(tmp_path / "elsewhere.edf")
    victim.symlink_to(tmp_path / "elsewhere.edf")
    outcome = apply_plan(plan, out=bench.out, journals=bench.journals, clean=clean, events=bench.heard)
    assert len(outcome.done) == 9 and SECRET in (tmp_path / "elsewhere.edf").read_bytes()


@pytest.mark.parametrize("mode", MODES)
def test_what_a_cut_run_gave_up_stays_given_up_until_the_next_plan(bench: Bench, mode: Mode) -> None:
    answers = iter([False, True])
    part = "_1_0000.avi.part" if mode is not Mode.IN_PLACE else "Quxley_2_0000.avi"
    disk = RefusingDisk("rename", lambda name: name.endswith(part))
    disk.mount_of = bench.disk(mode).mount_of  # type: ignore[method-assign]
    with pytest.raises(InterruptedRunError):
        bench.apply(mode, disk=disk, stop=lambda: next(answers))
    name = bench.journals.open_id(CODE)
    assert name is not None and len(bench.journals.marks(name).left) == 1
    outcome = continue_journal(name, journals=bench.journals, events=bench.heard)
    assert len(outcome.done) == 9 and [n.reason for n in outcome.not_done][:1] == ["given up by an earlier run"]
    assert (bench.root / "Quxley_2" / "Quxley_2_0000.avi").exists()
