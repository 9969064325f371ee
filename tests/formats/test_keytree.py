"""Key trees: tokens, default-deny, .eeg and .ent, and what they say of the person."""

from __future__ import annotations

import io

import pytest
from builders_natus import ANNOTATION, GUID, MONTAGE, STEM, TERMS, TREE, eeg, ent, header, note
from cleaned import apply, check_cleaning, request_for
from hypothesis import given, settings
from hypothesis import strategies as st
from natus_erd.ent import _safe_parse_excel, channel_names_from_notes, read_ent_notes

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import person_hints
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.keytree import TokenKind, tokens, unescaped
from ecogsafe.formats.keytree_cleaning import cleaned_tree
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.request import Annotations, CleaningRequest
from ecogsafe.formats.text_regions import text_regions

REQUEST = request_for(*TERMS)


def nothing(_: bytes) -> list[tuple[int, int]]:
    return []


def clean(kind: Kind, data: bytes) -> bytes:
    return check_cleaning(data, REQUEST, lambda f: text_regions(kind, f), lambda f, r: patches(kind, f, r))


def test_tokens_know_their_keys_whatever_stands_in_strings() -> None:
    text = b'(.(."A", "x), (.\\"B\\", \\\\"), (."C", (1, -.5e3, "y")), (."D", (.(."E", {0CFE-1})) ) )'
    found = [(t.kind, text[t.start : t.stop], t.path) for t in tokens(text)]
    assert found == [
        (TokenKind.KEY, b"A", ()),
        (TokenKind.STRING, b'x), (.\\"B\\", \\\\', (b"A",)),
        (TokenKind.KEY, b"C", ()),
        (TokenKind.ATOM, b"1", (b"C",)),
        (TokenKind.ATOM, b"-.5e3", (b"C",)),
        (TokenKind.STRING, b"y", (b"C",)),
        (TokenKind.KEY, b"D", ()),
        (TokenKind.KEY, b"E", (b"D",)),
        (TokenKind.ATOM, b"{0CFE-1}", (b"D", b"E")),
    ]


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"  ",
        b"Odalys",
        b'(."A", "x',
        b'(."A", "x\0")',
        b'(."A", "x"',
        b'(."A", 1))',
        b'(."A", 1) Odalys',
        b"(" * 300,
        b'"A"',
    ],
)
def test_what_is_no_tree_is_refused(text: bytes) -> None:
    with pytest.raises(MalformedFileError):
        cleaned_tree(text, nothing)


def test_escapes_are_resolved() -> None:
    assert unescaped(rb"\\\\HOST\\d \"q\" \xd" + b"\n" + rb"\xe9 C:\Users") == '\\\\HOST\\d "q" \r\né C:\\Users'


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'(."Text", "a\\"b")', b'(."Text", "XXXX")'),
        (b'(."Text", "a\\xd \nb")', b'(."Text", "XXXXXXX")'),
        (b'(."Anything new", "free")', b'(."Anything new", "XXXX")'),
        (b'(."Phone 206-555-0147", 1)', b'(."XXXXXXXXXXXXXXXXXX", 1)'),
        (b'(."Type", "Annotation")', b'(."Type", "Annotation")'),
        (b'(."Type", "call 206-555-0147")', b'(."Type", "XXXXXXXXXXXXXXXXX")'),
        (b'(."ChanNames", ("A1", "a@b"))', b'(."ChanNames", ("A1", "XXX"))'),
        (b'(."ChanNames", ("Odalys1", "C3"))', b'(."ChanNames", ("xxxxxx1", "C3"))'),
        (b'(."ChanNames", (.(."Note", "deep")))', b'(."ChanNames", (.(."Note", "XXXX")))'),
        (b'(."Personal", (.(."Type", "kin")))', b'(."Personal", (.(."Type", "XXX")))'),
        (b'(."Personal", (.(."Height", 170)))', b'(."Personal", (.(."Height", 000)))'),
        (b'(."BirthDate", 25601.000000)', b'(."BirthDate", 00000.000000)'),
        (b'(."Unknown", 25601.5)', b'(."Unknown", 00000.0)'),
        (b'(."Unknown", 9601)', b'(."Unknown", 9601)'),
        (b'(."DOB", 9601)', b'(."DOB", 0000)'),
        (b'(."Age", 93)', b'(."Age", 00)'),
        (b'(."Montage", 93)', b'(."Montage", 93)'),
        (b'(."Stamp", 12345678)', b'(."Stamp", 12345678)'),
        (b'(."StartTime", 132594630723456780)', b'(."StartTime", 132594630723456780)'),
        (b'(."StartTime", 44260.75)', b'(."StartTime", 00000.00)'),
        (b'(."Account", -20655501)', b'(."Account", -00000000)'),
        (b'(."Blob", 0x4F64)', b'(."Blob", 0x0000)'),
        (b'(."Blob", 4F64-61ff)', b'(."Blob", 0000-0000)'),
        (b'(."Gain", "1.000000")', b'(."Gain", "1.000000")'),
        (b'(."Gain", "25601.000")', b'(."Gain", "XXXXXXXXX")'),
        (b'(."Deleted", True)', b'(."Deleted", True)'),
        (b'("no key", 12)', b'("XXXXXX", 00)'),
        (b"(.(.\"Text\", 'single'))", b"(.(.\"Text\", 'XXXXXX'))"),
        (b'(."Text", "M\xfcller")', b'(."Text", "XXXXXX")'),
        (b'(."\x82\x83", "v")', b'(."XX", "X")'),
    ],
)
def test_default_deny_at_equal_length(old: bytes, new: bytes) -> None:
    cleaned = cleaned_tree(old, REQUEST.find)
    assert cleaned == new
    assert cleaned_tree(cleaned, REQUEST.find) == new


