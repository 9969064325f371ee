"""Natus readers: generic header, segments, clocks; kinds by name and content."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, timedelta

import pytest
from builders_natus import GUID, SAMPLES, START, STEM, Person, eeg, erd, etc, filetime, header, snc, stc, vtc
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import natus, natus_segments, natus_times
from ecogsafe.formats.kinds import ALWAYS_SEALED, Kind, kind_of_name, kind_of_text
from ecogsafe.formats.study_names import common_stem, guid_in, number_suffix

RAW = STEM.encode()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Quillfeather~ Odalys.EDF", Kind.EDF),
        ("a.b.Erd", Kind.ERD),
        ("x_0000.AVI", Kind.AVI),
        ("x.mpeg", Kind.MPG),
        ("x.m4v", Kind.MP4),
        ("report.PDF", Kind.REPORT),
        ("x.ent.old", Kind.OTHER),
        ("x.epo", Kind.EPO),
        ("._x.edf", Kind.OTHER),
        (".edf", Kind.OTHER),
        ("edf", Kind.OTHER),
        ("x.txt", Kind.OTHER),
        ("Thumbs.db", Kind.OTHER),
        ("x\udce9.edf", Kind.EDF),
    ],
)
def test_kind_is_told_by_extension_in_any_case(name: str, kind: Kind) -> None:
    assert kind_of_name(name) is kind


def test_kinds_without_recipe_are_always_sealed() -> None:
    assert {Kind.MP4, Kind.MOV, Kind.MPG} == ALWAYS_SEALED


def test_text_that_no_tool_wrote_is_other() -> None:
    assert kind_of_text(b"") is Kind.OTHER
    assert kind_of_text(b"12\tabc\t99\nx.avi [01/02/2021]\n" + b"\xff" * 9000) is Kind.OTHER


@pytest.mark.parametrize("base", [0, 1])
def test_generic_header_is_read(base: int) -> None:
    found = natus.read_generic_header(io.BytesIO(header(3, Person(base=base))))
    assert (found.file_schema, found.base_schema) == (3, base)
    assert (found.last_name, found.first_name, found.middle_name) == ("Quillfeather", "Odalys", "Brynhild")
    assert found.patient_id == "MRN-004711"
    assert found.created == datetime(2021, 3, 5, 18, 11, 12, tzinfo=UTC)
    assert str(found.file_type).startswith("ca0b0790")


@pytest.mark.parametrize(
    ("raw", "text"), [(b"M\xfcller\0x", "Müller"), ("Müller".encode(), "Müller"), (b"a\x81b", "a\x81b")]
)
def test_names_are_decoded_leniently(raw: bytes, text: str) -> None:
    assert natus.decode_text(raw) == text


@pytest.mark.parametrize(
    "data",
    [
        b"",
        header(3)[:351],
        header(3, Person(base=2)),
        header(100),
        b"Brain Vision Data Exchange Header" * 20,
    ],
)
def test_what_is_no_header_is_refused(data: bytes) -> None:
    with pytest.raises(MalformedFileError):
        natus.read_generic_header(io.BytesIO(data))


def test_stc_and_etc_are_read() -> None:
    segments = natus_segments.read_stc(io.BytesIO(stc((RAW, RAW + b"_001.erd"))))
    assert [s.name for s in segments] == [STEM, f"{STEM}_001"]
    assert [(s.start_stamp, s.end_stamp, s.sample_span) for s in segments] == [(0, 4, 5), (5, 9, 5)]
    groups = list(natus_segments.read_etc(io.BytesIO(etc(5) + etc(9)[352:])))
    assert [(g.offset, g.sample_stamp, g.sample_span) for g in groups] == [(8656, 5, SAMPLES), (8656, 9, SAMPLES)]


def test_damaged_stc_and_etc_are_refused() -> None:
    whole = stc((RAW, RAW + b"_001"))
    for damaged in (whole[:-1], whole[:400], b"", bytearray(whole[:16]) + b"\x02\0" + whole[18:]):
        with pytest.raises(MalformedFileError):
            natus_segments.read_stc(io.BytesIO(bytes(damaged)))
    with pytest.raises(MalformedFileError):
        list(natus_segments.read_etc(io.BytesIO(etc(0)[:-1])))


def test_snc_gives_utc_and_ignores_a_cut_entry() -> None:
    points = natus_times.read_snc(io.BytesIO(snc(3) + b"\1\2\3"))
    assert [p.utc - START for p in points] == [timedelta(minutes=10 * i) for i in range(3)]
    assert [p.stamp for p in points] == [0, 153_600, 307_200]


def test_snc_without_entries_or_with_a_false_time_is_refused() -> None:
    for data in (snc(0), snc(2) + struct.pack("<iq", 1, 0), snc(2) + struct.pack("<iq", 1, 2**63 - 1)):
        with pytest.raises(MalformedFileError):
            natus_times.read_snc(io.BytesIO(data))


@pytest.mark.parametrize("schema", [0x10001, 0x7FF10001, 1])
def test_vtc_gives_clip_times_in_both_layouts(schema: int) -> None:
    clips = natus_times.read_vtc(io.BytesIO(vtc((RAW + b"_0000.avi", RAW + b"_0001.avi"), schema=schema)))
    assert [c.name for c in clips] == [f"{STEM}_0000.avi", f"{STEM}_0001.avi"]
    assert [c.start_utc - START for c in clips] == [timedelta(0), timedelta(minutes=2)]
    assert all(c.end_utc - c.start_utc == timedelta(minutes=2) for c in clips)


def test_vtc_of_no_known_layout_is_refused() -> None:
    for data in (
        b"short",
        vtc((b"no clip name", b"x")),
        vtc((b"a.avi" * 60, b"b")),
        vtc((RAW + b"_0000.avi",), schema=1) + b"\xff" * 284,
        b"\0" * 16 + struct.pack("<I", 77) + b"\1" * 293,
        b"\0" * 16 + struct.pack("<I", 77),
    ):
        with pytest.raises(MalformedFileError):
            natus_times.read_vtc(io.BytesIO(data))


def test_unknown_schema_with_location_guid_is_the_avi_layout() -> None:
    data = vtc((RAW + b"_0000.avi", RAW + b"_0001.avi"), schema=77)
    assert natus_times.vtc_layout(data) is natus_times.AVI_LAYOUT


@given(st.datetimes(datetime(1980, 1, 1), datetime(2199, 12, 31)))
@settings(max_examples=50)
def test_filetime_goes_both_ways(moment: datetime) -> None:
    aware = moment.replace(tzinfo=UTC)
    assert natus_times.filetime_to_utc(natus_times.utc_to_filetime(aware)) == aware
    assert natus_times.utc_to_filetime(aware) == filetime(aware)


@pytest.mark.parametrize("value", [0, -1, 1, 10**17, 2**62, 2**64])
def test_a_filetime_outside_the_age_of_digital_eeg_is_refused(value: int) -> None:
    with pytest.raises(MalformedFileError):
        natus_times.filetime_to_utc(value)


@pytest.mark.parametrize(("schema", "offset"), [(5, 512), (6, 896), (7, 4480), (8, 4480), (9, 4480)])
def test_serials_are_found_in_every_erd_schema(schema: int, offset: int) -> None:
    data = erd(schema=schema)
    assert natus.serials_offset(io.BytesIO(data)) == offset
    with pytest.raises(MalformedFileError):
        natus.serials_offset(io.BytesIO(data[: natus.SAMPLES_OFFSET[schema] - 1]))


def test_erd_of_unknown_schema_is_refused() -> None:
    with pytest.raises(MalformedFileError):
        natus.serials_offset(io.BytesIO(header(4) + bytes(9000)))


def test_errors_carry_no_private_value() -> None:
    with pytest.raises(MalformedFileError) as caught:
        natus_segments.read_stc(io.BytesIO(eeg()[:352] + RAW))
    assert "Quill" not in str(caught.value)
    assert GUID not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "stems", "suffix"),
    [
        (f"{STEM}_001", (), "_001"),
        (STEM, (), ""),
        (f"{STEM}_x_001", (), ""),
        ("Doe_3_0012", (), "_0012"),
        ("Doe_3", (), ""),
        ("Doe_300", (), "_300"),
        ("Doe_300", ("Doe_300",), ""),
        ("DOE_300_001", ("Doe_300",), "_001"),
        ("Doe_300b_001", ("Doe_300",), "_001"),
    ],
)
def test_number_suffix(name: str, stems: tuple[str, ...], suffix: str) -> None:
    assert number_suffix(name, stems=stems) == suffix


def test_common_stem_needs_two_names_that_fit() -> None:
    assert common_stem(["Doe_300_001", "Doe_300", "Doe_300_002"]) == "Doe_300"
    assert common_stem(["Doe_300"]) is None
    assert common_stem(["Doe_300", "Roe_300_001"]) is None
    assert common_stem([]) is None
    assert guid_in(f"{GUID}_x_{GUID.upper()}") == GUID.upper()
