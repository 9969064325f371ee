"""`subjects list`, `show` and `add`: codes without a password, names on a terminal only, nobody entered twice."""

from __future__ import annotations

import dataclasses
import io
import sys
from pathlib import Path
from unittest import mock

import pexpect
import pytest

from ecogsafe.catalog import audit
from ecogsafe.core.private import Secret
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.service.home import Home
from ecogsafe.service.running import running
from ecogsafe.service.subject_showing import SubjectPage, parts_of, show_subject
from tests.cli.lab import PASSWORD, Lab
from tests.service.looking import linking_key, reading, revision, segments

ANN = 'last_name = "Wibbelton"\nfirst_name = "Ann"\nmrn = "0042"\n'


def _add(lab: Lab, text: str, *more: str, status: int = 0):  # type: ignore[no-untyped-def]
    return lab.here("--json", *more, "subjects", "add", "--identifiers", "-", typed=text, status=status)


def _page(lab: Lab, code: str) -> SubjectPage:
    with running(Home(lab.home), "subjects show", lambda _event: None) as run:
        return show_subject(run, code, lambda: Secret(PASSWORD.encode()))


def test_the_list_needs_no_password_and_names_nobody(applied: Lab) -> None:
    lab = applied
    lab.password_file.unlink()
    told = lab.here("--json", "subjects", "list")
    items = told.of("item", action="subject")
    assert [i["subject"] for i in items] == sorted(lab.codes.values())
    for item in items:
        assert item["details"]["segments"] == 3 and item["details"]["copies"] == 0
        assert item["details"]["first_start"][:2] == "20" and item["details"]["withdrawn"] is None
    assert told.summary["counts"]["subjects"] == 2
    lines = lab.here("subjects", "list").out.splitlines()
    assert lines[0].startswith("code") and [line[:8] for line in lines[1:3]] == sorted(lab.codes.values())
    assert lab.ledger is not None
    assert lab.residue_in_words([t for p in lab.ledger.patients for t in p.terms()]) == []


def test_copies_are_counted_by_store(applied: Lab) -> None:
    lab = applied
    for name in ("one", "two"):
        (lab.folder / name).mkdir()
        lab.here("upload", "-d", lab.out, "--to", (lab.folder / name).as_uri(), "-t", "e")
    items = lab.here("--json", "subjects", "list").of("item", action="subject")
    assert [(i["details"]["files"], i["details"]["copies"], i["details"]["stores"]) for i in items] == [(3, 6, 2)] * 2
    shown = lab.here("--json", "subjects", "show", lab.codes["a"]).of("item", action="copies")
    assert {(i["store"], i["details"]["files"], i["details"]["checksum"]) for i in shown} == {
        ((lab.folder / name).as_uri(), 3, 3) for name in ("one", "two")
    }


def test_an_empty_home_says_how_to_begin(lab: Lab) -> None:
    assert "subjects add" in lab.here("subjects", "list").out


def test_show_masks_wherever_it_is_not_a_terminal(applied: Lab) -> None:
    lab = applied
    assert lab.ledger is not None
    code, patient = lab.codes["b"], lab.ledger.patient("b")
    told = lab.here("--json", "subjects", "show", code)
    masked = {i["details"]["field"]: i["details"]["masked"] for i in told.of("item", action="identifier")}
    assert masked["last_name"] == f"{patient.last_name[0]}•••" and masked["mrn"] == "•••"
    assert [i["segment"] for i in told.of("item", action="segment")] == [1, 2, 3]
    assert told.of("item", action="segment")[0]["details"]["parts"] == ["recording", "snc-text", "study", "vtc-text"]
    assert [i["details"]["state"] for i in told.of("item", action="journal")] == ["closed"]
    cleared = {i["details"]["tree"]: i["details"]["current"] for i in told.of("item", action="clearance")}
    assert set(cleared) == {"edf", "text", "video"} and cleared["edf"] == 3
    text = lab.here("subjects", "show", code).out
    assert "masked: the output is no terminal" in text and "files searched and clean" in text
    assert lab.residue_in_words([patient.last_name, patient.mrn, patient.telephone]) == []


def test_show_reveals_on_a_terminal(applied: Lab) -> None:
    lab = applied
    assert lab.ledger is not None

    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    with mock.patch("io.StringIO", Terminal):
        text = lab.here("subjects", "show", lab.codes["b"]).said
        as_json = lab.here("--json", "subjects", "show", lab.codes["b"]).said
    patient = lab.ledger.patient("b")
    assert patient.last_name in text and patient.mrn in text and "masked" not in text.split("segments")[0]
    assert patient.last_name not in as_json and patient.mrn not in as_json


