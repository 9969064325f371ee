"""AVI clips: text found wherever it can stand, frames and index never taken for text."""

from __future__ import annotations

import io
import struct

import pytest
from builders_avi import INDEX, chunk, clip, frames, header, listing
from cleaned import apply, check_cleaning, request_for
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.avi import clip_duration_s, patches, text_regions

WHO = b"Odalys Quillfeather"
TERMS = ("Odalys", "Quillfeather")
MOVI = listing(b"movi", *frames())


def cleaned(data: bytes) -> bytes:
    return check_cleaning(data, request_for(*TERMS), text_regions, patches)


def texts(data: bytes) -> list[bytes]:
    return [data[r.offset : r.stop].rstrip(b"\0") for r in text_regions(io.BytesIO(data))]


def test_a_clip_without_text_has_no_text() -> None:
    assert texts(clip()) == []
    assert not list(patches(io.BytesIO(clip()), request_for(*TERMS)))


@pytest.mark.parametrize("name", [b"IDIT", b"ISMP", b"JUNK", b"_PMX", b"exif", b"DISP", b"id3 "])
@pytest.mark.parametrize("odd", [b"", b"!"])
def test_every_chunk_that_is_no_structure_is_blanked(name: bytes, odd: bytes) -> None:
    data = clip(chunk(name, WHO + odd))
    assert texts(data) == [WHO + odd]
    assert cleaned(data) == clip(chunk(name, bytes(len(WHO + odd))))


@pytest.mark.parametrize(
    "where",
    [
        listing(b"INFO", chunk(b"INAM", WHO), chunk(b"ITCH", WHO + b"!"), chunk(b"ISFT", WHO)),
        listing(b"exif", chunk(b"ecor", WHO)),
        listing(b"ncdt", listing(b"nctg", chunk(b"nctg", WHO)), chunk(b"ncvr", WHO)),
        listing(b"odml", chunk(b"dmlh", struct.pack("<I", 50)), chunk(b"JUNK", WHO)),
        listing(b"INFO", WHO + b" without a chunk"),
        listing(b"INFO", chunk(b"INAM", WHO), b"\0\0\0"),
        chunk(b"LIST", b"abc"),
    ],
)
def test_lists_are_blanked_below_their_headers(where: bytes) -> None:
    new = cleaned(clip(where))
    assert WHO not in new
    assert new.count(b"LIST") == clip(where).count(b"LIST")
    assert struct.pack("<I", 50) in new


def test_stream_names_and_data_in_the_header() -> None:
    head = header(chunk(b"IDIT", WHO), strl=chunk(b"strd", WHO + b".") + chunk(b"strn", WHO))
    data = listing(b"AVI ", head, MOVI, INDEX, name=b"RIFF")
    assert texts(data) == [WHO + b".", WHO, WHO + b".", WHO, WHO]
    new = cleaned(data)
    assert MOVI in new
    assert INDEX in new
    assert new.count(b"strf" + struct.pack("<I", 40) + b"\2" * 40) == 1


def test_frames_are_never_text_even_if_they_spell_it() -> None:
    movi = listing(b"movi", *frames(text=WHO), listing(b"rec ", *frames(text=WHO)), chunk(b"ix00", WHO))
    data = clip(movi=movi)
    assert texts(data) == []
    assert cleaned(data) == data


def test_text_between_frames() -> None:
    first, *rest = frames(4)
    notes = [
        chunk(b"JUNK", WHO),
        chunk(b"02tx", WHO + b"!"),
        chunk(b"vend", WHO),
        listing(b"INFO", chunk(b"ICMT", WHO)),
    ]
    record = listing(b"rec ", chunk(b"JUNK", WHO), *frames(2))
    movi = listing(b"movi", first, *notes, *rest, record)
    data = clip(movi=movi)
    assert texts(data) == [WHO, WHO + b"!", WHO, WHO, WHO]
    new = cleaned(data)
    assert all(f in new for f in (first, *rest, *frames(2)))
    assert clip_duration_s(io.BytesIO(new)) == 2.0


def test_a_lost_walk_takes_the_rest_for_frames() -> None:
    torn = chunk(b"00dc", b"\x90" * 30, size=17)
    data = clip(movi=listing(b"movi", *frames(), torn, chunk(b"00dc", b"\x91" * 8)))
    assert texts(data) == []
    by_chance = chunk(b"Name", b"\x90" * 30, size=16)
    assert texts(clip(movi=listing(b"movi", *frames(), by_chance, *frames()))) == []


