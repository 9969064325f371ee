"""Plausible ECoG numbers, made fast: one long table per study, read from another place for each channel."""

from __future__ import annotations

import math
import random
import struct
from array import array

#: Samples of the table; prime, so that no record length divides it and no two records are equal.
PERIOD = 4001
#: Table steps between neighbouring channels.
CHANNEL_STEP = 613
#: Largest value of the table and largest step between neighbours: a step fits one signed byte.
LARGEST_VALUE = 2000
LARGEST_STEP = 90


class Wave:
    """A smooth integer signal of period `PERIOD` with a little noise.

    No binary form of it can spell an identifier by chance, so that a search of whole files means
    something: every value is odd and every step even, so a word with both sorts of letters cannot arise.
    """

    def __init__(self, seed: str) -> None:
        rng = random.Random(seed)
        parts = [(amplitude, rng.randrange(low, high), rng.random()) for amplitude, low, high in _BANDS]
        values = [
            2 * round(sum(a * math.sin(2 * math.pi * (f * k / PERIOD + p)) for a, f, p in parts) / 2)
            + 2 * rng.randrange(-3, 4)
            + 1
            for k in range(PERIOD)
        ]
        self.values = array("i", values)
        self._steps = bytes((values[(k + 1) % PERIOD] - values[k]) & 0xFF for k in range(PERIOD))
        self._words = struct.pack(f"<{PERIOD}h", *values)
        self._long_words = struct.pack(f"<{PERIOD}i", *values)
        # BDF: 24 bits, the same signal at 32 times the resolution
        self._triples = b"".join((v * 32).to_bytes(3, "little", signed=True) for v in values)

    def value(self, channel: int, sample: int) -> int:
        """Return one sample."""
        return self.values[(sample + channel * CHANNEL_STEP) % PERIOD]

    def steps(self, channel: int, start: int, count: int) -> bytes:
        """Return, as signed bytes, the steps that lead from sample ``start + i`` to the next one."""
        return self._cut(self._steps, 1, channel, start, count)

    def int16(self, channel: int, start: int, count: int) -> bytes:
        """Return ``count`` samples as little-endian i16."""
        return self._cut(self._words, 2, channel, start, count)

    def int24(self, channel: int, start: int, count: int) -> bytes:
        """Return ``count`` samples times 32 as little-endian 24-bit integers."""
        return self._cut(self._triples, 3, channel, start, count)

    def int32(self, channel: int, start: int, count: int) -> bytes:
        """Return ``count`` samples as little-endian i32."""
        return self._cut(self._long_words, 4, channel, start, count)

    @staticmethod
    def _cut(table: bytes, width: int, channel: int, start: int, count: int) -> bytes:
        first = (start + channel * CHANNEL_STEP) % PERIOD
        pieces = []
        while count > 0:
            take = min(count, PERIOD - first)
            pieces.append(table[first * width : (first + take) * width])
            count, first = count - take, 0
        return b"".join(pieces)


#: (amplitude, lowest and highest number of cycles in the table): slow, theta-like and fast activity
_BANDS = ((1100.0, 4, 9), (420.0, 25, 45), (90.0, 90, 140))
