"""Misspelt names and short forms in free text: every edit is found, labels and ordinary words stay."""

from __future__ import annotations

import string

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.deid import nicknames, ordinary
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.terms import Rule
from ecogsafe.formats.edf_annotations import redact
from ecogsafe.formats.request import CleaningRequest

NAME = "Zorrelk"
ENCODINGS = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")
MATCHER = Matcher(Identifiers(last_name=NAME, first_name="William", middle_name="Ann", mrn="00471100"), near=True)
#: what a finger may hit beside the right key, the space bar and marks included
KEYS = string.ascii_letters + string.digits + "éöß -'._,;"


def edited(name: str, edit: str, at: int, key: str) -> str:
    at %= len(name)
    if edit == "insert":
        return name[:at] + key + name[at:]
    if edit == "delete":
        return name[:at] + name[at + 1 :]
    if edit == "substitute":
        return name[:at] + key + name[at + 1 :]
    at = min(at, len(name) - 2)
    return name[:at] + name[at + 1] + name[at] + name[at + 2 :]


def found(matcher: Matcher, data: bytes) -> list[tuple[int, int]]:
    return [*matcher.find(data), *matcher.find_near(data)]


@settings(max_examples=400, deadline=None)
@given(
    edit=st.sampled_from(["insert", "delete", "substitute", "transpose"]),
    at=st.integers(0, 7),
    key=st.sampled_from(KEYS),
    case=st.sampled_from([str.lower, str.upper, str.title]),
    encoding=st.sampled_from(ENCODINGS),
    around=st.sampled_from([("pt ", " fell"), ("\x14", "\x14\x00"), ("(", ")"), ("", ""), ("seen by Mr. ", ", calm")]),
)
def test_every_edit_of_a_seven_letter_name_is_found(edit, at, key, case, encoding, around) -> None:  # type: ignore[no-untyped-def]
    written = edited(case(NAME), edit, at, key).strip(" -'._,;")
    data = f"{around[0]}{written}{around[1]}".encode(encoding)
    start = len(around[0].encode(encoding))
    stop = start + len(written.encode(encoding))
    spans = found(MATCHER, data)
    # at an edge the name itself may be whole, with a letter too many beside it
    assert any(a <= stop and b >= start and b - a >= (stop - start) * 2 // 3 for a, b in spans), written


@settings(max_examples=150, deadline=None)
@given(
    edit=st.sampled_from(["insert", "delete", "substitute", "transpose"]),
    at=st.integers(0, 9),
    key=st.sampled_from("qxz"),
)
def test_every_edit_is_gone_from_annotations(edit: str, at: int, key: str) -> None:
    written = edited("Quillander", edit, at, key)
    matcher = Matcher(Identifiers(last_name="Quillander"), near=True)
    request = CleaningRequest(code="abcd1234", stem="abcd1234_1", find=matcher.find, find_near=matcher.find_near)
    block = f"+12.5\x1530\x14seizure, {written} calm\x14\x00".encode() + bytes(9)
    clean = redact(block, request.find_in_annotations)
    assert written.encode() not in clean and len(clean) == len(block)
    assert clean.startswith(b"+12.5\x1530\x14seizure, x") and clean.endswith(b"x calm\x14\x00" + bytes(9))
    assert redact(clean, request.find_in_annotations) == clean


def test_without_near_and_in_labels_nothing_changes() -> None:
    plain = Matcher(Identifiers(last_name=NAME, first_name="William"))
    for text in (b"Zorelk", b"Liam", b"Zorr elk"):
        assert plain.find_near(text) == [] and list(plain.near_candidates(text)) == []
        assert MATCHER.find(text) == [] and MATCHER.find_near(text)
    labels = CleaningRequest(code="abcd1234", stem="abcd1234_1", find=MATCHER.find, find_near=MATCHER.find_near)
    assert labels.find_in_text(b"LIAM1 ZORELK") == []
    assert not plain.near and MATCHER.near


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Liam is awake", ["Liam"]),
        ("BILLY is awake", ["BILLY"]),
        ("the bill was paid, will sleep", []),
        ("Bill Zorrelk", ["Bill"]),
        ("Zorrlek, Will", ["Zorrlek", "Will"]),
        ("Will: fine", []),
        ("Billyx", []),
        ("annie, not ann", ["annie"]),
    ],
)
def test_short_forms(text: str, expected: list[str], encoding: str) -> None:
    data = text.encode(encoding)
    assert [data[a:b].decode(encoding) for a, b in MATCHER.find_near(data)] == expected


