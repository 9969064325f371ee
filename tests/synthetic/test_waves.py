"""The table of samples and the clock."""

from __future__ import annotations

import struct
from datetime import UTC, datetime

import pytest

from ecogsafe.synthetic.timeline import StudyTimes, filetime, site_to_utc, unix_seconds
from ecogsafe.synthetic.waves import LARGEST_STEP, LARGEST_VALUE, PERIOD, Wave


@pytest.mark.parametrize("seed", ["a", "b", "1/a/2"])
def test_values_are_odd_and_bounded_and_steps_fit_a_byte(seed: str) -> None:
    values = Wave(seed).values
    steps = [values[(k + 1) % PERIOD] - values[k] for k in range(PERIOD)]
    assert all(v % 2 for v in values)
    assert max(map(abs, values)) < LARGEST_VALUE
    assert max(map(abs, steps)) <= LARGEST_STEP


def test_every_width_tells_the_same_samples_across_the_end_of_the_table() -> None:
    wave, start, count = Wave("w"), PERIOD - 5, PERIOD + 12
    wanted = [wave.value(3, start + i) for i in range(count)]
    assert list(struct.unpack(f"<{count}h", wave.int16(3, start, count))) == wanted
    assert list(struct.unpack(f"<{count}i", wave.int32(3, start, count))) == wanted
    triples = wave.int24(3, start, count)
    found = [int.from_bytes(triples[i : i + 3], "little", signed=True) for i in range(0, len(triples), 3)]
    assert found == [32 * v for v in wanted]
    steps = struct.unpack(f"<{count - 1}b", wave.steps(3, start, count - 1))
    assert [wanted[0] + sum(steps[:i]) for i in range(count)] == wanted


def test_filetime_of_known_moments() -> None:
    assert filetime(datetime(1970, 1, 1, tzinfo=UTC)) == 116_444_736_000_000_000
    assert filetime(datetime(2024, 3, 10, 16, 40, 5, 347000, tzinfo=UTC)) == 133_545_624_053_470_000
    assert unix_seconds(datetime(2024, 1, 1, tzinfo=UTC)) == 1_704_067_200


def test_stamps_jump_over_the_gap() -> None:
    start = site_to_utc(datetime(2024, 7, 1, 12))
    times = StudyTimes(start_utc=start, rate_hz=100, runs=(300, 200), gap_samples=50, origin_stamp=7)
    assert start == datetime(2024, 7, 1, 19, tzinfo=UTC)
    assert times.run_stamps() == (7, 357)
    assert times.duration_s == 5.5
    assert (times.moment(357) - start).total_seconds() == 3.5
    assert times.stamp(3.5) == 357
