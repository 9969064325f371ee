"""`subjects import`: the lab's table of codes, taken whole or not at all, and never repeated."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import subjects
from ecogsafe.service import subject_importing
from tests.cli.lab import Lab, Result
from tests.service.looking import linking_key, reading, revision

TABLE = """Patient ID,Surname,Given Name,MRN,DOB,Also
B0000001,Quxley,Zed,0099123,1970-02-03,555-0199|Zeddy
c0000002,"Wibbel, the elder",Ann,,03/04/1981,
d0000003,Frobly,,77,,
"""
NAMES = ["Quxley", "0099123", "Wibbel", "Frobly", "1970-02-03", "555-0199"]


def _write(lab: Lab, text: str, mode: int = 0o600) -> Path:
    path = lab.folder / "Quxley codes.csv"
    path.write_text(text, encoding="utf-8-sig")
    path.chmod(mode)
    return path


def _import(lab: Lab, text: str, *more: str, status: int = 0, mode: int = 0o600) -> Result:
    return lab.here("--json", "subjects", "import", _write(lab, text, mode), *more, status=status)


def test_every_row_gets_into_the_linking_key_under_its_code(lab: Lab) -> None:
    dry = _import(lab, TABLE, "--dry-run")
    assert {i["status"] for i in dry.of("item", action="import")} == {"planned"}
    assert "nothing was written" in dry.summary["message"] and not (lab.home / "linking-key.age").exists()
    done = _import(lab, TABLE)
    assert [i["subject"] for i in done.of("item", action="import", status="done")] == [
        "b0000001",
        "c0000002",
        "d0000003",
    ]
    key = linking_key(lab)
    person = key.person("b0000001")
    assert person is not None and person.identifiers.also == ("555-0199", "Zeddy")
    second = key.person("c0000002")
    assert second is not None and second.identifiers.last_name == "Wibbel, the elder"
    with reading(lab) as tx:
        assert [s.code for s in subjects.subjects(tx)] == ["b0000001", "c0000002", "d0000003"]
    again = _import(lab, TABLE)
    assert (again.summary["files"]["present"], again.summary["files"]["done"]) == (3, 0)
    assert linking_key(lab) == key
    assert lab.residue_in_words(NAMES) == []


def test_a_known_person_is_added_to(lab: Lab) -> None:
    _import(lab, "code,last,first,mrn\nb0000001,Quxley,Zed,0099123\n")
    done = _import(lab, TABLE)
    assert done.summary["message"].startswith("2 new, 1 added to, 0 known")
    assert revision(lab, "b0000001") == 2


def test_one_bad_row_stops_all(lab: Lab) -> None:
    bad = TABLE + "\nnot a code,Nobody,Nina,5,,\ne0000004,Else,,,tomorrow,\n"
    refused = _import(lab, bad, status=2)
    rows = refused.of("item", action="import", status="conflict")
    assert [i["details"]["row"] for i in rows] == [6, 7]
    assert "2 row(s) do not fit (6, 7)" in refused.error["message"]
    assert not (lab.home / "linking-key.age").exists()
    assert lab.residue_in_words([*NAMES, "Nobody", "Nina", "tomorrow"]) == []


def test_a_contradiction_stops_all(lab: Lab) -> None:
    _import(lab, TABLE)
    key = linking_key(lab)
    rows = "code,last,first,mrn\na0000009,New,Joe,5\nb0000001,Other,Person,123\ne0000005,Quxley,Zed,99123\n"
    refused = _import(lab, rows, status=4)
    told = {i["details"]["row"]: i["message"] for i in refused.of("item", status="conflict")}
    assert set(told) == {3, 4} and "another person" in told[3] and "another code already: b0000001" in told[4]
    assert linking_key(lab) == key


def test_what_the_name_alone_says_is_asked_about(lab: Lab) -> None:
    _import(lab, "code,last,first\nb0000001,Quxley,Zed\n")
    doubtful = "code,last,first,mrn\nb0000001,Quxley,Zed,5\nc0000002,Quxley,Zed,6\n"
    assert _import(lab, doubtful, status=2).error["code"] == "confirmation-needed"
    assert len(linking_key(lab).persons) == 1
    lab.here("--yes", "subjects", "import", _write(lab, doubtful))
    assert len(linking_key(lab).persons) == 2


def test_a_catalogue_that_knows_more_than_the_linking_key_stops_all(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    (lab.home / "linking-key.age").unlink()
    for generation in (lab.home / "generations").glob("*"):
        generation.unlink()
    refused = _import(lab, f"code,last\n{code},Quxley\n", status=4)
    assert "not in the linking key" in refused.of("item", status="conflict")[0]["message"]


def test_a_file_that_others_may_read_is_warned_about(lab: Lab) -> None:
    warned = [i["message"] for i in _import(lab, TABLE, mode=0o644).of("item", status="note")]
    assert any("chmod 600" in message for message in warned)
    assert not [i for i in _import(lab, TABLE).of("item", status="note") if "chmod" in i["message"]]


def test_columns_not_understood_are_told_by_number(lab: Lab) -> None:
    done = _import(lab, "code,last,Quxley's remarks\nb0000001,Quxley,x\n")
    assert any("not taken: 3 " in i["message"] for i in done.of("item", status="note"))
    assert lab.residue_in_words(["Quxley", "remarks"]) == []


def test_what_is_no_file_of_ours_is_refused(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _write(lab, TABLE)
    path.write_bytes("code,last\nb0000001,Qüxley\n".encode("cp1252"))
    assert "is not UTF-8" in lab.here("--json", "subjects", "import", path, status=2).error["message"]
    path.write_bytes("code\tlast\nb0000001\tQüxley\n".encode("utf-16"))
    assert lab.here("--json", "subjects", "import", path, "--dry-run").summary["message"].startswith("1 new")
    link = lab.folder / "link.csv"
    link.symlink_to(path)
    for other in (link, lab.folder / "Quxley missing.csv"):
        error = lab.here("--json", "subjects", "import", other, status=2).error
        assert "cannot be opened" in error["message"] and "Quxley" not in str(error)
    fifo = lab.folder / "fifo.csv"
    os.mkfifo(fifo)
    assert "not a plain file" in lab.here("--json", "subjects", "import", fifo, status=2).error["message"]
    monkeypatch.setattr(subject_importing, "_MOST_BYTES", 10)
    assert "too large" in lab.here("--json", "subjects", "import", path, status=2).error["message"]


def test_a_linking_key_that_changed_meanwhile_is_not_overwritten(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    _import(lab, "code,last,first,mrn\nc0000002,Frobly,Ann,1\n")
    real = subject_importing.merge_table
    calls: list[Any] = []

    def late(key: Any, rows: Any, *, now: str) -> Any:
        # between the plan and the change another run has entered the first row
        calls.append(key)
        return real(key if len(calls) == 1 else real(key, rows[:1], now=now).key, rows, now=now)

    monkeypatch.setattr(subject_importing, "merge_table", late)
    assert _import(lab, TABLE.replace("c0000002", "c0000009"), status=11).error["code"] == "locked"
    assert len(linking_key(lab).persons) == 1