def test_ordinary_words_are_told_and_left() -> None:
    matcher = Matcher(Identifiers(last_name="Parsons", first_name="Normen"), near=True)
    data = b"two persons, normal EEG; Mr. Persons; parsins; Parson"
    hits = sorted(matcher.near_candidates(data), key=lambda h: h.start)
    assert [(data[h.start : h.stop], h.kind, h.spared) for h in hits] == [
        (b"persons", "last name (near)", True),
        (b"Persons", "last name (near)", False),
        (b"parsins", "last name (near)", False),
        (b"Parson", "last name (near)", False),
    ]
    assert all("arsons" not in repr(h) for h in hits)
    assert Matcher(Identifiers(last_name="Forrest"), near=True).find_near(b"time for rest now") == []
    assert Matcher(Identifiers(last_name="Normah"), near=True).find_near(b"normal") == []


def test_a_whole_name_is_not_the_business_of_this_search() -> None:
    matcher = Matcher(Identifiers(last_name="Walker"), near=True)
    # an electrode label in the text of an annotation: the rule of the name itself decides
    assert found(matcher, b"onset at WALKER1") == []
    assert found(matcher, b"Walkerr") and found(matcher, b"Walker")


def test_hard_names() -> None:
    matcher = Matcher(
        Identifiers(last_name="O'Marrow-Brückenfuß", first_name="Zélie", also=("Tamsin Quillfeather", "host-42")),
        also_terms=("Vantongeren Ilse 1970",),
        near=True,
    )
    for text in (
        "Marow",
        "O'Marow",
        "omarow",
        "Brukenfuß",
        "Bruckenfus",
        "Brueckenfus",
        "BRÜCKENFSS",
        "Quilfeather",
        "Vantongren",
    ):
        for encoding in ENCODINGS:
            assert found(matcher, f"by {text}.".encode(encoding)), (text, encoding)
    for text in ("narrow", "narrows", "Zeli", "host-43", "family"):
        assert found(matcher, text.encode()) == [], text


def test_short_names_have_no_neighbours() -> None:
    matcher = Matcher(Identifiers(last_name="Balling", first_name="Mayla", mrn="123456"), near=True)
    assert found(matcher, b"Mayli and 123457, balding, calling") == []
    assert found(matcher, b"Ballink")


def test_the_plan_tells_and_names_nobody() -> None:
    decisions = MATCHER.decisions()
    assert {(d.kind.value, d.rule) for d in decisions} >= {
        ("last name", Rule.NEAR),
        ("first name", Rule.NEAR),
        ("first name", Rule.SHORT_FORM),
        ("middle name", Rule.SHORT_FORM),
    }
    assert "6 other forms of it, 2 only beside another name" in {d.why for d in decisions}
    shown = repr(decisions)
    assert NAME not in shown and "Liam" not in shown and "Bill" not in shown


def test_the_list_of_short_forms() -> None:
    assert {"will", "bill", "billy"} <= nicknames.other_forms("William")
    assert "william" in nicknames.other_forms("BILL") and "bill" not in nicknames.other_forms("Bill")
    assert nicknames.other_forms("Mary-Ann") >= {"marianne"} and not nicknames.other_forms("Zorrelk")
    groups = list(nicknames.groups())
    assert len(groups) > 200 and all(len(group) > 1 for group in groups)


@pytest.mark.parametrize(
    "word", ["walked", "stopped", "babies", "happily", "talking", "unhooked", "lateralized", "seizures"]
)
def test_ordinary_words_with_their_endings(word: str) -> None:
    assert ordinary.is_ordinary(word)
    assert not ordinary.is_ordinary("quillfeather") and not ordinary.is_ordinary("nelson")
