"""Dates moved by whole days: everywhere, together, with the time of day and every interval as they were."""

from __future__ import annotations

import io
from datetime import date, datetime, timedelta
from pathlib import Path

import pytest
from cleaned import apply
from hypothesis import given
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats import edf, natus, natus_times, text_outputs
from ecogsafe.formats.cleaning import patches
from ecogsafe.formats.date_shift import (
    shifted_day_first,
    shifted_digits,
    shifted_edf_day,
    shifted_filetime,
    shifted_seconds,
    text_dates,
)
from ecogsafe.formats.discovery import discover
from ecogsafe.formats.keytree_cleaning import cleaned_tree
from ecogsafe.formats.kinds import Kind
from ecogsafe.formats.request import CleaningRequest
from ecogsafe.synthetic.export import ExportScale, write_export

DAYS = -1234
DAY = timedelta(days=DAYS)


@pytest.fixture(scope="module")
def export(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("shift") / "export"
    write_export(folder, form="hospital", scale=ExportScale.tiny(), seed=3)
    return folder


def _files(export: Path) -> list[tuple[Kind, bytes]]:
    found = discover(export)
    kinds = [(f.kind, f.path) for study in found.studies for f in study.files]
    kinds += [(r.file.kind, r.file.path) for r in found.recordings]
    kinds += [(t.file.kind, t.file.path) for t in found.texts]
    return [(kind, path.read_bytes()) for kind, path in kinds]


def _shifted(kind: Kind, data: bytes, days: int) -> bytes:
    request = CleaningRequest(code="abcd1234", stem="abcd1234_1", find=lambda _data: (), shift_days=days)
    return apply(data, patches(kind, io.BytesIO(data), request))


def _times(kind: Kind, data: bytes) -> list[datetime]:
    file = io.BytesIO(data)
    if kind in (Kind.EDF, Kind.BDF):
        return [edf.read_header(file).start]
    if kind is Kind.SNC:
        return [point.utc for point in natus_times.read_snc(file)]
    if kind in (Kind.VTC, Kind.VT2):
        return [time for clip in natus_times.read_vtc(file) for time in (clip.start_utc, clip.end_utc)]
    if kind is Kind.VTC_TEXT:
        return [time for clip in text_outputs.read_vtc_text(file) for time in (clip.start_utc, clip.end_utc)]
    if kind is Kind.SNC_TEXT:
        return [point.utc for point in text_outputs.read_snc_text(file)]
    return []


TIMED = {Kind.EDF, Kind.BDF, Kind.SNC, Kind.VTC, Kind.VT2, Kind.VTC_TEXT, Kind.SNC_TEXT}


def test_every_time_of_an_export_moves_by_the_same_days(export: Path) -> None:
    seen = set()
    for kind, data in _files(export):
        before = _times(kind, data)
        if before:
            seen.add(kind)
            after = _times(kind, _shifted(kind, data, DAYS))
            assert [b + DAY for b in before] == after, kind
    assert seen == TIMED


def test_the_creation_time_of_every_generic_header_moves(export: Path) -> None:
    headers = {Kind.EEG, Kind.ENT, Kind.ERD, Kind.ETC, Kind.SNC, Kind.STC}
    for kind, data in _files(export):
        if kind in headers:
            before = natus.parse_generic_header(data).created
            after = natus.parse_generic_header(_shifted(kind, data, DAYS)).created
            assert after == before + DAY, kind


def test_both_dates_of_an_edf_agree_after_the_shift(export: Path) -> None:
    for kind, data in _files(export):
        if kind in (Kind.EDF, Kind.BDF):
            header = edf.read_header(io.BytesIO(_shifted(kind, data, DAYS)))
            assert edf.has_cleaned_form(header, "abcd1234")


def test_a_shift_there_and_back_is_the_file_cleaned_without_one(export: Path) -> None:
    for kind, data in _files(export):
        if kind in TIMED - {Kind.SNC_TEXT, Kind.EDF, Kind.BDF}:
            assert _shifted(kind, _shifted(kind, data, DAYS), -DAYS) == _shifted(kind, data, 0), kind


@pytest.mark.parametrize(("day", "days"), [(date(1985, 1, 3), -3), (date(2084, 12, 30), 2)])
def test_edf_cannot_leave_1985_to_2084(day: date, days: int) -> None:
    with pytest.raises(MalformedFileError, match="1985 to 2084"):
        shifted_edf_day(day, days)


def test_the_limits_of_time_t_and_filetime_are_refused_and_no_time_stays_no_time() -> None:
    assert shifted_seconds(0, DAYS) == 0
    assert shifted_filetime(0, DAYS) == 0
    with pytest.raises(MalformedFileError):
        shifted_seconds(2**31 - 1, 1)
    with pytest.raises(MalformedFileError):
        shifted_filetime(1, -1)


@given(st.integers(10**17, 9 * 10**17), st.integers(-20_000, 20_000))
def test_digits_keep_their_number_and_come_back(value: int, days: int) -> None:
    text = str(value).encode()
    moved = shifted_digits(text, days)
    assert len(moved) == len(text)
    if moved.strip(b"0"):
        assert shifted_digits(moved, -days) == text


@given(st.dates(date(1990, 1, 1), date(2060, 1, 1)), st.integers(-5000, 5000))
def test_a_day_first_date_moves_and_its_time_stays(day: date, days: int) -> None:
    moved = day + timedelta(days=days)
    assert shifted_day_first(f"{day:%d/%m/%Y} 23:59:59.9", days) == f"{moved:%d/%m/%Y} 23:59:59.9"


@pytest.mark.parametrize(
    "text",
    [b"seen 3/12/2024", b"2024-03-12", b"12.03.24", b"12 March 2024", b"Mar 12, 2024", b"on 12-Mar-2024.", b"20240312"],
)
def test_dates_in_free_text_are_found(text: bytes) -> None:
    assert text_dates(text)


@pytest.mark.parametrize("text", [b"Fp1-F3", b"10.5 s", b"1/2", b"HF 70", b"LA12-LA13", b"50/60 Hz", b"1234567890"])
def test_what_only_looks_a_little_like_a_date_is_left(text: bytes) -> None:
    assert not text_dates(text)


def test_dates_go_from_annotations_that_are_kept(export: Path) -> None:
    (data, *_) = (data for kind, data in _files(export) if kind is Kind.EDF and b"awake, eyes open" in data)
    data = data.replace(b"awake, eyes open", b"on 12/03/2024 EO")
    for days, expected in ((0, b"on 12/03/2024 EO"), (DAYS, b"on xxxxxxxxxx EO")):
        request = CleaningRequest(
            code="abcd1234", stem="abcd1234_1", find=lambda _data: (), annotations="keep", shift_days=days
        )
        assert expected in apply(data, patches(Kind.EDF, io.BytesIO(data), request))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'(."StartTime", 133546175120000000)', b'(."StartTime", 133537535120000000)'),
        (b'(."EndTime", 1710201600)', b'(."EndTime", 0000000000)'),
        (b'(."EndTime", 1200)', b'(."EndTime", 1200)'),
        (b'(."Stamp", 20240312)', b'(."Stamp", 20240312)'),
        (b'(."Type", "seen 12/03/24")', b'(."Type", "seen xxxxxxxx")'),
        (b'(."Type", "LG1-LG2")', b'(."Type", "LG1-LG2")'),
    ],
)
def test_in_a_key_tree_a_date_that_cannot_be_moved_goes(old: bytes, new: bytes) -> None:
    assert cleaned_tree(old, lambda _data: (), -10) == new
    assert cleaned_tree(old, lambda _data: ()) == old


@pytest.mark.parametrize("kind", [Kind.MP4, Kind.MOV, Kind.MPG])
def test_clips_with_times_of_their_own_stay_behind(kind: Kind) -> None:
    data = b"\0\0\0\x18ftypmp42" + bytes(100)
    assert _shifted(kind, data, 0) == data
    with pytest.raises(MalformedFileError, match="cannot be shifted"):
        _shifted(kind, data, DAYS)


def test_a_number_in_snc_text_that_may_be_the_day_of_a_date_goes() -> None:
    rows = b"".join(b"%d\t45363.58%d\t12.5\t13354617512000000%d\r\n" % (n, n, n) for n in range(3))
    new = _shifted(Kind.SNC_TEXT, rows, DAYS)
    assert b"45363" not in new and new.count(b"xxxxx.xxx\t12.5\t") == 3
