"""Samples ↔ PC time: exact at the rows, linear between them, honest where the clock was set."""

from __future__ import annotations

import io
import struct
from datetime import UTC, datetime, timedelta

import pytest
from builders_natus import filetime, header
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.clock import ClipPlace, Jump, SampleClock, clip_offset_hours, whole_hours
from ecogsafe.formats.natus_times import ClipTimes, SyncPoint, read_snc

START = datetime(2021, 3, 5, 18, 11, 12, 345678, tzinfo=UTC)
RATE = 999.94


def rows(
    count: int, *, step_s: float = 660.0, rate: float = RATE, jitter: tuple[float, ...] = (0.0,)
) -> list[SyncPoint]:
    """Return rows ``step_s`` apart; the PC's clock is off by ``jitter`` seconds, in turn."""
    return [
        SyncPoint(
            1000 + round(n * step_s * rate),
            START + timedelta(seconds=round(n * step_s * rate) / rate + jitter[n % len(jitter)]),
        )
        for n in range(count)
    ]


def at(seconds: float) -> datetime:
    return START + timedelta(seconds=seconds)


def test_a_day_at_999_94_hz() -> None:
    clock = SampleClock.of(rows(131, jitter=(0.0, 0.15, -0.2, 0.1, 0.05, -0.1)))
    assert clock.rate_hz == pytest.approx(RATE, abs=2e-3)
    assert clock.report.is_sound and clock.report.rows == 131
    assert 0.15 < clock.report.worst_residual_s < 0.3
    assert len(clock.residuals_s()) == 131 and clock.residuals_s()[2][1] == pytest.approx(-0.2, abs=0.1)
    # the lab's old way took a sample for a millisecond: 5 s off in a day
    place = clock.video_correction(at(85_700))
    assert place.seconds_in_recording == pytest.approx(85_700, abs=0.3)
    assert place.sample == pytest.approx(1000 + 85_700 * RATE, abs=250) and not place.is_extrapolated


def test_between_rows_and_beyond_them() -> None:
    clock = SampleClock.of([SyncPoint(0, at(0)), SyncPoint(1000, at(1.0)), SyncPoint(3000, at(2.6))])
    assert clock.stamp_at(at(0.5)) == 500 and clock.stamp_at(at(1.8)) == 2000
    assert clock.utc_at(2000) == at(1.8) and clock.utc_at(250.5) == at(0.2505)
    assert clock.rate_hz == 1125
    assert clock.stamp_at(at(-1)) == -1125 and clock.utc_at(3000 + 1125) == at(3.6)
    assert clock.video_correction(at(-1)).is_extrapolated and clock.video_correction(at(2.7)).is_extrapolated
    assert not clock.video_correction(at(2.6)).is_extrapolated and not clock.video_correction(at(0)).is_extrapolated


def test_a_clip_in_a_recording_that_runs_at_its_nominal_rate() -> None:
    clock = SampleClock.of(rows(20))
    place = clock.video_correction(at(3600), first_stamp=0, rate_hz=1000.0)
    assert place.sample == pytest.approx(1000 + 3600 * RATE, abs=1)
    assert place.seconds_in_recording == pytest.approx(1.0 + 3600 * RATE / 1000, abs=1e-3)
    # what the lab's script subtracts from the clip's time of day
    assert place.correction_s == pytest.approx(3600 - place.seconds_in_recording, abs=1e-6)


ROWS = st.lists(st.tuples(st.integers(200_000, 900_000), st.floats(-0.3, 0.3)), min_size=3, max_size=40).map(
    lambda steps: [
        SyncPoint(stamp, at(stamp / 512 + wobble))
        for stamp, wobble in zip(_sums([s for s, _ in steps]), [w for _, w in steps], strict=True)
    ]
)


def _sums(steps: list[int]) -> list[int]:
    sums = [0]
    for step in steps[1:]:
        sums.append(sums[-1] + step)
    return sums


@settings(max_examples=120, deadline=None)
@given(points=ROWS, where=st.floats(-0.2, 1.2))
def test_the_map_goes_both_ways_and_rises(points: list[SyncPoint], where: float) -> None:
    clock = SampleClock.of(points)
    assert clock.report.is_sound and clock.rate_hz == pytest.approx(512, rel=2e-3)
    for point in points:
        assert clock.utc_at(point.stamp) == point.utc
        assert clock.stamp_at(point.utc) == pytest.approx(point.stamp, abs=1e-6)
    stamp = points[-1].stamp * where
    assert clock.stamp_at(clock.utc_at(stamp)) == pytest.approx(stamp, abs=2e-3)
    assert clock.utc_at(stamp) < clock.utc_at(stamp + 1)
    low, high = points[0], points[-1]
    inside = low.stamp <= round(stamp) <= high.stamp
    assert clock.video_correction(clock.utc_at(round(stamp))).is_extrapolated == (not inside)


