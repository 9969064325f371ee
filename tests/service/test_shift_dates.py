"""``--shift-dates`` end to end: every date moves by one number, which only the linking key knows, and comes back."""

from __future__ import annotations

import os
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from ecogsafe.deid import mover
from ecogsafe.deid.disk import Disk
from ecogsafe.deid.planned import Part
from ecogsafe.formats import edf
from ecogsafe.formats.date_shift import EDF_FIRST, EDF_LAST
from ecogsafe.formats.edf_annotations import text_spans
from ecogsafe.formats.edf_regions import annotation_blocks
from ecogsafe.formats.kinds import HEADER_KINDS, RECORDING_KINDS, Kind
from ecogsafe.service import deid_journals
from ecogsafe.service.key_backup import PREFIX
from ecogsafe.synthetic.export import ExportScale, write_export
from tests.cli.conftest import SEED
from tests.cli.lab import Lab, Result
from tests.cli.trees import tree_state
from tests.service.looking import cleared, journals, keys_of, linking_key, outbox, paths_of, residue, segments
from tests.service.shifting import (
    DAY_NS,
    Moved,
    clean_already,
    days_of,
    entries_of,
    moved,
    plant_date,
    times_in,
    true_days,
    written,
)

ALL_PARTS = tuple(sorted(p.value for p in Part))
TIMED = RECORDING_KINDS | HEADER_KINDS | {Kind.VTC, Kind.VT2, Kind.VTC_TEXT, Kind.SNC_TEXT}


def _again(lab: Lab, *more: str | Path, status: int = 0, key: str = "a", export: Path | None = None) -> Result:
    words: list[str | Path] = [
        "deid",
        "apply",
        export or lab.export,
        "--to",
        lab.out,
        "--identifiers",
        lab.identifiers(key),
    ]
    return lab.here("--json", *words, *more, status=status)


def _copied(lab: Lab) -> Path:
    """Return a copy of the export as it is now."""
    before = lab.folder / "before"
    shutil.copytree(lab.export, before)
    return before


def test_every_date_and_file_time_moves_by_one_number(handed_over: Lab) -> None:
    lab = handed_over
    before = _copied(lab)
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    days = days_of(lab, code)
    files = moved(lab, code, before)
    assert len(files) == 50 and {f.entry.kind for f in files} >= TIMED
    for file in files:
        old, new = times_in(file.entry.kind, file.old), times_in(file.entry.kind, file.new)
        assert [t + timedelta(days=days) for t in old] == new, file.entry.place
        assert len(file.old) == len(file.new)
        assert file.new_mtime_ns == file.entry.mtime_ns + days * DAY_NS, file.entry.place
    assert residue(lab, "a") == []
    assert {f"{tree}/{path}" for tree, path in cleared(lab, code)} == outbox(lab)


def test_an_edf_keeps_its_time_of_day_its_onsets_and_its_two_dates_agree(handed_over: Lab) -> None:
    lab = handed_over
    before = _copied(lab)
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    recordings = [f for f in moved(lab, code, before) if f.entry.kind in RECORDING_KINDS]
    assert len(recordings) == 3
    for file in recordings:
        with (lab.out / file.entry.place).open("rb") as opened:
            header = edf.read_header(opened)
        assert edf.has_cleaned_form(header, code)
        assert EDF_FIRST <= header.start.date() <= EDF_LAST
        assert file.old[176:184] == file.new[176:184]
        _check_only_text_changed(file, header)


def _check_only_text_changed(file: Moved, header: edf.EdfHeader) -> None:
    text = bytearray(len(file.old))
    text[header.records_stop :] = b"\1" * (len(text) - header.records_stop)
    for block in annotation_blocks(header):
        for start, stop in text_spans(file.old[block.offset : block.offset + block.length]):
            text[block.offset + start : block.offset + stop] = b"\1" * (stop - start)
    changed = [i for i in range(header.header_bytes, len(file.old)) if file.old[i] != file.new[i]]
    assert changed and all(text[i] for i in changed)


