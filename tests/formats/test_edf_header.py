"""Headers of EDF and BDF files, as files get them right and wrong."""

from __future__ import annotations

import io
from datetime import date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from builders_edf import ANNOTATIONS, Edf, Signal, tal
from cleaned import sample

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.edf import EdfHeader, read_header


def header_of(data: bytes) -> EdfHeader:
    return read_header(io.BytesIO(data))


def test_fields_of_an_edf_plus() -> None:
    header = header_of(Edf().build())
    assert header.variant == "EDF+C"
    assert not header.is_bdf
    assert header.start == datetime(2021, 3, 5, 10, 11, 12)
    assert [s.label for s in header.signals] == ["C3", "C4", "EDF Annotations"]
    assert [(s.offset, s.size) for s in header.signals] == [(0, 16), (16, 24), (40, 80)]
    assert [s.label for s in header.annotation_signals] == ["EDF Annotations"]
    assert (header.header_bytes, header.record_bytes) == (1024, 120)
    assert (header.num_records, header.complete_records_in_file, header.trailing_bytes) == (3, 3, 0)
    assert header.duration_s == 3.0
    assert not header.is_truncated


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        (b"0.5", "0.5"),
        (b"1.00006", "1.00006"),
        (b"2,5", "2.5"),
        (b"0", "0"),
        (b".25", "0.25"),
        (b"1e-3", "0.001"),
    ],
)
def test_records_last_what_the_header_says(written: bytes, seconds: str) -> None:
    header = header_of(Edf(duration=written).build())
    assert header.record_duration_s == Decimal(seconds)
    assert header.duration_s == pytest.approx(3 * float(seconds))


def test_bdf_samples_take_three_bytes() -> None:
    header = header_of(Edf(is_bdf=True, reserved=b"BDF+C").build())
    assert header.is_bdf
    assert header.variant == "BDF+C"
    assert header.record_bytes == 180
    assert header.complete_records_in_file == 3


@pytest.mark.parametrize(
    ("reserved", "is_bdf", "variant"),
    [
        (b"EDF+D", False, "EDF+D"),
        (b"EDF+C made by a vendor", False, "EDF+C"),
        (b"", False, "EDF"),
        (b"24BIT", True, "BDF"),
        (b"some vendor", False, "EDF"),
        (b"BDF+D", True, "BDF+D"),
    ],
)
def test_variant_is_the_word_of_the_standard(reserved: bytes, is_bdf: bool, variant: str) -> None:
    assert header_of(Edf(reserved=reserved, is_bdf=is_bdf).build()).variant == variant


def test_annotation_signals_count_though_the_file_is_no_edf_plus() -> None:
    assert len(header_of(Edf(reserved=b"").build()).annotation_signals) == 1


def test_several_annotation_signals_among_the_others() -> None:
    signals = (ANNOTATIONS, Signal(), ANNOTATIONS)
    rows = [[tal(f"+{i}"), b""] for i in range(2)]
    header = header_of(Edf(signals=signals, annotations=rows).build())
    assert [s.is_annotation for s in header.signals] == [True, False, True]


def test_unclosed_file_counts_its_records_by_size() -> None:
    data = Edf(records=b"-1").build()
    header = header_of(data)
    assert (header.num_records, header.complete_records_in_file, header.is_truncated) == (-1, 3, False)
    header = header_of(data[:-7])
    assert (header.complete_records_in_file, header.partial_record_bytes) == (2, 113)
    assert header.is_truncated
    assert header.records_stop == len(data) - 7


def test_truncated_file() -> None:
    data = Edf().build()
    header = header_of(data[: 1024 + 120 + 50])
    assert (header.complete_records_in_file, header.partial_record_bytes, header.trailing_bytes) == (1, 50, 0)
    assert header.is_truncated
    assert header_of(data[:1024]).is_truncated


def test_bytes_after_the_last_record() -> None:
    header = header_of(Edf().build() + b"made by hand")
    assert (header.trailing_bytes, header.is_truncated) == (12, False)
    assert header_of(Edf(records=b"2").build()).trailing_bytes == 120


def test_sub_second_of_the_first_record_is_part_of_the_start() -> None:
    rows = [[tal(f"+{i}.3945312")] for i in range(3)]
    header = header_of(Edf(annotations=rows).build())
    assert header.start == datetime(2021, 3, 5, 10, 11, 12, 394531)
    assert header.first_onset_s == Decimal("0.3945312")


def test_a_first_onset_of_whole_seconds_is_told_apart() -> None:
    header = header_of(Edf(annotations=[[tal("+5.5")], [tal("+6.5")]]).build())
    assert header.start == datetime(2021, 3, 5, 10, 11, 12)
    assert header.first_onset_s == Decimal("5.5")


def test_gaps_of_a_discontinuous_file_count_in_its_duration() -> None:
    rows = [[tal("+0.5")], [tal("+1.5")], [tal("+100.5")]]
    assert header_of(Edf(annotations=rows, reserved=b"EDF+D").build()).duration_s == 101.0
    assert header_of(Edf(annotations=rows).build()).duration_s == 3.0


@pytest.mark.parametrize(
    ("start", "recording", "year"),
    [
        (b"05.03.8500.00.00", b"", 1985),
        (b"05.03.9900.00.00", b"", 1999),
        (b"05.03.8400.00.00", b"", 2084),
        (b"05.03.8400.00.00", b"Startdate 05-MAR-1984 X X X", 1984),
        (b"05.03.yy00.00.00", b"Startdate 05-MAR-2091 X X X", 2091),
        (b"05/03/2100:00:00", b"Startdate 06-APR-2011 X X X", 2021),
    ],
)
def test_century_of_the_start(start: bytes, recording: bytes, year: int) -> None:
    assert header_of(Edf(start=start, recording=recording).build()).start == datetime(year, 3, 5)


