"""The drawing of a plan: golden pictures, and for any plan lines that fit and hide nothing."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.deid.layout import Tree
from ecogsafe.deid.planned import DeidPlan, Move, Part, PartRecord, PlannedSegment
from ecogsafe.deid.timeline import timeline
from ecogsafe.formats.found import FoundFile
from ecogsafe.formats.kinds import Kind

SEATTLE = ZoneInfo("America/Los_Angeles")
Span = tuple[datetime | None, datetime | None]


def utc(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2021, 3, day, hour, minute, tzinfo=UTC)


def wall(day: int, hour: int, minute: int = 0) -> datetime:
    return datetime(2021, 3, day, hour, minute)


def segment(number: int, parts: dict[Part, Span], *, is_new: bool = True) -> PlannedSegment:
    records = {part: PartRecord(start=start, end=end) for part, (start, end) in parts.items()}
    return PlannedSegment(
        number=number, is_new=is_new, parts=records, moved=frozenset(parts) if is_new else frozenset()
    )


def plan(*segments: PlannedSegment, clips_of: tuple[int, ...] = ()) -> DeidPlan:
    file = FoundFile(
        path=Path("x"), kind=Kind.AVI, device=0, inode=0, size=0, mtime_ns=0, ctime_ns=0, atime_ns=0, mode=0, links=1
    )
    moves = tuple(
        Move(source=file, target="x", tree=Tree.VIDEO, kind=Kind.AVI, segment=n, stem=f"abcd1234_{n}") for n in clips_of
    )
    return DeidPlan(root=Path("x"), code="abcd1234", moves=moves, left=(), conflicts=(), notes=(), segments=segments)


WEEK = plan(
    segment(1, {Part.RECORDING: (wall(5, 10), wall(6, 9)), Part.STUDY: (utc(5, 18), utc(6, 17))}, is_new=False),
    segment(
        2,
        {
            Part.RECORDING: (wall(6, 12), wall(7, 8)),
            Part.STUDY: (utc(6, 20), utc(7, 16)),
            Part.VTC_TEXT: (utc(6, 20), None),
        },
    ),
    segment(3, {Part.STUDY: (utc(7, 15), utc(8, 10))}),
    segment(4, {Part.RECORDING: (wall(8, 3, 5), wall(8, 12))}),
    segment(5, {Part.RECORDING: (None, None)}),
    clips_of=(3,),
)
UNICODE = """\
5 Mar 2021 10:00 - 8 Mar 2021 12:00 (local time)
                          6 Mar                7 Mar                 8 Mar
    1  EDF    ████████████████████▌            ┊                     ┊
       study  ████████████████████▌            ┊                     ┊
    2* EDF                ┊          ▐█████████████████▌             ┊
       study              ┊          ▐█████████████████▌             ┊
       video              ┊          ▐█████████████████▌             ┊
    3* EDF    missing
       study              ┊                    ┊      ▐████████████████▌
       video              ┊                    ┊      ▐████████████████▌
    4* EDF                ┊                    ┊                     ┊  ▐███████
       study  missing
    5* EDF    there, time not known
       study  missing
  all         ████████████████████▒··▒████████████████▓▓███████████████▒▒███████
█ recorded  ▒ in part  · gap  ▓ two segments at once  ┊ midnight  * new
"""
ASCII = """\
5 Mar 2021 10:00 - 8 Mar 2021 12:00 (local time)
                              6 Mar                       7 Mar                       8 Mar
    1  EDF    ##########################=                 :                           :
       study  ##########################=                 :                           :
       video  ####=   =#################=                 :                           :
    2* EDF                    :             =######################=                  :
       study                  :             =######################=                  :
       video                  :             =######################=                  :
    3* EDF    missing
       study                  :                           :       =#####################=
       video                  :                           :       =#####################=
    4* EDF                    :                           :                           :  =##########
       study  missing
    5* EDF    there, time not known
       study  missing
  all         ##########################%...%#####################@@####################%%##########
