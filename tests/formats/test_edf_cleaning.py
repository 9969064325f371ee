"""The recipe of EDF and BDF: the person gone, everything else as it was."""

from __future__ import annotations

import io
from datetime import date
from pathlib import Path
from typing import Any

import edfio
import numpy as np
import pyedflib
import pytest
from builders_edf import ANNOTATIONS, Edf, Signal, tal
from cleaned import apply, check_cleaning, find_terms, outside, request_for, sample
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.edf import (
    has_cleaned_form,
    patches,
    patient_field,
    read_header,
    recording_field,
    text_regions,
)
from ecogsafe.formats.regions import Region
from ecogsafe.formats.request import CleaningRequest

TERMS = ("Odalys", "Quillfeather", "MRN-004711", "Zuniga", "EEG32-9981", "02-FEB-1970")


def cleaned(data: bytes, request: CleaningRequest | None = None) -> bytes:
    return check_cleaning(data, request or request_for(*TERMS), text_regions, patches)


def regions_of(data: bytes) -> list[tuple[int, int]]:
    return [(r.offset, r.length) for r in text_regions(io.BytesIO(data))]


def test_regions_are_header_annotation_signals_and_what_follows() -> None:
    signals = (Signal(), ANNOTATIONS, Signal(b"C4", 12), ANNOTATIONS)
    rows = [[tal(f"+{i}"), b""] for i in range(2)]
    data = Edf(signals=signals, annotations=rows).build()
    record = 16 + 80 + 24 + 80
    wanted = [(0, 1280)] + [(1280 + r * record + at, 80) for r in range(2) for at in (16, 120)]
    assert regions_of(data) == wanted
    assert regions_of(data + b"tail") == [*wanted, (len(data), 4)]
    # cut inside C4, inside the last annotation signal, right after the header
    assert regions_of(data[:-90]) == wanted[:-1]
    assert regions_of(data[:-30]) == [*wanted[:-1], (1280 + record + 120, 50)]
    assert regions_of(data[:1280]) == [(0, 1280)]


def test_header_fields_become_their_standard_form() -> None:
    data = cleaned(Edf(reserved=b"EDF+C from Vendor 12").build())
    assert data[8:88] == patient_field("abcd1234") == b"abcd1234 X X X".ljust(80)
    assert data[88:168] == recording_field(date(2021, 3, 5)) == b"Startdate 05-MAR-2021 X X X".ljust(80)
    assert data[168:184] == b"05.03.2110.11.12"
    assert data[192:236] == b"EDF+C".ljust(44)
    assert data[:8] == b"0       "
    header = read_header(io.BytesIO(data))
    assert has_cleaned_form(header, "abcd1234")
    assert not has_cleaned_form(header, "abcd1235")
    assert not has_cleaned_form(read_header(io.BytesIO(Edf().build())), "abcd1234")


@pytest.mark.parametrize(
    ("reserved", "is_bdf", "kept"),
    [
        (b"EDF+D Odalys", False, b"EDF+D"),
        (b"Odalys", False, b""),
        (b"24BIT\0\0 x", True, b"24BIT"),
        (b"BDF+C", True, b"BDF+C"),
        (b"\xe9\xff" * 22, False, b""),
    ],
)
def test_reserved_keeps_the_word_of_the_standard_only(reserved: bytes, is_bdf: bool, kept: bytes) -> None:
    assert cleaned(Edf(reserved=reserved, is_bdf=is_bdf).build())[192:236] == kept.ljust(44)


def test_text_of_signals_is_redacted_and_the_rest_stays() -> None:
    signals = (
        Signal(b"C3 Odalys", transducer=b"AgAgCl EEG32-9981", prefilter=b"HP:0.1Hz by Zuniga", reserved=b"zuniga"),
        Signal(b"QUILLFEATHER", 12, dimension=b"Odalys"),
        ANNOTATIONS,
    )
    header = read_header(io.BytesIO(cleaned(Edf(signals=signals).build())))
    assert [s.label for s in header.signals] == ["C3 xxxxxx", "xxxxxxxxxxxx", "EDF Annotations"]
    first = header.signals[0]
    assert (first.transducer, first.prefilter) == ("AgAgCl xxxxxxxxxx", "HP:0.1Hz by xxxxxx")
    assert first.reserved == "xxxxxx"


def test_a_name_that_fills_its_field_is_found_beside_the_next_text() -> None:
    def whole_words_only(data: bytes) -> list[tuple[int, int]]:
        at = data.find(b"Doe")
        ends = at >= 0 and not data[at + 3 : at + 4].isalpha()
        return [(at, at + 3)] if ends else []

    signals = (Signal(b"Channel of a Doe"), Signal(b"C4", 12), ANNOTATIONS)
    request = CleaningRequest(code="abcd1234", stem="abcd1234_3", find=whole_words_only)
    data = Edf(signals=signals).build()
    data = apply(data, patches(io.BytesIO(data), request))
    assert read_header(io.BytesIO(data)).signals[0].label == "Channel of a xxx"


