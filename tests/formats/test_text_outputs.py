"""ReadVTC and Snc2Txt: recognised by content, read, and cleaned at equal length."""

from __future__ import annotations

import codecs
import io
from datetime import UTC, datetime, timedelta

import pytest
from builders_natus import GUID, START, STEM, TERMS, filetime
from cleaned import apply, check_cleaning, request_for
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import text_outputs
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.kinds import Kind, kind_of_text
from ecogsafe.formats.request import CleaningRequest
from ecogsafe.formats.text_regions import text_regions
from ecogsafe.formats.text_rows import TextView

REQUEST = request_for(*TERMS)
DAY_FIRST = "%d/%m/%Y %H:%M:%S.%f"
ENCODINGS = ("latin-1", "utf-8-sig", "utf-16-le-bom", "utf-16-be-bom", "utf-16-le")


def encoded(text: str, encoding: str) -> bytes:
    mark = {"utf-16-le-bom": codecs.BOM_UTF16_LE, "utf-16-be-bom": codecs.BOM_UTF16_BE}.get(encoding, b"")
    return mark + text.encode(encoding.removesuffix("-bom"))


def vtc_text(stem: str = STEM, *, folder: str = "D:\\Odalys\\", newline: str = "\r\n") -> str:
    lines = [
        "ReadVTC version 2.1",
        f"File: {folder}{stem}.vtc",
        "Operator: Zuniga, tel 206-555-0147, Müller",
        "",
        "Number of files: 2",
    ]
    for i in range(2):
        start, end = (START + timedelta(minutes=2 * (i + k)) for k in (0, 1))
        lines.append(f"{folder}{stem}_{i:04d}.avi [{start.strftime(DAY_FIRST)}] [{end.strftime(DAY_FIRST)}]")
    return newline.join([*lines, ""])


def snc_text(newline: str = "\r\n") -> str:
    lines = ["Snc2Txt", f"D:\\{STEM}.snc", "sample\ttime\tnote\tFILETIME"]
    for i in range(3):
        moment = START + timedelta(minutes=11 * i)
        lines.append(f"{i * 660000}\t{moment:%d/%m/%Y %H:%M:%S}\tOdalys 206-555-0147\t{filetime(moment)}")
    return newline.join([*lines, ""])


def clean(kind: Kind, data: bytes, request: CleaningRequest = REQUEST) -> bytes:
    return check_cleaning(data, request, lambda f: text_regions(kind, f), lambda f, r: patches(kind, f, r))