@settings(max_examples=80, deadline=None)
@given(points=ROWS, days=st.integers(-3000, 3000), offset=st.integers(-10_000, 10_000_000))
def test_moving_every_row_moves_every_answer(points: list[SyncPoint], days: int, offset: int) -> None:
    shift = timedelta(days=days)
    one = SampleClock.of(points)
    other = SampleClock.of([SyncPoint(p.stamp + offset, p.utc + shift) for p in points])
    middle = points[0].utc + (points[-1].utc - points[0].utc) / 3
    assert other.stamp_at(middle + shift) == pytest.approx(one.stamp_at(middle) + offset, abs=1e-6)
    assert other.rate_hz == pytest.approx(one.rate_hz) and other.report.jumps == one.report.jumps


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 19), by=st.sampled_from([3600.0, -3600.0, 40.0, -9.0, 90_000.0]))
def test_one_row_whose_time_is_wrong_is_left_out(which: int, by: float) -> None:
    points = rows(20)
    wrong = points[which]
    points[which] = SyncPoint(wrong.stamp, wrong.utc + timedelta(seconds=by))
    clock = SampleClock.of(points)
    assert clock.report.left_out == (wrong.stamp,) and clock.report.jumps == ()
    assert clock.utc_at(wrong.stamp) == pytest.approx(wrong.utc, abs=timedelta(milliseconds=5))
    assert clock.rate_hz == pytest.approx(RATE, abs=1e-3) and not clock.report.is_sound


@settings(max_examples=60, deadline=None)
@given(which=st.integers(0, 19), stamp=st.sampled_from([8_000, 2_000_000_000, -90_000]))
def test_one_row_whose_stamp_is_wrong_is_left_out(which: int, stamp: int) -> None:
    points = rows(20)
    points[which] = SyncPoint(stamp, points[which].utc)
    clock = SampleClock.of(points)
    assert clock.report.left_out == (stamp,) and clock.report.jumps == ()
    assert clock.rate_hz == pytest.approx(RATE, abs=1e-3)


@pytest.mark.parametrize(("seconds", "hours"), [(3600.2, 1), (-3600.0, -1), (7200.0, 2), (25.0, 0), (-5.0, 0)])
def test_a_clock_that_was_set(seconds: float, hours: int) -> None:
    points = [SyncPoint(p.stamp, p.utc + timedelta(seconds=seconds if n >= 10 else 0)) for n, p in enumerate(rows(20))]
    clock = SampleClock.of(points)
    (jump,) = clock.report.jumps
    assert jump == Jump(points[9].stamp, points[10].stamp, pytest.approx(seconds, abs=0.01))
    assert jump.whole_hours == hours and clock.report.left_out == ()
    assert clock.report.worst_residual_s < 0.01 and clock.rate_hz == pytest.approx(RATE, abs=1e-3)
    for point in points:
        assert clock.utc_at(point.stamp) == point.utc
    early = clock.video_correction(points[3].utc)
    assert early.sample == points[3].stamp and not early.is_doubtful
    late = clock.video_correction(points[19].utc)
    assert late.sample == points[19].stamp and not late.is_doubtful


def test_an_hour_that_happened_twice_is_doubtful_and_one_that_never_did_too() -> None:
    back = SampleClock.of([SyncPoint(p.stamp, p.utc - timedelta(hours=n >= 10)) for n, p in enumerate(rows(20))])
    twice = back.video_correction(rows(20)[9].utc - timedelta(minutes=5))
    assert twice.is_doubtful and twice.sample < rows(20)[9].stamp
    on = SampleClock.of([SyncPoint(p.stamp, p.utc + timedelta(hours=n >= 10)) for n, p in enumerate(rows(20))])
    never = on.video_correction(rows(20)[9].utc + timedelta(minutes=40))
    assert never.is_doubtful and not never.is_extrapolated
    assert rows(20)[9].stamp <= never.sample <= rows(20)[10].stamp


def test_few_rows() -> None:
    one = SyncPoint(500, at(0))
    with pytest.raises(MalformedFileError):
        SampleClock.of([])
    with pytest.raises(MalformedFileError):
        SampleClock.of([one])
    with pytest.raises(MalformedFileError):
        SampleClock.of([one, one])
    with pytest.raises(MalformedFileError):
        SampleClock.of([one, SyncPoint(400, at(1))])
    nominal = SampleClock.of([one], nominal_rate_hz=256)
    assert nominal.stamp_at(at(2)) == 500 + 512 and nominal.video_correction(at(2)).is_extrapolated
    two = SampleClock.of([one, SyncPoint(1012, at(2)), SyncPoint(1012, at(2))])
    assert two.rate_hz == 256 and two.report.is_sound and two.report.rows == 3
    assert two.video_correction(at(1)) == ClipPlace(756, 1.0, 0.0, is_extrapolated=False, is_doubtful=False)


def test_rows_of_a_file() -> None:
    points = rows(5)
    data = header(1) + b"".join(struct.pack("<iq", p.stamp, filetime(p.utc)) for p in points)
    clock = SampleClock.of(read_snc(io.BytesIO(data)))
    assert clock.first == points[0] and clock.last == points[-1]


@pytest.mark.parametrize("hours", [0, 1, -7, 8, 14])
def test_clips_whose_clock_is_whole_hours_away(hours: int) -> None:
    clock = SampleClock.of(rows(20))
    clips = [ClipTimes("x", at(120 * n + 3600 * hours), at(120 * n + 119.9 + 3600 * hours)) for n in range(100)]
    assert clip_offset_hours(clock, clips) == hours
    assert clip_offset_hours(clock, []) is None
    far = [ClipTimes("x", at(9e5 + n), at(9e5 + n + 1)) for n in range(3)]
    assert clip_offset_hours(clock, far) is None


def test_whole_hours() -> None:
    assert [whole_hours(s) for s in (0, 3600, -7201, 1800, 3590, 36000.9)] == [0, 1, -2, 0, 0, 10]