def test_an_annotation_signal_is_still_one_whatever_is_searched() -> None:
    data = Edf().build()
    request = request_for("Annotations", *TERMS)
    data = apply(data, patches(io.BytesIO(data), request))
    assert len(read_header(io.BytesIO(data)).annotation_signals) == 1
    assert not list(patches(io.BytesIO(data), request))


def test_numbers_of_the_header_are_never_redacted() -> None:
    request = request_for("32767", "1024", "05.03.21")
    data = Edf().build()
    new = apply(data, patches(io.BytesIO(data), request))
    assert outside(new, [Region(8, 160)]) == outside(data, [Region(8, 160)])


ROWS = [
    [tal("+0") + tal("+0.5", "Odalys fell")],
    [tal("+1") + tal("+1.2", "q", "MRN-004711", duration="1")],
    [tal("+2") + b"\0\0call Zuniga"],
]


def test_annotation_text_is_redacted_and_time_stays() -> None:
    data = cleaned(Edf(annotations=ROWS).build())
    blocks = [data[1024 + i * 120 + 40 :][:80].rstrip(b"\0") for i in range(3)]
    assert blocks == [
        (tal("+0") + tal("+0.5", "xxxxxx fell")).rstrip(b"\0"),
        (tal("+1") + tal("+1.2", "q", "xxxxxxxxxx", duration="1")).rstrip(b"\0"),
        tal("+2") + b"\0\0call xxxxxx",
    ]


def test_wipe_takes_all_annotation_text() -> None:
    data = cleaned(Edf(annotations=ROWS).build(), request_for(*TERMS, annotations="wipe"))
    assert data[1024 + 40 :][:80].rstrip(b"\0") == (tal("+0") + tal("+0.5", "xxxxxxxxxxx")).rstrip(b"\0")
    assert data[1024 + 280 :][:80].rstrip(b"\0") == tal("+2") + b"\0\0xxxxxxxxxxx"


def test_keep_leaves_annotations_and_cleans_the_rest() -> None:
    old = Edf(annotations=ROWS).build() + b"by Zuniga"
    data = cleaned(old, request_for(*TERMS, annotations="keep"))
    assert data[1024:-9] == old[1024:-9]
    assert data[8:88] == patient_field("abcd1234")
    assert data.endswith(b"by xxxxxx")


def test_cut_last_record_and_unclosed_file() -> None:
    for records in (b"3", b"-1"):
        whole = Edf(annotations=ROWS, records=records).build()
        data = cleaned(whole[:-60])
        assert data[-20:] == b"+2\x14\x14\0\0\0call xxxxxx"[:20].ljust(20, b"\0")


def test_what_follows_the_records_is_redacted_in_any_encoding() -> None:
    tail = b"\r\nPatient: ODALYS " + "Quillfeather".encode("utf-16-le")
    data = cleaned(Edf().build() + tail)
    assert data.endswith(b"\r\nPatient: xxxxxx " + b"x" * 24)


def test_a_count_that_is_too_low_leaves_nothing_unsearched() -> None:
    data = cleaned(Edf(annotations=ROWS, records=b"1").build())
    assert b"Zuniga" not in data


def test_malformed_is_told_before_anything_is_yielded() -> None:
    bad = io.BytesIO(Edf(samples=b"0").build())
    with pytest.raises(MalformedFileError):
        next(patches(bad, request_for("q")))
    with pytest.raises(MalformedFileError):
        next(text_regions(bad))


words = st.sampled_from(["Vimbo", "Größe", "MRN 98-7", "nap", "spike C3", "", "Ærø—x"])
blocks = st.lists(words, max_size=4).map(lambda w: tal("+7") + (tal("+7.5", *w) if w else b""))
anything = st.one_of(blocks, st.binary(max_size=30), st.binary(max_size=20).map(lambda b: b + b"Vimbo MRN 98-7"))
free = st.lists(words, max_size=3).map(" ".join)


@settings(max_examples=60, deadline=None)
@given(
    is_bdf=st.booleans(),
    rows=st.lists(st.tuples(blocks, anything), min_size=2, max_size=3),
    fields=st.tuples(free, free, free, free, free),
    encoding=st.sampled_from(["utf-8", "utf-16-le"]),
    tail=free,
    records=st.sampled_from([b"-1", None, b"1"]),
    cut=st.sampled_from([0, 0, 1, 70]),
    annotations=st.sampled_from(["redact", "wipe"]),
)
def test_placed_identifiers_are_gone_and_nothing_else(
    is_bdf: bool,
    rows: list[tuple[bytes, bytes]],
    fields: tuple[str, ...],
    encoding: str,
    tail: str,
    records: bytes | None,
    cut: int,
    annotations: Any,
) -> None:
    patient, recording, label, transducer, reserved = (f.encode(encoding) for f in fields)
    signals = (
        Signal(label[:16], transducer=transducer[:80], reserved=reserved[:32]),
        Signal(b"BDF Annotations", 80),
        Signal(b"C4", 12, prefilter=transducer[:80]),
        Signal(b"EDF Annotations", 80),
    )
    data = Edf(
        signals=signals,
        annotations=rows,
        is_bdf=is_bdf,
        patient=patient[:80],
        recording=recording[:80],
        reserved=reserved[:44],
        records=records,
    ).build()
    data = data[: len(data) - cut] + tail.encode(encoding)
    request = request_for("vimbo", "größe", "MRN 98-7", annotations=annotations)
    cleaned(data, request)


