"""Identifiers: reading, merging, likeness, and that they never print."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.core.errors import UsageError
from ecogsafe.deid.birth_dates import ole_day, possible_dates, tidy_date
from ecogsafe.deid.identifiers import Identifiers, Likeness, read_identifiers_file, same_person
from ecogsafe.formats.found import PersonHints

TOML = """
last_name = "Quillfeather"
first_name = "Zorah"
mrn = "00123-4567"
birth_date = 1970-02-02
also = ["206-555-0123", "Tamsin Quillfeather"]
"""
ZORAH = Identifiers(last_name="Quillfeather", first_name="Zorah", mrn="1234567", birth_date="1970-02-02")


def test_toml_gives_every_field() -> None:
    person = Identifiers.from_toml(TOML)
    assert (person.last_name, person.first_name, person.mrn) == ("Quillfeather", "Zorah", "00123-4567")
    assert person.birth_date == "1970-02-02"
    assert person.also == ("206-555-0123", "Tamsin Quillfeather")


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("last_name = Quillfeather", "not TOML"),
        ('last_nam = "Quillfeather"', "not known"),
        ("mrn = 1234567", "a text in quotes"),
        ('also = "Quillfeather"', "a list of texts"),
        ('also = ["Quillfeather", 3]', "a list of texts"),
        ('last_name = "  "', "empty"),
        ("", "empty"),
    ],
)
def test_bad_toml_is_refused_without_repeating_it(text: str, named: str) -> None:
    with pytest.raises(UsageError, match=named) as caught:
        Identifiers.from_toml(text)
    assert "Quillfeather" not in str(caught.value)
    assert "1234567" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_the_unknown_key_is_answered_with_the_nearest_one() -> None:
    with pytest.raises(UsageError) as caught:
        Identifiers.from_toml('first_nme = "Zorah"')
    assert "first_name" in caught.value.next


def test_nothing_private_prints() -> None:
    person = Identifiers.from_toml(TOML)
    shown = f"{person} {person!r} {[person]}"
    for private in ("Quillfeather", "Zorah", "4567", "1970", "555", "Tamsin"):
        assert private not in shown
    assert "Q•••" in shown


def test_a_file_for_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "who.toml"
    path.write_text(TOML)
    path.chmod(0o600)
    assert read_identifiers_file(path).first_name == "Zorah"
    for mode in (0o640, 0o604, 0o644):
        path.chmod(mode)
        with pytest.raises(UsageError, match="read by others"):
            read_identifiers_file(path)


def test_what_is_no_plain_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "who.toml"
    path.write_text(TOML)
    path.chmod(0o600)
    link = tmp_path / "link.toml"
    link.symlink_to(path)
    for bad in (tmp_path / "absent.toml", link):
        with pytest.raises(UsageError, match="cannot be opened") as caught:
            read_identifiers_file(bad)
        assert str(tmp_path) not in str(caught.value)
    with pytest.raises(UsageError, match="not a plain file"):
        read_identifiers_file(tmp_path)
    path.write_bytes(b'last_name = "\xff"')
    with pytest.raises(UsageError, match="not UTF-8"):
        read_identifiers_file(path)
    path.write_bytes(b"#" * (1 << 20) + b"#")
    with pytest.raises(UsageError, match="too large"):
        read_identifiers_file(path)


def test_hints_are_merged_and_placeholders_dropped() -> None:
    hints = [
        PersonHints(last_name="X", first_name="x", mrn="0000", also=("X",)),
        PersonHints(last_name="Müllerin", first_name="Zorah", birth_date="02-FEB-1970", also=("host-17",)),
        PersonHints(last_name="MÜLLERIN", first_name="ZORAH", mrn="0123", birth_date="1970-02-02"),
        PersonHints(last_name="Mullerin", mrn="123", also=("host-17", "Müllerin")),
    ]
    person = Identifiers.from_hints(hints)
    assert (person.last_name, person.first_name, person.mrn, person.birth_date) == (
        "Müllerin",
        "Zorah",
        "0123",
        "1970-02-02",
    )
    assert person.also == ("host-17", "Mullerin")


def test_merge_keeps_what_contradicts() -> None:
    merged = ZORAH.merge(Identifiers(last_name="Featherquill", mrn="7654321", middle_name="Ann"))
    assert merged.last_name == "Quillfeather"
    assert merged.middle_name == "Ann"
    assert merged.also == ("Featherquill", "7654321")
    assert merged.merge(ZORAH) == merged


@pytest.mark.parametrize(
    ("other", "likeness"),
    [
        (Identifiers(mrn="01234567"), Likeness.SAME),
        (Identifiers(mrn="123-4567", last_name="Featherquill"), Likeness.SAME),
        (Identifiers(mrn="1234567", last_name="Other", birth_date="1981-01-01"), Likeness.DIFFERENT),
        (Identifiers(last_name="QUILLFEATHER", first_name="zorah", birth_date="2 Feb 1970"), Likeness.SAME),
        (Identifiers(last_name="Quillfeather", first_name="Zorah Ann", birth_date="1970-02-02"), Likeness.SAME),
        (Identifiers(last_name="Quillfeather", first_name="Zorah"), Likeness.SAME_NAME_ONLY),
        (Identifiers(last_name="Quillfeather"), Likeness.SAME_NAME_ONLY),
        (Identifiers(last_name="Quillfeather", first_name="Z"), Likeness.SAME_NAME_ONLY),
        (Identifiers(last_name="Quillfeather", birth_date="1970-02-02"), Likeness.SAME_NAME_ONLY),
        (Identifiers(last_name="Quillfeather", first_name="Zorah", birth_date="1970-02-03"), Likeness.DIFFERENT),
        (Identifiers(last_name="Quillfeather", first_name="Zorah", mrn="99"), Likeness.DIFFERENT),
        (
            Identifiers(last_name="Quillfeather", first_name="Zorah", mrn="99", birth_date="1970-02-02"),
            Likeness.SAME_NAME_ONLY,
        ),
        (Identifiers(last_name="Quillfeather", first_name="Tamsin", birth_date="1970-02-02"), Likeness.DIFFERENT),
        (Identifiers(last_name="Other", first_name="Zorah", birth_date="1970-02-02"), Likeness.DIFFERENT),
        (Identifiers(birth_date="1970-02-02"), Likeness.DIFFERENT),
        (Identifiers(), Likeness.DIFFERENT),
        (
            Identifiers(last_name="Featherquill", first_name="Zorah", birth_date="1970-02-02", also=("Quillfeather",)),
            Likeness.SAME,
        ),
    ],
)
def test_likeness(other: Identifiers, likeness: Likeness) -> None:
    assert same_person(ZORAH, other) is likeness
    assert same_person(other, ZORAH) is likeness


def test_accents_do_not_make_two_persons() -> None:
    a = Identifiers(last_name="Brücké", first_name="Óla", birth_date="1970-02-02")
    b = Identifiers(last_name="BRUCKE", first_name="Ola", birth_date="1970-02-02")
    assert same_person(a, b) is Likeness.SAME


def test_written_dates() -> None:
    assert tidy_date("02-FEB-1970") == tidy_date("1970/02/02") == tidy_date("19700202") == "1970-02-02"
    assert tidy_date("February 2, 1970") == tidy_date("2.2.1970") == "1970-02-02"
    assert [d.isoformat() for d in possible_dates("03/04/1970")] == ["1970-04-03", "1970-03-04"]
    assert tidy_date("03/04/1970") == "03/04/1970"
    assert tidy_date("25/12/1970") == "1970-12-25"
    assert possible_dates("31-FEB-1970") == possible_dates("someday") == possible_dates("2 Foo 1970") == ()
    assert ole_day(possible_dates("1970-02-02")[0]) == 25601  # FORMATS 2.2
