"""What `deid plan` and `deid apply` say to an EXPORT that is not what it should be; nothing is changed."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ecogsafe.synthetic.patients import Patient
from tests.cli.lab import Lab, Result
from tests.cli.restricted import NEEDS_SETPRIV, without_override
from tests.cli.trees import tree_state


def apply_words(lab: Lab, *more: str | Path) -> list[str | Path]:
    return ["--json", "deid", "apply", lab.export, "--to", lab.out, *more]


def refused(done: Result, lab: Lab, before: object) -> None:
    """The run stopped before it changed anything: EXPORT is as it was, OUT is empty, the next step is named."""
    assert done.error["next"]
    assert tree_state(lab.export) == before
    assert not list(lab.out.rglob("*.*"))
    assert not list((lab.home / "journals").iterdir())


def patient_b(lab: Lab) -> Patient:
    assert lab.ledger is not None
    return lab.ledger.patient("b")


@pytest.mark.parametrize("command", ["plan", "apply"])
def test_an_export_that_does_not_exist(lab: Lab, command: str) -> None:
    done = lab.here("--json", "deid", command, lab.export, "--to", lab.out, status=2)
    assert done.error["message"] == "EXPORT: it does not exist or cannot be reached"
    assert not lab.out.exists()


@pytest.mark.parametrize("command", ["plan", "apply"])
@pytest.mark.parametrize("files", [[], ["report.doc"], ["notes.txt", "Thumbs.db"]])
def test_an_export_that_holds_no_recordings(lab: Lab, command: str, files: list[str]) -> None:
    folder = lab.export / "Post~ Quillan"
    folder.mkdir(parents=True)
    for name in files:
        (folder / name).write_bytes(b"words")
    before = tree_state(lab.export)
    done = lab.here("--json", "deid", command, lab.export, "--to", lab.out, status=2)
    assert "holds no recordings" in done.error["message"]
    refused(done, lab, before)


def test_an_export_that_is_a_file(lab: Lab) -> None:
    lab.export.parent.mkdir()
    lab.export.write_bytes(b"")
    assert lab.here(*apply_words(lab), status=2).error["next"]


def test_two_patients_and_no_identifiers(handed_over: Lab) -> None:
    before = tree_state(handed_over.export)
    for command in ("plan", "apply"):
        words = ["--json", "deid", command, handed_over.export, "--to", handed_over.out]
        done = handed_over.here(*words, status=2)
        assert done.error["code"] == "mixed-patients"
        assert "--identifiers" in done.error["next"]
        refused(done, handed_over, before)


def test_identifiers_that_fit_nobody(handed_over: Lab) -> None:
    before = tree_state(handed_over.export)
    done = handed_over.here(*apply_words(handed_over, "--last-name", "Ilmarinen"), status=2)
    refused(done, handed_over, before)


def test_identifiers_that_are_no_toml_are_not_repeated(handed_over: Lab) -> None:
    before = tree_state(handed_over.export)
    words = apply_words(handed_over, "--identifiers", "-")
    refused(handed_over.here(*words, typed="last_name = Wrongquote", status=2), handed_over, before)
    assert handed_over.residue_in_words(["Wrongquote"]) == []


def test_an_identifiers_file_that_others_may_read(handed_over: Lab) -> None:
    path = handed_over.identifiers("b")
    path.chmod(0o644)
    before = tree_state(handed_over.export)
    done = handed_over.here(*apply_words(handed_over, "--identifiers", path), status=2)
    assert "chmod 600" in done.error["next"]
    refused(done, handed_over, before)


def test_two_sources_for_one_target(handed_over: Lab) -> None:
    """The lab copied a recording once more under another name: both are the recording of the same segment."""
    assert handed_over.ledger is not None
    source = handed_over.export / handed_over.ledger.segments_of("b")[0].edf
    shutil.copy2(source, source.with_name(f"Post_22{source.suffix}"))
    before = tree_state(handed_over.export)
    words = ["--json", "deid", "plan", handed_over.export, "--identifiers", handed_over.identifiers("b")]
    planned = handed_over.here(*words, status=4)
    assert planned.of("item", status="conflict")
    done = handed_over.here(*apply_words(handed_over, "--identifiers", handed_over.identifiers("b")), status=4)
    assert done.error["code"] == "plan-conflict"
    refused(done, handed_over, before)


def test_a_truncated_edf_is_told_and_left(handed_over: Lab) -> None:
    """A header cut short cannot be understood: everything else goes on, and the run ends 21."""
    assert handed_over.ledger is not None
    short = handed_over.export / handed_over.ledger.segments_of("b")[1].edf
    short.write_bytes(short.read_bytes()[:300])
    done = handed_over.here(
        *apply_words(handed_over, "--identifiers", handed_over.identifiers("b"), "--settle", "0"), status=21
    )
    told = done.of("item", status="left_behind", action="plan")
    assert [e for e in told if not e["details"]["by_rule"]]
    assert short.stat().st_size == 300
    assert done.summary["counts"]["findings"] == 0
    assert len(list((handed_over.out / "edf").rglob("*.*"))) == 2


def test_an_edf_whose_last_record_is_cut_keeps_every_sample(handed_over: Lab) -> None:
    assert handed_over.ledger is not None
    cut = handed_over.export / handed_over.ledger.segments_of("b")[2].edf
    whole = cut.read_bytes()
    cut.write_bytes(whole[:-100])
    done = handed_over.here(
        *apply_words(handed_over, "--identifiers", handed_over.identifiers("b"), "--settle", "0"), status=None
    )
    code = done.of("item", action="segment")[0]["subject"]
    assert done.status in (0, 21)
    kept = handed_over.out / "edf" / f"{code}_edf" / f"{code}_3.edf"
    assert (kept if done.status == 0 else cut).stat().st_size == len(whole) - 100


@NEEDS_SETPRIV
@pytest.mark.parametrize("what", ["recording", "clip", "folder"])
def test_a_source_without_read_permission(handed_over: Lab, what: str) -> None:
    """The rest is done, the file is listed, and the run does not end 0."""
    assert handed_over.ledger is not None
    segment = handed_over.ledger.segments_of("b")[0]
    path = {
        "recording": handed_over.export / segment.edf,
        "clip": handed_over.export / segment.clips[0].path,
        "folder": handed_over.export / segment.study,
    }[what]
    mode = path.stat().st_mode
    path.chmod(0)
    words = apply_words(handed_over, "--identifiers", handed_over.identifiers("b"))
    done = handed_over.run(*words, status=None, prefix=without_override())
    assert done.status in (3, 21), done.said
    assert done.of("item", status="left_behind") or done.of("error")
    assert path.exists()
    path.chmod(mode)
    assert path.is_dir() or path.read_bytes()
    assert handed_over.residue_in_words(patient_b(handed_over).terms()) == []
    # what can be read again joins its segment under the same number
    again = handed_over.here(*words)
    assert again.summary["files"]["done"] > 0
    code = again.of("item", action="segment")[0]["subject"]
    assert {p.stem for p in (handed_over.out / "edf" / f"{code}_edf").iterdir()} == {f"{code}_{n}" for n in (1, 2, 3)}


def test_files_that_were_just_written_are_left(handed_over: Lab) -> None:
    """A copy that may still run is not touched (22); later it is done under the number it would have had."""
    assert handed_over.ledger is not None
    fresh = handed_over.export / handed_over.ledger.segments_of("b")[0].edf
    os.utime(fresh)
    words = apply_words(handed_over, "--identifiers", handed_over.identifiers("b"))
    done = handed_over.here(*words, status=22)
    assert fresh.exists()
    assert done.summary["files"]["left_behind"] >= 1
    again = handed_over.here(*words, "--settle", "0")
    assert not fresh.exists()
    assert again.of("item", action="apply", status="done")[0]["segment"] == 1


def test_without_a_time_zone_natus_studies_are_refused(handed_over: Lab) -> None:
    config = handed_over.home / "config.toml"
    config.write_text(config.read_text().replace("time_zone", "# time_zone"))
    before = tree_state(handed_over.export)
    done = handed_over.here(*apply_words(handed_over, "--identifiers", handed_over.identifiers("b")), status=2)
    assert "time_zone" in done.error["next"] or "time_zone" in done.error["message"]
    refused(done, handed_over, before)


@pytest.mark.parametrize("where", ["inside", "same"])
def test_out_may_not_lie_in_export(handed_over: Lab, where: str) -> None:
    before = tree_state(handed_over.export)
    out = {"inside": handed_over.export / "out", "same": handed_over.export}[where]
    words = ["--json", "deid", "apply", handed_over.export, "--to", out, "--identifiers", handed_over.identifiers("b")]
    done = handed_over.here(*words, status=2)
    assert done.error["next"]
    assert tree_state(handed_over.export) == before
