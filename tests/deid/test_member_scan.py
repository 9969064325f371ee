"""The scanner inside containers, and near matches in the free text of files."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.member_scan import scan_any
from ecogsafe.deid.piecewise import FreeText, search_pieces, told
from ecogsafe.deid.scan import ScanResult, scan_file
from ecogsafe.formats.containers import Limits
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.regions import Region
from tests.formats.builders_edf import ANNOTATIONS, Edf, Signal, tal
from tests.formats.builders_ole import SECTOR, compound_file

PERSON = Identifiers(last_name="Quillfeather", first_name="William", mrn="00471100")
OWN = Matcher(PERSON)
NEAR = Matcher(PERSON, near=True)
OTHERS = Matcher(None, others={"b0000001": Identifiers(last_name="Zorrelkamp", mrn="815815")})


def zipped(members: Mapping[str, bytes]) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, data)
    return file.getvalue()


def scan(data: bytes, *matchers: Matcher, limits: Limits | None = None) -> ScanResult:
    return scan_any(Kind.OTHER, io.BytesIO(data), matchers or (OWN, OTHERS), path="r•••.bin", limits=limits)


def test_findings_name_the_member_masked() -> None:
    result = scan(zipped({"a.txt": b"by Quillfeather", "notes/zorrelkamp.txt": b"471100", "clean.txt": b"calm"}))
    assert [(f.path, f.offset, f.kind, f.owner) for f in result.findings] == [
        ("r•••.bin!•••.t•••", 3, "last name", None),
        ("r•••.bin!n•••/z•••.t•••", -1, "last name", "b0000001"),
        ("r•••.bin!n•••/z•••.t•••", 0, "mrn", None),
    ]
    assert len({f.id for f in result.findings}) == 3 and not result.is_clean()
    assert "orrelkamp" not in repr(result) and "uillfeather" not in repr(result)


def test_members_with_one_mask_have_findings_of_their_own() -> None:
    one = scan(zipped({"report1.txt": b"Quillfeather", "report2.txt": b"Quillfeather"}))
    assert len({f.path for f in one.findings}) == 1 and len({f.id for f in one.findings}) == 2
    again = scan(zipped({"report1.txt": b"Quillfeather", "report2.txt": b"Quillfeather"}))
    assert [f.id for f in again.findings] == [f.id for f in one.findings]


def test_a_name_cut_by_marks_or_sectors_is_found_once() -> None:
    xml = b"<w:p><w:t>Quill</w:t><w:t>feather</w:t></w:p><w:p><w:t>815815</w:t></w:p>"
    result = scan(zipped({"word/document.xml": xml}))
    assert sorted((f.kind, f.owner) for f in result.findings) == [("last name", None), ("mrn", "b0000001")]
    doc = compound_file({"WordDocument": b"." * (SECTOR - 4) + b"Quillfeather" + b"." * 600, "b": b"b" * 5000})
    assert b"Quillfeather" not in doc
    assert [(f.path, f.kind) for f in scan(doc).findings] == [("r•••.bin!W•••", "last name")]
    whole = compound_file({"WordDocument": "Quillfeather".encode("utf-16-le"), "b": b"b" * 5000})
    # it stands in the file as well: the member tells more
    assert [f.path for f in scan(whole).findings] == ["r•••.bin!W•••"]


def test_what_stands_only_in_the_bytes_of_the_container_is_kept() -> None:
    file = io.BytesIO(zipped({"a.txt": b"calm"}))
    with zipfile.ZipFile(file, "a") as archive:
        archive.comment = b"for Quillfeather"
    result = scan(file.getvalue())
    assert [(f.path, f.kind) for f in result.findings] == [("r•••.bin", "last name")]


def test_what_cannot_be_opened_is_never_clean() -> None:
    data = bytearray(zipped({"a.txt": b"calm", "b.txt": b"calm"}))
    for mark, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        data[data.index(mark) + offset] |= 1
    result = scan(bytes(data))
    assert result.findings == () and not result.is_clean()
    assert [(p.path, p.reason) for p in result.not_searched] == [("r•••.bin!•••.t•••", "encrypted with a password")]
    assert scan(zipped({"a.txt": b"calm"})).is_clean()
    bomb = scan(zipped({"a": bytes(90_000)}), limits=Limits(ratio=10, ratio_from=1000))
    assert [p.reason for p in bomb.not_searched] == ["far more comes out of it than went in"]
    assert not scan(b"%PDF-1.7 ...").is_clean()


def edf(annotation: str, label: bytes = b"LIAM") -> bytes:
    signals = (Signal(label, 40), Signal(b"C4", 12, transducer=b"Quilfeather"), ANNOTATIONS)
    return Edf(
        signals=signals, annotations=[[tal("+0")], [tal("+1", annotation)]], patient=b"X X X X", recording=b""
    ).build()


def test_the_samples_of_a_recording_in_a_zip_are_not_searched() -> None:
    made = bytearray(edf("seen by Zorrelkamp"))
    samples = 256 * 4
    made[samples : samples + 12] = b"Quillfeather"
    found = scan(zipped({"day1.edf": bytes(made)})).findings
    assert [(f.kind, f.owner) for f in found] == [("last name", "b0000001")]
    assert [f.kind for f in scan(zipped({"day1.dat": bytes(made)})).findings] == ["last name", "last name"]
    # damaged, so that nobody knows what are samples: all of it
    assert len(scan(zipped({"day1.edf": bytes(made)[40:]})).findings) == 2


def test_near_counts_in_annotations_and_not_in_labels() -> None:
    data = edf("Liam and Quilfeather; william")
    result = scan_file(Kind.EDF, io.BytesIO(data), (NEAR, OTHERS), path="x")
    at = data.index(b"\x14Liam") + 1
    assert [(f.offset, f.kind) for f in result.findings] == [
        (at, "first name (near)"),
        (at + 9, "last name (near)"),
        (at + 22, "first name"),
    ]
    assert [f.kind for f in scan_file(Kind.EDF, io.BytesIO(data), (OWN,), path="x").findings] == ["first name"]


def test_ordinary_words_are_spared_and_told() -> None:
    matcher = Matcher(Identifiers(last_name="Parsons"), near=True)
    result = scan_file(Kind.EDF, io.BytesIO(edf("two persons, Parsins")), (matcher,), path="x")
    assert [f.kind for f in result.findings] == ["last name (near)"]
    assert [(f.kind, f.masked) for f in result.spared] == [("last name (near)", "P•••")]
    result = scan_file(Kind.EDF, io.BytesIO(edf("two persons")), (matcher,), path="x")
    assert result.is_clean() and len(result.spared) == 1


@settings(max_examples=100, deadline=None)
@given(
    before=st.integers(0, 600),
    gap=st.integers(2, 250),
    piece=st.sampled_from([64, 101, 256, 333]),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
)
def test_near_over_the_edges_of_pieces(before: int, gap: int, piece: int, encoding: str) -> None:
    names = ("Quilfeather", "Bill Quillfeather", "Quill feather", "Liam", "persons")
    data = (". " * before + (". " * gap).join(names) + ". " * 20).encode(encoding)
    pieces = [data[i : i + piece] for i in range(0, len(data), piece)]
    hits = told(search_pieces(pieces, (NEAR,), free=FreeText.everywhere()))
    assert [data[h.start : h.stop].decode(encoding) for h in hits] == [
        "Quilfeather", "Bill", "Quillfeather", "Quill feather", "Liam",
    ]  # fmt: skip


def test_near_counts_only_within_free_text() -> None:
    data = b"Quilfeather Quilfeather Quilfeather"
    free = FreeText([Region(12, 11), Region(24, 5)])
    assert [h.start for h in search_pieces([data], (NEAR,), free=free)] == [12]
    assert [h.start for h in search_pieces([data[12:]], (NEAR,), free=free.shifted(12))] == [0]
    assert list(search_pieces([data], (NEAR,), free=FreeText(()))) == []


@pytest.mark.parametrize("kind", [Kind.OTHER, Kind.EDF, Kind.ENT, Kind.REPORT])
def test_any_file_is_searched_whole_where_nothing_is_known_of_it(kind: Kind) -> None:
    result = scan_any(kind, io.BytesIO(b"Quilfeather, Quillfeather"), (NEAR,), path="x")
    assert [f.kind for f in result.findings] == ["last name (near)", "last name"]
    assert scan_any(kind, io.BytesIO(b""), (NEAR,), path="x").is_clean()
