"""Whether compressing a member pays, found out by compressing a little of it."""

from __future__ import annotations

from collections.abc import Callable

import zstandard

#: bytes of each sample; three of them, or all of a small file
SAMPLE_BYTES = 128 * 1024
#: a member that shrinks to more than this share is stored as it is
WORTH_IT = 0.95


def measured_ratio(size: int, read: Callable[[int, int], bytes]) -> float:
    """Return compressed size over size of a few samples: the first, the middle and the last of a file.

    Parameters
    ----------
    read
        Returns the bytes at an offset, of a length.
    """
    if size == 0:
        return 0.0
    if size <= 3 * SAMPLE_BYTES:
        samples = [read(0, size)]
    else:
        samples = [read(offset, SAMPLE_BYTES) for offset in (0, (size - SAMPLE_BYTES) // 2, size - SAMPLE_BYTES)]
    compressor = zstandard.ZstdCompressor(level=1)
    taken = sum(map(len, samples))
    return sum(len(compressor.compress(sample)) for sample in samples) / taken if taken else 0.0


def is_stored(ratio: float) -> bool:
    """Return whether a member with this measured ratio is stored instead of compressed."""
    return ratio > WORTH_IT
