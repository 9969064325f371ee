"""What `deid plan` shows a lab manager."""

from __future__ import annotations

import re
import shutil
from datetime import datetime

import pytest

from ecogsafe.deid.plan_notes import span
from tests.cli.lab import Lab
from tests.cli.trees import tree_state
from tests.service.looking import only_patient, paths_of, somebody, write_edf


def _plan(lab: Lab, *more: str, status: int = 0) -> list[str]:
    words = ["deid", "plan", lab.export, "--identifiers", lab.identifiers("b"), *more]
    return lab.here(*words, status=status).said.splitlines()


def test_one_line_a_segment_with_the_gaps_between(handed_over: Lab) -> None:
    lab = handed_over
    before = tree_state(lab.export), tree_state(lab.home / "journals")
    lines = _plan(lab, "--to", str(lab.out))
    table = [i for i, line in enumerate(lines) if re.match(r" {3}\d ", line)]
    assert len(table) == 3
    first, second, third = (lines[i] for i in table)
    assert first.startswith(
        "   1  2023-11-03 08:20:00         15 s  EDF, study (2 clips), VTC, SNC  pairing high (EDF 0.0 s"
    )
    assert second.startswith("   2  2023-11-04 23:50:10         12 s  BDF, study (2 clips)")
    assert third.startswith("   3  2023-11-05 15:30:45")
    assert lines[table[0] + 1] == "     gap: 1 d 15 h between segments 1 and 2"
    assert lines[table[1] + 1] == "     gap: 16 h 40 min between segments 2 and 3"
    assert max(map(len, lines)) <= 130
    assert "America/Los_Angeles" in lines[table[0] - 1]
    assert (tree_state(lab.export), tree_state(lab.home / "journals")) == before and not lab.out.exists()


def test_what_stays_is_told_in_groups_and_listed_with_v(handed_over: Lab) -> None:
    short, long = _plan(handed_over), _plan(handed_over, "-v")
    reasons = "3 × report, 3 × unknown kind, 1 × backup copy, 1 × OLE compound file (.epo)"
    assert f"stays in EXPORT by rule (-v lists it): {reasons}" in short
    assert "58 files of other patients: not touched" in short
    assert not [line for line in short if line.startswith("left ")]
    left = [line for line in long if line.startswith("left ")]
    assert len(left) == 8 + 58
    decided = [line for line in long if line.startswith(("last name", "first name", "mrn", "also"))]
    assert len(decided) >= 10 and not set(decided) & set(short)
    assert [line for line in short if re.fullmatch(r"\d+ identifiers searched for \(-v tells how each is\)", line)]


def test_files_of_other_patients_are_listed_masked(handed_over: Lab) -> None:
    lab = handed_over
    short = _plan(lab)
    told = [line for line in short if line.endswith("belongs to somebody else, left where it was")]
    folders = [int(found[1]) for line in told if (found := re.search(r", (\d+) files:", line))]
    (more,) = (int(found[1]) for line in short if (found := re.match(r" {5}and (\d+) more folders or files", line)))
    assert len(folders) == 3 and len(told) == 8, "a study folder or a loose file of another patient is not listed"
    assert sum(folders) + len(told) - len(folders) + more == 58
    done = lab.here("--json", "deid", "plan", lab.export, "--identifiers", lab.identifiers("b"))
    items = [i for i in done.of("item", status="left_behind") if i["details"].get("somebody_elses")]
    assert len(items) == done.summary["counts"]["not_touched"] == 58
    assert done.summary["files"]["left_behind"] == len(done.of("item", status="left_behind"))
    assert all("•••" in item["path"] and "subject" not in item for item in items)
    assert lab.ledger is not None
    others = [p for p in lab.ledger.patients if p.key != "b"]
    assert lab.residue_in_words([name for p in others for name in (p.last_name, p.first_name, p.mrn)]) == []


def test_what_should_have_been_understood_is_always_listed(handed_over: Lab) -> None:
    recording, _ = paths_of(handed_over, "b", 1)
    recording.write_bytes(recording.read_bytes()[:300])
    lines = _plan(handed_over, status=21)
    assert len([line for line in lines if line.startswith("left ")]) == 1
    assert any("missing-kind: segment 1 has no EDF or BDF" in line for line in lines)


def test_a_joining_part_stands_beside_what_was_there(handed_over: Lab) -> None:
    lab = handed_over
    recording, _ = paths_of(lab, "b", 2)
    shutil.move(recording, lab.folder / "late.bdf")
    lab.apply("b")
    shutil.move(lab.folder / "late.bdf", recording)
    lines = _plan(lab)
    (line,) = (one for one in lines if re.match(r" {3}\d ", one))
    assert line.startswith(
        "   2  2023-11-04 23:50:10         12 s  BDF, [study], [VTC], [SNC]  pairing high (EDF 0.0 s"
    )
    assert f"returning patient: {lab.codes['b']}" in lines
    assert any(one.startswith(f"2 segments of {lab.codes['b']} known before") for one in lines)


def test_without_a_zone_the_clock_is_that_of_the_files(lab: Lab) -> None:
    lab.home.joinpath("config.toml").write_text("")
    for order in (1, 2):
        write_edf(lab.export, somebody(), order)
    lines = lab.here("deid", "plan", lab.export).said.splitlines()
    assert any("2 segments by the clock of the files" in line for line in lines)
    assert any(line.startswith("   1  2023-11-03 08:20:00") for line in lines)


def test_two_recordings_that_start_together(lab: Lab) -> None:
    start = datetime(2024, 5, 6, 7, 8, 9)
    write_edf(lab.export, somebody(), 1, start=start, name="one")
    write_edf(lab.export, somebody(), 3, start=start, name="two")
    lines = lab.here("deid", "plan", lab.export).said.splitlines()
    assert any("tie: segments 1 and 2 start together" in line for line in lines)


def test_names_are_shown_on_a_terminal_only(handed_over: Lab) -> None:
    only_patient(handed_over, "b")
    done = handed_over.here("deid", "plan", handed_over.export, "--show-names", status=2)
    assert "--show-names" in done.said and "Quillan" not in done.said


def test_a_wrong_password_stops_a_plan(handed_over: Lab) -> None:
    handed_over.apply("a")
    handed_over.write_password("quite another one")
    assert "password" in "\n".join(_plan(handed_over, status=12))


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (3599, "59 min 59 s"),
        (3600, "1 h 00 min"),
        (86_399, "23 h 59 min"),
        (86_400, "1 d 00 h"),
        (98_680, "1 d 03 h"),
    ],
)
def test_lengths_of_time(seconds: float, text: str) -> None:
    assert span(seconds) == text


def test_the_clock_of_every_study_is_told_with_v_and_in_json(handed_over: Lab) -> None:
    lab = handed_over
    short, long = _plan(lab), _plan(lab, "-v")
    told = [line for line in long if "clock drift of the EEG against the wall clock: largest residual" in line]
    assert len(told) == 3 and not set(told) & set(short)
    done = lab.here("--json", "deid", "plan", lab.export, "--identifiers", lab.identifiers("b"))
    clocks = [i["details"]["clock"] for i in done.of("item", action="segment")]
    assert len(clocks) == 3 and all(c["rows"] > 1 and c["rate_hz"] > 0 for c in clocks)
    assert all(c["clip_offset_hours"] == 0 for c in clocks)