def test_identity_of_an_edf_plus_header() -> None:
    person = header_of(Edf().build()).identity_hints()
    assert (person.code, person.sex, person.name) == ("MRN-004711", "F", "Quillfeather,Odalys")
    assert person.birthdate == date(1970, 2, 2)
    assert (person.admin_code, person.technician, person.equipment) == ("EEG-77", "Tech Zuniga", "EEG32-9981")


def test_identity_of_comma_names_and_unknown_parts() -> None:
    person = header_of(Edf(patient=b"X X X Vole,Mim extra_word", recording=b"Startdate X X X X").build())
    hints = person.identity_hints()
    assert (hints.code, hints.sex, hints.birthdate, hints.name) == (None, None, None, "Vole,Mim")
    assert hints.patient_extra == ("extra word",)
    assert (hints.admin_code, hints.technician, hints.equipment) == (None, None, None)


@pytest.mark.parametrize("patient", ["Odalys Quillfeather MRN 4711 02/02/1970", "Jürgen Größe", ""])
@pytest.mark.parametrize("encoding", ["latin-1", "utf-8"])
def test_legacy_free_text_is_given_whole(patient: str, encoding: str) -> None:
    person = header_of(Edf(patient=patient.encode(encoding), reserved=b"").build()).identity_hints()
    assert person.raw_patient == patient
    assert (person.code, person.name) == (None, None)


def test_private_parts_do_not_print() -> None:
    header = header_of(Edf(signals=(Signal(b"Quillfeather"), ANNOTATIONS)).build())
    shown = repr(header) + repr(header.identity_hints())
    assert "Quillfeather" not in shown
    assert "4711" not in shown


@pytest.mark.parametrize(
    "edf",
    [
        Edf(version=b"1       "),
        Edf(header_bytes=b"768"),
        Edf(header_bytes=b"abc"),
        Edf(num_signals=b"0"),
        Edf(num_signals=b"2"),
        Edf(num_signals=b"-1"),
        Edf(records=b"-2"),
        Edf(records=b""),
        Edf(records=b"1_0"),
        Edf(duration=b"-1"),
        Edf(duration=b"nan"),
        Edf(duration=b"one"),
        Edf(samples=b"0"),
        Edf(samples=b"-8"),
        Edf(samples=b"8.5"),
        Edf(start=b"05.13.2110.11.12"),
        Edf(start=b"31.02.2110.11.12"),
        Edf(start=b"05.03.2125.11.12"),
        Edf(start=b"05.03.yy10.11.12", recording=b"Startdate X X X X"),
        Edf(start=b"                "),
    ],
)
def test_a_header_that_lies_is_malformed(edf: Edf) -> None:
    with pytest.raises(MalformedFileError):
        header_of(edf.build())


@pytest.mark.parametrize("size", [0, 7, 8, 255, 256, 1023])
def test_a_file_shorter_than_its_header_is_malformed(size: int) -> None:
    with pytest.raises(MalformedFileError):
        header_of(Edf().build()[:size])


@pytest.mark.parametrize("label", [b"Notes", b"Annotations", b"EDF Annotations2"])
def test_annotations_under_another_label_are_malformed(label: bytes) -> None:
    data = Edf().build().replace(b"EDF Annotations ", label.ljust(16))
    with pytest.raises(MalformedFileError):
        header_of(data)


def test_label_in_another_case_is_an_annotation_signal() -> None:
    data = Edf().build().replace(b"EDF Annotations", b"edf annotations")
    assert len(header_of(data).annotation_signals) == 1


def test_error_says_nothing_of_the_person() -> None:
    with pytest.raises(MalformedFileError) as caught:
        header_of(Edf(samples=b"Odalys").build())
    assert "Odalys" not in str(caught.value) + repr(caught.value.args)


def test_reads_an_open_file_wherever_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "a.edf"
    path.write_bytes(Edf().build())
    with path.open("rb") as file:
        file.seek(77)
        assert read_header(file).complete_records_in_file == 3
    with path.open("rb", buffering=0) as file:
        assert read_header(file).complete_records_in_file == 3


@pytest.mark.parametrize(
    ("name", "variant", "start", "records", "duration_s", "annotation_signals"),
    [
        ("edfio_mne_test.edf", "EDF+C", datetime(2014, 4, 29, 22, 19, 44), 6, 6.0, 1),
        ("edfio_short_psg.bdf", "BDF", datetime(1989, 4, 24, 16, 13), 10, 300.0, 0),
        ("pyedflib_datarec_0_5.bdf", "BDF+C", datetime(2000, 1, 1), 60, 30.0, 1),
        ("pyedflib_test_generator.edf", "EDF+C", datetime(2011, 4, 4, 12, 57, 2), 600, 600.0, 1),
        ("pyedflib_test_subsecond.edf", "EDF+C", datetime(2020, 1, 24, 4, 5, 56, 394531), 698, 698.0, 1),
        ("pyedflib_test_utf8.edf", "EDF+C", datetime(2020, 1, 24, 4, 5, 56, 394531), 698, 698.0, 1),
    ],
)
def test_public_recordings(
    name: str, variant: str, start: datetime, records: int, duration_s: float, annotation_signals: int
) -> None:
    header = header_of(sample(name))
    assert (header.variant, header.start, header.num_records) == (variant, start, records)
    assert (header.complete_records_in_file, header.trailing_bytes) == (records, 0)
    assert header.duration_s == duration_s
    assert len(header.annotation_signals) == annotation_signals
