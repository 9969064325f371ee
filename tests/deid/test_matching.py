"""The search: planted terms in any case, encoding and join are found; ordinary words and labels are not."""

from __future__ import annotations

import random
import struct
import unicodedata
import uuid

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.terms import Rule

ENCODINGS = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")
GUID = "ca0b0790-d795-11d0-af32-00a0245b54a5"
PERSON = Identifiers(
    last_name="Brückenfuß-O'Marrow",
    first_name="Zélie",
    middle_name="Ann",
    mrn="0012-3456",
    birth_date="1970-02-02",
    also=("206-555-0123", GUID, "Tamsin Quillfeather", "ward7host"),
)
MATCHER = Matcher(PERSON)
GREEK = Matcher(Identifiers(last_name="Παπαδοσκιούρης", first_name="Σωσώ"))
BALL = Matcher(Identifiers(last_name="Ball", first_name="May", mrn="4711"))


def covered(matcher: Matcher, data: bytes, start: int, stop: int) -> bool:
    """Whether every letter and digit between ``start`` and ``stop`` lies in a span."""
    spans = matcher.find(data)
    bare = set(b" ,.;~_-^'/+|\t\0\x19 ")
    return all(any(a <= i < b for a, b in spans) for i in range(start, stop) if data[i] not in bare)


def any_case(draw: random.Random, text: str) -> str:
    return "".join(draw.choice((c.lower(), c.upper(), c)) for c in text)


NAMES = st.sampled_from(
    [
        "Brückenfuß-O'Marrow",
        "BRUECKENFUSS",
        "Bruckenfuss O'Marrow",
        "Brückenfuß",
        "Marrow",
        "brückenfußo'marrow",
        "Zélie",
        "Zelie",
        "Brückenfuß-O'Marrow~ Zélie",
        "BRÜCKENFUSS-O'MARROW, ZÉLIE",
        "Zelie_Brueckenfuss_OMarrow",
        "OMarrow^Zélie",
        "ZélieBrückenfuß-O'Marrow",
        "Quillfeather",
        "Tamsin_Quillfeather",
        "Zélie Ann",
    ]
)


@settings(max_examples=300, deadline=None)
@given(
    name=NAMES,
    encoding=st.sampled_from(ENCODINGS),
    form=st.sampled_from(["NFC", "NFD"]),
    seed=st.integers(0, 10_000),
    around=st.sampled_from([("", ""), (" ", " "), ("\x14", "\x14\x00"), ("_", "_3"), ("(", ").avi"), ('"', '"')]),
)
def test_a_planted_name_is_found(name: str, encoding: str, form: str, seed: int, around: tuple[str, str]) -> None:
    if name == "Quillfeather":  # half of a term of `also`: only the whole of it is searched
        name = "Tamsin Quillfeather"
    text = any_case(random.Random(seed), name)
    text = unicodedata.normalize("NFC" if encoding == "cp1252" else form, text)
    # cp1252 has no capital sharp s
    planted = text.encode(encoding, "ignore" if encoding == "cp1252" else "strict")
    before, after = (a.encode(encoding) for a in around)
    data = before + planted + after
    assert covered(MATCHER, data, len(before), len(before) + len(planted)) or "Quill" in name
    if "Quill" in name:
        assert MATCHER.find(data)


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(["Παπαδοσκιούρης", "Παπαδοσκιούρης, Σωσώ", "ΣωσώΠαπαδοσκιούρης"]),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
    seed=st.integers(0, 10_000),
)
def test_every_case_of_a_long_name_outside_latin(name: str, encoding: str, seed: int) -> None:
    planted = any_case(random.Random(seed), name).encode(encoding)
    assert covered(GREEK, planted, 0, len(planted)) or covered(GREEK, planted, 0, len(planted) - 2)
    assert GREEK.find(planted)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
def test_final_sigma_is_a_sigma(encoding: str) -> None:
    for text in ("ΠΑΠΑΔΟΣΚΙΟΎΡΗΣ", "παπαδοσκιούρησ", "παπαδοσκιούρης"):
        data = text.encode(encoding)
        assert GREEK.find(data) == [(0, len(data))]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(
    "text",
    [
        "00123456", "0012-3456", "123456", "12-3456", "MRN123456", "(000000123456)",
        "1970-02-02", "19700202", "02-FEB-1970", "2 feb 1970", "02.02.1970", "02/02/1970", "2/2/70", "02.02.70",
        "February 2, 1970", "02feb1970", "25601", "25601.000000", "(206) 555-0123", "2065550123",
        GUID, GUID.upper(), GUID.replace("-", ""), "{" + GUID + "}", "ward7host",
    ],
)  # fmt: skip
def test_numbers_and_dates_in_every_form(text: str, encoding: str) -> None:
    data = f"a {text}, b".encode(encoding)
    unit = 2 if encoding.startswith("utf-16") else 1
    inner = text.removeprefix("MRN").strip("(){}") if "(206" not in text else text
    at = 2 + text.index(inner)
    spans = MATCHER.find(data)
    assert any(a <= at * unit and (at + len(inner)) * unit <= b for a, b in spans)


