"""`deid reidentify` on a synthetic export: the same bytes under the same names, which NeuroWorks' readers open."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from natus_erd import NatusERDReader

from ecogsafe.catalog import audit
from tests.cli.lab import Lab
from tests.cli.trees import digests, tree_state
from tests.service.looking import reading


def _times(folder: Path) -> dict[str, int]:
    return {p.relative_to(folder).as_posix(): p.stat().st_mtime_ns for p in folder.rglob("*") if p.is_file()}


def test_the_export_again_and_readable(handed_over: Lab) -> None:
    lab = handed_over
    assert lab.ledger is not None
    before, times = digests(lab.export), _times(lab.export)
    original = {s.study: NatusERDReader.open(lab.export / s.study) for s in lab.ledger.segments_of("b")}
    read = {name: (r.info, r.read_samples(0, r.info.n_samples)) for name, r in original.items()}
    lab.apply("a")
    lab.apply("b")
    clean = tree_state(lab.out)
    back = lab.folder / "back"
    done = lab.here("--json", "deid", "reidentify", lab.codes["b"], "--to", back)
    assert any("will hold the person's name" in i["message"] for i in done.of("item", status="note"))
    theirs = {name: digest for name, digest in before.items() if name in digests(back)}
    assert digests(back) == theirs and len(theirs) == done.summary["files"]["done"] > 40
    assert _times(back) == {name: times[name] for name in theirs}
    for truth in lab.ledger.segments_of("b"):
        reader = NatusERDReader.open(back / truth.study)
        info, samples = read[truth.study]
        assert reader.info == info
        np.testing.assert_array_equal(reader.read_samples(0, info.n_samples), samples)
    left = set(lab.ledger.left_behind)
    assert not left & set(theirs)
    assert tree_state(lab.out) == clean
    told = json.dumps(done.events)
    patient = lab.ledger.patient("b")
    assert not any(term in told for term in (patient.last_name, patient.first_name, patient.mrn, str(back)))
    with reading(lab) as tx:
        (act,) = [a for a in audit.recent(tx) if a.act == "deid reidentify"]
        assert (act.subject, act.object) == (lab.codes["b"], None) and audit.check(tx) == []


def test_what_changed_under_out_is_listed(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    code = lab.codes["a"]
    (recording, *_) = sorted((lab.out / "edf").rglob("*.[eb]df"))
    with recording.open("ab") as file:
        file.write(b"x")
    (clip, *_) = sorted((lab.out / "video").rglob("*.avi"))
    clip.unlink()
    done = lab.here("--json", "deid", "reidentify", code, "--to", lab.folder / "back", status=3)
    reasons = {i["path"]: i["message"].split(";")[0] for i in done.of("item", status="skipped")}
    assert reasons == {
        recording.relative_to(lab.out).as_posix(): "changed under OUT since apply",
        clip.relative_to(lab.out).as_posix(): "no longer under OUT",
    }
    assert done.summary["files"]["skipped"] == 2


def test_an_outbox_that_moved(applied: Lab) -> None:
    lab = applied
    code = lab.codes["a"]
    assert (
        lab.here("--json", "deid", "reidentify", code, "--to", lab.folder / "x", status=3).summary["files"]["done"] == 0
    )
    done = lab.here("--json", "deid", "reidentify", code, "--to", lab.folder / "y", "--from", lab.out)
    assert done.summary["files"]["done"] == 50
    error = lab.here(
        "--json", "deid", "reidentify", code, "--to", lab.folder / "z", "--from", "nowhere", status=2
    ).error
    assert "--from" in error["message"]


@pytest.mark.parametrize(
    ("place", "words"),
    [
        ("home/journals/x", "home folder"),
        ("outbox/x", "inside OUT"),
        ("nas/x", "a destination"),
        ("met/x", "a destination"),
        ("to send/x", "the outbox"),
        ("repository/deep/x", "git repository"),
        ("account", "not empty"),
    ],
)
def test_a_folder_where_names_must_not_stand(applied: Lab, place: str, words: str) -> None:
    lab = applied
    for name in ("nas", "met", "to send", "repository/deep", "repository/.git", "account/mail"):
        (lab.folder / name).mkdir(parents=True)
    lab.configure(f'[[destination]]\nname = "nas"\nurl = "{(lab.folder / "nas").as_uri()}"\n')
    config = lab.home / "config.toml"
    config.write_text(f'outbox = "{lab.folder / "to send"}"\n' + config.read_text())
    lab.here("upload", "-d", lab.out, "--to", (lab.folder / "met").as_uri(), "-t", "e")
    words_typed = ("deid", "reidentify", lab.codes["a"], "--to", lab.folder / place, "--from", lab.out)
    error = lab.here("--json", *words_typed, status=2).error
    assert words in error["message"] and str(lab.folder) not in str(error)
    assert not (lab.folder / place / "Post_1.edf").exists()


def test_refusals(applied: Lab) -> None:
    lab = applied
    back = lab.folder / "back"
    for code, words in (("Doe", "not a subject code"), ("abcd1234", "no journal of this home")):
        assert words in lab.here("--json", "deid", "reidentify", code, "--to", back, status=2).error["message"]
    lab.write_password("wrong words entirely")
    lab.here("--json", "deid", "reidentify", lab.codes["a"], "--to", back, status=12)
    assert not back.exists()


def test_an_unfinished_apply_is_refused(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    (marks,) = (lab.home / "journals").glob(f"{lab.codes['a']}-*.marks")
    os.truncate(marks, marks.stat().st_size - len("end\n"))
    catalog = lab.home / "catalog.sqlite"
    with closing(sqlite3.connect(catalog)) as other:
        other.execute("UPDATE journals SET state = 'open', closed_at = NULL")
        other.commit()
    error = lab.here("--json", "deid", "reidentify", lab.codes["a"], "--to", lab.folder / "back", status=11).error
    assert error["code"] == "locked" and not (lab.folder / "back").exists()
