"""apply and undo on a real disk: what moves, what is left, what is refused, and that undo gives back all."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import (
    EcogsafeError,
    ExitStatus,
    InterruptedRunError,
    LockedError,
    MalformedFileError,
    NoSpaceError,
    PlanConflictError,
    SourceUnreadableError,
    UsageError,
)
from ecogsafe.core.events import Item
from ecogsafe.deid.apply import ApplyOptions, apply_plan, continue_journal
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import JournalKind, Mode
from ecogsafe.deid.journal_files import JournalFolder
from ecogsafe.deid.layout import open_marker
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.undo import newest_standing, undo_apply
from tests.deid.faulty_disk import Crash, Power, PoweredDisk, RefusingDisk
from tests.deid.small_export import (
    CODE,
    SECRET,
    Heard,
    SmallExport,
    clean,
    journal_folder,
    snapshot,
    uncleaned,
    write,
)

MODES = [Mode.IN_PLACE, Mode.COPY, Mode.ACROSS]


class Bench:
    """One export, one OUT, one home."""

    def __init__(self, base: Path) -> None:
        self.root, self.out = base / "Quxley export", base / "out"
        self.root.mkdir()
        self.out.mkdir()
        self.export = SmallExport(self.root)
        self.journals: JournalFolder = journal_folder(base / "journals")
        self.heard = Heard()
        self.export.study("Quxley_2", 1)
        self.export.study(
            "Quxley_1", 9, ["Quxley_1.eeg", "Quxley_1.erd", "Quxley_1_0000.AVI", "Decimated/Quxley_1.erd"]
        )
        self.export.recording("Quxley_7.EDF", 1.0003)
        self.export.recording("Quxley_6.edf", 30)
        (self.root / "Quxley_7.EDF").chmod(0o604)
        os.utime(self.root, ns=(5_000_000_111, 6_000_000_222))

    def disk(self, mode: Mode) -> Disk:
        return PoweredDisk(Power(), foreign=self.out if mode is Mode.ACROSS else None)

    def apply(self, mode: Mode = Mode.IN_PLACE, disk: Disk | None = None, **more: Any) -> Outcome:
        options = more.pop("options", ApplyOptions(copy=mode is Mode.COPY))
        plan = self.export.plan(self.out, copy=options.copy)
        return apply_plan(
            plan,
            out=self.out,
            journals=self.journals,
            clean=more.pop("clean", clean),
            events=self.heard,
            options=options,
            disk=disk or self.disk(mode),
            **more,
        )

    def undo(self, disk: Disk | None = None, **more: Any) -> Outcome:
        return undo_apply(CODE, journals=self.journals, events=self.heard, disk=disk, **more)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


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


def test_nothing_private_in_events_or_errors(bench: Bench) -> None:
    bench.apply(disk=RefusingDisk("rename", lambda name: name.endswith("_0000.avi")))
    bench.undo(disk=RefusingDisk("restore_folder", lambda name: True, number=errno.EACCES))
    assert "Quxley" not in bench.heard.text() and SECRET.decode() not in bench.heard.text()
    assert any(isinstance(e, Item) and e.status == "note" for e in bench.heard.events)


def test_a_file_still_being_written_is_left_and_joins_later(bench: Bench) -> None:
    clip = bench.root / "Quxley_2" / "Quxley_2_0000.avi"
    late = clip.stat().st_mtime + 10
    now = datetime.fromtimestamp(late, UTC)
    os.utime(bench.root / "Quxley_6.edf", (1, 1))
    for path in bench.root.rglob("*"):
        if path.is_file() and path != clip:
            os.utime(path, (1, 1))
    outcome = bench.apply(now=lambda: now)
    assert outcome.statuses == {ExitStatus.SOURCE_CHANGED} and len(outcome.done) == 9
    assert [n.path for n in outcome.not_done] == [clip] and clip.exists()
    assert bench.apply(now=lambda: now + timedelta(seconds=51)).statuses == set()


def test_a_settle_of_zero_takes_everything(bench: Bench) -> None:
    write(bench.root / "Quxley_2" / "Quxley_2.ent", b"fresh", when_ns=int(datetime.now(UTC).timestamp() * 1e9) - 10**9)
    assert len(bench.apply(options=ApplyOptions(settle_s=0)).done) == 11


def test_a_file_changed_since_the_plan_is_left(bench: Bench) -> None:
    plan = bench.export.plan(bench.out)
    (bench.root / "Quxley_6.edf").write_bytes(b"grown" * 200)
    (bench.root / "Quxley_7.EDF").unlink()
    outcome = apply_plan(plan, out=bench.out, journals=bench.journals, clean=clean, events=bench.heard)
    assert len(outcome.done) == 8 and outcome.statuses == {ExitStatus.SOURCE_CHANGED}
    assert (bench.root / "Quxley_6.edf").read_bytes() == b"grown" * 200


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


def test_what_has_no_recipe_stays_and_is_told(bench: Bench) -> None:
    def picky(kind: Any, file: Any, stem: str) -> Any:
        if stem.endswith("_2"):
            raise MalformedFileError("a file", "it is no AVI")
        return clean(kind, file, stem)

    outcome = bench.apply(clean=picky)
    assert len(outcome.done) == 6 and outcome.statuses == {ExitStatus.NOT_UNDERSTOOD}
    assert len(snapshot(bench.root)) == 4 and not uncleaned(bench.out)


@pytest.mark.parametrize("bad", ["overlap", "beyond", "other"])
def test_a_recipe_that_contradicts_itself_touches_nothing(bench: Bench, bad: str) -> None:
    from ecogsafe.formats.regions import Patch

    patches = {
        "overlap": [Patch(0, b"SECR", b"xxxx"), Patch(3, b"RE", b"xx")],
        "beyond": [Patch(10**6, b"a", b"b")],
        "other": [Patch(1, b"zzz", b"xxx")],
    }[bad]
    before = snapshot(bench.root)
    outcome = bench.apply(clean=lambda kind, file, stem: patches)
    assert outcome.journal is None and outcome.statuses == {ExitStatus.NOT_UNDERSTOOD}
    assert snapshot(bench.root) == before


def test_conflicts_change_nothing(bench: Bench) -> None:
    write(bench.root / "Quxley_2" / "Quxley_2_0000.AVI", b"again")
    before = snapshot(bench.root)
    with pytest.raises(PlanConflictError):
        bench.apply()
    assert snapshot(bench.root) == before and not bench.journals.ids(CODE)


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


def test_out_must_be_a_folder_beside_the_export(bench: Bench, tmp_path: Path) -> None:
    plan = bench.export.plan(bench.out)
    inside = bench.root / "out"
    inside.mkdir()
    link = tmp_path / "elsewhere"
    (bench.out / "edf").symlink_to(tmp_path)
    for out in (tmp_path / "missing", inside, bench.root, bench.out):
        with pytest.raises(UsageError):
            apply_plan(plan, out=out, journals=bench.journals, clean=clean, events=bench.heard)
    assert not link.exists() and not bench.journals.ids(CODE)


def test_write_protected_sources_are_patched_and_get_their_mode_back(bench: Bench) -> None:
    for path in bench.root.rglob("*.e*"):
        path.chmod(0o444)
    before = snapshot(bench.root)
    bench.apply()
    assert {mode for _, mode, _ in snapshot(bench.out).values()} == {0o640, 0o600}
    bench.undo()
    assert snapshot(bench.root) == before


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


def test_native_content_can_be_kept(bench: Bench) -> None:
    outcome = bench.apply(options=ApplyOptions(keep_native_content=True))
    native = [e for e in outcome.done if e.kind in ("eeg", "erd")]
    assert len(native) == 6 and not any(e.patches for e in native)
    assert all(e.patches for e in outcome.done if e.kind in ("avi", "edf"))


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
    renames = {Path(step[1]).name: i for i, step in enumerate(trace) if step[0] == "rename"}
    unlinks = [i for i, step in enumerate(trace) if step[0] == "unlink" and "ecogsafe-open" not in step[1]]
    assert len(unlinks) == 10
    for i in unlinks:
        before = [j for name, j in renames.items() if name.endswith(f"-{Path(trace[i][1]).name}.part") and j < i]
        folder = str(Path(trace[max(before)][2]).parent)
        assert ("sync_folder", folder) in trace[max(before) : i]


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


def test_undo_of_copies_compares_every_byte(bench: Bench) -> None:
    bench.apply(Mode.COPY)
    copy = bench.out / "edf" / f"{CODE}_edf" / f"{CODE}_3.edf"
    state = copy.stat()
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    os.utime(copy, ns=(state.st_atime_ns, state.st_mtime_ns))
    outcome = bench.undo()
    assert [n.place for n in outcome.not_done] == [f"edf/{CODE}_edf/{CODE}_3.edf"] and copy.exists()


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