@pytest.mark.parametrize(
    "text", ["1123456", "1234567", "125601", "256011", "11970-02-02", "02.02.19701", "20655501234"]
)
def test_digits_that_go_on_are_another_number(text: str) -> None:
    assert MATCHER.find(f" {text} ".encode()) == []
    assert MATCHER.find(f" {text} ".encode("utf-16-le")) == []


def test_binary_forms() -> None:
    for raw in (uuid.UUID(GUID).bytes_le, uuid.UUID(GUID).bytes, struct.pack("<d", 25601.0)):
        assert MATCHER.find(b"\0\1" + raw + b"\2") == [(2, 2 + len(raw))]
    # the folding of the search must not turn other bytes into the GUID
    assert MATCHER.find(bytes(b ^ 0x20 if 0x41 <= b <= 0x5A else b for b in uuid.UUID(GUID).bytes_le)) == []


@pytest.mark.parametrize(
    "text",
    [
        "football",
        "BALL1",
        "Ball12",
        "LBALL",
        "balls",
        "Mayo",
        "MAY1",
        "dismay",
        "Fp1-REF",
        "LH1",
        "147111",
        "ABall",
        "éball",
    ],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_patient_named_ball_does_not_destroy_labels(text: str, encoding: str) -> None:
    assert BALL.find(text.encode(encoding)) == []
    assert BALL.find(f"\x14{text}\x14".encode(encoding)) == []


@pytest.mark.parametrize(
    "text",
    ["Ball", "BALL_3", "Ball~ May", "May Ball", "ball's", "X Ball,May", "Ball-3.edf", "BallMay", "“Ball”", "nº4711"],
)
@pytest.mark.parametrize("encoding", ENCODINGS)
def test_but_the_patient_named_ball_is_found(text: str, encoding: str) -> None:
    assert BALL.find(text.encode(encoding))
    assert BALL.find(f"\x14{text}\x14".encode(encoding))


def test_a_long_unique_name_counts_inside_a_login() -> None:
    matcher = Matcher(Identifiers(last_name="Quillfeather", first_name="Zorah"))
    for text in (b"zquillfeather2", b"quillfeatherlab", b"QUILLFEATHERZORAH"):
        assert matcher.find(text)
    short = Matcher(Identifiers(last_name="Doek", first_name="Zorah"))
    assert short.find(b"by zdoek at") and short.find(b"DoekZorah_1") and not short.find(b"doekan")


def test_a_name_inside_an_ordinary_word_needs_edges() -> None:
    matcher = Matcher(Identifiers(last_name="Hanna", first_name="Norma"))
    assert matcher.find(b'(."ChanNames", "normal")') == []
    assert len(matcher.find(b"Norma3 and HANNA.")) == 2


def test_decisions_tell_each_rule_and_no_name() -> None:
    decisions = Matcher(
        Identifiers(last_name="Ball", first_name="Quillfeather", middle_name="J", mrn="12", birth_date="03/04/1970"),
        also_terms=("van der Zorrel", "x9", GUID),
    ).decisions()
    rules = {(d.kind.value, d.rule) for d in decisions}
    assert ("last name", Rule.LABEL) in rules
    assert ("first name", Rule.ANYWHERE) in rules
    assert ("middle name", Rule.JOINED) in rules
    assert ("mrn", Rule.NOT_SEARCHED) in rules
    assert ("also", Rule.NOT_SEARCHED) in rules
    assert any(d.why == "2 readings" for d in decisions)
    shown = repr(decisions) + "".join(map(str, decisions))
    assert "Ball" not in shown and "Quillfeather" not in shown and "1970" not in shown and "Zorrel" not in shown


def test_a_short_record_number_is_not_searched() -> None:
    assert Matcher(Identifiers(last_name="Quillfeather", mrn="12")).find(b"12 seizures") == []


@pytest.mark.parametrize("text", ["x xx xxxxx X,X", "X_X", "unknown", "0000 00000", "0 1 2 0.0 2.000000", "none"])
def test_placeholders_and_default_dates_are_nobody(text: str) -> None:
    nobody = Identifiers(last_name="X,X", first_name="X", mrn="00000", birth_date="1900-01-01", also=("none",))
    unknown = Identifiers(last_name="Unknown", first_name="XX", mrn="X", birth_date="1899-12-30", also=("x", "0"))
    for person in (nobody, unknown):
        for matcher in (Matcher(person), Matcher(None, others={"a0000001": person})):
            assert matcher.find(text.encode()) == []


def test_hits_tell_kind_encoding_and_a_mask() -> None:
    data = b"Dr said Zorah " + "Quillfeather".encode("utf-16-le") + b" 7654321"
    hits = Matcher(Identifiers(last_name="Quillfeather", first_name="Zorah", mrn="7654321")).hits(data)
    assert [(h.kind, h.encoding, h.masked) for h in hits] == [
        ("first name", "utf-8", "Z•••"),
        ("last name", "utf-16-le", "Q•••"),
        ("mrn", "utf-8", "•••"),
    ]
    assert data[hits[0].start : hits[0].stop] == b"Zorah"
    assert data[hits[1].start : hits[1].stop].decode("utf-16-le") == "Quillfeather"


def test_utf16_is_told_apart_by_its_surroundings() -> None:
    matcher = Matcher(Identifiers(last_name="Quillfeather"))
    for encoding in ("utf-16-le", "utf-16-be"):
        for text in ("Quillfeather", "a Quillfeather b", "aQuillfeatherb"):
            hits = matcher.hits(text.encode(encoding))
            assert [h.encoding for h in hits] == [encoding]
            assert hits[0].start == 2 * text.index("Q")


def test_scripts_without_word_edges() -> None:
    matcher = Matcher(Identifiers(last_name="山鳥", first_name="花"))
    assert matcher.find("患者は山鳥花子".encode())
    assert matcher.find("花瓶".encode()) == []
    assert matcher.find("山鳥花".encode("utf-16-le"))


def test_nothing_to_search_finds_nothing() -> None:
    empty = Matcher(Identifiers())
    assert empty.find(b"anything at all") == [] and empty.longest == 0
    assert MATCHER.find(b"") == []


OTHERS = {
    "a0000001": Identifiers(last_name="Will", first_name="Ty", mrn="4711", birth_date="1970-02-02"),
    "a0000002": Identifiers(last_name="Quillfeather", first_name="Rose", mrn="00765432", birth_date="1981-03-04"),
    "a0000003": Identifiers(last_name="Ball", first_name="Zorah", mrn="900100", birth_date="1955-12-30"),
}


@pytest.mark.parametrize(
    "text",
    [
        "patient will sleep", "long", "ty", "4711", "25601", "02.02.70", "football", "ball1", "Quillfeathers", "roses",
    ],
)  # fmt: skip
def test_other_subjects_are_searched_strictly(text: str) -> None:
    assert Matcher(None, others=OTHERS).find(text.encode()) == []


@pytest.mark.parametrize(
    ("text", "owner"),
    [
        ("Will, Ty", "a0000001"), ("TyWill", "a0000001"), ("will_ty", "a0000001"), ("25601.000000", "a0000001"),
        ("1970-02-02", "a0000001"), ("Quillfeather_2", "a0000002"), ("rose", "a0000002"), ("765432", "a0000002"),
        ("04-MAR-1981", "a0000002"), ("Ball", "a0000003"), ("BallZorah", "a0000003"), ("0900100", "a0000003"),
    ],
)  # fmt: skip
def test_and_yet_found(text: str, owner: str) -> None:
    hits = Matcher(None, others=OTHERS).hits(f"x {text} y".encode())
    assert [h.owner for h in hits] == [owner]


def test_one_automaton_holds_a_thousand_people() -> None:
    draw = random.Random(7)
    syllables = [
        "ka",
        "lo",
        "mi",
        "ren",
        "tor",
        "vel",
        "sa",
        "bru",
        "hin",
        "dak",
        "or",
        "wen",
        "zig",
        "pol",
        "fa",
        "tem",
    ]
    names = ["".join(draw.choices(syllables, k=4)).title() for _ in range(1000)]
    people = {f"b{n:07x}": Identifiers(last_name=name, mrn=str(5_000_000 + n)) for n, name in enumerate(names)}
    matcher = Matcher(None, others=people)
    for n in (0, 500, 999):
        hits = matcher.hits(f"{names[n].upper()} 500{n:04d}".encode("utf-16-le"))
        assert [h.kind for h in hits] == ["last name", "mrn"]
        assert hits[1].owner == f"b{n:07x}"


@settings(max_examples=80, deadline=None)
@given(st.binary(max_size=200))
def test_spans_are_sound_for_any_bytes(data: bytes) -> None:
    spans = MATCHER.find(data)
    assert all(0 <= a < b <= len(data) for a, b in spans)
    assert all(spans[i][1] < spans[i + 1][0] for i in range(len(spans) - 1))


def test_further_names_are_searched_by_their_uncommon_parts() -> None:
    matcher = Matcher(Identifiers(also=("T. Quillonby", "1420 Fictional Way, Apt 3", "q.post@example.org", "448812")))
    for text in ("T._Quillonby", "dr quillonby", "1420_Fictional_Way,_Apt_3", "Q.POST@example.org", "448812"):
        assert matcher.find(text.encode())
    for text in ("way", "postictal", "example", "post", "4488-1-2", "1420"):
        assert matcher.find(text.encode()) == []


def test_padding_is_no_letter() -> None:
    for pad in (b"\0", b"\xff", b"\xff\xff\xff", b"\x14"):
        assert BALL.find(pad + b"Ball" + pad) == [(len(pad), len(pad) + 4)]
    assert BALL.find(b"\xe9Ball") == []
