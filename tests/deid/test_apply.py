"""apply on a real disk: what moves, what is left and why, and what is refused before anything begins."""

from __future__ import annotations

import errno
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import (
    ExitStatus,
    MalformedFileError,
    PlanConflictError,
    UsageError,
)
from ecogsafe.core.events import Item
from ecogsafe.deid.apply import ApplyOptions, apply_plan
from ecogsafe.deid.planned import ExistingSegment
from tests.deid.bench import Bench
from tests.deid.faulty_disk import RefusingDisk
from tests.deid.small_export import (
    CODE,
    SECRET,
    clean,
    snapshot,
    uncleaned,
    write,
)


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


def test_native_content_can_be_kept(bench: Bench) -> None:
    outcome = bench.apply(options=ApplyOptions(keep_native_content=True))
    native = [e for e in outcome.done if e.kind in ("eeg", "erd")]
    assert len(native) == 6 and not any(e.patches for e in native)
    assert all(e.patches for e in outcome.done if e.kind in ("avi", "edf"))


def test_a_clip_left_for_its_age_moves_under_the_old_number_next_time(bench: Bench) -> None:
    clip = bench.root / "Quxley_2" / "Quxley_2_0000.avi"
    now = datetime.now(UTC)
    os.utime(clip, (now.timestamp(), now.timestamp()))
    first = bench.export.plan(bench.out)
    assert len(bench.apply().done) == 9
    folders = bench.journals.study_folders(CODE)
    assert folders == {1: {bench.root / "Quxley_2"}, 2: {bench.root / "Quxley_1"}}
    existing = [
        ExistingSegment(
            number=s.number,
            parts=s.parts,
            published=frozenset(s.parts),
            folders=folders.get(s.number, frozenset()),
        )
        for s in first.segments
    ]
    plan = bench.export.plan(bench.out, existing=existing)
    later = apply_plan(
        plan,
        out=bench.out,
        journals=bench.journals,
        clean=clean,
        events=bench.heard,
        now=lambda: now + timedelta(seconds=61),
    )
    assert [e.place for e in later.done] == [f"video/{CODE}/{CODE}_1/{CODE}_1_0000.avi"] and not later.not_done
