"""What comes later, again, or in pieces: it joins what is there, or is known as already there."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from ecogsafe.deid.planned import Part
from ecogsafe.synthetic.export import ExportScale, write_export
from tests.cli.conftest import SEED
from tests.cli.lab import Lab, Result
from tests.cli.trees import tree_state
from tests.service.looking import (
    cleared,
    journals,
    outbox,
    paths_of,
    residue,
    segments,
)

ALL_PARTS = tuple(sorted(p.value for p in Part))


def _apply(lab: Lab, *more: str | Path, status: int = 0, export: Path | None = None) -> Result:
    return lab.here("--json", "deid", "apply", export or lab.export, "--to", lab.out, *more, status=status)


def test_a_copy_leaves_the_export_and_is_recognised(handed_over: Lab) -> None:
    lab = handed_over
    before = tree_state(lab.export)
    lab.apply("a", "--copy")
    assert tree_state(lab.export) == before and residue(lab) == []
    again = _apply(lab, "--copy", "--identifiers", lab.identifiers("a"))
    there = again.of("item", action="plan", status="left_behind", message="already there")
    assert len(there) == 50 and again.summary["files"]["done"] == 0
    assert len(journals(lab, lab.codes["a"])) == 1


def test_a_second_export_of_the_same_is_already_there(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    second = lab.folder / "second"
    write_export(second, form="mixed", scale=ExportScale.tiny(), seed=SEED)
    before = tree_state(second), outbox(lab)
    done = _apply(lab, "--identifiers", lab.identifiers("a"), export=second)
    assert len(done.of("item", status="left_behind", message="already there")) == 50
    assert (tree_state(second), outbox(lab)) == before


def test_what_arrives_later_joins_its_segment(handed_over: Lab) -> None:
    lab = handed_over
    aside = lab.folder / "aside"
    aside.mkdir()
    recording, _ = paths_of(lab, "a", 2)
    _, study = paths_of(lab, "a", 3)
    for path in (recording, study):
        shutil.move(path, aside / path.name)
    lab.apply("a")
    code = lab.codes["a"]
    assert segments(lab, code)[1].kinds == ("snc-text", "study", "vtc-text")
    assert [row.number for row in segments(lab, code)] == [1, 2, 3]
    before = outbox(lab)
    later = lab.folder / "later"
    later.mkdir()
    for path in aside.iterdir():
        shutil.move(path, later / path.name)
    done = _apply(lab, "--identifiers", lab.identifiers("a"), export=later)
    added = outbox(lab) - before
    assert f"edf/{code}_edf/{code}_2.edf" in added and f"video/{code}/{code}_3/{code}_3_0001.avi" in added
    assert [row.kinds for row in segments(lab, code)] == [ALL_PARTS] * 3
    assert {e["segment"] for e in done.of("item", action="segment", status="planned")} == {2, 3}
    assert residue(lab) == []


def test_a_clip_that_was_still_written_joins_its_study(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "b", 2)
    clip = next(study.glob("*_0001.avi"))
    old = clip.stat()
    os.utime(clip)
    done = lab.apply("b", status=22)
    code = lab.codes["b"]
    assert clip.exists() and done.summary["files"]["left_behind"] >= 1
    place = f"video/{code}/{code}_2/{code}_2_0001.avi"
    assert place not in outbox(lab)
    os.utime(clip, ns=(old.st_atime_ns, old.st_mtime_ns))
    again = _apply(lab, "--identifiers", lab.identifiers("b"))
    assert place in outbox(lab) and not clip.exists()
    assert again.summary["files"]["done"] == 1 and len(segments(lab, code)) == 3
    assert {f"{t}/{p}" for t, p in cleared(lab, code)} == outbox(lab)


def test_another_recording_in_a_folder_of_the_same_name_is_another_segment(lab: Lab) -> None:
    write_export(lab.folder / "in", form="half-processed", scale=ExportScale.tiny(), seed=SEED)
    lab.export.mkdir(parents=True)
    first = next(p for p in (lab.folder / "in").rglob("Post_3") if p.is_dir())
    second = next(p for p in (lab.folder / "in").rglob("Post_1") if p.is_dir())
    shutil.move(first, lab.export / "Post_1")
    _apply(lab)
    shutil.rmtree(lab.export / "Post_1")
    shutil.move(second, lab.export / "Post_1")
    done = _apply(lab)
    (code,) = {e["subject"] for e in done.of("item", action="segment")}
    assert [row.number for row in segments(lab, code)] == [1, 2]
    assert sum(1 for p in outbox(lab) if f"/{code}_2/" in p) == sum(1 for p in outbox(lab) if f"/{code}_1/" in p) - 5


def test_a_study_without_a_start_in_a_folder_used_before_is_not_mixed_in(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "b", 2)
    _, other = paths_of(lab, "b", 3)
    aside = lab.folder / "aside"
    shutil.move(other, aside)
    lab.apply("b")
    for path in aside.rglob("*"):
        if path.suffix in (".snc", ".vtc", ".vt2"):
            path.unlink()
    shutil.rmtree(study)
    shutil.move(aside, study)
    before = outbox(lab)
    done = _apply(lab, "--identifiers", lab.identifiers("b"), status=21)
    left = [e for e in done.of("item", status="left_behind") if "start cannot be read" in e["message"]]
    assert len(left) >= 9 and outbox(lab) == before


def test_a_file_that_could_not_be_copied_is_copied_later(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "b", 1)
    clip = next(study.glob("*_0000.avi"))
    old = clip.stat()
    os.utime(clip)
    lab.apply("b", "--copy", status=22)
    code = lab.codes["b"]
    os.utime(clip, ns=(old.st_atime_ns, old.st_mtime_ns))
    done = _apply(lab, "--copy", "--identifiers", lab.identifiers("b"))
    assert done.summary["files"]["done"] == 1 and f"video/{code}/{code}_1/{code}_1_0000.avi" in outbox(lab)