def test_bytes_after_the_end() -> None:
    assert texts(clip() + WHO) == [WHO]
    assert cleaned(clip() + WHO) == clip() + bytes(len(WHO))
    assert cleaned(clip() + chunk(b"JUNK", WHO) + WHO) == clip() + chunk(b"JUNK", bytes(19)) + bytes(19)
    odd = listing(b"AVI ", header(), MOVI, chunk(b"JUNK", b"abc")[:-1], name=b"RIFF")
    assert texts(odd + WHO) == [b"abc", WHO]


def test_further_riffs() -> None:
    more = listing(b"AVIX", listing(b"movi", *frames(), chunk(b"JUNK", WHO)), chunk(b"JUNK", WHO), name=b"RIFF")
    data = clip(chunk(b"JUNK", WHO)) + more + more + WHO
    assert texts(data) == [WHO] * 6
    assert all(f in cleaned(data) for f in frames())


def test_big_endian() -> None:
    big = ">"
    data = listing(
        b"AVI ",
        header(chunk(b"strn", WHO, order=big), order=big),
        listing(b"movi", *frames(order=big), order=big),
        listing(b"INFO", chunk(b"INAM", WHO, order=big), order=big),
        name=b"RIFX",
        order=big,
    )
    assert texts(data) == [WHO, WHO]
    assert WHO not in cleaned(data)
    assert clip_duration_s(io.BytesIO(data)) == 2.0


@pytest.mark.parametrize("claimed", [0, 4, 2**32 - 1, 10**6])
def test_size_of_the_riff_is_not_trusted(claimed: int) -> None:
    data = clip(chunk(b"JUNK", WHO), size=claimed)
    assert texts(data) == [WHO]
    assert MOVI in cleaned(data)


@pytest.mark.parametrize("claimed", [len(header()) + 12, len(header()) + 30])
def test_lists_reach_beyond_a_riff_that_is_too_short(claimed: int) -> None:
    data = clip(size=claimed) + WHO
    assert texts(data) == [WHO]
    assert cleaned(data)[: len(clip())] == clip(size=claimed)


@pytest.mark.parametrize("claimed", [0, 4])
def test_frames_of_an_unfinished_clip(claimed: int) -> None:
    movi = listing(b"movi", *frames(), size=claimed)
    data = listing(b"AVI ", header(), movi, INDEX, chunk(b"JUNK", WHO), name=b"RIFF", size=0)
    assert texts(data) == [WHO]
    assert cleaned(data)[:-28] == data[:-28]
    assert texts(listing(b"AVI ", header(), movi, name=b"RIFF", size=0)) == []
    more = listing(b"AVIX", listing(b"movi", *frames()), name=b"RIFF")
    assert texts(listing(b"AVI ", header(), movi, name=b"RIFF", size=0) + more + WHO) == [WHO]


@pytest.mark.parametrize("too_much", [1, 40, 10**8])
@pytest.mark.parametrize("after", [INDEX, b""])
def test_a_frame_list_that_claims_too_much_does_not_hide_what_follows(too_much: int, after: bytes) -> None:
    movi = listing(b"movi", *frames(), size=len(MOVI) - 8 + too_much)
    data = clip(movi=movi, after=after) + WHO
    assert texts(data) == [WHO]
    assert cleaned(data)[: -len(WHO)] == data[: -len(WHO)]


@pytest.mark.parametrize("cut", [1, 9, 33, 60, 100])
def test_truncated_clips_keep_their_frames(cut: int) -> None:
    data = clip(chunk(b"JUNK", WHO), after=b"")
    assert texts(data[:-cut]) == [WHO]
    assert cleaned(data[:-cut])[-60:] == data[:-cut][-60:]


@pytest.mark.parametrize("name", [b"JUNK", b"IDIT"])
def test_a_text_chunk_cut_by_the_end_is_text(name: bytes) -> None:
    assert texts(clip(after=chunk(name, WHO * 3))[:-20]) == [(WHO * 3)[:38]]
    in_movi = listing(b"movi", *frames(), chunk(b"JUNK", WHO * 3))
    assert texts(clip(movi=in_movi, after=b"")[:-20]) == [(WHO * 3)[:38]]


def test_missing_padding() -> None:
    data = clip(chunk(b"JUNK", WHO), chunk(b"IDIT", WHO + b"!")).replace(WHO + b"\0", WHO)
    assert texts(data)[:2] == [WHO, WHO + b"!"]
    assert MOVI in cleaned(data)


