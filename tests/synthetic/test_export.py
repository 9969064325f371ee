"""The whole export: forms, sizes, determinism, and that the ledger tells the truth."""

from __future__ import annotations

import hashlib
import json
import time
from datetime import date
from pathlib import Path

import pytest

from ecogsafe.synthetic.export import ExportScale, Form, Ledger, write_export
from ecogsafe.synthetic.hard_names import hard_named_patients
from ecogsafe.synthetic.ledger import search

Export = tuple[Path, Ledger]
KINDS = {".eeg", ".ent", ".erd", ".etc", ".snc", ".stc", ".vtc", ".vt2", ".avi"}


def _state(folder: Path) -> dict[str, tuple[int, str]]:
    return {
        p.relative_to(folder).as_posix(): (
            p.stat().st_mtime_ns,
            hashlib.sha256(p.read_bytes()).hexdigest() if p.is_file() else "",
        )
        for p in sorted(folder.rglob("*"))
    }


@pytest.mark.parametrize("form", ["hospital", "half-processed", "mixed"])
def test_every_form_holds_two_patients_with_three_segments_each(tmp_path: Path, form: Form) -> None:
    ledger = write_export(tmp_path / "e", form=form, scale=ExportScale.tiny(), seed=2)
    assert [len(ledger.segments_of(key)) for key in ("a", "b")] == [3, 3]
    for segment in ledger.segments:
        found = {p.suffix for p in (tmp_path / "e" / segment.study).iterdir()}
        assert found >= KINDS
        assert (tmp_path / "e" / segment.edf).is_file()
        half = form == "half-processed" or (form == "mixed" and segment.patient == "b")
        assert (segment.named is not None) == half
    assert sorted(ledger.files) == sorted(
        p.relative_to(tmp_path / "e").as_posix() for p in (tmp_path / "e").rglob("*") if p.is_file()
    )


def test_equal_arguments_give_equal_bytes_names_and_times(tmp_path: Path) -> None:
    scale = ExportScale.tiny()
    ledgers = [write_export(tmp_path / n, form="mixed", scale=scale, seed=seed) for n, seed in
               (("one", 5), ("two", 5), ("other", 6))]  # fmt: skip
    assert _state(tmp_path / "one") == _state(tmp_path / "two")
    assert ledgers[0] == ledgers[1]
    assert _state(tmp_path / "one").keys() != _state(tmp_path / "other").keys()
    assert ledgers[0].segments[0].digests[0].sha256 != ledgers[2].segments[0].digests[0].sha256


def test_tiny_is_small_and_fast(tmp_path: Path) -> None:
    begun = time.monotonic()
    ledger = write_export(tmp_path / "e", form="hospital", scale=ExportScale.tiny(), seed=1)
    assert time.monotonic() - begun < 2
    assert sum((tmp_path / "e" / f).stat().st_size for f in ledger.files) < 2 * 3_000_000


def test_every_planted_identifier_is_where_the_ledger_says(mixed: Export) -> None:
    folder, ledger = mixed
    assert len(ledger.planted) > 1000
    for planted in ledger.planted:
        data = planted.path.encode() if planted.encoding == "name" else (folder / planted.path).read_bytes()
        if planted.offset is not None:
            data = data[planted.offset : planted.offset + 4]
        assert planted.needle() in data, planted


def test_each_patient_is_planted_in_every_place_the_format_notes_list(mixed: Export) -> None:
    _, ledger = mixed
    wanted = {
        "generic header", "generic header: behind the NUL", "generic header: patient id",
        "generic header: study id", "headbox serial", "STC segment name", "clip name", ".eeg tree",
        ".eeg tree: GUID", ".eeg tree: hex blob", ".ent note", "EDF patient field", "EDF recording field",
        "EDF reserved 44", "EDF transducer", "EDF prefilter", "EDF signal reserved", "EDF label", "annotation",
        "after the last record", "AVI INFO", "AVI strn", "AVI strd", "AVI JUNK", "after the end of the RIFF",
        "ReadVTC text", "Snc2Txt text", "report", "thumbnail name", "sleep data", "path", ".ent note: GUID",
    }  # fmt: skip
    for key in ("a", "b"):
        assert {p.place for p in ledger.planted if p.patient == key} >= wanted