def test_kept_number_that_holds_an_identifier_is_zeroed() -> None:
    assert cleaned_tree(b'(."Stamp", 1256012)', REQUEST.find) == b'(."Stamp", 0000000)'


def test_cleaned_notes_still_parse() -> None:
    for old in (
        ANNOTATION,
        MONTAGE,
        TREE.replace(GUID.encode(), b"1").replace(b"{1}", b"1").replace(b"4F64616C7973", b"1"),
    ):
        assert _safe_parse_excel(old.decode()) is not None
        assert _safe_parse_excel(cleaned_tree(old, REQUEST.find).decode()) is not None


def test_eeg_keeps_its_length_and_loses_what_follows_the_tree() -> None:
    data = eeg()
    cleaned = clean(Kind.EEG, data)
    assert cleaned.endswith(bytes(14))
    assert b'(."SampleRate", 256.0)' in cleaned
    for word in (b"acct", b"20655501", b'F"', b"Cartwheel", b"25601", b"4F64"):
        assert word not in cleaned


def test_eeg_without_a_tree_is_refused() -> None:
    for body in (b"", b"\0", b'(."A", "x', b"(" * 999):
        with pytest.raises(MalformedFileError):
            list(patches(Kind.EEG, io.BytesIO(header(3) + body), REQUEST))


def test_ent_notes_are_cleaned_and_still_found(tmp_path) -> None:  # type: ignore[no-untyped-def]
    odd = note(b"\x01Odalys without a tree", kind=9)
    stale = note(MONTAGE + b"\0Brynhild")
    data = ent(note(ANNOTATION), odd, stale, note(b""), tail=b"Quillfeather left over\0")
    cleaned = clean(Kind.ENT, data)
    path = tmp_path / "a.ent"
    path.write_bytes(cleaned)
    notes = read_ent_notes(path)
    assert [n.note_type for n in notes] == [1, 9, 1, 1]
    assert not notes[1].text.strip()
    path.write_bytes(ent(note(ANNOTATION), note(MONTAGE)))
    old = channel_names_from_notes(read_ent_notes(path))
    path.write_bytes(clean(Kind.ENT, path.read_bytes()))
    new = channel_names_from_notes(read_ent_notes(path))
    assert (old[:4], old[4], new[:4], new[4]) == (new[:4], "Odalys", old[:4], "xxxxxx")


@pytest.mark.parametrize("cut", [2, 17, 40])
def test_ent_that_is_cut_is_refused(cut: int) -> None:
    with pytest.raises(MalformedFileError):
        list(text_regions(Kind.ENT, io.BytesIO(ent(note(ANNOTATION))[: -15 - cut])))


def test_ent_without_end_record_is_walked() -> None:
    clean(Kind.ENT, header(3) + note(ANNOTATION) + note(MONTAGE))


