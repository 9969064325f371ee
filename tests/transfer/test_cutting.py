"""Parts and cutting: whatever the sizes, the bodies put together are the object."""

from __future__ import annotations

import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SealedLayout
from ecogsafe.transfer.cutting import Form, PartCutter, PlainForm, SealedForm
from ecogsafe.transfer.parts import MIB, MOST_PARTS, SMALLEST_PART, part_ranges, part_size_for

from .bench import IDENTITY

KEY = FileKey(b"k" * 16)
HEADER = seal_header(KEY, [IDENTITY.recipient])
SOURCE = random.Random(1).randbytes(5 * CHUNK_BYTES + 1000)


def _sealed(size: int) -> SealedForm:
    return SealedForm(SealedLayout(HEADER, b"n" * 16, size), KEY, size)


def _bodies(form: Form, source: bytes, part_size: int, piece: int) -> dict[int, tuple[bytes, bytes]]:
    """Return body and digest of each part, cut from pieces of ``piece`` bytes."""
    cutter = PartCutter(form, part_size)
    made: dict[int, tuple[bytes, bytes]] = {}
    for start in range(0, len(source), piece):
        for cut in cutter.feed(source[start : start + piece]):
            made[cut.place.number] = (form.body(cut), cut.plain_sha256)
    for cut in cutter.finish():
        made[cut.place.number] = (form.body(cut), cut.plain_sha256)
    return made


SIZES = [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES, len(SOURCE)]


@settings(max_examples=60, deadline=None)
@given(
    size=st.one_of(st.sampled_from(SIZES), st.integers(0, len(SOURCE))),
    part_size=st.one_of(st.integers(1000, 4 * CHUNK_BYTES), st.sampled_from([65_552, 65_536, len(HEADER), 100])),
    piece=st.integers(1, 3 * CHUNK_BYTES).map(lambda n: max(n, 500)),
)
@example(size=0, part_size=100, piece=500)
@example(size=CHUNK_BYTES, part_size=len(HEADER) + 16, piece=CHUNK_BYTES)
def test_the_parts_of_a_sealed_file_open_to_the_source(size: int, part_size: int, piece: int) -> None:
    form = _sealed(size)
    made = _bodies(form, SOURCE[:size], part_size, piece)
    assert list(made) == [place.number for place in part_ranges(form.object_size, part_size)]
    whole = b"".join(body for body, _ in made.values())
    assert len(whole) == form.object_size
    assert open_sealed(whole, [IDENTITY]) == SOURCE[:size]


@settings(max_examples=30, deadline=None)
@given(size=st.integers(0, len(SOURCE)), part_size=st.integers(700, 200_000), piece=st.integers(500, 100_000))
def test_the_parts_of_a_plain_file_are_the_file(size: int, part_size: int, piece: int) -> None:
    made = _bodies(PlainForm(size), SOURCE[:size], part_size, piece)
    assert b"".join(body for body, _ in made.values()) == SOURCE[:size]


@settings(max_examples=30, deadline=None)
@given(at=st.integers(0, len(SOURCE) - 1), part_size=st.integers(40_000, 150_000))
def test_a_changed_byte_changes_the_digest_of_every_part_that_holds_its_chunk(at: int, part_size: int) -> None:
    """A chunk on the border of two parts is in both digests: no chunk is sealed twice unseen."""
    changed = bytearray(SOURCE)
    changed[at] ^= 1
    form = _sealed(len(SOURCE))
    before = _bodies(form, SOURCE, part_size, 50_000)
    after = _bodies(form, bytes(changed), part_size, 50_000)
    differing_bodies = {n for n in before if before[n][0] != after[n][0]}
    differing_digests = {n for n in before if before[n][1] != after[n][1]}
    chunk = form._layout.cipher_range(at // CHUNK_BYTES)
    holding = {p.number for p in part_ranges(form.object_size, part_size) if p.start < chunk[1] and chunk[0] < p.stop}
    assert differing_bodies <= differing_digests == holding


def test_a_source_that_ends_early_is_not_finished() -> None:
    cutter = PartCutter(_sealed(200_000), 70_000)
    cut = [c.place.number for c in cutter.feed(SOURCE[:150_000])]
    assert cut == [1]
    with pytest.raises(ValueError, match="ended before"):
        list(cutter.finish())


@pytest.mark.parametrize(
    ("object_size", "expected"),
    [
        (0, SMALLEST_PART),
        (MOST_PARTS * SMALLEST_PART, SMALLEST_PART),
        (MOST_PARTS * SMALLEST_PART + 1, SMALLEST_PART + MIB),
        (5 * 2**40, 583 * MIB),
    ],
)
def test_part_sizes_are_whole_mib_and_never_too_many(object_size: int, expected: int) -> None:
    size = part_size_for(object_size)
    assert size == expected
    assert len(range(0, object_size, size)) <= MOST_PARTS


def test_part_ranges_cover_the_object_once() -> None:
    assert [(p.number, p.start, p.stop, p.length) for p in part_ranges(25, 10)] == [
        (1, 0, 10, 10),
        (2, 10, 20, 10),
        (3, 20, 25, 5),
    ]
    assert [(p.number, p.length) for p in part_ranges(0, 10)] == [(1, 0)]