def _signals(path: Path) -> tuple[list[Any], list[Any]]:
    opened = edfio.read_bdf(path) if path.suffix == ".bdf" else edfio.read_edf(path)
    return [s.digital for s in opened.signals], list(opened.annotations)


@pytest.mark.parametrize(
    ("name", "terms", "text_changes"),
    [
        ("pyedflib_test_generator.edf", ("abcxyz99", "Hans", "Muller", "Mr._Spotty", "30-JUN-1969"), False),
        ("pyedflib_datarec_0_5.bdf", ("nobody",), False),
        ("pyedflib_test_subsecond.edf", ("20-JAN-1998", "Spike"), True),
        ("pyedflib_test_utf8.edf", ("20-JAN-1998", "测试"), True),
        ("edfio_mne_test.edf", ("29-APR-1914",), False),
        ("edfio_short_psg.bdf", ("Female_33yr",), False),
    ],
)
def test_public_recordings_open_as_before(
    name: str, terms: tuple[str, ...], text_changes: bool, tmp_path: Path
) -> None:
    old = sample(name)
    before, after = tmp_path / f"before{Path(name).suffix}", tmp_path / f"after{Path(name).suffix}"
    before.write_bytes(old)
    after.write_bytes(cleaned(old, request_for(*terms)))
    assert not list(find_terms(*terms)(after.read_bytes()[:256]))
    (old_samples, old_notes), (new_samples, new_notes) = _signals(before), _signals(after)
    assert len(old_samples) == len(new_samples) >= 1
    for a, b in zip(old_samples, new_samples, strict=True):
        assert np.array_equal(a, b)
    assert [(n.onset, n.duration) for n in new_notes] == [(n.onset, n.duration) for n in old_notes]
    assert (new_notes != old_notes) == text_changes
    with pyedflib.EdfReader(str(after)) as reader:
        assert reader.getPatientCode() in ("abcd1234", "")
        counts = reader.getNSamples()
    with pyedflib.EdfReader(str(before)) as reader:
        assert np.array_equal(counts, reader.getNSamples())


def test_wiped_utf8_recording_still_opens(tmp_path: Path) -> None:
    path = tmp_path / "wiped.edf"
    path.write_bytes(cleaned(sample("pyedflib_test_utf8.edf"), request_for("q", annotations="wipe")))
    _, notes = _signals(path)
    assert notes
    assert {c for n in notes for c in n.text} == {"x"}


def test_a_made_recording_opens_with_the_same_samples(tmp_path: Path) -> None:
    noise = np.random.default_rng(7).normal(size=(2, 400))
    made = edfio.Edf(
        [edfio.EdfSignal(noise[0], 200, label="C3 Odalys"), edfio.EdfSignal(noise[1], 200, label="C4")],
        patient=edfio.Patient(name="Odalys_Quillfeather", code="MRN-004711", sex="F"),
        recording=edfio.Recording(startdate=date(2021, 3, 5), investigator_technician_code="Zuniga"),
        annotations=[edfio.EdfAnnotation(0.25, None, "Odalys größer"), edfio.EdfAnnotation(1.5, 0.5, "nap")],
    )
    before, after = tmp_path / "before.edf", tmp_path / "after.edf"
    made.write(before)
    after.write_bytes(cleaned(before.read_bytes()))
    opened = edfio.read_edf(after)
    assert [s.label for s in opened.signals] == ["C3 xxxxxx", "C4"]
    for a, b in zip(made.signals, opened.signals, strict=True):
        assert np.array_equal(a.digital, b.digital)
    assert [(a.onset, a.duration, a.text) for a in opened.annotations] == [
        (0.25, None, "xxxxxx größer"),
        (1.5, 0.5, "nap"),
    ]
    assert opened.patient.code == "abcd1234"
    assert opened.recording.startdate == date(2021, 3, 5)


def test_samples_are_not_read(tmp_path: Path) -> None:
    """Of a recording with large records only the header and the annotation signals are fetched."""
    signals = (Signal(b"C3", 50_000), Signal(b"C4", 50_000), ANNOTATIONS)
    rows = [[tal(f"+{i}", "Vimbo")] for i in range(5)]
    data = Edf(signals=signals, annotations=rows).build()

    class Counted(io.BytesIO):
        fetched = 0

        def read(self, size: int | None = -1, /) -> bytes:
            piece = super().read(size)
            self.fetched += len(piece)
            return piece

    file = Counted(data)
    assert len(list(patches(file, request_for("vimbo")))) > len(rows)
    assert file.fetched < 4096
