"""Patches of the fixed-layout Natus kinds, and of a whole study as natus-erd-reader sees it."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest
from builders_natus import LABELS, SAMPLES, STEM, TERMS, Person, erd, etc, snc, stc, study_files, vtc
from cleaned import apply, check_cleaning, request_for
from natus_erd import NatusERDReader

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import natus, natus_segments, natus_times
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.kinds import Kind, kind_of_name
from ecogsafe.formats.text_regions import text_regions

RAW = STEM.encode()
REQUEST = request_for(*TERMS)
NEW = "abcd1234_3"


def clean(kind: Kind, data: bytes) -> bytes:
    return check_cleaning(data, REQUEST, lambda f: text_regions(kind, f), lambda f, r: patches(kind, f, r))


def renamed(name: str) -> str:
    return name.replace(STEM, NEW)


@pytest.mark.parametrize("name", sorted(study_files()))
def test_no_identifier_is_left_in_any_file_of_a_study(name: str) -> None:
    cleaned = clean(kind_of_name(name), study_files()[name])
    for term in TERMS:
        for encoding in ("utf-8", "utf-16-le"):
            assert term.lower().encode(encoding) not in cleaned.lower()
    assert b"stale" not in cleaned


def test_natus_reader_opens_the_cleaned_study_with_the_same_samples_and_labels(tmp_path: Path) -> None:
    before, after = tmp_path / "before", tmp_path / "after"
    before.mkdir()
    after.mkdir()
    for name, data in study_files().items():
        (before / name).write_bytes(data)
        (after / renamed(name)).write_bytes(clean(kind_of_name(name), data))
    old, new = NatusERDReader.open(before), NatusERDReader.open(after)
    assert old.info == new.info
    assert [c.name for c in new.channels[:4]] == list(LABELS)
    # the fifth label is the patient's first name: gone, and nothing else
    differing = [a.index for a, b in zip(old.channels, new.channels, strict=True) if a != b]
    assert differing == [4]
    np.testing.assert_array_equal(old.read_samples(0, 2 * SAMPLES), new.read_samples(0, 2 * SAMPLES))
    assert new.validate(deep=True).stored_samples == 2 * SAMPLES
    (event,) = new.read_events()
    assert (event.stamp, set(event.text)) == (123456, {"X"})


@pytest.mark.parametrize("base", [0, 1])
@pytest.mark.parametrize("kind", [Kind.ETC, Kind.SNC])
def test_header_is_zeroed_and_carries_the_code(kind: Kind, base: int) -> None:
    data = etc(0, person=Person(base=base)) if kind is Kind.ETC else snc(person=Person(base=base))
    cleaned = clean(kind, data)
    assert cleaned[:24] == data[:24]
    assert cleaned[24:272] == bytes(248)
    assert cleaned[272:352] == b"abcd1234".ljust(80, b"\0")
    assert cleaned[352:] == data[352:]


@pytest.mark.parametrize("schema", [5, 6, 7, 8, 9])
def test_erd_loses_its_serials_and_nothing_else(schema: int) -> None:
    data = erd(schema=schema)
    cleaned = clean(Kind.ERD, data)
    at = natus.SERIALS_OFFSET[schema]
    assert cleaned[at : at + 16] == bytes(16)
    assert cleaned[352:at] + cleaned[at + 16 :] == data[352:at] + data[at + 16 :]


def test_name_in_a_cut_last_entry_is_taken_out() -> None:
    request = request_for("Odalys")
    for kind, data in ((Kind.ETC, etc(0) + b"Odalys"), (Kind.SNC, snc() + b"Odalys")):
        cleaned = check_cleaning(
            data, request_for("Odalys"), lambda f, k=kind: text_regions(k, f), lambda f, r, k=kind: patches(k, f, r)
        )
        assert cleaned.endswith(b"xxxxxx")
    assert request.stem == NEW


def test_stc_names_follow_the_new_stem_and_stamps_stay() -> None:
    data = stc((RAW, RAW + b"_001.erd", RAW + b"_002"))
    data = data[:380] + b"Odalys" + data[386:]
    cleaned = clean(Kind.STC, data)
    old, new = (natus_segments.read_stc(io.BytesIO(d)) for d in (data, cleaned))
    assert [s.name for s in new] == [NEW, f"{NEW}_001", f"{NEW}_002"]
    assert [s.start_stamp for s in new] == [s.start_stamp for s in old]
    assert b"\0erd" not in cleaned


def test_stc_stem_that_ends_like_a_number_is_not_taken_for_one() -> None:
    cleaned = clean(Kind.STC, stc((b"Quillfeather_300", b"Quillfeather_300_001")))
    assert [s.name for s in natus_segments.read_stc(io.BytesIO(cleaned))] == [NEW, f"{NEW}_001"]


def test_cut_entry_of_stc_and_vtc_is_zeroed() -> None:
    for kind, data in ((Kind.STC, stc((RAW, RAW + b"_001"))), (Kind.VTC, vtc((RAW + b"_0000.avi",) * 2))):
        cleaned = clean(kind, data[:-150])
        assert cleaned[-50:] == bytes(50)


def test_a_stem_too_long_for_the_name_field_is_refused() -> None:
    request = type(REQUEST)(code="abcd1234", stem="a" * 257, find=REQUEST.find)
    with pytest.raises(MalformedFileError):
        list(patches(Kind.STC, io.BytesIO(stc((RAW, RAW + b"_001"))), request))


@pytest.mark.parametrize("schema", [0x10001, 1])
@pytest.mark.parametrize("kind", [Kind.VTC, Kind.VT2])
def test_clip_names_follow_the_new_stem_and_times_stay(kind: Kind, schema: int) -> None:
    data = vtc((RAW + b"_0000.AVI\0Odalys", RAW + b"_0001.avi", b""), schema=schema)
    cleaned = clean(kind, data)
    old, new = (natus_times.read_vtc(io.BytesIO(d)) for d in (data, cleaned))
    assert [c.name for c in new] == [f"{NEW}_0000.avi", f"{NEW}_0001.avi", ""]
    assert [(c.start_utc, c.end_utc) for c in new] == [(c.start_utc, c.end_utc) for c in old]


def test_vt2_of_unknown_layout_gets_names_where_they_stood() -> None:
    data = (
        b"\x07\0\0\0D:\\x\\"
        + RAW
        + b"_0000.avi\0\0\x01\x02"
        + RAW
        + b"_0001.AVI\x03tail Odalys"
        + b"O\0d\0a\0l\0y\0s\0"
    )
    cleaned = clean(Kind.VT2, data)
    assert cleaned.startswith(b"\x07\0\0\0D:\\x\\abcd1234_3_0000.avi\0")
    assert b"\x02abcd1234_3_0001.avi\0" in cleaned
    assert b"\x03tail xxxxxx" in cleaned


def test_vt2_name_too_short_for_the_new_one_uses_the_zeros_after_it_or_becomes_x() -> None:
    data = b"\x01Quillfeather_0_0000.avi\0" + b"\x02Od_0000.avi" + bytes(9) + b"\x02Od_0001.avi\0\x09"
    cleaned = clean(Kind.VT2, data)
    assert b"\x02abcd1234_3_0000.avi\0" in cleaned
    assert b"\x02xx_0001.avi\0\x09" in cleaned


def test_vt2_without_any_clip_name_is_refused() -> None:
    with pytest.raises(MalformedFileError):
        list(patches(Kind.VT2, io.BytesIO(b"\x01" * 99), REQUEST))
    with pytest.raises(MalformedFileError):
        list(text_regions(Kind.VT2, io.BytesIO(b"")))


@pytest.mark.parametrize("kind", [Kind.ERD, Kind.ETC, Kind.SNC, Kind.STC, Kind.VTC, Kind.EEG, Kind.ENT])
def test_what_cannot_be_walked_is_refused_by_both(kind: Kind) -> None:
    for data in (b"", b"\x01" * 351, b"not a study at all " * 40):
        with pytest.raises(MalformedFileError):
            list(text_regions(kind, io.BytesIO(data)))
        with pytest.raises(MalformedFileError):
            list(patches(kind, io.BytesIO(data), REQUEST))


@pytest.mark.parametrize("kind", [Kind.EPO, Kind.REPORT, Kind.OTHER])
def test_kinds_without_recipe_are_refused(kind: Kind) -> None:
    with pytest.raises(MalformedFileError):
        list(patches(kind, io.BytesIO(b"abc"), REQUEST))
    with pytest.raises(MalformedFileError):
        list(text_regions(kind, io.BytesIO(b"abc")))


@pytest.mark.parametrize("kind", [Kind.MP4, Kind.MOV, Kind.MPG])
def test_always_sealed_kinds_are_left_as_they_are_but_have_no_regions(kind: Kind) -> None:
    assert not list(patches(kind, io.BytesIO(b"ftyp"), REQUEST))
    with pytest.raises(MalformedFileError):
        list(text_regions(kind, io.BytesIO(b"ftyp")))


def test_dispatchers_reach_edf_and_avi() -> None:
    for kind in (Kind.EDF, Kind.BDF, Kind.AVI):
        with pytest.raises(MalformedFileError):
            list(text_regions(kind, io.BytesIO(b"nothing of the sort")))
        with pytest.raises(MalformedFileError):
            list(patches(kind, io.BytesIO(b"nothing of the sort"), REQUEST))


def test_a_file_far_too_large_for_its_kind_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(natus, "_WHOLE_FILE_LIMIT", 1000)
    with pytest.raises(MalformedFileError):
        list(patches(Kind.STC, io.BytesIO(stc((RAW,) * 9)), REQUEST))


def test_cleaning_reads_only_the_head_of_sample_files() -> None:
    class Head(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert self.tell() < 8656
            return super().read(size)

    data = erd(samples=50)
    assert apply(data, patches(Kind.ERD, Head(data), REQUEST))[8656:] == data[8656:]
    assert struct.unpack_from("<d", data, 352) == (256.0,)