def lab_parse(row: str) -> tuple[str, str, str]:
    """Read a row as the lab's script does: number by its place before the bracket, times by the brackets."""
    first, second, third = row.split("[")
    return first[-9:-5], second[:-2], third.rstrip()[:-1]


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("newline", ["\n", "\r\n"])
def test_tools_are_recognised_by_their_rows(encoding: str, newline: str) -> None:
    assert kind_of_text(encoded(vtc_text(newline=newline), encoding)) is Kind.VTC_TEXT
    assert kind_of_text(encoded(snc_text(newline=newline), encoding)) is Kind.SNC_TEXT


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_clip_rows_are_read_day_first_in_utc(encoding: str) -> None:
    clips = text_outputs.read_vtc_text(io.BytesIO(encoded(vtc_text(), encoding)))
    assert [c.name for c in clips] == [f"{STEM}_0000.avi", f"{STEM}_0001.avi"]
    assert [c.start_utc for c in clips] == [START, START + timedelta(minutes=2)]
    assert clips[0].end_utc == datetime(2021, 3, 5, 18, 13, 12, 345678, tzinfo=UTC)


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-16-le-bom"])
def test_accented_names_are_read_in_their_encoding(encoding: str) -> None:
    stem = f"Müller~ Zoë_{GUID}"
    data = encoded(vtc_text(stem), encoding)
    assert text_outputs.read_vtc_text(io.BytesIO(data))[1].name == f"{stem}_0001.avi"
    assert text_outputs.stems_in(io.BytesIO(data)) == (stem,)
    assert "M" not in TextView.of(clean(Kind.VTC_TEXT, data)).text.replace("Number", "")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sync_rows_are_read(encoding: str) -> None:
    points = text_outputs.read_snc_text(io.BytesIO(encoded(snc_text(), encoding)))
    assert [(p.stamp, p.utc) for p in points] == [(i * 660000, START + timedelta(minutes=11 * i)) for i in range(3)]


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_clip_text_is_cleaned_and_parses_as_before(encoding: str) -> None:
    data = encoded(vtc_text(), encoding)
    cleaned = clean(Kind.VTC_TEXT, data)
    old, new = (TextView.of(d).text.split("\n") for d in (data, cleaned))
    assert [len(line) for line in old] == [len(line) for line in new]
    assert [lab_parse(row) for row in new[5:7]] == [lab_parse(row) for row in old[5:7]]
    assert new[5].startswith("x:\\xxxxxx\\ ")
    assert " abcd1234_3_0000.avi [" in new[5]
    clips = text_outputs.read_vtc_text(io.BytesIO(cleaned))
    assert [c.name for c in clips] == ["abcd1234_3_0000.avi", "abcd1234_3_0001.avi"]
    assert new[0] == "ReadVTC version x.x\r"
    assert set(new[2]) <= set("x-, :\r")
    assert new[4] == "Number of files: x\r"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_sync_text_is_cleaned_and_parses_as_before(encoding: str) -> None:
    data = encoded(snc_text(), encoding)
    cleaned = clean(Kind.SNC_TEXT, data)
    old, new = (text_outputs.read_snc_text(io.BytesIO(d)) for d in (data, cleaned))
    assert old == new
    rows = TextView.of(cleaned).text.split("\n")[3:6]
    assert [row.split("\t")[2] for row in rows] == ["xxxxxx xxx-xxx-xxxx"] * 3
    assert rows[0].split("\t")[1] == "05/03/2021 18:11:12"


def test_name_shorter_than_the_new_one_becomes_x() -> None:
    data = vtc_text("Od_1", folder="").encode("latin-1")
    cleaned = clean(Kind.VTC_TEXT, data, request_for("Od_1", "Odalys"))
    assert b"\nxxxx_0000.avi [05/03/2021" in cleaned


def test_a_row_number_is_no_part_of_the_name() -> None:
    rows = "".join(f"  {i}. {STEM}_{i:04d}.avi [05/03/2021 18:11:12] [05/03/2021 18:13:12]\n" for i in range(2))
    clips = text_outputs.read_vtc_text(io.BytesIO(rows.encode()))
    assert [clip.name for clip in clips] == [f"{STEM}_0000.avi", f"{STEM}_0001.avi"]
    assert text_outputs.stems_in(io.BytesIO(rows.encode())) == (STEM,)


def test_text_between_and_after_the_times_is_denied() -> None:
    row = f"{STEM}_0000.avi [05/03/2021 18:11:12.3] by Zuniga to [05/03/2021 18:13:12] Ask 206\n" * 2
    cleaned = clean(Kind.VTC_TEXT, row.encode())
    assert cleaned.endswith(b"] xx xxxxxx to [05/03/2021 18:13:12] xxx xxx\n")


def test_utf16_letters_are_blotted_as_letters() -> None:
    # "Last" is one of the tools' words, so only the search takes it out
    data = encoded("Last file\n" + snc_text(), "utf-16-le-bom")
    cleaned = clean(Kind.SNC_TEXT, data, request_for("Last", *TERMS))
    assert TextView.of(cleaned).text.startswith("xxxx file\n")


def test_odd_byte_at_the_end_of_utf16_and_surrogates_survive() -> None:
    data = encoded(snc_text() + "note \U0001f600\n", "utf-16-le-bom") + b"\n"
    cleaned = clean(Kind.SNC_TEXT, data)
    assert cleaned.endswith(b"\n\0\n")


