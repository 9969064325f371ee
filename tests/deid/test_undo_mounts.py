"""undo where the disk that the files came from is not mounted, or another one is."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from ecogsafe.core.errors import InterruptedRunError, UsageError
from ecogsafe.deid.apply import continue_journal
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.export_place import check_export
from ecogsafe.deid.journal import JournalKind, Mode, from_json, to_json
from tests.deid.bench import Bench
from tests.deid.faulty_disk import Power, PoweredDisk
from tests.deid.small_export import CODE, snapshot


class OtherDisk(PoweredDisk):
    """What lies at or below ``mount``, but for the mount point itself being bare, is another file system."""

    def __init__(self, mount: Path, *, foreign: Path | None) -> None:
        super().__init__(Power(), foreign=foreign)
        self.mount = mount

    def lstat(self, path: Path) -> os.stat_result | None:
        state = super().lstat(path)
        if state is None or not path.is_relative_to(self.mount):
            return state
        fields = (*state[:2], state.st_dev + 1, *state[3:10])
        times = ("st_atime", "st_mtime", "st_ctime", "st_atime_ns", "st_mtime_ns", "st_ctime_ns")
        return os.stat_result(fields, {name: getattr(state, name) for name in times})


def _vanished(bench: Bench) -> Path:
    """Unmount EXPORT: what was there is elsewhere, and its mount point is an empty folder."""
    kept = bench.root.with_name("the disk in a drawer")
    bench.root.rename(kept)
    bench.root.mkdir()
    return kept


@pytest.mark.parametrize("mode", [Mode.IN_PLACE, Mode.ACROSS])
def test_undo_builds_nothing_on_a_bare_mount_point(bench: Bench, mode: Mode) -> None:
    before = snapshot(bench.root)
    bench.apply(mode)
    moved = snapshot(bench.out)
    kept = _vanished(bench)
    with pytest.raises(UsageError, match="not mounted") as refused:
        bench.undo(bench.disk(mode))
    assert "below OUT" in refused.value.safe and f"deid undo {CODE}" in refused.value.next
    assert "Quxley" not in str(refused.value)
    assert list(bench.root.iterdir()) == [], "undo built the tree on the bare mount point"
    assert snapshot(bench.out) == moved
    assert len(bench.journals.ids(CODE)) == 1, "the refused undo left a journal"
    # the disk is mounted again
    bench.root.rmdir()
    kept.rename(bench.root)
    assert bench.undo(bench.disk(mode)).statuses == set()
    assert snapshot(bench.root) == before


def test_undo_builds_nothing_where_the_whole_path_went_with_the_disk(bench: Bench) -> None:
    bench.apply(Mode.ACROSS)
    kept = _vanished(bench)
    bench.root.rmdir()
    with pytest.raises(UsageError, match="not mounted"):
        bench.undo(OtherDisk(bench.root.parent, foreign=bench.out))
    assert not bench.root.exists()
    kept.rename(bench.root)
    assert bench.undo(bench.disk(Mode.ACROSS)).statuses == set()


def test_a_disk_that_got_another_number_at_a_reboot_is_still_the_disk(bench: Bench) -> None:
    before = snapshot(bench.root)
    bench.apply(Mode.ACROSS)
    (bench.root / "Quxley_2").rmdir()
    assert bench.undo(OtherDisk(bench.root, foreign=bench.out)).statuses == set()
    assert snapshot(bench.root) == before


def test_a_cut_undo_goes_on_in_folders_that_it_made_again(bench: Bench) -> None:
    before = snapshot(bench.root)
    bench.apply(Mode.ACROSS)
    for name in ("Quxley_1/Decimated", "Quxley_1", "Quxley_2"):
        (bench.root / name).rmdir()
    with pytest.raises(InterruptedRunError):
        bench.undo(bench.disk(Mode.ACROSS), stop=iter([False, False, True]).__next__)
    (name,) = [i for i in bench.journals.ids(CODE) if bench.journals.read(i).kind is JournalKind.UNDO]
    kept = _vanished(bench)
    with pytest.raises(UsageError, match="not mounted"):
        other = OtherDisk(bench.root, foreign=bench.out)
        continue_journal(name, journals=bench.journals, events=bench.heard, disk=other)
    assert list(bench.root.iterdir()) == []
    bench.root.rmdir()
    kept.rename(bench.root)
    continue_journal(name, journals=bench.journals, events=bench.heard, disk=bench.disk(Mode.ACROSS))
    assert snapshot(bench.root) == before


def test_a_journal_that_knows_no_inodes_goes_by_the_file_system(bench: Bench) -> None:
    bench.apply(Mode.ACROSS)
    (name,) = bench.journals.ids(CODE)
    journal = bench.journals.read(name)
    record = json.loads(to_json(journal))
    del record["export_inode"]
    for folder in record["source_folders"]:
        del folder["inode"]
    older = from_json(json.dumps(record).encode())
    assert older.export_inode is None and {f.inode for f in older.source_folders} == {None}
    check_export(Disk(), older, older.entries)
    with pytest.raises(UsageError, match="not mounted"):
        check_export(OtherDisk(bench.root, foreign=None), older, older.entries)