def test_stray_bytes_in_padding_are_blanked() -> None:
    data = clip(chunk(b"JUNK", WHO, pad=b"Q"))
    assert texts(data) == [WHO + b"Q"]
    assert cleaned(data) == clip(chunk(b"JUNK", bytes(19)))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"RIFF",
        b"RIFF\x04\0\0\0WAVE",
        WHO * 10,
        listing(b"AVIX", MOVI, name=b"RIFF"),
        # a damaged chunk that would swallow the frames
        clip(chunk(b"JUNK", WHO, size=10**6)),
        clip(chunk(b"IDIT", WHO, size=2**32 - 1)),
        # frames, or a RIFF, where none belong
        listing(b"AVI ", header(*frames()), MOVI, name=b"RIFF"),
        listing(b"AVI ", header(clip()), MOVI, name=b"RIFF"),
        clip() + b"??" + listing(b"AVIX", MOVI, name=b"RIFF"),
        clip(b"\xff\xfe\xfd\xfc", *frames()),
        clip() + bytes((16 << 20) + 1),
    ],
)
def test_what_cannot_be_walked_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedFileError) as caught:
        list(text_regions(io.BytesIO(data)))
    assert "Odalys" not in str(caught.value)
    with pytest.raises(MalformedFileError):
        next(patches(io.BytesIO(data), request_for(*TERMS)))


def test_lists_within_lists_without_end() -> None:
    deep = chunk(b"INAM", WHO)
    for _ in range(40):
        deep = listing(b"abcd", deep)
    assert WHO not in cleaned(clip(deep))


@pytest.mark.parametrize(
    ("head", "seconds"),
    [
        (header(), 2.0),
        (header(frames=0), None),
        (header(frame_us=0), None),
        (header(listing(b"odml", chunk(b"dmlh", struct.pack("<I", 100)))), 4.0),
        (listing(b"hdrl", chunk(b"avih", b"short")), None),
        (b"", None),
    ],
)
def test_clip_duration(head: bytes, seconds: float | None) -> None:
    data = listing(b"AVI ", head, MOVI, name=b"RIFF")
    assert clip_duration_s(io.BytesIO(data)) == seconds


def test_duration_of_a_clip_without_frames_is_zero() -> None:
    empty = listing(b"AVI ", header(frames=0), listing(b"movi"), name=b"RIFF")
    assert clip_duration_s(io.BytesIO(empty)) == 0.0
    with pytest.raises(MalformedFileError):
        clip_duration_s(io.BytesIO(b""))


names = st.sampled_from([b"JUNK", b"IDIT", b"strn", b"_PMX", b"abcd"])
text = st.one_of(st.binary(max_size=20), st.just(WHO), st.just(WHO + b"!"))
chunks = st.builds(chunk, names, text)
lists = st.builds(
    lambda form, members: listing(form, *members), st.sampled_from([b"INFO", b"exif"]), st.lists(chunks, max_size=3)
)
extras = st.lists(st.one_of(chunks, lists), max_size=3)


@settings(max_examples=80, deadline=None)
@given(before=extras, inside=extras, after=extras, tail=text, index=st.sampled_from([INDEX, b""]))
def test_placed_identifiers_are_gone_and_frames_stay(
    before: list[bytes], inside: list[bytes], after: list[bytes], tail: bytes, index: bytes
) -> None:
    pictures = frames()
    movi = listing(b"movi", pictures[0], *inside, *pictures[1:])
    data = clip(*before, movi=movi, after=index + b"".join(after)) + tail
    new = cleaned(data)
    assert WHO not in new
    assert all(p in new for p in pictures)
    assert index in new


@settings(max_examples=80, deadline=None)
@given(st.integers(0, 600), st.binary(min_size=1, max_size=4))
def test_damage_anywhere_never_harms_frames_or_index(at: int, damage: bytes) -> None:
    whole = bytearray(clip(chunk(b"JUNK", WHO * 2), listing(b"INFO", chunk(b"INAM", WHO))) + WHO)
    at = min(at, len(whole) - len(damage))
    whole[at : at + len(damage)] = damage
    data = bytes(whole)
    try:
        new = apply(data, patches(io.BytesIO(data), request_for(*TERMS)))
    except MalformedFileError:
        return
    for piece in (*frames(), INDEX):
        assert (piece in new) == (piece in data)
    assert not list(patches(io.BytesIO(new), request_for(*TERMS)))
