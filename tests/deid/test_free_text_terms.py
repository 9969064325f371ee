"""Lines of free text among the identifiers: their names, numbers and dates are searched alone, ordinary words not."""

from __future__ import annotations

import pytest

from ecogsafe.deid.free_text_terms import FreeTextParts, split_free_text
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.matching import Matcher


@pytest.mark.parametrize(
    ("text", "names", "numbers", "dates"),
    [
        ("Quillonby Jane F 24/09/1996 MRN 00471100", ["Quillonby", "Jane"], ["00471100"], ["24/09/1996"]),
        ("MRN00471100 DOE JANE 24-SEP-1996", ["DOE", "JANE"], ["00471100"], ["24-SEP-1996"]),
        ("Doe_Jane_Female_95yr_ID4711", ["Doe", "Jane"], ["4711"], []),
        ("pt Zorrelkamp, room 12, bed 3, 256 Hz", ["Zorrelkamp"], [], []),
        ("1420 Fictional Way, Apt 3", [], [], []),
        ("recording of 04/05/2020 10:00 seizure 3", [], [], []),
        ("born 1970-02-02, recorded 2020-05-04", [], [], ["1970-02-02"]),
        ("LTM 5 EMU bed 7 EEG 19 channels", [], [], []),
        ("O'Marrow-Quill 0012-3456", ["O'Marrow-Quill"], ["0012-3456"], []),
        ("H1234567 Will May Bill Mark 12", [], ["H1234567"], []),
        ("jane22@example.org \\\\ward7\\zorrel 3", [], [], []),
        ("call 206-555-0123 x4", [], ["206-555-0123"], []),
        ("19700202 Zorrel", ["Zorrel"], ["19700202"], ["19700202"]),
        ("7", [], [], []),
        ("ward7host", [], [], []),
        ("Tamsin Quillfeather", [], [], []),
    ],
)  # fmt: skip
def test_parts(text: str, names: list[str], numbers: list[str], dates: list[str]) -> None:
    assert split_free_text(text) == FreeTextParts(tuple(names), tuple(numbers), tuple(dates))


def test_a_date_that_nothing_names_is_one_of_birth_only_while_none_is_known() -> None:
    text = "Zorrel 24/09/1996 3"
    assert split_free_text(text).dates == ("24/09/1996",)
    assert split_free_text(text, birth_date_known=True).dates == ()
    assert split_free_text("Zorrel dob: 24/09/1996", birth_date_known=True).dates == ("24/09/1996",)


LEGACY = Identifiers(also=("Quillonby Jane female 24/09/1996 MRN 00471100, seizures since age 7",))


@pytest.mark.parametrize(
    "text", ["mrs. QUILLONBY", "with Jane.", "1996-09-24", "24 SEP 1996", "#471100", "Quillonby_3", "jane"]
)
@pytest.mark.parametrize("encoding", ["utf-8", "cp1252", "utf-16-le", "utf-16-be"])
def test_the_parts_are_found(text: str, encoding: str) -> None:
    assert Matcher(LEGACY).find(f"x {text} y".encode(encoding))


@pytest.mark.parametrize("text", ["female", "seizures", "since age 7", "MRN", "24", "janet1", "1996", "4711"])
def test_common_words_are_no_identifiers(text: str) -> None:
    assert Matcher(LEGACY).find(f" {text} ".encode()) == []


def test_decisions_tell_the_parts() -> None:
    whys = [d.why for d in Matcher(LEGACY).decisions()]
    assert whys.count("a name in free text") == 2 and whys.count("a number in free text") == 1
    assert "uillonby" not in repr(Matcher(LEGACY).decisions())
