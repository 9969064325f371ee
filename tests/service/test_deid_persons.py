"""Who an export is about: recognised again, asked about in doubt, never merged silently."""

from __future__ import annotations

import dataclasses
import shutil
from datetime import date
from pathlib import Path

import pytest

from ecogsafe.core.errors import LockedError, UsageError
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.linking_key import LinkingKey, Person
from ecogsafe.service.home import Home
from ecogsafe.service.persons import choose_code, enter_person, is_command_of, recognise
from tests.cli.lab import Lab, Result
from tests.service.looking import (
    cleared,
    keys_of,
    linking_key,
    only_patient,
    outbox,
    paths_of,
    revision,
    segments,
    somebody,
    write_edf,
)

GUID = "0f0e0d0c-0b0a-4987-8654-321012345678"
ONE = Identifiers(last_name="Vossig", first_name="Ilka", mrn="9001", birth_date="1971-04-05", also=(GUID,))
TWO = Identifiers(last_name="Tarnbeck", first_name="Olve", mrn="9002", birth_date="1982-06-07")
KEY = LinkingKey(
    (
        Person(code="a0000001", created="2026-01-01T00:00:00.000000Z", identifiers=ONE),
        Person(code="b0000002", created="2026-01-01T00:00:00.000000Z", identifiers=TWO),
    )
)


@pytest.mark.parametrize(
    ("seen", "code", "who", "asked"),
    [
        (Identifiers(mrn="9002"), None, "b0000002", False),
        (Identifiers(last_name="VOSSIG", first_name="Ilka", birth_date="5 Apr 1971"), None, "a0000001", False),
        (Identifiers(last_name="Vossig", first_name="Ilka"), None, None, True),
        (Identifiers(last_name="Vossig", first_name="Ilka", also=(GUID.upper(),)), None, "a0000001", False),
        (Identifiers(last_name="Other", first_name="Name", also=(f"x_{GUID}",)), None, None, True),
        (Identifiers(last_name="Other", first_name="Name"), None, None, False),
        (Identifiers(mrn="9002"), "b0000002", "b0000002", False),
        (Identifiers(mrn="9002"), "a0000001", "a0000001", True),
        (Identifiers(last_name="Vossig"), "a0000001", "a0000001", False),
        (Identifiers(last_name="Vossig", mrn="77"), "a0000001", "a0000001", True),
        (Identifiers(also=(GUID,)), "a0000001", "a0000001", False),
        (Identifiers(last_name="Other"), "c0000003", None, False),
        (Identifiers(mrn="9001"), "c0000003", None, True),
        (Identifiers(last_name="Vossig"), "c0000003", None, True),
    ],
)
def test_whom_identifiers_mean(seen: Identifiers, code: str | None, who: str | None, asked: bool) -> None:
    known = recognise(KEY, seen, code)
    assert (known.person.code if known.person else None) == who
    assert bool(known.question) is asked
    assert "ossig" not in known.message + known.question


def test_identifiers_that_fit_two_persons_equally() -> None:
    twin = Person(code="c0000003", created="", identifiers=dataclasses.replace(ONE, mrn="9001", also=()))
    with pytest.raises(UsageError) as caught:
        recognise(LinkingKey((*KEY.persons, twin)), Identifiers(mrn="9001"), None)
    assert "a0000001, c0000003" in str(caught.value) and "--subject" in caught.value.next


def test_the_same_command_again_is_known_by_what_was_typed() -> None:
    one, two = KEY.persons
    assert is_command_of(one, Identifiers(), None) and is_command_of(two, Identifiers(), None)
    assert is_command_of(one, Identifiers(last_name="Vossig"), None)
    assert not is_command_of(two, Identifiers(last_name="Vossig"), None)
    assert not is_command_of(one, Identifiers(last_name="Vossig", first_name="Anders"), None)
    assert is_command_of(two, Identifiers(), "b0000002") and not is_command_of(one, Identifiers(), "b0000002")


def test_two_runs_cannot_give_one_person_two_codes(lab: Lab) -> None:
    keys = keys_of(lab)
    catalog = Home(lab.home).open_catalog()
    known = recognise(keys.file.read(), ONE, None)
    first, second = (choose_code(catalog, keys.file.read(), known, None) for _ in range(2))
    catalog.close()
    person, key = enter_person(keys, known, first, ONE)
    assert (person.code, person.identifiers) == (first, ONE) and len(key.persons) == 1
    with pytest.raises(LockedError):
        enter_person(keys, known, second, ONE)
    enter_person(keys, recognise(keys.file.read(), TWO, None), second, TWO)
    assert linking_key(lab).codes == {first, second}


# --- the command ---


def _apply(lab: Lab, export: Path, *more: str, status: int = 0) -> Result:
    return lab.here("--json", *more, "deid", "apply", export, "--to", lab.out, "--settle", "0", status=status)


