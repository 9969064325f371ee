"""The digest of text regions: the scanner's way and the upload's way give one value."""

from __future__ import annotations

import hashlib
import io
import random
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import MalformedFileError, SourceChangedError
from ecogsafe.formats.regions import Region
from ecogsafe.formats.text_digest import TextDigest, digest_of

DATA = random.Random(3).randbytes(3000)
REGIONS = [Region(0, 256), Region(256, 10), Region(700, 1), Region(1500, 900), Region(2999, 1)]


def test_the_definition() -> None:
    sha = hashlib.sha256()
    for r in REGIONS:
        sha.update(struct.pack("<QQ", r.offset, r.length) + DATA[r.offset : r.stop])
    assert digest_of(io.BytesIO(DATA), REGIONS) == sha.hexdigest()
    assert digest_of(io.BytesIO(DATA), []) == hashlib.sha256().hexdigest()


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(1, 900), min_size=1, max_size=30))
def test_fed_in_any_pieces_it_is_the_same(steps: list[int]) -> None:
    digest = TextDigest(REGIONS)
    position = 0
    while position < len(DATA):
        for step in steps:
            digest.feed(position, memoryview(DATA)[position : position + step])
            position = min(position + step, len(DATA))
    assert digest.position == len(DATA)
    assert digest.hexdigest() == digest_of(io.BytesIO(DATA), REGIONS)


def test_only_the_text_counts() -> None:
    changed = bytearray(DATA)
    changed[1000] ^= 1
    assert digest_of(io.BytesIO(changed), REGIONS) == digest_of(io.BytesIO(DATA), REGIONS)
    for at in (0, 255, 256, 700, 1500, 2399, 2999):
        changed = bytearray(DATA)
        changed[at] ^= 1
        assert digest_of(io.BytesIO(changed), REGIONS) != digest_of(io.BytesIO(DATA), REGIONS)


def test_where_a_region_begins_counts() -> None:
    zeros = io.BytesIO(bytes(100))
    assert digest_of(zeros, [Region(0, 10), Region(10, 10)]) != digest_of(zeros, [Region(0, 20)])
    assert digest_of(zeros, [Region(0, 10)]) != digest_of(zeros, [Region(1, 10)])


@pytest.mark.parametrize("regions", [[Region(5, 10), Region(14, 2)], [Region(50, 1), Region(2, 1)]])
def test_regions_that_overlap_or_go_back_are_refused(regions: list[Region]) -> None:
    with pytest.raises(MalformedFileError, match="overlap"):
        TextDigest(regions)


def test_a_shorter_file_has_no_digest() -> None:
    with pytest.raises(SourceChangedError):
        digest_of(io.BytesIO(DATA[:2999]), REGIONS)
    digest = TextDigest(REGIONS)
    digest.feed(0, DATA[:2999])
    with pytest.raises(SourceChangedError):
        digest.hexdigest()


def test_bytes_are_fed_once_and_none_of_a_region_is_left_out() -> None:
    digest = TextDigest(REGIONS)
    digest.feed(0, DATA[:100])
    with pytest.raises(ValueError, match="twice"):
        digest.feed(99, DATA[99:200])
    with pytest.raises(ValueError, match="left out"):
        digest.feed(101, DATA[101:])
    passed_over = TextDigest(REGIONS)
    passed_over.feed(0, DATA[:266])
    passed_over.feed(700, DATA[700:701])
    passed_over.feed(1400, DATA[1400:])
    assert passed_over.hexdigest() == digest_of(io.BytesIO(DATA), REGIONS)