@pytest.mark.parametrize("annotations", ["redact", "wipe"])
def test_no_true_date_is_left_outside_linking_key_and_journal(handed_over: Lab, annotations: str) -> None:
    lab = handed_over
    planted = plant_date(lab, "a", 2)
    lab.here("--json", "deid", "plan", lab.export, "--identifiers", lab.identifiers("a"), "--shift-dates")
    lab.here("deid", "plan", lab.export, "--identifiers", lab.identifiers("a"), "--shift-dates")
    lab.apply("a", "--shift-dates", "--annotations", annotations)
    code = lab.codes["a"]
    lab.here("subjects", "show", code)
    lab.here("--json", "subjects", "show", code)
    lab.here("--json", "subjects", "list")
    lab.here("subjects", "statement", code)
    lab.here("deid", "scan", lab.out, "--subject", code)
    dates = written(true_days(lab, "a"), days_of(lab, code))
    assert dates.search(planted.encode())
    for place in outbox(lab):
        data = (lab.out / place).read_bytes()
        assert dates.search(data) is None, place
        assert dates.search(data.replace(b"\0", b"")) is None, place
    for path in lab.home.rglob("*"):
        if path.is_file() and path.name != "config.toml":
            assert dates.search(path.read_bytes()) is None, path.name
    found = {m[0] for words in lab.told for m in dates.finditer(words.encode())}
    assert found == set()
    assert str(abs(days_of(lab, code))) not in re.sub(r"\d+[.:]\d+", "", lab.here("subjects", "show", code).said)


def test_a_date_that_people_typed_goes_even_where_annotations_are_kept(handed_over: Lab) -> None:
    lab = handed_over
    planted = plant_date(lab, "a", 2)
    lab.apply("a", "--shift-dates", "--annotations", "keep", status=20)
    code = lab.codes["a"]
    data = (lab.out / f"edf/{code}_edf/{code}_2.edf").read_bytes()
    assert planted.encode() not in data and b"on xxxxxxxxxx EM" in data


