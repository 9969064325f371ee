"""Identifiers in every place of an export (45 CFR 164.514(b)(2)): all go or stay behind, and nothing else changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from tools import places_table
from tools.places_table import Measured, compare, measure, measure_all

from ecogsafe.synthetic.export import ExportScale, write_export
from ecogsafe.synthetic.hard_names import hard_named_patients
from ecogsafe.synthetic.ledger import Ledger, Planted
from ecogsafe.synthetic.natus_files import ClipRecord, write_vtc
from ecogsafe.synthetic.timeline import filetime

#: what can be in which places, by letter of the rule; sound and pictures (L, P, Q) hold no text
EVERYWHERE = {
    "A": {
        *("names of files and folders", "generic header", "generic header: behind the NUL", ".eeg tree", ".ent note"),
        *(".eeg tree: hex blob", "STC segment name", "clip name", "EDF patient field", "annotation", "EDF label"),
        *("EDF prefilter", "EDF reserved 44", "after the last record", "ReadVTC text", "Snc2Txt text", "AVI INFO"),
        *("AVI strn", "AVI strd", "AVI JUNK", "after the end of the RIFF", "report", "sleep data", "thumbnail name"),
    },
    "(A)": {".eeg tree", ".ent note", "EDF recording field", "AVI INFO", "annotation", "report: properties"},
    "B": {".eeg tree", ".eeg tree: hex blob", "EDF patient field", "report"},
    "C": {".eeg tree", ".ent note", "EDF patient field", "annotation"},
    "D E F": {".eeg tree", ".ent note", "annotation", "AVI JUNK", "report"},
    "G": {".eeg tree", "report"},
    "H": {
        *("generic header", ".eeg tree", ".ent note", "EDF patient field", "EDF transducer", "EDF label", "annotation"),
        *(".eeg tree: hex blob", "AVI INFO", "after the end of the RIFF", "report"),
    },
    "I J": {".eeg tree", "EDF recording field", "EDF signal reserved"},
    "K": {"report"},
    "M": {"headbox serial", ".eeg tree", "EDF recording field", "AVI strd"},
    "N O": {".eeg tree", ".ent note", "EDF recording field"},
    "R": {
        *("generic header: patient id", "generic header: study id", "names of files and folders", "sleep data"),
        *(".eeg tree: GUID", ".ent note: GUID", "STC segment name", "clip name", "ReadVTC text", "Snc2Txt text"),
    },
}
DATED = {
    *("generic header: creation time", "SNC rows", "clip times", ".eeg tree: creation times", ".eeg tree: hex blob"),
    *(".ent note: creation times", ".ent note: event times", "EDF start date", "EDF recording field", "AVI IDIT"),
    *("AVI INFO", "ReadVTC text", "Snc2Txt text", "file times"),
}


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> tuple[Measured, Measured]:
    """Three exports, six people with hard names, all de-identified; without and with shifted dates."""
    return measure_all(tmp_path_factory.mktemp("places"))


@pytest.fixture(scope="module")
def measured(both: tuple[Measured, Measured]) -> Measured:
    return both[0]


def total(measured: Measured, result: str) -> int:
    return sum(counts[result] for counts in measured.places.values())


def test_every_identifier_was_planted_in_every_place_that_can_hold_it(measured: Measured) -> None:
    planted: dict[str, set[str]] = {}
    for identifier, place in measured.places:
        planted.setdefault(places_table.LETTERS[identifier], set()).add(place)
    missing = {letter: gone for letter, places in EVERYWHERE.items() if (gone := places - planted.get(letter, set()))}
    assert missing == {}
    assert set(measured.dates) == DATED


def test_every_planted_identifier_is_removed_or_left_behind_and_listed(both: tuple[Measured, Measured]) -> None:
    for measured in both:
        still_there = {key: counts for key, counts in measured.places.items() if counts[places_table.THERE]}
        assert still_there == {}
        assert measured.residue == []
        assert total(measured, places_table.REMOVED) > 3000
        assert total(measured, places_table.LEFT) > 300


def test_nothing_else_is_altered(measured: Measured) -> None:
    assert {what: altered for what, (_, altered) in measured.kept.items() if altered} == {}
    assert len(measured.kept) == 9
    assert all(compared >= 18 for compared, _ in measured.kept.values())


def test_no_true_date_is_left_where_dates_are_shifted(both: tuple[Measured, Measured]) -> None:
    usual, shifted = both
    assert {place for place, counts in usual.dates.items() if counts[places_table.KEPT]} >= {
        *("generic header: creation time", "SNC rows", "clip times", "EDF start date", "EDF recording field"),
        *("ReadVTC text", "Snc2Txt text", "file times"),
    }
    assert {place: counts for place, counts in shifted.dates.items() if counts[places_table.KEPT]} == {}
    # the clock of a study holds dates, so it moves; nothing else may
    moved = {what for what, (_, altered) in shifted.kept.items() if altered}
    assert moved <= {"index or clock of a Natus study"}


def test_the_page_is_current(both: tuple[Measured, Measured]) -> None:
    text = places_table.render(*both)
    print(text)
    assert places_table.TARGET.read_text(encoding="utf-8") == text, f"run: {places_table.COMMAND}"


def test_what_is_not_removed_is_told(tmp_path: Path) -> None:
    """With contents kept on purpose, names stand where they stood, and the count says so."""
    kept = measure(tmp_path, ["half-processed"], keep_native_content=True, annotations="keep")
    still_there = {key for key, counts in kept.places.items() if counts[places_table.THERE]}
    assert ("names", "generic header") in still_there
    assert ("record number", "annotation") in still_there
    assert ("other codes: GUIDs, internal numbers", "generic header: patient id") in still_there
    assert ("names", "names of files and folders") not in still_there
    assert kept.residue


@pytest.fixture(scope="module")
def one_export(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ledger]:
    folder = tmp_path_factory.mktemp("one") / "export"
    patients = hard_named_patients(3)[2]
    return folder, write_export(folder, form="mixed", scale=ExportScale.tiny(), seed=3, patients=patients)


@pytest.mark.parametrize(
    ("suffix", "needle", "told"),
    [
        (".edf", b"FP1", "channel label of the recording"),
        (".edf", b"+0.5\x14", "onset and duration of an annotation"),
        (".edf", b"Fp1 noisy", "annotation that only resembles a name"),
        (".ent", b"FP2", "electrode labels of a montage"),
        (".avi", b"00db", "pictures and sound of a clip"),
    ],
)
def test_what_is_altered_is_told(one_export: tuple[Path, Ledger], suffix: str, needle: bytes, told: str) -> None:
    folder, ledger = one_export
    names = [f for f in ledger.files if f.endswith(suffix)]
    name = next(n for n in names if needle in (folder / n).read_bytes())
    before = (folder / name).read_bytes()
    altered, same = Measured(), Measured()
    changed = needle[:-2] + b"9" + needle[-1:] if needle.endswith(b"\x14") else b"x" * len(needle)
    compare(name, before, before.replace(needle, changed), ledger, altered)
    compare(name, before, before, ledger, same)
    assert altered.kept[told][1] >= 1
    assert not any(altered for _, altered in same.kept.values())


def test_a_changed_sample_is_told(one_export: tuple[Path, Ledger]) -> None:
    folder, ledger = one_export
    for name, told, at in (
        (next(s.edf for s in ledger.segments if s.edf.endswith(".edf")), "samples of the recording", -20_000),
        (next(f for f in ledger.files if f.endswith(".erd")), "samples of a Natus segment", -5),
        (next(f for f in ledger.files if f.endswith(".snc")), "index or clock of a Natus study", -5),
    ):
        before = (folder / name).read_bytes()
        after = bytearray(before)
        after[at] ^= 0xFF
        measured = Measured()
        compare(name, before, bytes(after), ledger, measured)
        assert measured.kept[told][1] == 1, name


@pytest.mark.parametrize(("name", "stands"), [(b"R_01_0000.avi", False), (b"Fp_01_0000.avi", True)])
def test_two_letters_in_the_time_of_a_clip_are_no_name(name: bytes, stands: bool, tmp_path: Path) -> None:
    start = datetime.fromtimestamp(1_700_000_000, UTC)
    for microseconds in range(1_000_000):
        at = start + timedelta(microseconds=microseconds)
        if b"Fp" in filetime(at).to_bytes(8, "little"):
            break
    path = tmp_path / "R.vtc"
    write_vtc(path, [ClipRecord(name=b"R.avi", start=start, end=at), ClipRecord(name=name, start=start, end=at)])
    planted = Planted(patient="e", path="R.vtc", place="clip name", term="Fp", encoding="utf-8")
    assert b"Fp" in path.read_bytes()
    assert places_table.stands(planted, path, tmp_path) is stands
