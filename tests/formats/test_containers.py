"""What lies in containers comes out, however deep and however cut; what cannot be opened is told."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import random
import tarfile
import zipfile
from collections.abc import Mapping

import pytest
from builders_ole import SECTOR, compound_file
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.containers import Limits, Member, NotSearched, walk
from ecogsafe.formats.marked_text import marked_text

WORD_XML = (
    b'<?xml version="1.0" encoding="UTF-8"?><w:document><w:body><w:p><w:r><w:t>seen by Quill</w:t></w:r>'
    b'<w:proofErr w:type="x"/><w:r><w:rPr><w:b/></w:rPr><w:t>feather, Zo&#233;</w:t></w:r></w:p><w:p><w:r><w:t>next'
    b'</w:t></w:r></w:p><w:ins w:author="T. Tamsinson"/></w:body></w:document>'
)


def zipped(members: Mapping[str, bytes], compression: int = zipfile.ZIP_DEFLATED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", compression) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def tarred(members: Mapping[str, bytes], mode: str = "w") -> bytes:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode=mode) as archive:  # type: ignore[call-overload]
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            info.uname = "zuser"
            archive.addfile(info, io.BytesIO(data))
    return file.getvalue()


def opened(data: bytes, limits: Limits | None = None) -> tuple[dict[tuple[str, ...], bytes], list[NotSearched]]:
    found: dict[tuple[str, ...], bytes] = {}
    closed: list[NotSearched] = []
    for part in walk(io.BytesIO(data), limits):
        if isinstance(part, NotSearched):
            closed.append(part)
            continue
        try:
            content = b"".join(part.pieces)
        except MalformedFileError as error:
            closed.append(NotSearched(part.path, error.problem))
            continue
        name = (*part.path, "text") if part.is_text else part.path
        found[name] = found.get(name, b"") + content
    return found, closed


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_members_of_a_zip(compression: int) -> None:
    found, closed = opened(zipped({"a.txt": b"one", "folder/b.bin": bytes(3_000_000), "c/": b""}, compression))
    assert found == {("a.txt",): b"one", ("folder/b.bin",): bytes(3_000_000)} and closed == []


def test_the_text_of_a_document_is_whole_again() -> None:
    found, closed = opened(zipped({"word/document.xml": WORD_XML, "word/media/image1.png": b"\x89PNG"}))
    text = found["word/document.xml", "text"].decode()
    assert "seen by Quillfeather, Zoé\n\nnext" in text and "T. Tamsinson" in text
    assert found["word/document.xml",] == WORD_XML and closed == []


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        (b"<si><t>Quill</t><r><t>feather</t></r></si><si><t>b</t></si>", "Quillfeather"),
        (b"<text:p>Quill<text:span>feather</text:span></text:p><text:p>b</text:p>", "Quillfeather\n"),
        (b"<html><p>Quill<b>feather</b><br>b", "Quillfeather\nb"),
        (b"<x><!-- a > b --><![CDATA[Quill<]]>feather</x>", "Quill<feather"),
        ("<?xml version='1.0' encoding='UTF-16'?><a>Quillfeather é</a>".encode("utf-16"), "Quillfeather é"),
        (rb"{\rtf1\ansi Quill{\b feather} Zo\'e9 \u233? \par b\tab c}", "Quillfeather Zoé é \nb\nc"),
        ("<a>Quillfeather é</a>".encode("cp1252"), "Quillfeather é"),
    ],
)
def test_text_between_marks(data: bytes, expected: str) -> None:
    text = marked_text(data)
    assert text is not None and expected in text
    found, _ = opened(data)
    assert expected in found["text",].decode()


def test_plain_bytes_are_no_document_and_no_container() -> None:
    for data in (b"", b"plain text", b"0       X X X X", bytes(5000), b"{not rtf}", b"< 5 uV", bytes(range(256)) * 30):
        assert marked_text(data) is None and opened(data) == ({}, [])


@pytest.mark.parametrize(
    "pack", [gzip.compress, bz2.compress, lzma.compress, lambda d: gzip.compress(d[:9]) + gzip.compress(d[9:])]
)
def test_a_compressed_file_and_a_compressed_tar(pack) -> None:  # type: ignore[no-untyped-def]
    found, closed = opened(pack(b"Quillfeather was here"))
    assert list(found.values()) == [b"Quillfeather was here"] and closed == []
    found, closed = opened(pack(tarred({"s/a.txt": b"Quill", "s/b.zip": zipped({"c.txt": b"feather"})})))
    assert any(p[-1] == "s/a.txt" and b"Quill" in d and b"zuser" in d for p, d in found.items())
    assert any(p[-2:] == ("s/b.zip", "c.txt") and d == b"feather" for p, d in found.items()) and closed == []


def test_old_tars_without_a_magic_are_known_by_their_checksum() -> None:
    data = bytearray(tarred({"a": b"Quillfeather"}))
    data[257:265] = bytes(8)
    data[148:156] = b" " * 8
    data[148:156] = b"%06o\0 " % sum(data[:512])
    found, _ = opened(bytes(data))
    assert found["a",].endswith(b"Quillfeather")


def test_streams_of_a_compound_file_are_put_together() -> None:
    split = b"." * (SECTOR - 5) + b"Quillfeather" + b"." * SECTOR
    data = compound_file({"WordDocument": split, "\x05SummaryInformation": b"author: Zorrel", "Other": b"b" * 9000})
    assert b"Quillfeather" not in data
    found, closed = opened(data)
    assert b"Quillfeather" in found["WordDocument",] and b"Zorrel" in found["\x05SummaryInformation",]
    assert found["Other",].startswith(b"b" * 9000) and closed == []


@pytest.mark.parametrize(
    "streams",
    [
        {"EncryptedPackage": b"x", "EncryptionInfo": b"y"},
        {"WordDocument": b"\xec\xa5" + bytes(8) + b"\x00\x01", "b": b""},
        {"Workbook": b"\x09\x08\x04\x00" + bytes(4) + b"\x2f\x00\x06\x00" + bytes(6), "b": b""},
        {"Current User": bytes(12) + b"\xdf\xc4\xd1\xf3", "PowerPoint Document": b""},
    ],
)
def test_encrypted_office_documents_are_told(streams: dict[str, bytes]) -> None:
    _, closed = opened(compound_file(streams))
    assert [c.reason for c in closed] == ["encrypted with a password"]
    _, closed = opened(zipped({"report.doc": compound_file(streams)}))
    assert [(c.path, c.reason) for c in closed] == [(("report.doc",), "encrypted with a password")]


def test_documents_that_are_not_encrypted() -> None:
    for streams in (
        {"WordDocument": b"\xec\xa5" + bytes(200), "b": b""},
        {"Workbook": b"\x09\x08\x04\x00" + bytes(4) + b"\x0a\x00\x00\x00" + b"\x2f\x00\x00\x00", "b": b""},
        {"Current User": bytes(12) + b"\x5f\xc0\x91\xe3", "b": b""},
    ):
        assert opened(compound_file(streams))[1] == []


def test_an_encrypted_zip_is_told_and_the_rest_is_opened() -> None:
    data = bytearray(zipped({"secret.txt": b"Quillfeather", "open.txt": b"clean"}, zipfile.ZIP_STORED))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    found, closed = opened(bytes(data))
    assert found == {("open.txt",): b"clean"}
    assert closed == [NotSearched(("secret.txt",), "encrypted with a password")]


def test_an_unknown_compression_is_told() -> None:
    data = bytearray(zipped({"a.txt": b"Quillfeather", "b.txt": b"clean"}))
    data[data.index(b"PK\x01\x02") + 10] = 97
    found, closed = opened(bytes(data))
    assert list(found) == [("b.txt",)] and [c.path for c in closed] == [("a.txt",)]


@pytest.mark.parametrize(
    "head", [b"%PDF-1.7\n", b"7z\xbc\xaf\x27\x1c", b"Rar!\x1a\x07\x01\x00", b"\x28\xb5\x2f\xfd", b"Salted__",
             b"age-encryption.org/v1\n", b"MSCF"],
)  # fmt: skip
def test_what_nobody_here_opens_is_told(head: bytes) -> None:
    found, closed = opened(head + b"...")
    assert found == {} and len(closed) == 1 and closed[0].path == ()
    found, closed = opened(zipped({"in.bin": head + b"..."}))
    # its bytes are searched all the same
    assert found == {("in.bin",): head + b"..."} and [c.path for c in closed] == [("in.bin",)]


def nested(depth: int) -> bytes:
    data = b"Quillfeather"
    for level in range(depth):
        data = zipped({f"level{level}.bin": data})
    return data


def test_nesting_is_bounded() -> None:
    found, closed = opened(nested(3))
    assert b"Quillfeather" in found.values() and closed == []
    found, closed = opened(nested(4))
    assert b"Quillfeather" not in found.values()
    assert [c.reason for c in closed] == ["it lies too deep in other containers"]
    deep = b"x"
    for _ in range(12):
        deep = gzip.compress(deep)
    assert [c.reason for c in opened(deep)[1]] == ["it lies too deep in other containers"]


SMALL = Limits(total_bytes=100_000, ratio=20, ratio_from=10_000, held_bytes=30_000, members=50)


def test_bombs_go_off_harmlessly() -> None:
    bomb = zipped({"bomb": bytes(50_000), "after": b"small"})
    found, closed = opened(bomb, SMALL)
    assert found == {("after",): b"small"}
    assert closed == [NotSearched(("bomb",), "far more comes out of it than went in")]
    noise = random.Random(1).randbytes(40_000)
    found, closed = opened(zipped({"a": noise, "b": noise[::-1], "c": noise, "d": b"later"}), SMALL)
    assert ("d",) not in found and [c.path for c in closed] == [("c",), ("d",)]
    found, closed = opened(zipped({f"{n}": b"x" for n in range(60)}), SMALL)
    assert len(found) == 50 and closed == [NotSearched(("50",), "too much is in it: from here on it was not opened")]
    assert opened(gzip.compress(bytes(90_000)), SMALL)[1][0].reason == "far more comes out of it than went in"
    tar = tarred({"a": noise, "b": noise, "c": noise, "d": noise})
    assert opened(gzip.compress(tar), SMALL)[1]


def test_what_is_too_large_to_be_held_is_told() -> None:
    noise = random.Random(2).randbytes(31_000)
    found, closed = opened(zipped({"in.zip": zipped({"a": noise})}), SMALL)
    assert found == {} and closed[0].reason == "it is too large to be opened inside another container"
    xml = b"<?xml?><a>" + noise.hex()[:31_000].encode() + b"</a>"
    found, closed = opened(zipped({"a.xml": xml}), SMALL)
    assert found["a.xml",] == xml and closed[0].reason == "a document too large to be read without its marks"
    _, closed = opened(compound_file({"a": noise, "b": b""}), SMALL)
    assert closed[0].reason == "a stream too large to be opened"


@pytest.mark.parametrize("kind", ["zip", "tar.gz", "gz", "ole", "bz2", "xz", "tar"])
def test_damage_is_told_and_never_raised(kind: str) -> None:
    noise = random.Random(3).randbytes(20_000)
    whole = {
        "zip": zipped({"a": noise, "b": noise}),
        "tar.gz": gzip.compress(tarred({"a": noise, "b": noise})),
        "gz": gzip.compress(noise),
        "ole": compound_file({"a": noise, "b": noise}),
        "bz2": bz2.compress(noise),
        "xz": lzma.compress(noise),
        "tar": tarred({"a": noise, "b": noise}),
    }[kind]
    _, closed = opened(whole[: len(whole) // 2])
    assert closed


@settings(max_examples=60, deadline=None)
@given(data=st.data(), which=st.integers(0, 3), flips=st.integers(1, 12))
def test_any_damage_ends(data: st.DataObject, which: int, flips: int) -> None:
    base = (
        zipped({"a.xml": WORD_XML, "b": b"x" * 50}),
        gzip.compress(tarred({"a": b"x" * 700, "b": WORD_XML})),
        compound_file({"WordDocument": b"w" * 700, "b": b"x"}),
        tarred({"a": b"x" * 700}),
    )[which]
    broken = bytearray(base)
    for _ in range(flips):
        at = data.draw(st.integers(0, len(broken) - 1))
        broken[at] = data.draw(st.integers(0, 255))
    found, closed = opened(bytes(broken), SMALL)
    assert isinstance(found, dict) and isinstance(closed, list)


def test_members_name_no_source_in_their_representation() -> None:
    part = next(iter(walk(io.BytesIO(zipped({"Quill.txt": b"", "b": b""})))))
    assert isinstance(part, Member) and part.path == ("Quill.txt",)