def test_a_search_finds_a_true_date_that_came_in_later(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    (truth,) = (s for s in lab.ledger.segments if s.patient == "a" and s.order == 2)  # type: ignore[union-attr]
    note = lab.folder / "note.txt"
    note.write_text(f"seen on {truth.start_local:%d %B %Y}, again {truth.start_local:%Y-%m-%d}")
    done = lab.here("--json", "deid", "scan", note, "--subject", code, status=20)
    assert done.summary["counts"]["findings"] == 2
    assert f"{truth.start_local:%Y}" not in done.out
    # of a subject whose dates are true a date of service is no finding
    lab.apply("b")
    (other,) = (s for s in lab.ledger.segments if s.patient == "b" and s.order == 2)  # type: ignore[union-attr]
    note.write_text(f"seen on {other.start_local:%d %B %Y}")
    lab.here("deid", "scan", note, "--subject", lab.codes["b"])


def test_undo_gives_bytes_and_times_back_and_the_shift_stays(handed_over: Lab) -> None:
    lab = handed_over
    before = tree_state(lab.export)
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    days = days_of(lab, code)
    lab.here("deid", "undo", code)
    assert tree_state(lab.export) == before and outbox(lab) == set()
    done = _again(lab)
    assert days_of(lab, code) == days and "shifted" in done.out
    assert {e.target_mtime_ns - e.mtime_ns for e in entries_of(lab, code)} == {days * DAY_NS}


def test_copies_are_shifted_and_the_export_stays(handed_over: Lab) -> None:
    lab = handed_over
    before = tree_state(lab.export)
    lab.apply("a", "--shift-dates", "--copy")
    code = lab.codes["a"]
    assert tree_state(lab.export) == before
    for entry in entries_of(lab, code):
        assert (lab.out / entry.place).stat().st_mtime_ns == entry.mtime_ns + days_of(lab, code) * DAY_NS
    lab.here("deid", "undo", code)
    assert tree_state(lab.export) == before and outbox(lab) == set()


def test_reidentify_gives_the_true_dates(handed_over: Lab) -> None:
    lab = handed_over
    before = _copied(lab)
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    lab.here("deid", "reidentify", code, "--to", lab.folder / "true", "--yes")
    for entry in entries_of(lab, code):
        (path,) = (lab.folder / "true").rglob(entry.source.relative_to(lab.export).as_posix())
        original = before / entry.source.relative_to(lab.export)
        assert path.read_bytes() == original.read_bytes()
        assert path.stat().st_mtime_ns == original.stat().st_mtime_ns


def test_the_number_has_its_second_copy_before_the_first_journal(
    handed_over: Lab, monkeypatch: pytest.MonkeyPatch
) -> None:
    lab = handed_over
    place = lab.folder / "second place"
    place.mkdir()
    lab.configure(f'[key_backup]\nurls = ["{place.as_uri()}"]')
    copies: list[int] = []
    write = deid_journals.RecordedJournals.write

    def looked(self: deid_journals.RecordedJournals, journal: object) -> None:
        copies.append(len(list(place.rglob(f"{PREFIX}linking-key-*"))))
        (person,) = linking_key(lab).persons
        assert person.date_shift_days
        write(self, journal)  # type: ignore[arg-type]

    monkeypatch.setattr(deid_journals.RecordedJournals, "write", looked)
    lab.apply("a", "--shift-dates")
    assert copies == [1]


def test_later_arrivals_join_their_segment_without_the_flag(handed_over: Lab) -> None:
    lab = handed_over
    aside = lab.folder / "later"
    aside.mkdir()
    recording, _ = paths_of(lab, "a", 2)
    _, study = paths_of(lab, "a", 3)
    for path in (recording, study):
        shutil.move(path, aside / path.name)
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    days = days_of(lab, code)
    shown = lab.here("--json", "deid", "plan", aside, "--identifiers", lab.identifiers("a"))
    done = _again(lab, export=aside)
    assert days_of(lab, code) == days and "shifted" in done.out
    assert [row.kinds for row in segments(lab, code)] == [ALL_PARTS] * 3
    times = [e["details"]["start"] for e in done.of("item", action="segment")]
    assert times == [e["details"]["start"] for e in shown.of("item", action="segment")]
    assert {e.target_mtime_ns - e.mtime_ns for e in entries_of(lab, code)} == {days * DAY_NS}
    # all that the catalogue knows of them is shifted
    for row, truth in zip(segments(lab, code), lab.ledger.segments_of("a"), strict=True):  # type: ignore[union-attr]
        assert row.start_local is not None and row.start_utc is not None
        assert row.start_local[:16] == (truth.start_local + timedelta(days=days)).isoformat()[:16]
        assert row.start_utc[:16] == (truth.start_utc + timedelta(days=days)).isoformat()[:16]


def test_a_second_export_of_the_same_is_already_there(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a", "--shift-dates")
    second = lab.folder / "second"
    write_export(second, form="mixed", scale=ExportScale.tiny(), seed=SEED)
    done = _again(lab, "--shift-dates", export=second)
    assert len(done.of("item", status="left_behind", message="already there")) == 50
    assert len(segments(lab, lab.codes["a"])) == 3


def test_the_flag_is_refused_where_true_dates_are_out(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "a", 3)
    shutil.move(study, lab.folder / "later")
    lab.apply("a")
    code = lab.codes["a"]
    shutil.move(lab.folder / "later", study)
    before, standing = tree_state(lab.export), outbox(lab)
    for words in (("deid", "apply", lab.export, "--to", lab.out), ("deid", "plan", lab.export, "--to", lab.out)):
        done = lab.here("--json", *words, "--identifiers", lab.identifiers("a"), "--shift-dates", status=2)
        assert "true dates already" in done.error["message"] and "undo" in done.error["next"]
    assert (tree_state(lab.export), outbox(lab)) == (before, standing)
    assert linking_key(lab).person(code).date_shift_days is None  # type: ignore[union-attr]
    # with all of it taken back, and nothing sent, it may begin
    lab.here("deid", "undo", code)
    lab.apply("a", "--shift-dates")
    assert lab.codes["a"] == code and days_of(lab, code)


def test_the_flag_is_refused_where_nothing_is_left_to_do(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a")
    done = _again(lab, "--shift-dates", status=2)
    assert "true dates already" in done.error["message"]
    assert linking_key(lab).person(lab.codes["a"]).date_shift_days is None  # type: ignore[union-attr]


def test_native_content_cannot_be_kept_of_a_shifted_subject(handed_over: Lab) -> None:
    lab = handed_over
    done = _again(lab, "--shift-dates", "--keep-native-content", status=2)
    assert "--keep-native-content" in done.error["message"] and linking_key(lab).persons == ()
    _, study = paths_of(lab, "a", 3)
    shutil.move(study, lab.folder / "later")
    lab.apply("a", "--shift-dates")
    shutil.move(lab.folder / "later", study)
    _again(lab, "--keep-native-content", status=2)


def test_a_linking_key_that_forgot_the_shift_stops_the_run(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "a", 3)
    shutil.move(study, lab.folder / "later")
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    forgetful = lab.copy_to(lab.folder / "copy")
    keys_of(forgetful).file.change(
        lambda key: replace(key, persons=tuple(replace(p, date_shift_days=None) for p in key.persons))
    )
    words: list[str | Path] = ["deid", "plan", lab.folder / "later", "--subject", code]
    done = forgetful.here("--json", *words, status=None)
    assert done.status != 0 and "not the newest" in done.error["message"]


def test_without_the_password_the_plan_shows_no_true_date_of_a_shifted_subject(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "a", 3)
    shutil.move(study, lab.folder / "later")
    lab.apply("a", "--shift-dates")
    code = lab.codes["a"]
    words: list[str | Path] = [
        "deid",
        "plan",
        lab.folder / "later",
        "--identifiers",
        lab.identifiers("a"),
        "--subject",
        code,
    ]
    done = lab.here("--json", *words, env={"ECOGSAFE_PASSWORD_FILE": ""})
    assert "of an example" in done.out
    assert written(true_days(lab, "a"), days_of(lab, code)).search(done.out.encode()) is None


class Killed(BaseException):
    """The process is gone."""


@pytest.mark.parametrize("moment", ["before the time", "after the time", "after the move"])
def test_what_a_kill_cut_goes_on_and_comes_back_the_same(
    handed_over: Lab, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    lab = handed_over
    # a file in which nothing is to be patched has nothing but its time to tell how far apply came
    _, study = paths_of(lab, "a", 1)
    for clip in study.glob("*.avi"):
        clean_already(clip)
    before = tree_state(lab.export)
    lab.identifiers("a")
    for fatal in (2, 5, 8, 11) if moment == "after the move" else range(2, 16, 2):
        with monkeypatch.context() as patched:
            _kill(patched, moment, fatal)
            with pytest.raises(Killed):
                _again(lab, "--shift-dates")
    done = _again(lab)
    (code,) = {e["subject"] for e in done.of("item", action="apply", status="done")}
    days = days_of(lab, code)
    assert all(row.state == "closed" for row in journals(lab, code)) and residue(lab, "a") == []
    assert len(outbox(lab)) == 50
    for entry in entries_of(lab, code):
        assert (lab.out / entry.place).stat().st_mtime_ns == entry.mtime_ns + days * DAY_NS, entry.place
    with monkeypatch.context() as patched:
        _kill(patched, moment, 4)
        with pytest.raises(Killed):
            lab.here("deid", "undo", code)
    lab.here("deid", "undo", code)
    assert tree_state(lab.export) == before and outbox(lab) == set()


def _kill(patched: pytest.MonkeyPatch, moment: str, fatal: int) -> None:
    """End the process at the ``fatal``-th file, before or after its time is set, or after it is moved."""
    seen = [0]

    def due() -> None:
        seen[0] += 1
        if seen[0] == fatal:
            raise Killed

    if moment == "after the move":
        move = mover.move

        def moved_then_killed(*args: object, **more: object) -> None:
            move(*args, **more)  # type: ignore[arg-type]
            due()

        patched.setattr(mover, "move", moved_then_killed)
        return
    set_times = Disk.set_times

    def timed(self: Disk, *args: object, **more: object) -> None:
        if moment == "before the time":
            due()
        set_times(self, *args, **more)  # type: ignore[arg-type]
        if moment == "after the time":
            due()

    patched.setattr(Disk, "set_times", timed)


def test_what_cannot_be_shifted_stays_behind_and_is_listed(handed_over: Lab) -> None:
    lab = handed_over
    _, study = paths_of(lab, "a", 1)
    clip = next(study.glob("*_0001.avi"))
    film = clip.with_suffix(".mp4")
    film.write_bytes(b"\0\0\0\x18ftypmp42" + bytes(200))
    os.utime(film, ns=(0, clip.stat().st_mtime_ns))
    clip.unlink()
    lab.apply("a", "--shift-dates", status=21)
    assert film.exists() and not any(place.endswith(".mp4") for place in outbox(lab))
    assert any("dates inside it cannot be shifted" in words for words in lab.told)


def test_the_statement_and_the_page_say_so_without_the_number(handed_over: Lab) -> None:
    lab = handed_over
    lab.apply("a", "--shift-dates")
    lab.apply("b")
    pages = {k: " ".join(lab.here("subjects", "statement", lab.codes[k]).out.split()) for k in ("a", "b")}
    words = "dates shifted by a whole number of days (the number is in the linking key)"
    assert words in pages["a"].lower() and "dates of service kept" not in pages["a"].lower()
    assert words not in pages["b"].lower() and "dates of service kept" in pages["b"].lower()
    shown = {k: lab.here("subjects", "show", lab.codes[k]).out for k in ("a", "b")}
    assert words in shown["a"] and "dates of service kept" in shown["b"]


def test_a_file_that_cannot_be_moved_gets_its_own_time_back(handed_over: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab = handed_over
    _, study = paths_of(lab, "a", 1)
    for clip in study.glob("*.avi"):
        clean_already(clip)
    before = tree_state(lab.export)
    move = mover.move

    def refused(disk: Disk, source: Path, target: Path, *, inode: int) -> None:
        if target.name.endswith(("_0001.avi", "_1.edf")):
            raise PermissionError(13, "")
        move(disk, source, target, inode=inode)

    monkeypatch.setattr(mover, "move", refused)
    lab.apply("a", "--shift-dates", status=3)
    left = tree_state(lab.export)
    names = {name for name in left if name.endswith(("_0001.avi", ".edf"))}
    assert len(names) >= 4 and all(left[name] == before[name] for name in names)