@pytest.mark.parametrize(
    "row",
    [
        f"{STEM}_0000.avi [32/03/2021 18:11:12] [05/03/2021 18:13:12]",
        f"{STEM}_0000.avi [05/13/2021 18:11:12] [05/13/2021 18:13:12]",
    ],
)
def test_a_date_that_is_none_is_refused(row: str) -> None:
    with pytest.raises(MalformedFileError):
        text_outputs.read_vtc_text(io.BytesIO(row.encode()))


def test_files_without_rows_are_refused() -> None:
    for kind, other in ((Kind.VTC_TEXT, snc_text()), (Kind.SNC_TEXT, vtc_text()), (Kind.SNC_TEXT, "")):
        with pytest.raises(MalformedFileError):
            list(text_regions(kind, io.BytesIO(other.encode("latin-1"))))
        with pytest.raises(MalformedFileError):
            list(patches(kind, io.BytesIO(other.encode("latin-1")), REQUEST))
    with pytest.raises(MalformedFileError):
        text_outputs.read_vtc_text(io.BytesIO(snc_text().encode()))
    with pytest.raises(MalformedFileError):
        text_outputs.read_snc_text(io.BytesIO(vtc_text().encode()))


def test_endless_lines_are_no_rows() -> None:
    long = f"{'x' * 5000}_0000.avi [05/03/2021 18:11:12] [05/03/2021 18:13:12]"
    assert kind_of_text(long.encode()) is Kind.OTHER
    assert kind_of_text(b"1\t" + b"x" * 5000 + b"\t132594630723456780") is Kind.OTHER


@given(st.text(max_size=60), st.sampled_from(["latin-1", "utf-16-le-bom", "utf-16-be-bom"]))
@settings(max_examples=50)
def test_any_preamble_is_cleaned_at_equal_length_once_and_for_all(text: str, encoding: str) -> None:
    kept = text.encode("latin-1", "ignore").decode("latin-1") if encoding == "latin-1" else text
    data = encoded(f"{kept}\n{GUID}\n" + vtc_text(), encoding)
    if kind_of_text(data) is not Kind.VTC_TEXT:
        return
    cleaned = clean(Kind.VTC_TEXT, data)
    assert len(cleaned) == len(data)


def test_times_of_clips_made_on_a_birthday_stay() -> None:
    """The date of birth in free text goes, the same day as the time of a clip stays, and so do number and ending."""
    born = f"{START:%d/%m/%Y}"
    text = vtc_text().replace("Operator: ", f"Operator: {born} avi ").encode("latin-1")
    request = request_for(*TERMS, born, "avi", "0001")
    new = apply(text, patches(Kind.VTC_TEXT, io.BytesIO(text), request))
    lines = new.decode("latin-1").split("\r\n")
    rows = [line for line in lines if "[" in line]
    assert born not in lines[2] and "avi" not in lines[2]
    assert [row[row.index("[") :] for row in rows] == [
        row[row.index("[") :] for row in vtc_text().split("\r\n") if "[" in row
    ], "the time of a clip was taken for a date of birth"
    assert all(row[: row.index("[")].rstrip().endswith(f"_{i:04d}.avi") for i, row in enumerate(rows))


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16-le-bom"])
def test_columns_of_a_machine_stay_whatever_they_look_like(encoding: str) -> None:
    born, ticks = f"{START:%d/%m/%Y}", str(filetime(START))
    data = encoded(snc_text().replace("note", born), encoding)
    request = request_for(*TERMS, born, ticks, "660000")
    new = apply(data, patches(Kind.SNC_TEXT, io.BytesIO(data), request))
    view = TextView.of(new)
    assert born not in view.text.split("\n")[2], "a date of birth stayed in the preamble"
    cells = [line.split("\t") for line in view.text.split("\r\n")[3:6]]
    assert [(c[0], c[1], c[3]) for c in cells] == [
        (str(i * 660000), f"{(m := START + timedelta(minutes=11 * i)):%d/%m/%Y %H:%M:%S}", str(filetime(m)))
        for i in range(3)
    ]
    assert all(new[start:stop].strip(b"\0").isascii() for start, stop in text_outputs.machine_spans(Kind.SNC_TEXT, new))