# recorded  % in part  . gap  @ two segments at once  : midnight  * new
"""


def test_a_week_in_blocks() -> None:
    assert "\n".join(timeline(WEEK, width=80, zone=SEATTLE)) + "\n" == UNICODE


def test_a_week_in_ascii_with_the_times_of_clips() -> None:
    clips = {1: [(utc(5, 18), utc(5, 22)), (utc(6, 1), utc(6, 17))]}
    drawn = timeline(WEEK, width=100, zone=SEATTLE, clips=clips, is_ascii=True)
    assert "\n".join(drawn) + "\n" == ASCII


def test_an_hour_in_one_go() -> None:
    one = plan(segment(1, {Part.RECORDING: (wall(5, 10), wall(5, 11)), Part.STUDY: (None, None)}))
    assert timeline(one, width=60) == (
        "5 Mar 2021 10:00 - 5 Mar 2021 11:00 (UTC)",
        "    1* EDF    ██████████████████████████████████████████████",
        "       study  there, time not known",
        "       video  missing",
        "  all         ██████████████████████████████████████████████",
        "█ recorded  ▒ in part  · gap  ▓ two segments at once  * new",
    )


def test_clips_that_are_known_to_be_none_are_missing() -> None:
    one = plan(segment(1, {Part.STUDY: (utc(5, 10), utc(5, 11))}), clips_of=(1,))
    assert "video  ███" in "\n".join(timeline(one))
    assert "video  missing" in "\n".join(timeline(one, clips={1: []}))


def test_short_gaps_and_overlaps_are_seen_in_a_long_recording() -> None:
    days = [
        segment(1, {Part.STUDY: (utc(1, 0), utc(2, 12))}),
        # two minutes later
        segment(2, {Part.STUDY: (utc(2, 12, 2), utc(4, 9))}),
        # five minutes before the end of the other
        segment(3, {Part.STUDY: (utc(4, 8, 55), utc(8, 0))}),
    ]
    whole = next(line for line in timeline(plan(*days), width=90) if line.startswith("  all"))
    assert whole.count("▒") == 1 and whole.count("▓") == 1 and "·" not in whole


def test_nothing_to_draw() -> None:
    assert timeline(plan()) == ()
    assert timeline(plan(segment(1, {Part.RECORDING: (None, None)}))) == ("no segment has a known time",)


def test_day_marks_follow_the_zone_over_a_change_of_the_clock() -> None:
    # 14 March 2021 has 23 hours in Seattle
    days = plan(segment(1, {Part.STUDY: (utc(13, 8), utc(16, 7))}))
    lines = timeline(days, width=14 + 71, zone=SEATTLE)
    assert [lines[1].index(day) - 14 for day in ("14 Mar", "15 Mar")] == [24, 47]


MOMENTS = st.one_of(
    st.none(),
    st.integers(0, 14 * 24 * 60).map(lambda minutes: utc(1, 0) + timedelta(minutes=minutes)),
)
SEGMENTS = st.lists(
    st.dictionaries(
        st.sampled_from(list(Part)),
        st.tuples(MOMENTS, MOMENTS).map(lambda pair: tuple(sorted(filter(None, pair))) or (None, None)),
        min_size=1,
    ),
    max_size=6,
)


@settings(max_examples=120, deadline=None)
@given(parts=SEGMENTS, width=st.integers(60, 130), is_ascii=st.booleans(), zone=st.sampled_from([None, SEATTLE]))
def test_any_plan_fits_and_hides_nothing(
    parts: list[dict[Part, tuple[datetime, ...]]], width: int, is_ascii: bool, zone: ZoneInfo | None
) -> None:
    segments = [
        segment(n, {part: (span[0], span[-1] if len(span) == 2 else None) for part, span in of.items()})
        for n, of in enumerate(parts, 1)
    ]
    lines = timeline(plan(*segments), width=width, zone=zone, is_ascii=is_ascii)
    assert all(len(line) <= width for line in lines)
    assert not is_ascii or all(line.isascii() for line in lines)
    if len(lines) < 2:
        return
    for number, of in enumerate(parts, 1):
        (edf,) = (line for line in lines if line[:7].strip() == f"{number}*")
        assert ("missing" in edf) == (Part.RECORDING not in of)
        if Part.RECORDING in of and of[Part.RECORDING][0] is not None:
            assert any(sign in edf[14:] for sign in ("#=%" if is_ascii else "█▌▐▎▒"))


@pytest.mark.parametrize("width", [1, 60])
def test_a_narrow_terminal_gets_the_narrowest_drawing(width: int) -> None:
    assert max(map(len, timeline(WEEK, width=width, zone=SEATTLE))) <= 60
