"""Slices opened side by side give what one opening gives."""

from __future__ import annotations

import random

import pytest

from ecogsafe.core.private import Secret
from ecogsafe.crypt.des_stream import SLICE_BYTES, unlock_stream
from ecogsafe.crypt.openssl_des import Derivation, Lock, Unlocker

PASSWORD = Secret(b"an old word")
LOCK = Lock(Derivation.MD5, b"saltsalt")


@pytest.mark.parametrize("size", [0, 8, SLICE_BYTES - 8, SLICE_BYTES, SLICE_BYTES + 8, 3 * SLICE_BYTES + 16])
@pytest.mark.parametrize("threads", [1, 3])
def test_threads_give_what_one_opening_gives(size: int, threads: int) -> None:
    data = random.Random(size).randbytes(size)
    pieces = (data[at : at + 100_003] for at in range(0, size, 100_003))
    out = b"".join(unlock_stream(pieces, PASSWORD, LOCK, threads=threads))
    assert out == Unlocker(PASSWORD, LOCK).feed(data)


def test_what_is_no_whole_block_is_left_out() -> None:
    data = random.Random(1).randbytes(2 * SLICE_BYTES + 5)
    assert len(b"".join(unlock_stream([data], PASSWORD, LOCK, threads=2))) == 2 * SLICE_BYTES


def test_an_error_of_the_source_comes_through_and_ends_the_threads() -> None:
    def pieces():  # type: ignore[no-untyped-def]
        yield bytes(3 * SLICE_BYTES)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        list(unlock_stream(pieces(), PASSWORD, LOCK, threads=2))