def test_every_date_of_service_is_where_the_ledger_says(mixed: Export) -> None:
    folder, ledger = mixed
    assert len(ledger.dated) > 200
    for dated in ledger.dated:
        path, needle = folder / dated.path, bytes.fromhex(dated.needle)
        if dated.offset is not None:
            assert path.read_bytes()[dated.offset :].startswith(needle), dated
        else:
            assert needle in path.read_bytes(), dated


def test_hard_named_patients_are_six_people_and_get_exports_of_their_own(tmp_path: Path) -> None:
    pairs = hard_named_patients(4)
    people = [patient for pair in pairs for patient in pair]
    for what in ("key", "last_name", "mrn", "birth_date", "telephone", "internal_id", "headbox_serial"):
        assert len({getattr(patient, what) for patient in people}) == 6, what
    assert min(len(patient.last_name) for patient in people) == 2
    assert max(patient.age_at(date(2024, 1, 1)) for patient in people) > 89
    for number, pair in enumerate(pairs):
        folder = tmp_path / str(number)
        ledger = write_export(folder, form="mixed", scale=ExportScale.tiny(), seed=4, patients=pair)
        assert ledger.patients == pair
        for patient in pair:
            assert {r.term for r in search(folder, patient.terms())} == set(patient.terms())


def test_numbers_and_names_do_not_follow_the_true_order(mixed: Export) -> None:
    _, ledger = mixed
    for key in ("a", "b"):
        segments = ledger.segments_of(key)
        starts = [s.start_utc for s in segments]
        assert starts == sorted(starts)
        assert [s.stem for s in segments] != sorted(s.stem for s in segments)
        assert [s.vtc_text for s in segments] != sorted(s.vtc_text for s in segments)
    numbers = [s.named for s in ledger.segments_of("b")]
    assert sorted(n for n in numbers if n) == [1, 2, 3]
    assert all(s.named != s.order for s in ledger.segments_of("b"))


def test_one_decimated_folder_and_three_variants_for_each_patient(mixed: Export) -> None:
    folder, ledger = mixed
    for key in ("a", "b"):
        segments = ledger.segments_of(key)
        assert [(folder / s.study / "Decimated").is_dir() for s in segments] == [s.decimated for s in segments]
        assert sum(s.decimated for s in segments) == 1
        assert {s.variant[:3] for s in segments} == {"EDF", "BDF"}
        assert {"EDF+C", "EDF+D"} < {s.variant for s in segments}
        assert any(s.start_local.microsecond for s in segments)


def test_reports_backups_and_unknown_kinds_are_to_be_left_behind(mixed: Export) -> None:
    folder, ledger = mixed
    rest = {f for f in ledger.files if Path(f).suffix in {".doc", ".db", ".epo", ".old"}}
    assert set(ledger.left_behind) == rest
    assert {Path(f).suffix for f in rest} == {".doc", ".db", ".epo", ".old"}
    ole2 = [folder / f for f in rest if not f.endswith(".old")]
    assert all(p.read_bytes().startswith(bytes.fromhex("d0cf11e0a1b11ae1")) for p in ole2)


def test_a_folder_that_holds_something_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("x")
    with pytest.raises(FileExistsError):
        write_export(tmp_path, form="mixed", scale=ExportScale.tiny(), seed=1)
    assert [p.name for p in tmp_path.iterdir()] == ["mine"]


def test_the_ledger_as_json_keeps_order_times_and_places(mixed: Export) -> None:
    _, ledger = mixed
    record = json.loads(ledger.to_json())
    assert [s["start_utc"] for s in record["segments"]] == [s.start_utc.isoformat() for s in ledger.segments]
    assert len(record["planted"]) == len(ledger.planted)
    assert record["patients"][0]["birth_date"] == "1987-03-09"


def test_large_first_clip_is_written_when_asked_for(tmp_path: Path) -> None:
    scale = ExportScale(large_clip_bytes=3_000_000)
    ledger = write_export(tmp_path / "e", form="hospital", scale=scale, seed=1)
    sizes = [c.size for s in ledger.segments for c in s.clips]
    assert sizes[0] == pytest.approx(3_000_000, rel=0.1)
    assert max(sizes[1:]) < 100_000
    assert ExportScale.demo().large_clip_bytes > 64 << 20


@pytest.mark.parametrize("wrong", [{"channels": 5}, {"channels": 251}, {"rate_hz": 202}, {"seconds": 5},
                                   {"clips_per_study": 0}])  # fmt: skip
def test_scales_that_cannot_be_written_are_refused(wrong: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="must be"):
        ExportScale(**wrong)
