"""What bytes are, judged by themselves; random bytes, as a wrong password gives them, are never anything."""

from __future__ import annotations

import gzip
import io
import random
import tarfile
import zipfile

import pytest
from builders_avi import clip
from builders_natus import eeg, stc, vtc

from ecogsafe.formats.plain_content import HEAD_BYTES, Content, content_of, length_told, looks_random


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name in ("a1b2c3d4_1.avi", "a1b2c3d4_2.avi"):
            member = tarfile.TarInfo(name)
            member.size = 1000
            tar.addfile(member, io.BytesIO(bytes(1000)))
    return out.getvalue()


def _zip() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("notes.txt", "some notes")
        archive.writestr("more.txt", "more notes")
    return out.getvalue()


def _edf(records: int = 3, *, bdf: bool = False) -> bytes:
    signals, samples = 2, 10
    head = (
        (b"\xffBIOSEMI" if bdf else b"0       ")
        + b"a1b2c3d4 X X X".ljust(80)
        + b"Startdate 01-JAN-2020 X X X".ljust(80)
    )
    head += b"01.01.2012.00.00" + str(256 * (signals + 1)).encode().ljust(8) + b"EDF+C".ljust(44)
    head += str(records).encode().ljust(8) + b"1       " + str(signals).encode().ljust(4)
    fields = b"".join(b"EEG Fp1".ljust(width) * signals for width in (16, 80, 8, 8, 8, 8, 8, 80))
    fields += str(samples).encode().ljust(8) * signals + b" " * 32 * signals
    return head + fields + bytes(max(records, 1) * signals * samples * (3 if bdf else 2))


PLAIN = {
    Content.GZIP: gzip.compress(random.Random(1).randbytes(100_000)),
    Content.TAR: _tar(),
    Content.AVI: clip(),
    Content.EDF: _edf(),
    Content.BDF: _edf(bdf=True),
    Content.NATUS: eeg(),
    Content.TEXT: b"2020-01-01 12:00:00 the recording begins, all channels connected\r\n" * 20,
    Content.ZIP: _zip(),
    Content.MP4: b"\0\0\0\x18ftypmp42" + bytes(100),
}


@pytest.mark.parametrize("content", PLAIN)
def test_each_kind_is_told_from_the_others(content: Content) -> None:
    assert content_of(PLAIN[content][:HEAD_BYTES]) is content


@pytest.mark.parametrize("data", [stc((b"one", b"two")), vtc((b"one.avi", b"two.avi"))], ids=["stc", "vtc"])
def test_natus_files_with_types_of_their_own_are_known(data: bytes) -> None:
    assert content_of(data) is Content.NATUS


def test_random_bytes_are_nothing() -> None:
    chance = random.Random(20260101)
    for _ in range(3000):
        assert content_of(chance.randbytes(chance.choice((8, 100, 600, 5000)))) is None


def test_nothing_and_zeros_are_nothing() -> None:
    for size in (0, 8, 512):
        assert content_of(bytes(size)) is None


def test_what_is_far_from_random_is_something_whatever_it_is() -> None:
    chance = random.Random(3)
    names = b"".join(b"a1b2c3d4_1_%04d.avi" % n + bytes(244) + chance.randbytes(16) for n in range(4))
    assert content_of(chance.randbytes(20) + names) is Content.OTHER
    assert content_of(b"\x00" * 10_240) is Content.OTHER
    assert looks_random(chance.randbytes(100_000))
    assert looks_random(names[:1000]), "too few bytes to tell"
    assert not looks_random(names)


def test_the_magic_of_gzip_alone_is_not_enough() -> None:
    chance = random.Random(7)
    for _ in range(500):
        assert content_of(b"\x1f\x8b\x08\x00" + chance.randbytes(60_000)) is None


def test_a_text_that_ends_inside_a_letter_is_text() -> None:
    text = ("électrode débranchée " * 4000).encode()
    cut = next(n for n in range(HEAD_BYTES - 8, HEAD_BYTES) if text[n] & 0xC0 == 0x80)
    assert content_of(text[:cut]) is Content.TEXT


def test_a_few_letters_are_no_text() -> None:
    assert content_of(b"short") is None


@pytest.mark.parametrize("content", [Content.EDF, Content.BDF, Content.AVI])
def test_where_it_ends_is_told_by_what_it_is(content: Content) -> None:
    data = PLAIN[content]
    told = length_told(content, data[:HEAD_BYTES])
    assert told is not None
    assert told <= len(data)
    if content is not Content.AVI:
        assert told == len(data)


def test_an_unfinished_recording_does_not_tell_its_end() -> None:
    assert length_told(Content.EDF, _edf(-1)) is None
    assert length_told(Content.TAR, _tar()) is None
