"""The scanner: edges of pieces and regions, others' identifiers, ids of findings, the exact EDF form."""

from __future__ import annotations

import io
from collections.abc import Iterator
from datetime import date
from typing import BinaryIO

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError, SourceChangedError
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.matching import Matcher
from ecogsafe.deid.scan import ScanResult, scan_file, scan_name
from ecogsafe.formats import edf_cleaning
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.regions import Region
from ecogsafe.formats.text_digest import digest_of

OWN = Matcher(
    Identifiers(last_name="Quillfeather", first_name="May", mrn="00471100", birth_date="2020-05-04", also=("host-17",))
)
OTHERS = Matcher(None, others={"b0000001": Identifiers(last_name="Zorrelkamp", mrn="815815")})
BOTH = (OWN, OTHERS)
PATH = "edf/abcd1234_edf/abcd1234_1.edf"


def whole(_kind: Kind, file: BinaryIO) -> Iterator[Region]:
    size = file.seek(0, 2)
    if size:
        yield Region(0, size)


def scan(data: bytes, piece_bytes: int = 1 << 20, path: str = PATH) -> ScanResult:
    return scan_file(Kind.ENT, io.BytesIO(data), BOTH, path=path, regions=whole, piece_bytes=piece_bytes)


def test_both_searches_and_the_digest() -> None:
    data = b"seizure of May Quillfeather; see ZORRELKAMP and 815815" + b"." * 50
    result = scan(data)
    assert [(f.offset, f.kind, f.owner) for f in result.findings] == [
        (11, "first name", None),
        (15, "last name", None),
        (33, "last name", "b0000001"),
        (48, "mrn", "b0000001"),
    ]
    assert result.size == len(data)
    assert result.text_sha256 == digest_of(io.BytesIO(data), [Region(0, len(data))])
    assert not result.is_clean()


def test_a_clean_and_an_empty_file() -> None:
    assert scan(b"left temporal seizure, dismay").is_clean()
    assert scan(b"") == ScanResult(0, digest_of(io.BytesIO(b""), []), ())


@settings(max_examples=80, deadline=None)
@given(
    before=st.integers(0, 700),
    gap=st.integers(1, 300),
    piece=st.sampled_from([64, 100, 256, 333]),
    encoding=st.sampled_from(["utf-8", "utf-16-le", "utf-16-be"]),
)
def test_a_match_over_the_edge_of_a_piece_is_found_once(before: int, gap: int, piece: int, encoding: str) -> None:
    names = ("Quillfeather", "May", "0000000000000000471100", "Zorrelkamp")
    text = "." * before + ("." * gap).join(names) + "." * 20
    data = text.encode(encoding)
    result = scan(data, piece_bytes=piece)
    assert [data[f.offset : f.offset + f.length].decode(encoding) for f in result.findings] == list(names)
    assert result.text_sha256 == scan(data).text_sha256


@pytest.mark.parametrize("word", ["dismay", "Mayo", "x1471100", "4711009"])
def test_what_stands_beside_a_match_is_seen_over_the_edge_of_a_piece(word: str) -> None:
    for before in range(40, 130):
        if word.startswith("x"):
            word = "1471100"
        assert scan(b"." * before + word.encode() + b"." * 90, piece_bytes=64).findings == ()


def test_regions_are_searched_each_by_itself() -> None:
    data = b"Quill" + bytes(20) + b"Quillfeather" + bytes(10) + b"feather"

    def regions(_kind: Kind, _file: BinaryIO) -> Iterator[Region]:
        yield Region(0, 5)
        yield Region(25, 12)
        yield Region(47, 7)

    result = scan_file(Kind.EDF, io.BytesIO(data), BOTH, path=PATH, regions=regions)
    assert [(f.offset, f.length) for f in result.findings] == [(25, 12)]


