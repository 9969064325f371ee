"""Whose files, which stay, which collide: what a plan says (DESIGN 5.1); no disk is changed."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest

from ecogsafe.core.errors import ExitStatus, MixedPatientsError
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.planned import as_record
from ecogsafe.deid.whose import belongs_to
from ecogsafe.formats.clock import StudyClock
from ecogsafe.formats.found import (
    OtherEntry,
    PersonHints,
    StudyFolder,
)
from ecogsafe.formats.natus_times import ClipTimes, SyncPoint
from tests.deid.entries import (
    OTHER,
    ROOT,
    a_file,
    a_recording,
    a_study,
    make_plan,
    to,
    topics,
)
from tests.deid.small_export import PERSON, moment


def test_two_sources_of_one_recording_are_a_conflict() -> None:
    plan = make_plan(a_recording("a.edf", 0), a_recording("copy of a.edf", 0), a_recording("b.edf", 9), zone=None)
    (conflict,) = plan.conflicts
    assert len(conflict.files) == 2 and conflict.place == "edf/abcd1234_edf/abcd1234_1.edf"


def test_names_that_fold_together_are_a_conflict() -> None:
    plan = make_plan(a_study("a", 0, "a_0000.avi", "a_0000.AVI", "a.eeg", "a_0001.avi"))
    (conflict,) = plan.conflicts
    assert conflict.place.endswith("abcd1234_1_0000.avi")


def test_a_taken_name_is_a_conflict_whatever_its_case() -> None:
    plan = make_plan(a_recording("a.edf", 0), taken=["edf/abcd1234_edf/ABCD1234_1.EDF"], zone=None)
    assert [c.reason for c in plan.conflicts] == ["the name is taken"]


def test_a_hard_link_is_a_conflict_unless_copied() -> None:
    linked = a_recording("a.edf", 0, links=2)
    assert len(make_plan(linked, zone=None).conflicts) == 1
    assert not make_plan(linked, zone=None, copy=True).conflicts


def test_what_cannot_be_understood_or_read_is_listed_with_its_status() -> None:
    broken = a_study("a", 0, problems={ROOT / "a/a_0001.avi": "not an AVI"})
    unread = StudyFolder(
        path=ROOT / "b",
        stem="b",
        files=(a_file("b/b.eeg", readable=False), a_file("b/b.epo"), a_file("b/b.erd")),
        start_utc=moment(9),
        person=PERSON,
    )
    other = OtherEntry(file=a_file("link"), reason="symbolic link")
    odd = OtherEntry(file=a_file("odd"), reason="not understood", by_rule=False)
    plan = make_plan(broken, unread, others=[other, odd])
    by_path = {e.file.path.name: e for e in plan.left}
    assert by_path["a_0001.avi"].status == ExitStatus.NOT_UNDERSTOOD
    assert by_path["b.eeg"].status == ExitStatus.PARTIAL
    assert by_path["b.epo"].by_rule and by_path["link"].by_rule
    assert by_path["odd"].status == ExitStatus.NOT_UNDERSTOOD
    assert len(plan.moves) == 4


def test_other_patients_are_not_touched() -> None:
    theirs = a_study("Brampton_1", 3, person=OTHER)
    report = OtherEntry(file=a_file("Brampton_1/letter.doc"), reason="report")
    plan = make_plan(a_study("a", 0), theirs, others=[report])
    assert len(plan.not_touched) == 5 and not plan.left
    assert {m.source.path.parent.name for m in plan.moves} == {"a"}


def test_one_name_for_two_people_stops_the_plan() -> None:
    twin = PersonHints(last_name="Quxley", first_name="Ann", mrn="0200")
    sources = [a_study("a", 0), a_study("b", 9, person=twin)]
    with pytest.raises(MixedPatientsError):
        make_plan(*sources, person=PersonHints(last_name="Quxley"))
    assert len(make_plan(*sources, person=twin).not_touched) == 4


def test_an_unnamed_recording_belongs_only_where_nobody_else_is_named() -> None:
    nobody = PersonHints()
    plan = make_plan(a_study("a", 0), a_recording("17.edf", 5, person=nobody), a_recording("18.edf", 9, person=nobody))
    assert len(plan.moves) == 6 and "unnamed" in topics(plan)
    plan = make_plan(a_study("a", 0), a_study("b", 3, person=OTHER), a_recording("17.edf", 5, person=nobody))
    assert [e.status for e in plan.left] == [ExitStatus.NOT_UNDERSTOOD]


@pytest.mark.parametrize(
    ("hints", "stem", "expected"),
    [
        (PersonHints(last_name="QUXLEY", first_name="zed"), "x", True),
        (PersonHints(last_name="Zed", first_name="Quxley"), "x", True),
        (PersonHints(last_name="Quxley Zed"), "x", True),
        (PersonHints(last_name="Quxley", first_name="Ann"), "x", False),
        (PersonHints(mrn="99"), "x", True),
        (PersonHints(mrn="98"), "Quxley_1", False),
        (PersonHints(), "Quxley_3", True),
        (PersonHints(), "Quxley~ Ann_x", False),
        (PersonHints(), "Brampton~ Ida_x", False),
        (PersonHints(birth_date="1970-02-02"), "17", None),
        (PersonHints(), "17", None),
    ],
)
def test_whose_an_entry_is(hints: PersonHints, stem: str, expected: bool | None) -> None:
    person = Identifiers(last_name="Quxley", first_name="Zed", mrn="0099", birth_date="1970-02-02")
    assert belongs_to(person)(hints, stem) is expected


def test_a_plan_is_json_and_shows_no_name() -> None:
    plan = make_plan(
        a_study("Quxley_1", 0),
        a_recording("Quxley_2.edf", 5),
        others=[OtherEntry(file=a_file("Quxley.doc"), reason="report")],
    )
    shown = json.dumps(as_record(plan))
    assert "Quxley" not in shown and "abcd1234_2.edf" in shown
    assert "Quxley_2.edf" in json.dumps(as_record(plan, reveal=True))


def test_a_name_before_marriage_is_no_second_person_where_the_record_number_says_so() -> None:
    before = PersonHints(last_name="Oldham", first_name="Zed", mrn="99")
    plan = make_plan(a_study("a", 0), a_study("b", 9, person=before))
    assert len(plan.moves) == 8 and not plan.not_touched


def test_two_record_numbers_under_one_name_stop_the_plan() -> None:
    namesake = PersonHints(last_name="Quxley", first_name="Zed", mrn="0555")
    with pytest.raises(MixedPatientsError):
        make_plan(
            a_study("a", 0), a_study("b", 9, person=namesake), person=PersonHints(last_name="Quxley", first_name="Zed")
        )


def test_a_folder_speaks_for_the_nameless_files_in_it() -> None:
    nobody = PersonHints()
    plan = make_plan(
        a_study("a", 0),
        a_study("b", 3, person=OTHER),
        a_recording("Quxley/17.edf", 5, person=nobody),
        a_recording("elsewhere/18.edf", 8, person=nobody),
    )
    assert to(plan, "Quxley/17.edf").endswith("_2.edf")
    assert [e.file.path.name for e in plan.left] == ["18.edf"]


def _clocked(at_s: list[float], *, clips_at_h: tuple[float, ...] = (0.1, 0.3)) -> StudyClock:
    """Return the clock of a study: a row every 11 minutes at 500 Hz, each ``at_s`` seconds off."""
    start = moment(0)
    points = [SyncPoint(n * 330_000, start + timedelta(seconds=n * 660 + off)) for n, off in enumerate(at_s)]
    clips = [ClipTimes("x", start + timedelta(hours=h), start + timedelta(hours=h, minutes=2)) for h in clips_at_h]
    clock = StudyClock.of(points, clips)
    assert clock is not None
    return clock


@pytest.mark.parametrize(
    ("clock", "told"),
    [
        (_clocked([0.0, 0.1, -0.1, 0.0, 0.1]), []),
        (_clocked([0.0, 0.8, 0.0, 0.0, -0.8]), ["largest residual 0.80 s over 43 min 59 s (5 rows, 500."]),
        (_clocked([0.0] * 4, clips_at_h=(7.1, 7.3)), ["the video clips are 7 h ahead of the EEG clock"]),
        (_clocked([0.0] * 4, clips_at_h=(-6.9, -6.7)), ["the video clips are 7 h behind the EEG clock"]),
        (_clocked([0.0] * 4, clips_at_h=(400.0, 900.0)), ["by no whole number of hours"]),
        (_clocked([0.0, 0.0, 3600.0, 3600.0]), ["was set by +1 h while it recorded"]),
        (_clocked([0.0, 0.0, 90.0, 0.0, 0.0]), ["1 of 5 clock rows fits none of the others"]),
        (_clocked([0.0] * 4, clips_at_h=()), []),
    ],
)
def test_what_the_clock_of_a_study_says_is_told(clock: StudyClock, told: list[str]) -> None:
    plan = make_plan(a_study("a", 0, clock=clock), a_study("b", 9))
    notes = [n.text for n in plan.notes if n.topic == "clock"]
    assert len(notes) == len(told), notes
    assert all(text in note and note.startswith("segment 1: ") for text, note in zip(told, notes, strict=True))
    first, second = as_record(plan)["segments"]
    assert first["clock"]["rows"] == clock.report.rows and first["clock"]["clips"] == clock.clips
    assert first["clock"]["worst_residual_s"] == pytest.approx(clock.report.worst_residual_s, abs=1e-6)
    assert second["clock"] is None


def test_rows_that_make_no_clock_are_no_clock() -> None:
    assert StudyClock.of([], []) is None
    assert StudyClock.of([SyncPoint(0, moment(0))], []) is None
