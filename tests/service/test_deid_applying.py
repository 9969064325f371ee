"""`deid apply` as a whole: what it leaves in the catalogue, in the home and below OUT, and what a second one does."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from ecogsafe.catalog import audit, leases
from ecogsafe.deid import mover
from ecogsafe.deid.planned import Part
from ecogsafe.service.home import Home
from ecogsafe.service.owner import owner_here
from tests.cli.lab import Lab, Result
from tests.cli.trees import tree_state
from tests.service.looking import (
    OLD_S,
    cleared,
    journals,
    keys_of,
    linking_key,
    only_patient,
    outbox,
    paths_of,
    reading,
    residue,
    revision,
    segments,
    somebody,
    write_edf,
)

ALL_PARTS = tuple(sorted(p.value for p in Part))


def _apply(lab: Lab, *more: str | Path, status: int = 0, export: Path | None = None) -> Result:
    return lab.here("--json", "deid", "apply", export or lab.export, "--to", lab.out, *more, status=status)


def test_apply_leaves_its_state_in_the_catalogue(handed_over: Lab) -> None:
    lab = handed_over
    done = lab.apply("a")
    code = lab.codes["a"]
    assert lab.ledger is not None
    truth = lab.ledger.segments_of("a")
    rows = segments(lab, code)
    assert [row.number for row in rows] == [1, 2, 3] and revision(lab, code) == 1
    for row, real in zip(rows, truth, strict=True):
        assert row.kinds == ALL_PARTS and row.duration_s == pytest.approx(real.duration_s)
        assert datetime.fromisoformat(row.start_local or "") == real.start_local
        assert abs(datetime.fromisoformat(row.start_utc or "") - real.start_utc) < timedelta(seconds=1)
    (journal,) = journals(lab, code)
    sealed = (lab.home / "journals" / f"{journal.id}.age").read_bytes()
    assert (journal.kind, journal.state) == ("apply", "closed")
    assert journal.sha256 == hashlib.sha256(sealed).hexdigest()
    clear = cleared(lab, code)
    assert {f"{tree}/{path}" for tree, path in clear} == outbox(lab) and len(clear) == 50
    assert {row.revision for row in clear.values()} == {1}
    assert done.summary["counts"]["cleared"] == 50 and done.summary["files"]["done"] == 50
    assert not list(lab.out.glob(".ecogsafe-*"))
    with reading(lab) as tx:
        (act,) = [row for row in audit.recent(tx) if row.act == "deid apply"]
        assert audit.check(tx) == []
    assert (act.subject, act.object, act.result) == (code, journal.id, "50 of 50 files")


def test_one_patient_after_the_other(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    first, key = outbox(lab), linking_key(lab)
    assert residue(lab) == []
    lab.apply("b")
    assert lab.codes["a"] != lab.codes["b"] and residue(lab) == []
    assert {p for p in outbox(lab) if lab.codes["b"] not in p} == first
    assert linking_key(lab).person(lab.codes["a"]) == key.person(lab.codes["a"])
    assert [row.number for row in segments(lab, lab.codes["b"])] == [1, 2, 3]


def test_the_same_command_again_has_nothing_to_do(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    before = tree_state(lab.out), tree_state(lab.home / "journals"), (lab.home / "linking-key.age").read_bytes()
    again = _apply(lab, "--identifiers", lab.identifiers("a"))
    assert "nothing new in EXPORT" in again.summary["message"]
    assert again.summary["files"]["done"] == 0
    after = tree_state(lab.out), tree_state(lab.home / "journals"), (lab.home / "linking-key.age").read_bytes()
    assert after == before


def test_an_emptied_export_is_known_by_its_journals_too(handed_over: Lab) -> None:
    lab = handed_over
    only_patient(lab, "b")
    _apply(lab)
    again = _apply(lab)
    assert "nothing new in EXPORT" in again.summary["message"]
    other = lab.folder / "another folder"
    (other / "empty").mkdir(parents=True)
    refused = _apply(lab, export=other, status=2)
    assert "holds no recordings" in refused.error["message"]
    assert "holds no recordings" in _apply(lab, "--mrn", "80055310", export=other, status=2).error["message"]


def test_keys_and_journal_have_their_copies_before_anything_moves(
    handed_over: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = handed_over
    nas = lab.folder / "nas"
    nas.mkdir()
    lab.configure(f'[key_backup]\nurls = ["{nas.as_uri()}"]')
    seen: list[bool] = []
    patch_source = mover.patch_source

    def watched(*arguments: object, **more: object) -> None:
        if not seen:
            keys = {p.read_bytes() for p in (nas / "_ecogsafe" / "keys").rglob("*") if p.is_file()}
            journal, linking = next((lab.home / "journals").glob("*.age")), lab.home / "linking-key.age"
            code = journal.name.split("-")[0]
            person = keys_of(lab).file.read().person(code)
            seen.append({journal.read_bytes(), linking.read_bytes()} <= keys)
            seen.append(person is not None and person.identifiers.mrn == "70042917")
            seen.append([row.state for row in journals(lab, code)] == ["open"])
            seen.append((lab.out / f".ecogsafe-open-{code}").exists())
            seen.append(tree_state(lab.export) == before)
        patch_source(*arguments, **more)  # type: ignore[arg-type]

    before = tree_state(lab.export)
    monkeypatch.setattr(mover, "patch_source", watched)
    done = lab.apply("a")
    assert seen == [True] * 5
    assert not done.of("item", action="key-backup")


def test_without_a_second_copy_of_the_key_it_is_told(handed_over: Lab) -> None:
    told = handed_over.apply("a").of("item", action="key-backup")
    assert told and all("no second copy" in e["message"] for e in told)


def test_a_key_copy_that_fails_is_told_and_counted(handed_over: Lab) -> None:
    handed_over.configure(f'[key_backup]\nurls = ["{(handed_over.folder / "unmounted").as_uri()}"]')
    done = handed_over.apply("a", status=3)
    assert done.of("item", action="key-backup", status="failed") and done.summary["files"]["done"] == 50


def test_a_conflict_writes_nothing_at_all(handed_over: Lab) -> None:
    lab = handed_over
    recording, _ = paths_of(lab, "a", 1)
    os.link(recording, lab.folder / "another name.edf")
    before = tree_state(lab.export)
    done = _apply(lab, "--identifiers", lab.identifiers("a"), status=4)
    assert done.of("item", status="conflict")
    assert "hard link" in done.of("item", status="conflict")[0]["message"]
    assert tree_state(lab.export) == before and not lab.out.exists()
    assert not (lab.home / "linking-key.age").exists() and not list((lab.home / "journals").iterdir())
    with reading(lab) as tx:
        assert [row.act for row in audit.recent(tx)] == ["init"]
    plan = lab.here("--json", "deid", "plan", lab.export, "--identifiers", lab.identifiers("a"), status=4)
    assert plan.of("item", status="conflict")
    lab.apply("a", "--copy")


def test_a_file_that_changes_between_plan_and_apply_is_left(handed_over: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    from ecogsafe.service import deid_applying

    lab = handed_over
    recording, _ = paths_of(lab, "a", 2)
    tell = deid_applying.tell_plan

    def late(*arguments: object) -> None:
        tell(*arguments)  # type: ignore[arg-type]
        with recording.open("ab") as file:
            file.write(b"\0" * 16)
        os.utime(recording, (OLD_S, OLD_S))

    monkeypatch.setattr(deid_applying, "tell_plan", late)
    done = lab.apply("a", status=22)
    assert recording.exists() and done.summary["files"]["done"] == 49
    left = done.of("item", action="apply", status="left_behind")
    assert [e["message"] for e in left] == ["changed since the plan"]


def test_the_export_may_be_named_in_another_way_the_second_time(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    link = lab.folder / "link"
    link.symlink_to(lab.export)
    assert "nothing new" in _apply(lab, "--identifiers", lab.identifiers("a"), export=link).summary["message"]


def test_settle_is_about_files_and_not_about_the_export(lab: Lab) -> None:
    for order in (1, 2):
        path = write_edf(lab.export, somebody(), order)
        os.utime(path, (time.time() - 5,) * 2)
    done = _apply(lab, status=22)
    assert done.summary["files"] == {"done": 0, "present": 0, "skipped": 0, "failed": 0, "left_behind": 2}
    assert outbox(lab) == set()
    assert _apply(lab, "--settle", "3").summary["files"]["done"] == 2


def test_nothing_private_in_json_or_in_the_catalogue(handed_over: Lab) -> None:
    lab = handed_over
    assert lab.ledger is not None
    lab.here("--json", "deid", "plan", lab.export, "--identifiers", lab.identifiers("a"))
    lab.here("deid", "plan", lab.export, "-v", "--identifiers", lab.identifiers("a"))
    lab.apply("a")
    _apply(lab, "--identifiers", lab.identifiers("a"))
    lab.here("-v", "deid", "undo", lab.codes["a"])
    terms = [t for p in lab.ledger.patients for t in p.terms()]
    assert lab.residue_in_words(terms) == []
    catalog = b"".join(p.read_bytes() for p in lab.home.glob("catalog.sqlite*")).lower()
    assert [t for t in terms if len(t) > 5 and t.lower().encode() in catalog] == []
    assert json.dumps("Québrane")[1:-1].encode().lower() not in catalog


def test_a_subject_that_another_run_works_on_is_left_alone(handed_over: Lab) -> None:
    lab = handed_over
    recording, _ = paths_of(lab, "a", 1)
    shutil.move(recording, lab.folder / "late.edf")
    lab.apply("a")
    shutil.move(lab.folder / "late.edf", recording)
    catalog = Home(lab.home).open_catalog()
    with catalog.write() as tx:
        lease = leases.acquire(tx, f"subject:{lab.codes['a']}", owner_here(), 60, shared=True)
    before = tree_state(lab.export), (lab.home / "linking-key.age").read_bytes(), outbox(lab)
    words = ["--also", "Umbrathil", "--identifiers", lab.identifiers("a")]
    assert _apply(lab, *words, status=11).error["code"] == "locked"
    assert lab.here("--json", "deid", "undo", lab.codes["a"], status=11).error["code"] == "locked"
    assert (tree_state(lab.export), (lab.home / "linking-key.age").read_bytes(), outbox(lab)) == before
    lab.apply("b")
    with catalog.write() as tx:
        leases.release(tx, lease)
    catalog.close()
    assert _apply(lab, *words).summary["files"]["done"] == 1