def test_person_is_read_from_the_tree() -> None:
    hints = person_hints.from_eeg(eeg())
    assert (hints.last_name, hints.first_name, hints.middle_name) == ("Quillfeather", "Odalys", "Brynhild")
    assert (hints.mrn, hints.birth_date) == ("MRN-004711", "1970-02-02")
    for text in ("206-555-0147", "55512399", "12 Cartwheel Lane", "acct 20655501", GUID, "EEGROOM4"):
        assert text in hints.also
    assert "Yes" not in hints.also
    assert person_hints.from_eeg(clean(Kind.EEG, eeg())) == person_hints.PersonHints()


def test_hosts_and_logins_are_read_from_notes_but_not_programs() -> None:
    signed = b'(.(."Host", "EEGROOM5"), (."Data", (.(."User", "XLSpike - Intracranial"))))'
    hints = person_hints.from_ent(ent(note(ANNOTATION), note(b"broken (", kind=2), note(signed), note(MONTAGE)))
    assert hints.also == ("EEGROOM4", "zuniga7", "EEGROOM5")


@pytest.mark.parametrize(
    ("stem", "names"),
    [
        (STEM, ("Quillfeather", "Odalys", "")),
        (f"De la Quill~ Odalys B._{GUID}", ("De la Quill", "Odalys", "B.")),
        ("Quillfeather_3", ("Quillfeather", "", "")),
        ("abcd1234_3", ("", "", "")),
        (GUID, ("", "", "")),
        ("Quillfeather", ("", "", "")),
    ],
)
def test_names_are_read_from_stems(stem: str, names: tuple[str, str, str]) -> None:
    hints = person_hints.from_stem(stem)
    assert (hints.last_name, hints.first_name, hints.middle_name) == names
    assert hints.also == ((GUID,) if GUID in stem else ())


def test_merging_keeps_other_spellings() -> None:
    first = person_hints.PersonHints(last_name="Müller", also=("A1B2", "x"))
    second = person_hints.PersonHints(last_name="Mueller", first_name="Odalys", also=("müller", "A1B2"))
    merged = person_hints.merged([first, second])
    assert (merged.last_name, merged.first_name, merged.also) == ("Müller", "Odalys", ("A1B2", "Mueller"))


KEYS = [b"Type", b"Text", b"ChanNames", b"Info"]
VALUES = st.recursive(
    st.one_of(
        st.integers(-(10**12), 10**12).map(lambda n: b"%d" % n),
        st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20).map(
            lambda t: b'"' + t.encode().replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
        ),
    ),
    lambda inner: st.one_of(
        st.lists(inner, min_size=1, max_size=3).map(lambda v: b"(" + b", ".join(v) + b")"),
        st.lists(
            st.tuples(st.sampled_from([b"Type", b"Text", b"ChanNames", b"Info"]), inner), min_size=1, max_size=3
        ).map(lambda v: b"(" + b", ".join(b'(."' + k + b'", ' + x + b")" for k, x in v) + b")"),
    ),
    max_leaves=8,
)


@given(st.lists(VALUES, min_size=2, max_size=3))
@settings(max_examples=60)
def test_any_tree_is_cleaned_once_and_for_all(values: list[bytes]) -> None:
    text = b"(" + b", ".join(values) + b")"
    cleaned = cleaned_tree(text, REQUEST.find)
    assert len(cleaned) == len(text)
    assert cleaned_tree(cleaned, REQUEST.find) == cleaned
    assert [(t.start, t.stop, t.kind) for t in tokens(cleaned)] == [(t.start, t.stop, t.kind) for t in tokens(text)]


@given(st.binary(max_size=80))
@settings(max_examples=60)
def test_any_bytes_are_a_tree_or_refused(text: bytes) -> None:
    try:
        assert len(cleaned_tree(text, REQUEST.find)) == len(text)
    except MalformedFileError:
        return


@pytest.mark.parametrize("annotations", ["redact", "wipe", "keep"])
def test_notes_go_whole_whatever_is_asked_for_annotations(annotations: Annotations) -> None:
    """The choice is about EDF and BDF; in Natus files what is not known to be harmless goes (FORMATS 2.11)."""
    data = ent(note(ANNOTATION), note(MONTAGE))
    request = CleaningRequest(code="abcd1234", stem="abcd1234_3", find=REQUEST.find, annotations=annotations)
    new = apply(data, patches(Kind.ENT, io.BytesIO(data), request))
    assert new == clean(Kind.ENT, data), "the notes of an .ent depend on --annotations"
    assert b"mother" not in new
