"""Order by true start, pairs, and numbers that never change (DESIGN 5.1)."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import ConfigError, ExitStatus
from ecogsafe.deid.pairing import apart_s, readings
from ecogsafe.deid.planned import Confidence, ExistingSegment, Part
from ecogsafe.formats.found import (
    LooseRecording,
    StudyFolder,
)
from ecogsafe.formats.kinds import Kind
from tests.deid.entries import (
    ZONE,
    a_file,
    a_recording,
    a_study,
    a_text,
    as_existing,
    existing_segment,
    make_plan,
    to,
    topics,
)
from tests.deid.small_export import PERSON, moment


def test_numbers_follow_true_start_and_never_the_names() -> None:
    plan = make_plan(
        a_study("Quxley_1", 20),
        a_study("Quxley_2", 2),
        a_recording("Quxley_1.edf", 2, off=1),
        a_recording("Quxley_9.edf", 20),
    )
    assert to(plan, "Quxley_2/Quxley_2.erd") == "video/abcd1234/abcd1234_1/abcd1234_1.erd"
    assert to(plan, "Quxley_1.edf") == "edf/abcd1234_edf/abcd1234_1.edf"
    assert to(plan, "Quxley_1/Quxley_1_0001.avi") == "video/abcd1234/abcd1234_2/abcd1234_2_0001.avi"
    assert to(plan, "Quxley_9.edf") == "edf/abcd1234_edf/abcd1234_2.edf"
    assert [s.number for s in plan.segments] == [1, 2]
    assert not plan.conflicts and "gap" in topics(plan)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.permutations(range(5)), st.permutations(range(5)))
def test_any_order_of_names_gives_the_same_segments(names: list[int], others: list[int]) -> None:
    sources: list[StudyFolder | LooseRecording] = []
    for i in range(5):
        sources += [a_study(f"Quxley_{names[i]}", 3 * i), a_recording(f"Quxley_{others[i]}.edf", 3 * i, off=1.5)]
    plan = make_plan(*sources)
    for i in range(5):
        assert to(plan, f"Quxley_{names[i]}/Quxley_{names[i]}.eeg").endswith(f"abcd1234_{i + 1}.eeg")
        assert to(plan, f"Quxley_{others[i]}.edf").endswith(f"abcd1234_{i + 1}.edf")
    assert len({m.place for m in plan.moves}) == len(plan.moves) == 25


def test_pairs_show_evidence_and_confidence() -> None:
    plan = make_plan(
        a_study("a", 0),
        a_recording("a.edf", 0, off=2),
        a_study("b", 10),
        a_recording("x.edf", 10, off=40),
        a_study("c", 20),
        a_recording("y.edf", 20, off=400),
    )
    pairs = [s.pairs[0] for s in plan.segments]
    assert [p.confidence for p in pairs] == [Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW]
    assert pairs[0].same_stem and "2.0 s apart" in pairs[0].evidence
    assert "weak-pair" in topics(plan)


def test_beyond_ten_minutes_nothing_pairs() -> None:
    plan = make_plan(a_study("a", 0), a_recording("a.edf", 0, off=601), a_recording("b.edf", 5))
    assert [sorted(s.parts) for s in plan.segments] == [["study"], ["recording"], ["recording"]]
    assert "missing-kind" in topics(plan)


def test_nearest_wins_and_the_second_best_stays_alone() -> None:
    plan = make_plan(a_study("a", 0), a_recording("near.edf", 0, off=3), a_recording("far.edf", 0, off=200))
    assert to(plan, "near.edf").endswith("_1.edf") and to(plan, "far.edf").endswith("_2.edf")
    assert {"overlap"} <= topics(plan)


def test_a_tie_is_told_and_equal_names_decide_it() -> None:
    plan = make_plan(a_study("a", 0), a_recording("x.edf", 0, off=5, size=11), a_recording("y.edf", 0, off=-5, size=12))
    assert "tie" in topics(plan)
    plan = make_plan(a_study("a", 0), a_recording("x.edf", 0, off=5, size=11), a_recording("a.edf", 0, off=-5, size=12))
    assert to(plan, "a.edf").endswith(f"_{next(s.number for s in plan.segments if Part.STUDY in s.parts)}.edf")
    assert not any(p.tied for s in plan.segments for p in s.pairs)


def test_two_starts_at_once_are_a_tie() -> None:
    plan = make_plan(a_recording("a.edf", 0, size=5), a_recording("b.edf", 0, size=6), zone=None)
    assert "tie" in topics(plan) and len(plan.segments) == 2 and not plan.conflicts


def test_pairing_needs_the_time_zone_and_edf_alone_does_not() -> None:
    with pytest.raises(ConfigError) as caught:
        make_plan(a_study("a", 0), a_recording("a.edf", 0), zone=None)
    assert caught.value.exit_status == ExitStatus.USAGE and "time_zone" in caught.value.next
    assert len(make_plan(a_recording("a.edf", 5), a_recording("b.edf", 1), zone=None).segments) == 2
    assert len(make_plan(a_study("a", 5), a_study("b", 1), zone=None).segments) == 2


def test_the_repeated_hour_pairs_by_either_reading() -> None:
    # 2024-11-03 01:30 happens twice in this zone
    wall = datetime(2024, 11, 3, 1, 30)
    early, late = readings(wall, ZONE)
    assert late - early == timedelta(hours=1)
    assert apart_s(wall, late, ZONE) == apart_s(wall, early, ZONE) == 0.0
    assert len(readings(datetime(2024, 3, 10, 2, 30), ZONE)) == 1


def test_a_lone_recording_in_the_repeated_hour_is_told() -> None:
    wall = datetime(2024, 11, 3, 1, 30)
    lone = LooseRecording(file=a_file("a.edf"), stem="a", start_local=wall, duration_s=60.0, person=PERSON)
    assert "clock-change" in topics(make_plan(lone))


def test_a_wrong_zone_is_suspected() -> None:
    plan = make_plan(a_study("a", 0), a_recording("a.edf", 0, off=3 * 3600 + 1))
    assert "zone-suspect" in topics(plan)


def test_text_outputs_join_their_segment() -> None:
    plan = make_plan(
        a_study("a", 0),
        a_study("b", 30),
        a_text("first.txt", Kind.VTC_TEXT, 30.001),
        a_text("second.txt", Kind.SNC_TEXT, 0),
        a_text("nowhere.txt", Kind.SNC_TEXT, 12),
    )
    assert to(plan, "first.txt") == "text/abcd1234_vtc/abcd1234_2.txt"
    assert to(plan, "second.txt") == "text/abcd1234_snc/abcd1234_1.txt"
    (left,) = plan.left
    assert left.status == ExitStatus.NOT_UNDERSTOOD and "fits no segment" in left.reason


def test_a_new_file_joins_the_segment_that_lacks_it() -> None:
    plan = make_plan(
        a_recording("late.edf", 10, off=2),
        existing=[existing_segment(1, 0, Part.STUDY), existing_segment(2, 10, Part.STUDY)],
    )
    assert to(plan, "late.edf") == "edf/abcd1234_edf/abcd1234_2.edf"
    assert not any(s.is_new for s in plan.segments)


def test_an_old_segment_next_by_beats_a_new_study_further_off() -> None:
    plan = make_plan(
        a_recording("late.edf", 10, off=1),
        a_study("new", 10.1),
        existing=[existing_segment(1, 10, Part.STUDY), existing_segment(2, 30, Part.STUDY)],
    )
    assert to(plan, "late.edf").endswith("abcd1234_1.edf") and to(plan, "new/new.eeg").endswith("_3.eeg")


def test_the_same_study_again_is_already_there() -> None:
    sources = [a_study("a", 0), a_recording("a.edf", 0, off=1), a_study("b", 10), a_recording("b.edf", 10, off=1)]
    again = make_plan(*sources, existing=as_existing(make_plan(*sources)))
    assert not again.moves and {e.reason for e in again.left} == {"already there"}
    assert all(e.by_rule and e.status == ExitStatus.DONE for e in again.left)


def test_the_same_study_with_other_sizes_is_left_and_counts() -> None:
    first = make_plan(a_study("a", 0), a_study("b", 10))
    grown = a_study("a", 0, "a.eeg", "a.erd", "a_0000.avi", "a_0001.avi", "a_0002.avi")
    again = make_plan(grown, existing=as_existing(first))
    assert not again.moves and {e.status for e in again.left} == {ExitStatus.PARTIAL}


def test_files_that_stayed_in_a_moved_study_join_its_number() -> None:
    first = make_plan(a_study("a", 0), a_study("b", 10))
    rest = a_study("b", None, "b_0001.avi", "b_0000.avi")
    taken = ["video/abcd1234/abcd1234_2/abcd1234_2_0000.avi"]
    plan = make_plan(rest, existing=as_existing(first, folders=["b"])[1:], taken=taken)
    assert [m.place for m in plan.moves] == ["video/abcd1234/abcd1234_2/abcd1234_2_0001.avi"]
    assert [e.reason for e in plan.left] == ["already there"] and not plan.conflicts


def test_a_number_planned_but_never_published_goes_to_its_own_study_only() -> None:
    first = make_plan(a_study("a", 0), a_study("b", 10), a_study("c", 20))
    plan = make_plan(a_study("c", 20), a_study("d", 5), a_study("b", 10), existing=as_existing(first, published=False))
    assert to(plan, "c/c.eeg").endswith("_3.eeg") and to(plan, "b/b.eeg").endswith("_2.eeg")
    assert to(plan, "d/d.eeg").endswith("_4.eeg")


def test_a_used_number_is_never_used_again() -> None:
    plan = make_plan(a_recording("a.edf", 0), a_recording("b.edf", 5), existing=[ExistingSegment(number=7)], zone=None)
    assert sorted(m.segment for m in plan.moves) == [8, 9]


def test_holes_and_empty_clips_are_told() -> None:
    study = a_study("a", 0, "a_0000.avi", "a_0003.avi", "a.erd")
    empty = StudyFolder(
        path=study.path,
        stem="a",
        files=(*study.files, a_file("a/a_0004.avi", size=0)),
        start_utc=moment(0),
        person=PERSON,
    )
    notes = {n.topic: n.text for n in make_plan(empty).notes}
    assert "0001 0002" in notes["hole"] and "1 clip" in notes["zero-length"]


def test_a_study_without_time_joins_by_its_guid_or_stays() -> None:
    guid = "Quxley~ Zed_11112222-3333-4444-5555-666677778888"
    plan = make_plan(a_study(guid, None), a_recording(f"{guid}.edf", 4), a_study("lost", None))
    assert to(plan, f"{guid}/{guid}.eeg").endswith("abcd1234_1.eeg")
    assert plan.segments[0].pairs[0].confidence is Confidence.MEDIUM
    assert {e.reason for e in plan.left} == {"its start cannot be read"}
