"""undo on a real disk: all of it back, only what is still what apply left, never onto another file."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import (
    ExitStatus,
    InterruptedRunError,
    LockedError,
    UsageError,
)
from ecogsafe.deid.apply import apply_plan, continue_journal
from ecogsafe.deid.journal import JournalKind, Mode
from ecogsafe.deid.layout import open_marker
from ecogsafe.deid.undo import newest_standing
from tests.deid.bench import MODES, Bench
from tests.deid.faulty_disk import Power, PoweredDisk
from tests.deid.small_export import (
    CODE,
    SECRET,
    clean,
    snapshot,
    uncleaned,
    write,
)


def _folder_times(root: Path) -> dict[str, int]:
    return {str(p.relative_to(root)): p.stat().st_mtime_ns for p in [root, *root.rglob("*")] if p.is_dir()}


@pytest.mark.parametrize("mode", MODES)
def test_apply_lays_out_clean_files_and_undo_gives_back_every_byte(bench: Bench, mode: Mode) -> None:
    before, times = snapshot(bench.root), _folder_times(bench.root)
    outcome = bench.apply(mode)
    assert outcome.statuses == set() and len(outcome.done) == 10 and outcome.journal
    after = snapshot(bench.out)
    assert set(after) == {
        *(f"video/{CODE}/{CODE}_1/{CODE}_1{end}" for end in (".eeg", ".erd", "_001.erd", "_0000.avi")),
        *(f"video/{CODE}/{CODE}_2/{CODE}_2{end}" for end in (".eeg", ".erd", "_0000.avi")),
        f"video/{CODE}/{CODE}_2/Decimated/{CODE}_2.erd",
        f"edf/{CODE}_edf/{CODE}_1.edf",
        f"edf/{CODE}_edf/{CODE}_3.edf",
    }
    assert not uncleaned(bench.out) and not open_marker(bench.out, CODE).exists()
    data, file_mode, mtime = after[f"edf/{CODE}_edf/{CODE}_1.edf"]
    old_data, _, old_mtime = before["Quxley_7.EDF"]
    assert data == old_data.replace(SECRET, f"{CODE}_1"[:6].encode()) and mtime == old_mtime and file_mode == 0o600
    assert snapshot(bench.root) == (before if mode is Mode.COPY else {})
    assert bench.journals.read(outcome.journal).mode is mode
    assert bench.journals.marks(outcome.journal).ended

    back = bench.undo()
    assert back.statuses == set() and len(back.done) == 10
    assert snapshot(bench.root) == before and _folder_times(bench.root) == times
    assert list(bench.out.iterdir()) == []
    assert [bench.journals.read(i).kind for i in bench.journals.ids(CODE)] == [JournalKind.APPLY, JournalKind.UNDO]
    with pytest.raises(UsageError):
        bench.undo()


@pytest.mark.parametrize("mode", MODES)
def test_access_times_come_back_too(bench: Bench, mode: Mode) -> None:
    before = {p: p.stat().st_atime_ns for p in sorted(bench.root.rglob("*.e*"))}
    bench.apply(mode)
    bench.undo()
    assert {p: p.stat().st_atime_ns for p in before} == before


def test_apply_again_after_undo_is_the_same(bench: Bench) -> None:
    bench.apply()
    first = snapshot(bench.out)
    bench.undo()
    bench.apply()
    assert snapshot(bench.out) == first
    assert len(bench.undo().done) == 10


def test_a_cut_apply_can_be_undone_at_once(bench: Bench) -> None:
    before = snapshot(bench.root)
    answers = iter([False, False, True])
    with pytest.raises(InterruptedRunError):
        bench.apply(stop=lambda: next(answers))
    bench.undo()
    assert snapshot(bench.root) == before and bench.journals.open_id(CODE) is None
    assert not open_marker(bench.out, CODE).exists()


def test_a_cut_undo_must_be_continued(bench: Bench) -> None:
    before = snapshot(bench.root)
    bench.apply()
    answers = iter([False, True])
    with pytest.raises(InterruptedRunError):
        bench.undo(stop=lambda: next(answers))
    for again in (bench.undo, bench.apply):
        with pytest.raises(LockedError):
            again()
    name = bench.journals.open_id(CODE)
    assert name is not None
    continue_journal(name, journals=bench.journals, events=bench.heard)
    assert snapshot(bench.root) == before


@pytest.mark.parametrize("mode", MODES)
def test_undo_leaves_what_is_no_longer_what_apply_left(bench: Bench, mode: Mode) -> None:
    bench.apply(mode)
    edited = bench.out / "edf" / f"{CODE}_edf" / f"{CODE}_1.edf"
    edited.write_bytes(edited.read_bytes()[:-1] + b"!")
    freed = bench.out / "edf" / f"{CODE}_edf" / f"{CODE}_3.edf"
    freed.unlink()
    outcome = bench.undo()
    assert outcome.statuses == {ExitStatus.PARTIAL}
    assert edited.read_bytes().endswith(b"!") and len(outcome.done) == 8
    wanted = {edited.name} if mode is Mode.COPY else {edited.name, freed.name}
    assert {Path(n.place).name for n in outcome.not_done} == wanted
    if mode is not Mode.COPY:
        assert any("ecogsafe download" in n.reason for n in outcome.not_done)
    assert bench.undo().statuses == {ExitStatus.PARTIAL}


def test_undo_never_lands_on_an_existing_name(bench: Bench) -> None:
    bench.apply()
    write(bench.root / "Quxley_6.edf", b"a new one")
    outcome = bench.undo()
    assert (bench.root / "Quxley_6.edf").read_bytes() == b"a new one"
    assert [n.reason for n in outcome.not_done] == ["its old name is taken by another file"] and len(outcome.done) == 9


def test_undo_of_copies_keeps_the_only_copy(bench: Bench) -> None:
    bench.apply(Mode.COPY)
    (bench.root / "Quxley_6.edf").unlink()
    (bench.root / "Quxley_7.EDF").write_bytes(b"changed")
    outcome = bench.undo()
    assert {Path(n.place).name for n in outcome.not_done} == {f"{CODE}_3.edf", f"{CODE}_1.edf"}
    assert len(snapshot(bench.out)) == 2


def test_undo_makes_removed_source_folders_again(bench: Bench) -> None:
    before = snapshot(bench.root)
    (bench.root / "Quxley_2").chmod(0o711)
    bench.apply()
    (bench.root / "Quxley_1" / "Decimated").rmdir()
    for name in ("Quxley_1", "Quxley_2"):
        (bench.root / name).rmdir()
    bench.undo()
    assert snapshot(bench.root) == before and (bench.root / "Quxley_2").stat().st_mode & 0o777 == 0o711


def test_only_the_newest_apply_is_taken_back(bench: Bench) -> None:
    first = bench.apply()
    bench.export.recording("Quxley_late.edf", 50)
    plan = bench.export.plan(bench.out, existing=_existing_up_to(3))
    second = apply_plan(plan, out=bench.out, journals=bench.journals, clean=clean, events=bench.heard)
    assert [e.place for e in second.done] == [f"edf/{CODE}_edf/{CODE}_4.edf"]
    with pytest.raises(UsageError):
        bench.undo(only=first.journal)
    standing = newest_standing(CODE, journals=bench.journals)
    assert standing is not None and standing.id == second.journal
    assert len(bench.undo(only=second.journal).done) == 1
    assert len(bench.undo().done) == 10


def _existing_up_to(last: int) -> list[Any]:
    from ecogsafe.deid.planned import ExistingSegment

    return [ExistingSegment(number=n) for n in range(1, last + 1)]


def test_undo_leaves_out_durably_before_old_bytes_return(bench: Bench) -> None:
    bench.apply()
    power = Power()
    bench.undo(disk=PoweredDisk(power))
    for i, step in enumerate(power.trace):
        if step[0] == "rename":
            folder = str(Path(step[1]).parent)
            synced = next(j for j, s in enumerate(power.trace) if j > i and s == ("sync_folder", folder))
            writes = [j for j, s in enumerate(power.trace) if s == ("write_at", step[2])]
            assert writes and min(writes) > synced


def test_the_source_is_durable_again_before_its_copy_goes(bench: Bench) -> None:
    bench.apply(Mode.ACROSS)
    power = Power()
    bench.undo(disk=PoweredDisk(power, foreign=bench.out))
    trace = [tuple(map(str, step)) for step in power.trace]
    unlinks = [i for i, step in enumerate(trace) if step[0] == "unlink" and "ecogsafe-open" not in step[1]]
    assert len(unlinks) == 10
    for i in unlinks:
        part = f"-{Path(trace[i][1]).name}.part"
        before = [j for j, step in enumerate(trace[:i]) if step[0] == "rename" and step[1].endswith(part)]
        folder = str(Path(trace[max(before)][2]).parent)
        assert ("sync_folder", folder) in trace[max(before) : i]


def test_undo_of_copies_compares_every_byte(bench: Bench) -> None:
    bench.apply(Mode.COPY)
    copy = bench.out / "edf" / f"{CODE}_edf" / f"{CODE}_3.edf"
    state = copy.stat()
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    outcome = bench.undo()
    assert [n.place for n in outcome.not_done] == [f"edf/{CODE}_edf/{CODE}_3.edf"] and copy.exists()
