"""Names typed without their accents, or with others, are found both ways in every encoding."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.deid import accents, spelling
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.matching import Matcher

ENCODINGS = ("utf-8", "cp1252", "utf-16-le", "utf-16-be")
PAIRS = [
    ("Jose", "José"), ("Muller", "Müller"), ("Mueller", "Müller"), ("Muller", "Mueller"), ("Soren", "Søren"),
    ("Strasse", "Straße"), ("Penarosa", "Peñarosa"), ("Francois", "François"), ("Muhlhauser", "Mühlhäuser"),
    ("Muhlhauser", "Muehlhaeuser"), ("Aegidius", "Ægidius"), ("Asmund", "Åsmund"), ("Angel", "Ángel"),
]  # fmt: skip
WIDER = [
    ("Dvorak", "Dvořák"), ("Lukasiewicz", "Łukasiewicz"), ("Krizkova", "Křížková"), ("Nguyen", "Nguyễn"),
    ("Sahin", "Şahin"), ("Ozgurluk", "Özgürlük"), ("Anestis", "Anēstis"), ("Aleksandrs", "Āleksandrs"),
    ("Παπαδοσκιουρης", "Παπαδοσκιούρης"),
]  # fmt: skip


def check(typed: str, written: str, encoding: str) -> None:
    for field in ("last_name", "first_name"):
        for matcher in (
            Matcher(Identifiers(**{field: typed})),
            Matcher(None, others={"b0000001": Identifiers(**{field: typed})}),
        ):
            for case in (str, str.upper, str.lower):
                for before, after in (("", ""), ("pt ", ", 3"), ("\x14", "\x14\x00")):
                    planted = case(written).encode(encoding)
                    data = before.encode(encoding) + planted + after.encode(encoding)
                    start = len(before.encode(encoding))
                    spans = [s for s in matcher.find(data) if s[0] <= start and s[1] >= start + len(planted)]
                    assert spans, (typed, written, case, field)


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize(("one", "other"), PAIRS)
def test_both_ways(one: str, other: str, encoding: str) -> None:
    check(one, other, encoding)
    check(other, one, encoding)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize("form", ["NFC", "NFD"])
@pytest.mark.parametrize(("one", "other"), [*WIDER, *PAIRS])
def test_both_ways_where_unicode_is_needed(one: str, other: str, encoding: str, form: str) -> None:
    check(one, unicodedata.normalize(form, other), encoding)
    check(other, one, encoding)


def test_other_accents_than_those_typed() -> None:
    matcher = Matcher(Identifiers(last_name="Lévequé"))
    for written in ("Lèveque", "LÉVÊQUE", "leveque", "Léveque"):
        for encoding in ENCODINGS:
            assert matcher.find(written.encode(encoding))


def test_the_rule_of_the_name_holds_for_its_accents() -> None:
    matcher = Matcher(Identifiers(last_name="Bon", first_name="Rene"))
    for encoding in ENCODINGS:
        assert matcher.find("René, bón".encode(encoding))
        assert matcher.find("serené bóndage réneé2".encode(encoding)) == []
    # an umlaut is no second name
    assert Matcher(Identifiers(last_name="Do")).find("Doe, Dö".encode())[1:] == []


def test_two_bytes_of_utf8_are_not_two_letters_of_latin1() -> None:
    matcher = Matcher(Identifiers(last_name="Josa"))
    assert matcher.find("José".encode()) == []
    assert matcher.find("Josá".encode()) and matcher.find("Josá".encode("cp1252"))


ACCENTED = st.text(alphabet="éßÅñŁāĥ\u0301\u0303", max_size=3)


@settings(max_examples=150, deadline=None)
@given(st.lists(ACCENTED, max_size=6), st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]))
def test_a_view_says_the_same_without_accents(middles: list[str], encoding: str) -> None:
    text = " ".join(f"b{middle}Z" for middle in middles)
    data = ("Xy " + text).encode(encoding)
    for view in accents.views(data, data.lower(), 500):
        if view.encoding != encoding:
            continue
        assert view.data.decode(encoding) == spelling.unaccented("Xy " + text)
        for start in range(0, len(view.data), 2):
            raw_start, raw_stop = view.span(start, min(start + 2, len(view.data)))
            assert 0 <= raw_start < raw_stop <= len(data)
        assert view.span(0, len(view.data))[0] == 0
        assert view.differs(0, len(view.data))


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=120))
def test_views_of_any_bytes_are_sound(data: bytes) -> None:
    for view in accents.views(data, data.lower(), 500):
        for start in range(len(view.data)):
            raw_start, raw_stop = view.span(start, start + 1)
            assert 0 <= raw_start <= raw_stop <= len(data)


def test_plain_bytes_have_no_view() -> None:
    assert list(accents.views(b"plain text \x14\x00", b"plain text \x14\x00", 500)) == []
    utf16 = "plain text".encode("utf-16-le")
    assert list(accents.views(utf16, utf16, 500)) == []


def test_text_without_the_name_is_not_read_letter_by_letter(monkeypatch: pytest.MonkeyPatch) -> None:
    """Notes in a language with accents hold few of them, and mostly no name: a whole pass in one step says so."""
    notes = ("été, naïve Prüfung, señal " * 400).encode()
    built: list[int] = []
    real = accents._view
    monkeypatch.setattr(accents, "_view", lambda *values: built.append(1) or real(*values))
    matcher = Matcher(Identifiers(last_name="Quillfeathér", first_name="José"))
    assert matcher.find(notes) == [] and not built
    planted = notes + "Quíllfeather".encode()
    assert matcher.find(planted) == [(len(notes), len(planted))]
    # more different letters than one text has: one by one, with the same result
    every = "".join(chr(n) for n in range(0xC0, 0x180)).encode()
    assert matcher.find(every + planted) == [(len(every) + len(notes), len(every) + len(planted))]
