"""reidentify: the export again in another folder, byte for byte, from whatever apply left."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from ecogsafe.core.errors import (
    ExitStatus,
    InterruptedRunError,
    NoSpaceError,
    SourceUnreadableError,
    UsageError,
)
from ecogsafe.core.events import Item
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.journal import Mode
from ecogsafe.deid.outcome import Outcome
from ecogsafe.deid.reidentify import Reidentification
from ecogsafe.deid.reidentify_plan import Refused, check_folder, marker, standing, wanted_files
from tests.deid.bench import MODES, Bench
from tests.deid.faulty_disk import Crash, Power, PoweredDisk, RefusingDisk
from tests.deid.small_export import CODE, SECRET, Heard, Snapshot, snapshot, uncleaned


def _again(
    bench: Bench,
    folder: Path,
    *,
    disk: Disk | None = None,
    out: Path | None = None,
    stop: Callable[[], bool] = lambda: False,
) -> Outcome:
    files = wanted_files(standing(CODE, journals=bench.journals))
    place = check_folder(folder, CODE, [Refused(bench.out, "OUT")])
    work = Reidentification(
        code=CODE, files=files, folder=place, events=bench.heard, out=out, disk=disk or Disk(), stop=stop
    )
    return work.carry_out()


def _bytes_and_times(files: Snapshot) -> dict[str, tuple[bytes, int]]:
    return {name: (data, mtime_ns) for name, (data, _, mtime_ns) in files.items()}


@pytest.mark.parametrize("mode", MODES)
def test_names_bytes_and_times_are_those_of_the_export(bench: Bench, tmp_path: Path, mode: Mode) -> None:
    before = snapshot(bench.root)
    times = {p.relative_to(bench.root): p.stat().st_mtime_ns for p in bench.root.rglob("*") if p.is_dir()}
    bench.apply(mode)
    clean = snapshot(bench.out)
    bench.heard = Heard()
    outcome = _again(bench, tmp_path / "back")
    assert len(outcome.done) == 10 and not outcome.not_done
    back = tmp_path / "back"
    made = snapshot(back)
    assert _bytes_and_times(made) == _bytes_and_times(before)
    assert {m for _, m, _ in made.values()} == {0o600}
    assert {p.stat().st_mode & 0o7777 for p in [back, *back.rglob("*")] if p.is_dir()} == {0o700}
    if mode is not Mode.COPY:
        assert {p.relative_to(back): p.stat().st_mtime_ns for p in back.rglob("*") if p.is_dir()} == times
    assert snapshot(bench.out) == clean and not uncleaned(bench.out)
    told = bench.heard.text()
    assert SECRET.decode() not in told and "Quxley" not in told and str(back) not in told
    assert [e.status for e in bench.heard.events if isinstance(e, Item)] == ["done"] * 10


def test_what_is_not_as_apply_left_it_is_listed(bench: Bench, tmp_path: Path) -> None:
    before = snapshot(bench.root)
    bench.apply()
    video, edf = bench.out / f"video/{CODE}/{CODE}_1", bench.out / f"edf/{CODE}_edf"
    changed, touched, gone, link = (
        video / f"{CODE}_1.eeg",
        video / f"{CODE}_1.erd",
        edf / f"{CODE}_1.edf",
        edf / f"{CODE}_3.edf",
    )
    state = changed.stat()
    changed.write_bytes(changed.read_bytes()[:-1] + b"!")
    os.utime(touched)
    with touched.open("r+b") as file:
        # a region that apply patched holds something else, size and time are right
        patched = touched.read_bytes()
        file.write(b"XXXXXX")
    os.utime(touched, ns=(state.st_mtime_ns, state.st_mtime_ns))
    assert touched.read_bytes() != patched
    gone.unlink()
    link.rename(tmp_path / "elsewhere.edf")
    link.symlink_to(tmp_path / "elsewhere.edf")
    outcome = _again(bench, tmp_path / "back")
    assert len(outcome.done) == 6
    assert {n.place.rsplit("/", 1)[1]: n.reason.split(";")[0] for n in outcome.not_done} == {
        changed.name: "changed under OUT since apply",
        touched.name: "changed under OUT since apply",
        gone.name: "no longer under OUT",
        link.name: "changed under OUT since apply",
    }
    assert outcome.statuses == {ExitStatus.PARTIAL}
    made = _bytes_and_times(snapshot(tmp_path / "back"))
    assert made.items() <= _bytes_and_times(before).items() and len(made) == 6


def test_what_never_left_the_export_is_no_failure(bench: Bench, tmp_path: Path) -> None:
    asked: list[int] = []

    def after_the_first() -> bool:
        asked.append(1)
        return len(asked) > 1

    with pytest.raises(InterruptedRunError):
        bench.apply(stop=after_the_first)
    outcome = _again(bench, tmp_path / "back")
    assert len(outcome.done) == 5 and outcome.statuses == {ExitStatus.DONE}
    assert {n.reason for n in outcome.not_done} == {"stands in EXPORT as it was, and was not copied"}
    left = [e for e in bench.heard.events if isinstance(e, Item) and e.status == "left_behind"]
    assert len(left) == 5


def test_what_was_taken_back_is_not_made(bench: Bench, tmp_path: Path) -> None:
    before = snapshot(bench.root)
    bench.apply()
    bench.undo()
    assert standing(CODE, journals=bench.journals) == []
    bench.apply()
    assert len(_again(bench, tmp_path / "back").done) == 10
    assert _bytes_and_times(snapshot(tmp_path / "back")) == _bytes_and_times(before)


def test_two_exports_with_equal_names_do_not_mix(bench: Bench, tmp_path: Path) -> None:
    first = snapshot(bench.root)
    bench.apply()
    bench.export.recording("Quxley_7.EDF", 50, size=300)
    bench.export.recording("Quxley_9.EDF", 60)
    second = snapshot(bench.root)
    # without a catalogue the numbers begin at 1 again, hence another OUT
    bench.out = tmp_path / "out2"
    bench.out.mkdir()
    bench.apply()
    files = wanted_files(standing(CODE, journals=bench.journals))
    assert len({str(f.relative) for f in files}) == len(files) == 12
    work = Reidentification(code=CODE, files=files, folder=tmp_path / "back", events=bench.heard)
    assert not work.carry_out().not_done
    made = _bytes_and_times(snapshot(tmp_path / "back"))
    later = {name.removeprefix("apply-0002/"): v for name, v in made.items() if name.startswith("apply-0002/")}
    assert later == _bytes_and_times(second)
    assert {name: v for name, v in made.items() if not name.startswith("apply-")} == _bytes_and_times(first)


def test_an_out_that_moved_and_a_folder_that_download_filled(bench: Bench, tmp_path: Path) -> None:
    before = snapshot(bench.root)
    bench.apply()
    moved = tmp_path / "moved"
    bench.out.rename(moved)
    bench.out.mkdir()
    assert len(_again(bench, tmp_path / "nothing").not_done) == 10
    assert len(_again(bench, tmp_path / "back", out=moved).done) == 10
    flat = tmp_path / "flat"
    flat.mkdir()
    for tree in ("video", "edf"):
        for folder in (moved / tree).iterdir():
            folder.rename(flat / folder.name)
    assert len(_again(bench, tmp_path / "again", out=flat).done) == 10
    for name in ("back", "again"):
        assert _bytes_and_times(snapshot(tmp_path / name)) == _bytes_and_times(before)


def test_a_cut_at_every_step_leaves_out_alone_and_whole_files_only_and_goes_on(bench: Bench, tmp_path: Path) -> None:
    before = _bytes_and_times(snapshot(bench.root))
    bench.apply()
    clean = snapshot(bench.out)
    trial = Power()
    _again(bench, tmp_path / "whole", disk=PoweredDisk(trial))
    assert trial.count > 60
    for step in range(0, trial.count, 3):
        folder = tmp_path / f"back{step}"
        with pytest.raises(Crash):
            _again(bench, folder, disk=PoweredDisk(Power(at=step, when="torn")))
        named = {n: v for n, v in snapshot(folder).items() if ".ecogsafe-" not in n} if folder.exists() else {}
        assert _bytes_and_times(named).items() <= before.items()
        assert snapshot(bench.out) == clean
        if named and not marker(folder, CODE).exists():
            # the last step: everything stands already
            assert step > trial.count - 5
        else:
            assert not _again(bench, folder).not_done
        assert _bytes_and_times(snapshot(folder)) == before


def test_a_stop_is_heard_and_the_same_command_goes_on(bench: Bench, tmp_path: Path) -> None:
    bench.apply()
    calls = iter([False] * 4 + [True] * 99)
    with pytest.raises(InterruptedRunError) as stopped:
        _again(bench, tmp_path / "back", stop=lambda: next(calls))
    assert "Quxley" not in str(stopped.value)
    assert len([p for p in snapshot(tmp_path / "back") if ".ecogsafe" not in p]) == 4
    taken = tmp_path / "back" / "Quxley_6.edf"
    taken.write_bytes(b"another file")
    outcome = _again(bench, tmp_path / "back")
    assert [n.reason for n in outcome.not_done] == ["another file has its original name in DIR"]
    assert taken.read_bytes() == b"another file"


def test_room_is_looked_for_first_and_a_full_disk_ends_it(bench: Bench, tmp_path: Path) -> None:
    bench.apply()
    small = Disk()
    small.free_bytes = lambda path: 100  # type: ignore[method-assign]
    with pytest.raises(NoSpaceError, match="GB are free"):
        _again(bench, tmp_path / "back", disk=small)
    assert not (tmp_path / "back").exists()
    full = RefusingDisk("write_at", lambda name: "/back/" in name and "erd" in name, number=errno.ENOSPC)
    with pytest.raises(NoSpaceError, match="run the same command again") as error:
        _again(bench, tmp_path / "back", disk=full)
    assert "Quxley" not in str(error.value) and error.value.__cause__ is None
    assert not list((tmp_path / "back").rglob("*.part"))
    assert not _again(bench, tmp_path / "back").not_done


def test_a_file_that_cannot_be_read_or_written_is_listed(bench: Bench, tmp_path: Path) -> None:
    bench.apply()
    bad = RefusingDisk("open_to_read", lambda name: name.endswith(f"{CODE}_1.eeg"))
    outcome = _again(bench, tmp_path / "back", disk=bad)
    assert [n.reason for n in outcome.not_done] == [os.strerror(errno.EIO).lower()] and len(outcome.done) == 9
    refusing = RefusingDisk("create", lambda name: "reidentify" in name, number=errno.EROFS)
    with pytest.raises(SourceUnreadableError) as error:
        _again(bench, tmp_path / "other", disk=refusing)
    assert str(tmp_path) not in str(error.value) and error.value.__suppress_context__


def test_a_folder_where_names_must_not_stand_is_refused(bench: Bench, tmp_path: Path) -> None:
    bench.apply()
    shared = tmp_path / "shared"
    for name in ("repository/.git", "store/_ecogsafe", "full", "shared"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "store/_ecogsafe/store.json").write_text("{}")
    (tmp_path / "full/x").write_text("x")
    (tmp_path / "file").write_text("x")
    (tmp_path / "alias").symlink_to(bench.out)
    refused = [Refused(bench.out, "OUT"), Refused(shared, "a destination"), Refused(tmp_path / "unmounted", "a disk")]
    for name, words in {
        "out": "inside OUT",
        "out/new": "inside OUT",
        "alias/new": "inside OUT",
        "shared/deep/er": "inside a destination",
        "unmounted/x": "inside a disk",
        "repository/new": "git repository",
        "store/new": "inside a store",
        "full": "not empty",
        "file": "not a folder",
        "missing/new": "folder above it",
    }.items():
        with pytest.raises(UsageError, match=words) as error:
            check_folder(tmp_path / name, CODE, refused)
        assert str(tmp_path) not in str(error.value)
    assert check_folder(tmp_path / "new", CODE, refused) == tmp_path / "new"
    (tmp_path / "empty").mkdir()
    assert check_folder(tmp_path / "empty", CODE, refused) == tmp_path / "empty"
    (tmp_path / "empty").chmod(0o755)
    assert not _again(bench, tmp_path / "empty").not_done
    assert (tmp_path / "empty").stat().st_mode & 0o7777 == 0o700
    marker(tmp_path / "full", "b0000002").touch()
    with pytest.raises(UsageError, match="not empty"):
        check_folder(tmp_path / "full", CODE, refused)