def test_ids_are_bound_to_path_place_kind_and_text() -> None:
    one = scan(b"by Quillfeather, Quillfeather")
    again = scan(b"by Quillfeather, Quillfeather", piece_bytes=64)
    assert one == again
    ids = {f.id for f in one.findings}
    assert len(ids) == 2
    for other in (scan(b"by Quillfeather, Quillfeather "), scan(b"by Quillfeather, Quillfeather", path=PATH + "x")):
        assert not ids & {f.id for f in other.findings}
    accepted = {one.findings[0].id}
    assert one.open_findings(accepted) == one.findings[1:]
    assert one.is_clean(ids) and not one.is_clean(accepted)


def test_findings_and_events_show_only_masks() -> None:
    finding = scan(b"Zorrelkamp").findings[0]
    event = finding.as_event(subject="abcd1234")
    assert event.masked == "Z•••" and event.kind == "last name of another subject" and event.id == finding.id
    assert "orrelkamp" not in repr(finding) + repr(event)


def edf_head(patient: bytes, recording: bytes) -> bytes:
    return b"0".ljust(8) + patient + recording + b"04.05.20" + b"10.00.00" + b"512".ljust(8) + bytes(64)


def test_the_start_of_the_recording_is_no_identifier() -> None:
    patient = edf_cleaning.patient_field("abcd1234")
    recording = edf_cleaning.recording_field(date(2020, 5, 4))

    def regions(_kind: Kind, _file: BinaryIO) -> Iterator[Region]:
        yield Region(0, 256)

    def kinds(head: bytes, kind: Kind = Kind.EDF) -> list[str]:
        result = scan_file(kind, io.BytesIO(head), BOTH, path=PATH, regions=regions)
        return [f.kind for f in result.findings]

    clean = edf_head(patient, recording)
    assert kinds(clean) == kinds(clean, Kind.BDF) == []
    # any other form of the two fields is searched like all text, and so is all that follows them
    assert kinds(edf_head(b"abcd1234 X X May".ljust(80), recording))
    assert kinds(edf_head(patient, recording[:-6] + b"host-1"))
    assert kinds(clean, Kind.SNC)
    assert kinds(clean[:192] + b"May" + clean[195:]) == ["first name"]


def test_a_file_that_shrinks_is_not_scanned() -> None:
    def too_far(_kind: Kind, _file: BinaryIO) -> Iterator[Region]:
        yield Region(0, 50)

    with pytest.raises(SourceChangedError):
        scan_file(Kind.ENT, io.BytesIO(b"short"), BOTH, path=PATH, regions=too_far)


def test_a_kind_nobody_can_walk_is_not_called_clean() -> None:
    with pytest.raises(MalformedFileError):
        scan_file(Kind.REPORT, io.BytesIO(b"anything"), BOTH, path=PATH)


def test_names_of_files() -> None:
    assert scan_name("video/abcd1234/abcd1234_1/abcd1234_1_0001.avi", BOTH) == ()
    findings = scan_name("video/Quillfeather_3/Zorrelkamp.avi", BOTH)
    assert [(f.kind, f.owner, f.offset) for f in findings] == [
        ("last name", None, -1),
        ("last name", "b0000001", -1),
    ]
    assert "Quill" not in repr(findings) and len({f.id for f in findings}) == 2
    assert scan_name("video/\udcff_Quillfeather", BOTH)


def test_clips_made_on_a_birthday_are_no_findings() -> None:
    rows = "\r\n".join(f"abcd1234_1_{i:04d}.avi [04/05/2020 0{i}:00:00.0] [04/05/2020 0{i}:02:00.0]" for i in range(3))
    for note, found in (("born 04/05/2020", ["birth date"]), ("clips", [])):
        data = f"{note}\r\n{rows}\r\n".encode()
        result = scan_file(Kind.VTC_TEXT, io.BytesIO(data), BOTH, path="text/abcd1234_vtc/abcd1234_1.txt")
        assert [f.kind for f in result.findings] == found