def _code(done: Result) -> str:
    (code,) = {e["subject"] for e in done.of("item", action="segment")}
    assert isinstance(code, str)
    return code


def _identify(lab: Lab, **values: str) -> list[str]:
    return [word for name, value in values.items() for word in (f"--{name.replace('_', '-')}", value)]


@pytest.mark.parametrize("how", ["export", "file", "typed", "flags"])
def test_the_person_may_be_told_in_four_ways(handed_over: Lab, how: str) -> None:
    lab = handed_over
    assert lab.ledger is not None
    if how == "export":
        only_patient(lab, "a")
    words, typed = {
        "export": ([], ""),
        "file": (["--identifiers", str(lab.identifiers("a"))], ""),
        "typed": (["--identifiers", "-"], lab.ledger.patient("a").identifiers_toml()),
        "flags": (_identify(lab, last_name="Québrane-Zölt", mrn="70042917"), ""),
    }[how]
    done = lab.here("--json", "deid", "plan", lab.export, *words, typed=typed)
    planned = done.of("item", action="segment", status="planned")
    assert [e["segment"] for e in planned] == [1, 2, 3]
    assert done.summary["message"].startswith("50 files of 3 segments (3 new)")
    assert not (lab.home / "linking-key.age").exists()
    assert "without the password" not in done.out


def test_typed_bytes_that_are_no_text(handed_over: Lab) -> None:
    words = ["--json", "deid", "plan", handed_over.export, "--identifiers", "-"]
    done = handed_over.run(*words, status=2, typed="\udcff".encode("utf-8", "surrogateescape").decode("latin-1"))
    assert done.error["code"] == "usage"


def test_a_returning_patient_gets_the_same_code(lab: Lab) -> None:
    person = somebody()
    for order in (1, 2):
        write_edf(lab.export, person, order)
    first = _code(_apply(lab, lab.export))
    assert revision(lab, first) == 1
    later = lab.folder / "later"
    write_edf(later, dataclasses.replace(person, email="another@example.net"), 3)
    plan = lab.here("--json", "deid", "plan", later)
    assert f"returning patient: {first}" in plan.out and _code(plan) == first
    planned = plan.of("item", action="segment", status="planned")
    assert [e["segment"] for e in planned] == [3] and len(plan.of("item", action="segment", status="note")) == 2
    assert _code(_apply(lab, later)) == first
    assert [row.number for row in segments(lab, first)] == [1, 2, 3]
    assert len(linking_key(lab).persons) == 1


def test_a_plan_without_password_says_what_it_does_not_know(lab: Lab) -> None:
    write_edf(lab.export, somebody(), 1)
    write_edf(lab.export, somebody(), 2)
    _apply(lab, lab.export)
    write_edf(lab.export, somebody(), 3)
    lab.extra_env["ECOGSAFE_PASSWORD_FILE"] = ""
    plan = lab.here("--json", "deid", "plan", lab.export)
    assert "without the password a returning patient is not recognised" in plan.out


def test_a_namesake_is_asked_about_and_gets_an_own_code(lab: Lab) -> None:
    person = somebody()
    for order in (1, 2):
        write_edf(lab.export, person, order)
    first = _code(_apply(lab, lab.export))
    before = linking_key(lab), outbox(lab)
    namesake = somebody(mrn="80059999", study_guids=tuple(f"{i}{GUID[1:]}" for i in range(3)))
    other = lab.folder / "other"
    for order in (1, 2):
        write_edf(other, namesake, order)
    plan = lab.here("--json", "deid", "plan", other)
    assert "apply will ask" in plan.out and first in plan.out
    done = _apply(lab, other, status=2)
    assert done.error["code"] == "confirmation-needed"
    assert (linking_key(lab), outbox(lab)) == before
    assert "--subject" in done.said
    second = _code(_apply(lab, other, "--yes"))
    assert second != first and linking_key(lab).codes == {first, second}
    assert len(segments(lab, first)) == len(segments(lab, second)) == 2


def test_a_code_that_is_given(lab: Lab) -> None:
    person = somebody()
    write_edf(lab.export, person, 1)
    write_edf(lab.export, person, 2)
    words = ["--json", "deid", "apply", lab.export, "--to", lab.out]
    assert "not a subject code" in lab.here(*words, "--subject", "1234abcd", status=2).error["message"]
    lab.here(*words, "--subject", "c0ffee01")
    assert linking_key(lab).codes == {"c0ffee01"}
    more = lab.folder / "more"
    write_edf(more, person, 3)
    lab.here("--json", "deid", "apply", more, "--to", lab.out, "--subject", "c0ffee01")
    assert [row.number for row in segments(lab, "c0ffee01")] == [1, 2, 3]


