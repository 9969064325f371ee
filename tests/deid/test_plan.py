"""Order, pairing, numbers, conflicts and notes of a plan (DESIGN 5.1); no disk is changed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import ConfigError, ExitStatus, MixedPatientsError
from ecogsafe.deid.identifiers import Identifiers
from ecogsafe.deid.pairing import apart_s, readings
from ecogsafe.deid.plan import plan_deid
from ecogsafe.deid.planned import Confidence, DeidPlan, ExistingSegment, Part, PartRecord, as_record
from ecogsafe.deid.whose import belongs_to
from ecogsafe.formats.found import (
    Discovery,
    FoundFile,
    LooseRecording,
    OtherEntry,
    PersonHints,
    StudyFolder,
    TextOutput,
)
from ecogsafe.formats.kinds import Kind, kind_of_name
from tests.deid.small_export import CODE, PERSON, moment

ROOT = Path("/export")
ZONE = ZoneInfo("America/Los_Angeles")
OTHER = PersonHints(last_name="Brampton", first_name="Ida", mrn="0100")


def _file(path: str, *, kind: Kind | None = None, size: int = 10, links: int = 1, readable: bool = True) -> FoundFile:
    name = ROOT / path
    return FoundFile(
        path=name,
        kind=kind or kind_of_name(name.name),
        device=1,
        inode=abs(hash(path)) % 10**6,
        size=size,
        mtime_ns=0,
        ctime_ns=0,
        atime_ns=0,
        mode=0o644,
        links=links,
        readable=readable,
    )


def _study(stem: str, at: float | None, *names: str, person: PersonHints = PERSON, **more: object) -> StudyFolder:
    names = names or (f"{stem}.eeg", f"{stem}.erd", f"{stem}_0000.avi", f"{stem}_0001.avi")
    start = None if at is None else moment(at)
    return StudyFolder(
        path=ROOT / stem,
        stem=stem,
        files=tuple(_file(f"{stem}/{n}", size=10 + i) for i, n in enumerate(names)),
        start_utc=start,
        end_utc=start and start + timedelta(hours=1),
        person=person,
        **more,  # type: ignore[arg-type]
    )


def _local(at: float, offset_s: float = 0.0) -> datetime:
    return (moment(at) + timedelta(seconds=offset_s)).astimezone(ZONE).replace(tzinfo=None)


def _recording(
    name: str, at: float, *, off: float = 0.0, size: int = 10, person: PersonHints = PERSON, links: int = 1
) -> LooseRecording:
    return LooseRecording(
        file=_file(name, size=size, links=links),
        stem=Path(name).stem,
        start_local=_local(at, off),
        duration_s=3600.0,
        person=person,
    )


def _text(name: str, kind: Kind, at: float) -> TextOutput:
    return TextOutput(file=_file(name, kind=kind), start_utc=moment(at), person=PERSON)


def _plan(
    *sources: StudyFolder | LooseRecording | TextOutput,
    others: Sequence[OtherEntry] = (),
    zone: ZoneInfo | None = ZONE,
    existing: Sequence[ExistingSegment] = (),
    taken: Sequence[str] = (),
    copy: bool = False,
    person: PersonHints = PERSON,
) -> DeidPlan:
    discovery = Discovery(
        root=ROOT,
        studies=tuple(s for s in sources if isinstance(s, StudyFolder)),
        recordings=tuple(s for s in sources if isinstance(s, LooseRecording)),
        texts=tuple(s for s in sources if isinstance(s, TextOutput)),
        others=tuple(others),
    )
    belongs = belongs_to(Identifiers.from_hints([person]))
    return plan_deid(discovery, code=CODE, belongs=belongs, existing=existing, zone=zone, taken=taken, copy=copy)


def _to(plan: DeidPlan, source: str) -> str:
    return next(m.place for m in plan.moves if m.source.path == ROOT / source)


def _topics(plan: DeidPlan) -> set[str]:
    return {n.topic for n in plan.notes}


def test_numbers_follow_true_start_and_never_the_names() -> None:
    plan = _plan(
        _study("Quxley_1", 20),
        _study("Quxley_2", 2),
        _recording("Quxley_1.edf", 2, off=1),
        _recording("Quxley_9.edf", 20),
    )
    assert _to(plan, "Quxley_2/Quxley_2.erd") == "video/abcd1234/abcd1234_1/abcd1234_1.erd"
    assert _to(plan, "Quxley_1.edf") == "edf/abcd1234_edf/abcd1234_1.edf"
    assert _to(plan, "Quxley_1/Quxley_1_0001.avi") == "video/abcd1234/abcd1234_2/abcd1234_2_0001.avi"
    assert _to(plan, "Quxley_9.edf") == "edf/abcd1234_edf/abcd1234_2.edf"
    assert [s.number for s in plan.segments] == [1, 2]
    assert not plan.conflicts and "gap" in _topics(plan)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(st.permutations(range(5)), st.permutations(range(5)))
def test_any_order_of_names_gives_the_same_segments(names: list[int], others: list[int]) -> None:
    sources: list[StudyFolder | LooseRecording] = []
    for i in range(5):
        sources += [_study(f"Quxley_{names[i]}", 3 * i), _recording(f"Quxley_{others[i]}.edf", 3 * i, off=1.5)]
    plan = _plan(*sources)
    for i in range(5):
        assert _to(plan, f"Quxley_{names[i]}/Quxley_{names[i]}.eeg").endswith(f"abcd1234_{i + 1}.eeg")
        assert _to(plan, f"Quxley_{others[i]}.edf").endswith(f"abcd1234_{i + 1}.edf")
    assert len({m.place for m in plan.moves}) == len(plan.moves) == 25


def test_pairs_show_evidence_and_confidence() -> None:
    plan = _plan(
        _study("a", 0),
        _recording("a.edf", 0, off=2),
        _study("b", 10),
        _recording("x.edf", 10, off=40),
        _study("c", 20),
        _recording("y.edf", 20, off=400),
    )
    pairs = [s.pairs[0] for s in plan.segments]
    assert [p.confidence for p in pairs] == [Confidence.HIGH, Confidence.MEDIUM, Confidence.LOW]
    assert pairs[0].same_stem and "2.0 s apart" in pairs[0].evidence
    assert "weak-pair" in _topics(plan)


def test_beyond_ten_minutes_nothing_pairs() -> None:
    plan = _plan(_study("a", 0), _recording("a.edf", 0, off=601), _recording("b.edf", 5))
    assert [sorted(s.parts) for s in plan.segments] == [["study"], ["recording"], ["recording"]]
    assert "missing-kind" in _topics(plan)


def test_nearest_wins_and_the_second_best_stays_alone() -> None:
    plan = _plan(_study("a", 0), _recording("near.edf", 0, off=3), _recording("far.edf", 0, off=200))
    assert _to(plan, "near.edf").endswith("_1.edf") and _to(plan, "far.edf").endswith("_2.edf")
    assert {"overlap"} <= _topics(plan)


def test_a_tie_is_told_and_equal_names_decide_it() -> None:
    plan = _plan(_study("a", 0), _recording("x.edf", 0, off=5, size=11), _recording("y.edf", 0, off=-5, size=12))
    assert "tie" in _topics(plan)
    plan = _plan(_study("a", 0), _recording("x.edf", 0, off=5, size=11), _recording("a.edf", 0, off=-5, size=12))
    assert _to(plan, "a.edf").endswith(f"_{next(s.number for s in plan.segments if Part.STUDY in s.parts)}.edf")
    assert not any(p.tied for s in plan.segments for p in s.pairs)


def test_two_starts_at_once_are_a_tie() -> None:
    plan = _plan(_recording("a.edf", 0, size=5), _recording("b.edf", 0, size=6), zone=None)
    assert "tie" in _topics(plan) and len(plan.segments) == 2 and not plan.conflicts


def test_pairing_needs_the_time_zone_and_edf_alone_does_not() -> None:
    with pytest.raises(ConfigError) as caught:
        _plan(_study("a", 0), _recording("a.edf", 0), zone=None)
    assert caught.value.exit_status == ExitStatus.USAGE and "time_zone" in caught.value.next
    assert len(_plan(_recording("a.edf", 5), _recording("b.edf", 1), zone=None).segments) == 2
    assert len(_plan(_study("a", 5), _study("b", 1), zone=None).segments) == 2


def test_the_repeated_hour_pairs_by_either_reading() -> None:
    # 2024-11-03 01:30 happens twice in this zone
    wall = datetime(2024, 11, 3, 1, 30)
    early, late = readings(wall, ZONE)
    assert late - early == timedelta(hours=1)
    assert apart_s(wall, late, ZONE) == apart_s(wall, early, ZONE) == 0.0
    assert len(readings(datetime(2024, 3, 10, 2, 30), ZONE)) == 1


def test_a_lone_recording_in_the_repeated_hour_is_told() -> None:
    wall = datetime(2024, 11, 3, 1, 30)
    lone = LooseRecording(file=_file("a.edf"), stem="a", start_local=wall, duration_s=60.0, person=PERSON)
    assert "clock-change" in _topics(_plan(lone))


def test_a_wrong_zone_is_suspected() -> None:
    plan = _plan(_study("a", 0), _recording("a.edf", 0, off=3 * 3600 + 1))
    assert "zone-suspect" in _topics(plan)


def test_text_outputs_join_their_segment() -> None:
    plan = _plan(
        _study("a", 0),
        _study("b", 30),
        _text("first.txt", Kind.VTC_TEXT, 30.001),
        _text("second.txt", Kind.SNC_TEXT, 0),
        _text("nowhere.txt", Kind.SNC_TEXT, 12),
    )
    assert _to(plan, "first.txt") == "text/abcd1234_vtc/abcd1234_2.txt"
    assert _to(plan, "second.txt") == "text/abcd1234_snc/abcd1234_1.txt"
    (left,) = plan.left
    assert left.status == ExitStatus.NOT_UNDERSTOOD and "fits no segment" in left.reason


def test_two_sources_of_one_recording_are_a_conflict() -> None:
    plan = _plan(_recording("a.edf", 0), _recording("copy of a.edf", 0), _recording("b.edf", 9), zone=None)
    (conflict,) = plan.conflicts
    assert len(conflict.files) == 2 and conflict.place == "edf/abcd1234_edf/abcd1234_1.edf"


def test_names_that_fold_together_are_a_conflict() -> None:
    plan = _plan(_study("a", 0, "a_0000.avi", "a_0000.AVI", "a.eeg", "a_0001.avi"))
    (conflict,) = plan.conflicts
    assert conflict.place.endswith("abcd1234_1_0000.avi")


def test_a_taken_name_is_a_conflict_whatever_its_case() -> None:
    plan = _plan(_recording("a.edf", 0), taken=["edf/abcd1234_edf/ABCD1234_1.EDF"], zone=None)
    assert [c.reason for c in plan.conflicts] == ["the name is taken"]


def test_a_hard_link_is_a_conflict_unless_copied() -> None:
    linked = _recording("a.edf", 0, links=2)
    assert len(_plan(linked, zone=None).conflicts) == 1
    assert not _plan(linked, zone=None, copy=True).conflicts


def _existing(number: int, at: float, *parts: Part, sizes: Sequence[StudyFolder] = ()) -> ExistingSegment:
    records = {
        part: PartRecord(start=_local(at) if part is Part.RECORDING else moment(at), fingerprint="0" * 16)
        for part in parts
    }
    return ExistingSegment(number=number, parts=records, published=frozenset(parts))


def _as_existing(plan: DeidPlan, *, published: bool = True, folders: Sequence[str] = ()) -> list[ExistingSegment]:
    return [
        ExistingSegment(
            number=s.number,
            parts=s.parts,
            published=frozenset(s.parts) if published else frozenset(),
            folders=frozenset(ROOT / f for f in folders),
        )
        for s in plan.segments
    ]


def test_a_new_file_joins_the_segment_that_lacks_it() -> None:
    plan = _plan(
        _recording("late.edf", 10, off=2), existing=[_existing(1, 0, Part.STUDY), _existing(2, 10, Part.STUDY)]
    )
    assert _to(plan, "late.edf") == "edf/abcd1234_edf/abcd1234_2.edf"
    assert not any(s.is_new for s in plan.segments)


def test_an_old_segment_next_by_beats_a_new_study_further_off() -> None:
    plan = _plan(
        _recording("late.edf", 10, off=1),
        _study("new", 10.1),
        existing=[_existing(1, 10, Part.STUDY), _existing(2, 30, Part.STUDY)],
    )
    assert _to(plan, "late.edf").endswith("abcd1234_1.edf") and _to(plan, "new/new.eeg").endswith("_3.eeg")


def test_the_same_study_again_is_already_there() -> None:
    sources = [_study("a", 0), _recording("a.edf", 0, off=1), _study("b", 10), _recording("b.edf", 10, off=1)]
    again = _plan(*sources, existing=_as_existing(_plan(*sources)))
    assert not again.moves and {e.reason for e in again.left} == {"already there"}
    assert all(e.by_rule and e.status == ExitStatus.DONE for e in again.left)


def test_the_same_study_with_other_sizes_is_left_and_counts() -> None:
    first = _plan(_study("a", 0), _study("b", 10))
    grown = _study("a", 0, "a.eeg", "a.erd", "a_0000.avi", "a_0001.avi", "a_0002.avi")
    again = _plan(grown, existing=_as_existing(first))
    assert not again.moves and {e.status for e in again.left} == {ExitStatus.PARTIAL}


def test_files_that_stayed_in_a_moved_study_join_its_number() -> None:
    first = _plan(_study("a", 0), _study("b", 10))
    rest = _study("b", None, "b_0001.avi", "b_0000.avi")
    taken = ["video/abcd1234/abcd1234_2/abcd1234_2_0000.avi"]
    plan = _plan(rest, existing=_as_existing(first, folders=["b"])[1:], taken=taken)
    assert [m.place for m in plan.moves] == ["video/abcd1234/abcd1234_2/abcd1234_2_0001.avi"]
    assert [e.reason for e in plan.left] == ["already there"] and not plan.conflicts


def test_a_number_planned_but_never_published_goes_to_its_own_study_only() -> None:
    first = _plan(_study("a", 0), _study("b", 10), _study("c", 20))
    plan = _plan(_study("c", 20), _study("d", 5), _study("b", 10), existing=_as_existing(first, published=False))
    assert _to(plan, "c/c.eeg").endswith("_3.eeg") and _to(plan, "b/b.eeg").endswith("_2.eeg")
    assert _to(plan, "d/d.eeg").endswith("_4.eeg")


def test_a_used_number_is_never_used_again() -> None:
    plan = _plan(_recording("a.edf", 0), _recording("b.edf", 5), existing=[ExistingSegment(number=7)], zone=None)
    assert sorted(m.segment for m in plan.moves) == [8, 9]


def test_what_cannot_be_understood_or_read_is_listed_with_its_status() -> None:
    broken = _study("a", 0, problems={ROOT / "a/a_0001.avi": "not an AVI"})
    unread = StudyFolder(
        path=ROOT / "b",
        stem="b",
        files=(_file("b/b.eeg", readable=False), _file("b/b.epo"), _file("b/b.erd")),
        start_utc=moment(9),
        person=PERSON,
    )
    other = OtherEntry(file=_file("link"), reason="symbolic link")
    odd = OtherEntry(file=_file("odd"), reason="not understood", by_rule=False)
    plan = _plan(broken, unread, others=[other, odd])
    by_path = {e.file.path.name: e for e in plan.left}
    assert by_path["a_0001.avi"].status == ExitStatus.NOT_UNDERSTOOD
    assert by_path["b.eeg"].status == ExitStatus.PARTIAL
    assert by_path["b.epo"].by_rule and by_path["link"].by_rule
    assert by_path["odd"].status == ExitStatus.NOT_UNDERSTOOD
    assert len(plan.moves) == 4


def test_holes_and_empty_clips_are_told() -> None:
    study = _study("a", 0, "a_0000.avi", "a_0003.avi", "a.erd")
    empty = StudyFolder(
        path=study.path,
        stem="a",
        files=(*study.files, _file("a/a_0004.avi", size=0)),
        start_utc=moment(0),
        person=PERSON,
    )
    notes = {n.topic: n.text for n in _plan(empty).notes}
    assert "0001 0002" in notes["hole"] and "1 clip" in notes["zero-length"]


def test_a_study_without_time_joins_by_its_guid_or_stays() -> None:
    guid = "Quxley~ Zed_11112222-3333-4444-5555-666677778888"
    plan = _plan(_study(guid, None), _recording(f"{guid}.edf", 4), _study("lost", None))
    assert _to(plan, f"{guid}/{guid}.eeg").endswith("abcd1234_1.eeg")
    assert plan.segments[0].pairs[0].confidence is Confidence.MEDIUM
    assert {e.reason for e in plan.left} == {"its start cannot be read"}


def test_other_patients_are_not_touched() -> None:
    theirs = _study("Brampton_1", 3, person=OTHER)
    report = OtherEntry(file=_file("Brampton_1/letter.doc"), reason="report")
    plan = _plan(_study("a", 0), theirs, others=[report])
    assert len(plan.not_touched) == 5 and not plan.left
    assert {m.source.path.parent.name for m in plan.moves} == {"a"}


def test_one_name_for_two_people_stops_the_plan() -> None:
    twin = PersonHints(last_name="Quxley", first_name="Ann", mrn="0200")
    sources = [_study("a", 0), _study("b", 9, person=twin)]
    with pytest.raises(MixedPatientsError):
        _plan(*sources, person=PersonHints(last_name="Quxley"))
    assert len(_plan(*sources, person=twin).not_touched) == 4


def test_an_unnamed_recording_belongs_only_where_nobody_else_is_named() -> None:
    nobody = PersonHints()
    plan = _plan(_study("a", 0), _recording("17.edf", 5, person=nobody), _recording("18.edf", 9, person=nobody))
    assert len(plan.moves) == 6 and "unnamed" in _topics(plan)
    plan = _plan(_study("a", 0), _study("b", 3, person=OTHER), _recording("17.edf", 5, person=nobody))
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
    plan = _plan(
        _study("Quxley_1", 0),
        _recording("Quxley_2.edf", 5),
        others=[OtherEntry(file=_file("Quxley.doc"), reason="report")],
    )
    shown = json.dumps(as_record(plan))
    assert "Quxley" not in shown and "abcd1234_2.edf" in shown
    assert "Quxley_2.edf" in json.dumps(as_record(plan, reveal=True))
