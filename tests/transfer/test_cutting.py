"""Parts and cutting: whatever the sizes, the bodies put together are the object."""

from __future__ import annotations

import hashlib
import random

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SealedLayout
from ecogsafe.transfer.cutting import CutPart, Form, PartCutter, PlainForm, SealedForm
from ecogsafe.transfer.parts import MIB, MOST_PARTS, USUAL_PART, PartRange, part_ranges, part_size_for
from ecogsafe.transfer.reading import PrefixDigests

from .bench import IDENTITY

KEY = FileKey(b"k" * 16)
HEADER = seal_header(KEY, [IDENTITY.recipient])
SOURCE = random.Random(1).randbytes(5 * CHUNK_BYTES + 1000)


def _sealed(size: int) -> SealedForm:
    return SealedForm(SealedLayout(HEADER, b"n" * 16, size), KEY, size)


def _bodies(form: Form, source: bytes, part_size: int, piece: int) -> dict[int, tuple[bytes, bytes]]:
    """Return body and digest of each part, cut from pieces of ``piece`` bytes."""
    cutter = PartCutter(form, part_size, _memory)
    digests = PrefixDigests(form.source_needed(place.stop) for place in part_ranges(form.object_size, part_size))
    made: dict[int, tuple[bytes, bytes]] = {}

    def keep(cut: CutPart) -> None:
        assert cut.body is not None
        assert len(cut.body) == cut.place.length
        assert cut.crc64 == crc64nvme(cut.body)
        made[cut.place.number] = (bytes(cut.body), digests.at(form.source_needed(cut.place.stop)))

    for start in range(0, len(source), piece):
        digests.update(source[start : start + piece])
        for cut in cutter.feed(source[start : start + piece]):
            keep(cut)
    for cut in cutter.finish():
        keep(cut)
    assert digests.hexdigest() == hashlib.sha256(source).hexdigest()
    return made


def _memory(place: PartRange) -> memoryview:
    return memoryview(bytearray(place.length))


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
def test_a_changed_byte_changes_the_digest_of_every_part_from_its_chunk_on(at: int, part_size: int) -> None:
    """A chunk on the border of two parts is in both digests: no chunk is sealed twice unseen."""
    changed = bytearray(SOURCE)
    changed[at] ^= 1
    form = _sealed(len(SOURCE))
    before = _bodies(form, SOURCE, part_size, 50_000)
    after = _bodies(form, bytes(changed), part_size, 50_000)
    differing_bodies = {n for n in before if before[n][0] != after[n][0]}
    differing_digests = {n for n in before if before[n][1] != after[n][1]}
    chunk = SealedLayout(HEADER, b"n" * 16, len(SOURCE)).cipher_range(at // CHUNK_BYTES)
    later = {p.number for p in part_ranges(form.object_size, part_size) if chunk[0] < p.stop}
    assert differing_bodies <= differing_digests == later


@settings(max_examples=20, deadline=None)
@given(
    wanted=st.sets(st.integers(1, 6)),
    part_size=st.integers(60_000, 150_000),
    piece=st.integers(500, 200_000),
    sealed=st.booleans(),
)
def test_parts_that_nobody_wants_are_not_made_and_spoil_no_others(
    *, wanted: set[int], part_size: int, piece: int, sealed: bool
) -> None:
    """An acknowledged part of an earlier run shares its border chunk with the next one."""
    form: Form = _sealed(len(SOURCE)) if sealed else PlainForm(len(SOURCE))
    expected = _bodies(form, SOURCE, part_size, 100_000)
    cutter = PartCutter(form, part_size, lambda place: _memory(place) if place.number in wanted else None)
    cuts = [cut for start in range(0, len(SOURCE), piece) for cut in cutter.feed(SOURCE[start : start + piece])]
    assert [cut.place.number for cut in cuts] == list(expected)
    assert {c.place.number: bytes(c.body) for c in cuts if c.body is not None} == {
        number: body for number, (body, _) in expected.items() if number in wanted
    }


def test_a_source_that_ends_early_is_not_finished() -> None:
    cutter = PartCutter(_sealed(200_000), 70_000, _memory)
    cut = [c.place.number for c in cutter.feed(SOURCE[:150_000])]
    assert cut == [1]
    with pytest.raises(ValueError, match="ended before"):
        list(cutter.finish())


@pytest.mark.parametrize(
    ("object_size", "expected"),
    [
        (0, USUAL_PART),
        (33 * MIB, 17 * MIB),
        (47 * MIB, 24 * MIB),
        # what sealing adds to 64 MiB is no part of its own
        (64 * MIB + 16_600, 17 * MIB),
        (MOST_PARTS * USUAL_PART, USUAL_PART),
        (MOST_PARTS * USUAL_PART + 1, USUAL_PART + MIB),
        (5 * 2**40, 583 * MIB),
    ],
)
def test_part_sizes_are_whole_mib_and_never_too_many(object_size: int, expected: int) -> None:
    size = part_size_for(object_size)
    assert size == expected
    assert len(range(0, object_size, size)) <= MOST_PARTS


@given(st.integers(0, 6 << 40))
def test_all_parts_but_the_last_are_equal(size: int) -> None:
    """Some stores take no others (`Capabilities.equal_parts`)."""
    part_size = part_size_for(size)
    count = -(-size // part_size) or 1
    assert count <= MOST_PARTS and part_size % MIB == 0
    few = min(size, 5 * part_size + 7)
    parts = part_ranges(few, part_size)
    assert {p.length for p in parts[:-1]} <= {part_size} and parts[-1].length <= part_size
    assert sum(p.length for p in parts) == few


def test_part_ranges_cover_the_object_once() -> None:
    assert [(p.number, p.start, p.stop, p.length) for p in part_ranges(25, 10)] == [
        (1, 0, 10, 10),
        (2, 10, 20, 10),
        (3, 20, 25, 5),
    ]
    assert [(p.number, p.length) for p in part_ranges(0, 10)] == [(1, 0)]