def test_a_code_alone_says_who_is_meant(handed_over: Lab) -> None:
    lab = handed_over
    recording, _ = paths_of(lab, "a", 2)
    shutil.move(recording, lab.folder / "late.edf")
    lab.apply("a")
    shutil.move(lab.folder / "late.edf", recording)
    code = lab.codes["a"]
    lab.here("--json", "deid", "plan", lab.export, "--subject", code)
    done = lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--subject", code)
    assert done.summary["files"]["done"] == 1 and done.summary["counts"]["not_touched"] == 58
    again = lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--subject", code)
    assert "nothing new" in again.summary["message"]
    only_patient(lab, "b")
    assert lab.here("--json", "deid", "plan", lab.export, "--subject", code, status=2).error["code"] == "usage"


def test_a_code_of_somebody_else_is_asked_about(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    words = ["--json", "deid", "apply", lab.export, "--to", lab.out, "--subject", lab.codes["a"]]
    words += ["--identifiers", str(lab.identifiers("b"))]
    before = linking_key(lab), outbox(lab)
    assert lab.here(*words, status=2).error["code"] == "confirmation-needed"
    assert (linking_key(lab), outbox(lab)) == before
    # a second code for a person who has one is a question too
    lab.apply("b")
    back = lab.folder / "more"
    write_edf(back, somebody(), 1)
    asked = lab.here("--json", "deid", "apply", back, "--to", lab.out, "--subject", "c0ffee01", status=2)
    assert asked.error["code"] == "confirmation-needed" and "c0ffee01" not in linking_key(lab).codes


def test_a_linking_key_that_is_not_the_newest(lab: Lab) -> None:
    write_edf(lab.export, somebody(), 1)
    write_edf(lab.export, somebody(), 2)
    code = _code(_apply(lab, lab.export))
    (lab.home / "linking-key.age").unlink()
    other = lab.folder / "other"
    write_edf(other, somebody(last_name="Ilvermar", mrn="1"), 1)
    done = lab.here("--json", "deid", "apply", other, "--to", lab.out, "--subject", code, status=12)
    assert "key_backup" in done.error["next"]


def test_new_identifiers_lapse_what_was_cleared(lab: Lab) -> None:
    person = somebody()
    for order in (1, 2):
        write_edf(lab.export, person, order)
    code = _code(_apply(lab, lab.export))
    store = lab.folder / "store"
    store.mkdir()
    # known under another name now; what was cleared in this OUT must be searched again
    later, elsewhere = lab.folder / "later", lab.folder / "another outbox"
    write_edf(later, person, 3)
    words = ["--json", "deid", "apply", later, "--to", elsewhere, "--also", "Umbrathil"]
    done = lab.here(*words)
    assert revision(lab, code) == 2 and {r.revision for (_, p), r in cleared(lab, code).items()} == {1, 2}
    assert "deid scan" in "".join(e["message"] for e in done.of("item", action="apply", status="note"))
    upload = ["--json", "upload", "-t", "e", "--to", store.as_uri(), "-d"]
    refused = lab.here(*upload, lab.out, status=20)
    assert refused.error["code"] == "not-cleared" and f"deid scan DIR --subject {code}" in refused.error["next"]
    assert not list(store.rglob("*.edf"))
    lab.here(*upload, elsewhere)
    lab.here("deid", "scan", lab.out, "--subject", code)
    assert lab.here(*upload, lab.out).summary["files"]["done"] == 2


def test_an_apply_searches_what_stands_there_again(lab: Lab) -> None:
    person = somebody()
    for order in (1, 2):
        write_edf(lab.export, person, order)
    code = _code(_apply(lab, lab.export))
    write_edf(lab.export, person, 3)
    done = lab.here("--json", "deid", "apply", lab.export, "--to", lab.out, "--settle", "0", "--also", "Umbrathil")
    assert revision(lab, code) == 2 and done.summary["counts"]["cleared"] == 3
    assert {row.revision for row in cleared(lab, code).values()} == {2}
    # nothing is left in EXPORT, but a word that becomes known now may stand in what was cleared
    words = ["--json", "deid", "apply", lab.export, "--to", lab.out, "--subject", code, "--also", "posterior"]
    again = lab.here(*words, status=20)
    found = {e["path"] for e in again.of("finding")}
    assert found and found <= outbox(lab)
    assert {f"{t}/{p}" for (t, p), row in cleared(lab, code).items() if row.revision == 3} == outbox(lab) - found


def test_a_birth_date_alone_is_nobody(lab: Lab) -> None:
    write_edf(lab.export, somebody(), 1)
    write_edf(lab.export, somebody(birth_date=date(1962, 11, 24)), 2)
    done = _apply(lab, lab.export)
    (person,) = linking_key(lab).persons
    assert person.code == _code(done) and person.identifiers.birth_date == "1962-11-24"
