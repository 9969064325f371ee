"""One name in its spellings is one name: for the linking key, for EXPORT, and for the search."""

from __future__ import annotations

import pytest

from ecogsafe.deid.code_table import CodeRow
from ecogsafe.deid.code_table_merging import Fate, merge_table
from ecogsafe.deid.identifiers import Identifiers, Likeness, same_person
from ecogsafe.deid.linking_key import LinkingKey
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.name_keys import name_key, same_name
from ecogsafe.deid.whose import belongs_to
from ecogsafe.formats.found import PersonHints

BORN = "1970-02-02"
NOW = "2026-01-02T03:04:05.678901Z"
ONE_NAME = [
    ("Møller", "Moller", "Moeller", "MØLLER"),
    ("Müller", "Muller", "Mueller"),
    ("Wałęsicz", "Walesicz", "WAŁĘSICZ"),
    ("Weißgruber", "Weissgruber", "WEISSGRUBER"),
    ("Đurkovac", "Durkovac", "ĐURKOVAC"),
    ("Kjærstad", "Kjaerstad"),
    ("Lœuvrier", "Loeuvrier"),
    ("Yıldıray", "Yildiray", "YILDIRAY", "YILDIRAY".replace("I", "İ")),
    ("Åsgårdlund", "Aasgaardlund", "ÅSGÅRDLUND"),
]
PAIRS = [(a, b) for names in ONE_NAME for a in names for b in names if a != b]
#: alike, and not one name
NOT_ONE = [
    ("Møller", "Miller"),
    ("Boer", "Bor"),
    ("Bauer", "Baur"),
    ("Quene", "Qune"),
    ("Moll", "Møller"),
    ("Bø", "By"),
]


def person(last: str, first: str = "Zorah", **more: str) -> Identifiers:
    return Identifiers(last_name=last, first_name=first, **more)


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_returning_patient_is_recognised_in_every_spelling(one: str, other: str) -> None:
    assert same_name(one, other)
    assert same_person(person(one, birth_date=BORN), person(other, birth_date=BORN)) is Likeness.SAME
    assert same_person(person(one), person(other)) is Likeness.SAME_NAME_ONLY
    named_first = same_person(person("Quill", one, birth_date=BORN), person("Quill", other, birth_date=BORN))
    assert named_first is Likeness.SAME
    key = LinkingKey().with_person(LinkingKey().new_person(person(one, birth_date=BORN), now=NOW))
    assert [likeness for _, likeness in key.find(person(other, birth_date=BORN))] == [Likeness.SAME]


@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_a_folder_of_the_patient_is_theirs_in_every_spelling(one: str, other: str) -> None:
    belongs = belongs_to(person(one, birth_date=BORN))
    assert belongs(PersonHints(last_name=other, first_name="Zorah"), "x") is True
    assert belongs(PersonHints(), f"{other}_3") is True
    assert belongs(PersonHints(), f"{other}~ Zorah_1") is True


@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(("one", "other"), [p for p in PAIRS if "İ" not in p[1]])
def test_what_is_recognised_is_also_found(one: str, other: str, encoding: str) -> None:
    try:
        text = f"pt {other}, seen".encode(encoding)
    except UnicodeEncodeError:
        return
    assert Matcher(person(one)).find(text), "a spelling of the name stayed in the text"


@pytest.mark.parametrize(("one", "other"), NOT_ONE)
def test_names_that_are_only_alike_stay_two(one: str, other: str) -> None:
    assert not same_name(one, other)
    assert same_person(person(one, birth_date=BORN), person(other, birth_date=BORN)) is Likeness.DIFFERENT


@pytest.mark.parametrize(("initial", "first"), [("Ø.", "Øyvor"), ("O", "Øyvor"), ("Æ", "Ægira"), ("Z.", "Zorah")])
def test_an_initial_is_no_other_name(initial: str, first: str) -> None:
    assert same_person(person("Quill", initial), person("Quill", first)) is Likeness.SAME_NAME_ONLY
    assert same_person(person("Quill", initial), person("Quill", "Ximena")) is Likeness.DIFFERENT


def test_a_name_without_letters_has_no_key() -> None:
    assert name_key("--") == ""
    assert not same_name("--", "--")
    assert not same_name("", "")


def test_labels_stay_where_folded_names_are_searched() -> None:
    labels = b"EEG Fp1-Ref MOL1 LMOL2 KJA3 EKG1 SorL2 RASG1 WeiR1 Durk 0.5 uV"
    for names in ONE_NAME:
        for name in names:
            assert not Matcher(person(name)).find(labels), "a channel label was taken for a name"


def test_the_imported_code_table_knows_the_person_under_another_spelling() -> None:
    key = LinkingKey().with_person(LinkingKey().new_person(person("Møller", birth_date=BORN), now=NOW))
    row = CodeRow(number=2, code="abcd1234", identifiers=person("Moeller", birth_date=BORN))
    (fate,) = merge_table(key, [row], now=NOW).fates
    assert fate.fate is Fate.CONFLICT