def test_an_identifier_cannot_steer_the_terminal(lab: Lab) -> None:
    _add(lab, 'last_name = "Wib\\u001b[2Jelton"\n')
    (person,) = linking_key(lab).persons
    page = _page(lab, person.code)
    assert page.identifiers(reveal=True) == [("last_name", "Wib\N{REPLACEMENT CHARACTER}[2Jelton")]
    assert "\x1b" not in page.identifiers(reveal=False)[0][1]


def test_show_wants_a_known_code_and_the_password(applied: Lab) -> None:
    lab = applied
    assert "not known here" in lab.here("--json", "subjects", "show", "abcd1234", status=2).error["message"]
    assert "not a subject code" in lab.here("--json", "subjects", "show", "Doe", status=2).error["message"]
    lab.write_password("wrong words entirely")
    assert lab.here("--json", "subjects", "show", lab.codes["a"], status=12).error["code"] == "wrong-password"


def test_a_part_that_was_taken_back_is_in_brackets(applied: Lab) -> None:
    (first, *_) = segments(applied, applied.codes["a"])
    assert parts_of(dataclasses.replace(first, kinds=("recording",))) == (
        "recording",
        "(snc-text)",
        "(study)",
        "(vtc-text)",
    )


def test_add_draws_a_code_and_finds_it_again(lab: Lab) -> None:
    first = _add(lab, ANN)
    (person,) = linking_key(lab).persons
    assert first.summary["message"] == f"the code is {person.code}" and first.summary["files"]["done"] == 1
    again = _add(lab, ANN)
    assert again.of("item", action="add", status="present")[0]["subject"] == person.code
    assert linking_key(lab).persons == (person,) and revision(lab, person.code) == 1
    more = _add(lab, ANN + 'birth_date = "1980-02-03"\n')
    assert "must be searched again" in more.of("item", action="add", status="done")[0]["message"]
    assert revision(lab, person.code) == 2
    with reading(lab) as tx:
        acts = [(a.act, a.subject, a.result) for a in audit.recent(tx)]
        assert audit.check(tx) == []
    assert next(a for a in acts if a[0] == "subjects add") == ("subjects add", person.code, "revision 2")
    assert lab.residue_in_words(["Wibbelton", "0042", "1980-02-03"]) == []


def test_add_asks_on_a_terminal(lab: Lab) -> None:
    words = ["-m", "ecogsafe", "subjects", "add"]
    child = pexpect.spawn(sys.executable, words, env=lab.env(), encoding="utf-8", timeout=60)  # type: ignore[arg-type]
    for question, answer in (
        ("Last name", "Wibbelton"),
        ("First name", "Ann"),
        ("Middle name", ""),
        ("Medical record number", "0042"),
        ("Birth date", "1980-02-03"),
        ("Anything else", "Nan | 555-0199"),
    ):
        child.expect(question)
        child.sendline(answer)
    child.expect("the code is [0-9a-f]{8}")
    child.expect(pexpect.EOF)
    child.close()
    (person,) = linking_key(lab).persons
    assert child.exitstatus == 0 and person.identifiers == Identifiers(
        last_name="Wibbelton", first_name="Ann", mrn="0042", birth_date="1980-02-03", also=("Nan", "555-0199")
    )


def test_add_takes_a_code_used_before(lab: Lab) -> None:
    _add(lab, ANN, status=0)
    done = lab.here("subjects", "add", "--last-name", "Frobly", "--mrn", "7", "--subject", "c0ffee11")
    assert "the code is c0ffee11" in done.out and "can be seen by others" in done.err
    assert {"c0ffee11"} < linking_key(lab).codes
    refused = lab.here("--json", "subjects", "add", "--last-name", "Frobly", "--subject", "12345678", status=2)
    assert "is not a subject code" in refused.error["message"]
    assert lab.residue_in_words(["Frobly"]) == []


def test_a_same_named_person_is_asked_about(lab: Lab) -> None:
    _add(lab, ANN)
    same_name = 'last_name = "Wibbelton"\nfirst_name = "Ann"\n'
    assert _add(lab, same_name, status=2).error["code"] == "confirmation-needed"
    assert len(linking_key(lab).persons) == 1
    _add(lab, same_name, "--yes")
    assert len(linking_key(lab).persons) == 2


@pytest.mark.parametrize("typed", ["", 'last_name = ""\n', "not toml ["])
def test_add_without_anybody_is_refused(lab: Lab, typed: str) -> None:
    assert _add(lab, typed, status=2).error["exit_status"] == 2
    assert "are missing" in lab.here("--json", "subjects", "add", status=2).error["message"]
    assert not (lab.home / "linking-key.age").exists()


def test_identifiers_from_a_file_that_others_may_read_are_refused(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "Wibbelton.toml"
    path.write_text(ANN)
    path.chmod(0o644)
    error = lab.here("--json", "subjects", "add", "--identifiers", path, status=2).error
    assert "can be read by others" in error["message"] and "Wibbelton" not in str(error)
    path.chmod(0o600)
    lab.here("subjects", "add", "--identifiers", path)
