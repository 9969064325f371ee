"""Time-stamped annotation lists: what in them is text, and what stays whatever is done to it."""

from __future__ import annotations

from decimal import Decimal

import pytest
from builders_edf import tal
from cleaned import find_terms
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.formats.edf_annotations import first_onset_s, looks_like_annotations, redact, text_spans, wipe


def texts(block: bytes) -> list[bytes]:
    return [block[a:b] for a, b in text_spans(block)]


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (b"", []),
        (bytes(20), []),
        (tal("+0"), []),
        (tal("+0.3945312") + tal("-3", "before") + bytes(5), [b"before"]),
        (tal("+0", "", "on the clock"), [b"on the clock"]),
        (tal("+1", "one", "two", duration="0.5"), [b"one", b"two"]),
        (b"+1\x15\x14no duration\x14\0", [b"no duration"]),
        (b"+1\x14cut of", [b"cut of"]),
        (b"+1\x14no end\0", [b"no end"]),
        (tal("+1,5", "comma"), [b"comma"]),
        # broken: everything but separators is text
        (b"1\x14no sign\x14\0", [b"1", b"no sign"]),
        (b"+1 \x14space\x14\0", [b"+1 ", b"space"]),
        (b"+1\x15x\x14bad\x14\0", [b"+1", b"x", b"bad"]),
        (tal("+0") + b"\0\0\0note by hand", [b"note by hand"]),
        (b"\x14\x14\0" + tal("+5", "after"), [b"after"]),
        (b"\0\0" + tal("+5", "after"), [b"after"]),
    ],
)
def test_text_of_a_block(block: bytes, found: list[bytes]) -> None:
    assert texts(block) == found


def test_first_onset() -> None:
    assert first_onset_s(tal("+12.25")) == Decimal("12.25")
    assert first_onset_s(tal("-0,5")) == Decimal("-0.5")
    assert first_onset_s(b"\0" + tal("+1")) is None
    assert first_onset_s(b"12\x14\x14") is None
    assert looks_like_annotations(tal("+12.25")[:8])
    assert not looks_like_annotations(b"+12.25")


def test_redaction_touches_text_only() -> None:
    block = tal("+1") + tal("+4711", "call 4711 Vimbo", "4711", duration="4711") + bytes(9)
    wanted = tal("+1") + tal("+4711", "call xxxx xxxxx", "xxxx", duration="4711") + bytes(9)
    assert redact(block, find_terms("vimbo", "4711")) == wanted


def test_redaction_takes_whole_characters() -> None:
    def half_a_character(data: bytes) -> list[tuple[int, int]]:
        at = data.find("ö".encode())
        return [(at + 1, at + 3)] if at >= 0 else []

    assert redact(tal("+1", "Größe €"), half_a_character) == tal("+1", "Grxxxxe €")
    euro = "€".encode()
    assert redact(tal("+1", "a€b"), lambda d: [(d.find(euro), d.find(euro) + 1)] if euro in d else []) == tal(
        "+1", "axxxb"
    )


def test_latin1_text_is_redacted_byte_by_byte() -> None:
    block = b"+1\x14Gr\xf6\xdfe \xe9t\xe9\x14\0"
    assert redact(block, find_terms("Größe")) == b"+1\x14xxxxx \xe9t\xe9\x14\0"


def test_a_name_across_separators_loses_its_letters_only() -> None:
    block = tal("+1", "Vim", "bo")
    assert redact(block, find_terms("Vim\x14bo")) == tal("+1", "xxx", "xx")


def test_utf16_in_a_broken_block() -> None:
    block = tal("+1") + "Vimbo".encode("utf-16-le")
    assert redact(block, find_terms("Vimbo")) == tal("+1") + "xxxxx".encode("utf-16-le")


def test_wipe_leaves_time_stamps_only() -> None:
    block = tal("+0") + tal("+1.5", "Größe", "b", duration="2") + b"\0rest"
    wanted = tal("+0") + b"+1.5\x152\x14xxxxxxx\x14x\x14\0" + b"\0xxxx"
    assert wipe(block) == wanted
    assert wipe(wanted) == wanted


pieces = st.sampled_from([b"+1", b"-2.5", b"\x14", b"\x14", b"\x15", b"\0", b"\0", b"Vimbo", "é".encode(), b"7", b"."])


@settings(max_examples=150, deadline=None)
@given(st.lists(pieces, max_size=25).map(b"".join))
def test_any_bytes_keep_their_structure(block: bytes) -> None:
    find = find_terms("vimbo", "é7")
    for new in (redact(block, find), wipe(block)):
        assert len(new) == len(block)
        assert list(text_spans(new)) == list(text_spans(block))
        structure = bytearray(block)
        for a, b in text_spans(block):
            structure[a:b] = new[a:b]
        assert structure == new
        assert not list(find(new))
    assert redact(redact(block, find), find) == redact(block, find)
