"""The tree hash: AWS's published values, the SDK's own slow one, and the branches that ranges are."""

from __future__ import annotations

import io
import random

import pytest
from botocore.utils import calculate_tree_hash

from ecogsafe.crypt.tree_hash import LEAF_BYTES, TreeHash, is_tree_aligned, tree_hash

MIB = LEAF_BYTES
#: bytes "a" of so many bytes; from the unit tests of Amazon's boto 2 (tests/unit/glacier/test_utils.py, MIT)
PUBLISHED = {
    0: "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    MIB: "9bc1b2a288b26af7257a36277ae3816a7d4f16e89c1e7e77d0a5c48bad62b360",
    2 * MIB: "560c2c9333c719cb00cfdffee3ba293db17f58743cdd1f7e4055373ae6300afa",
    4 * MIB: "9491cb2ed1d4e7cd53215f4017c23ec4ad21d7050a1e6bb636c4f67e8cddb844",
    4 * MIB + 20: "12f3cbd6101b981cde074039f6f728071da8879d6f632de8afc7cdf00661b08f",
}


@pytest.mark.parametrize("size", PUBLISHED)
def test_published_values(size: int) -> None:
    assert tree_hash(b"a" * size) == PUBLISHED[size]


@pytest.mark.parametrize("size", [1, MIB - 1, MIB + 1, 3 * MIB, 5 * MIB + 7, 6 * MIB + MIB // 2, 7 * MIB])
def test_in_pieces_of_any_size_it_is_what_the_sdk_computes(size: int) -> None:
    numbers = random.Random(size)
    data = numbers.randbytes(size)
    whole = TreeHash()
    at = 0
    while at < size:
        step = numbers.choice([1, 65_536, MIB - 1, MIB, MIB + 1, 3 * MIB])
        whole.update(data[at : at + step])
        at += step
    assert whole.size == size
    assert whole.hexdigest() == calculate_tree_hash(io.BytesIO(data))


def test_it_may_be_asked_in_between() -> None:
    whole = TreeHash()
    for _ in range(3):
        whole.update(b"a" * MIB)
        whole.hexdigest()
    whole.update(b"a" * MIB)
    assert whole.hexdigest() == PUBLISHED[4 * MIB]


def branches(data: bytes) -> set[str]:
    """Return the digest of every node of the tree of ``data``, level by level as the guide describes it."""
    level = [tree_hash(data[at : at + MIB]) for at in range(0, len(data), MIB)]
    found = set(level)
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [_pair(pair) for pair in pairs]
        found.update(level)
    return found


def _pair(pair: list[str]) -> str:
    import hashlib

    return pair[0] if len(pair) == 1 else hashlib.sha256(b"".join(bytes.fromhex(p) for p in pair)).hexdigest()


@pytest.mark.parametrize("size", [5 * MIB + 3, 8 * MIB, 6 * MIB])
def test_aligned_ranges_are_the_branches_of_the_tree_and_no_others(size: int) -> None:
    data = random.Random(size).randbytes(size)
    nodes = branches(data)
    edges = [*range(0, size, MIB), size]
    for start in edges:
        for stop in edges:
            if start < stop:
                is_branch = tree_hash(data[start:stop]) in nodes
                assert is_tree_aligned(start, stop, size) == is_branch, (start / MIB, stop / MIB)


def test_ranges_that_are_none() -> None:
    for start, stop in ((0, 0), (2, 1), (0, 9 * MIB), (-MIB, MIB), (1, MIB), (0, MIB + 1)):
        assert not is_tree_aligned(start, stop, 8 * MIB)
