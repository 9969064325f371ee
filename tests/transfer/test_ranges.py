"""How an object is cut into ranges: every byte once, whole chunks, header with the first."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ecogsafe.crypt.errors import PayloadError
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SealedLayout
from ecogsafe.transfer.ranges import FIRST_REQUEST_BYTES, RANGE_BYTES, plan_ranges

SIZES = st.one_of(
    st.integers(0, 3 * CHUNK_BYTES),
    st.builds(lambda ranges, off: max(ranges * RANGE_BYTES + off, 0), st.integers(0, 4), st.integers(-70_000, 70_000)),
    st.integers(0, 2**42),
)
#: an age header has some hundred bytes for each recipient, and 1 MiB at most
HEADERS = st.one_of(st.integers(100, 5000), st.integers(100, 1 << 20))


@given(size=SIZES, header=HEADERS)
@example(size=RANGE_BYTES, header=4080)
@example(size=RANGE_BYTES, header=4081)
@example(size=2**45, header=1 << 20)
def test_ranges_of_a_sealed_object(size: int, header: int) -> None:
    layout = SealedLayout(bytes(header), bytes(16), size)
    plan = plan_ranges(layout.object_size(), layout.payload_offset)
    assert plan.content_size == size
    numbers = {0, 1, 2, plan.count // 2, plan.count - 2, plan.count - 1}
    for number in sorted(n for n in numbers if 0 <= n < plan.count):
        r = plan.range(number)
        assert (r.number, r.is_last) == (number, number == plan.count - 1)
        # whole chunks, at the place where they lie
        assert r.start % CHUNK_BYTES == 0
        assert r.first_chunk * CHUNK_BYTES == r.start
        assert r.object_start == (layout.cipher_range(r.first_chunk)[0] if number else 0)
        assert r.object_stop == (layout.object_size() if r.is_last else layout.cipher_range(r.stop // CHUNK_BYTES)[0])
        assert r.size <= max(RANGE_BYTES, FIRST_REQUEST_BYTES)
        # a last range is never empty, or its chunk would be nobody's
        assert r.size or size == 0
        if not r.is_last:
            following = plan.range(number + 1)
            assert (following.start, following.object_start) == (r.stop, r.object_stop)
    assert plan.range(plan.count - 1).stop == size
    # the first comes with the first request
    assert plan.range(0).object_stop <= FIRST_REQUEST_BYTES


@given(size=SIZES)
def test_ranges_of_an_object_taken_as_it_is(size: int) -> None:
    plan = plan_ranges(size, None)
    last = plan.range(plan.count - 1)
    assert (plan.range(0).start, last.stop, last.object_stop) == (0, size, size)
    for number in {0, plan.count // 2, plan.count - 1}:
        r = plan.range(number)
        assert (r.object_start, r.object_stop) == (r.start, r.stop)
        assert r.size <= RANGE_BYTES
        assert r.is_last or plan.range(number + 1).start == r.stop


@pytest.mark.parametrize("number", [-1, 3])
def test_a_range_that_is_not_there(number: int) -> None:
    with pytest.raises(ValueError, match="no range"):
        plan_ranges(3 * RANGE_BYTES, None).range(number)


@pytest.mark.parametrize("size", [0, 100, 200, 216, 200 + 65552 + 16, 200 + 65552 + 7])
def test_a_size_that_no_sealed_object_has(size: int) -> None:
    with pytest.raises(PayloadError):
        plan_ranges(size, 201)
