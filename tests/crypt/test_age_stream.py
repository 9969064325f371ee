"""Chunks, their geometry, and the readers: sizes around 64 KiB, any order, any range, any damage."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ecogsafe.core.errors import VerificationError
from ecogsafe.crypt.age_file import open_pieces, open_sealed, seal
from ecogsafe.crypt.age_header import MAX_HEADER_BYTES, VERSION_LINE
from ecogsafe.crypt.age_recipients import seal_header
from ecogsafe.crypt.age_stream import ChunkOpener, ChunkSealer
from ecogsafe.crypt.errors import HeaderError, PayloadError
from ecogsafe.crypt.file_key import FileKey
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.sealed_layout import (
    CHUNK_BYTES,
    SEALED_CHUNK_BYTES,
    TAG_BYTES,
    SealedLayout,
    plain_size_of,
)
from ecogsafe.crypt.unsealer import ChunkRun, RangedOpener, Unsealer, open_prefix

FIRST, SECOND = generate_identity(), generate_identity()
NONCE = bytes(range(16))
sizes = st.builds(lambda chunks, off: max(0, chunks * CHUNK_BYTES + off), st.integers(0, 3), st.integers(-17, 17))
DataOf = Callable[[int], bytes]


def sealed_object(plain: bytes) -> tuple[bytes, SealedLayout, FileKey]:
    key = FileKey.new()
    layout = SealedLayout(seal_header(key, [FIRST.recipient, SECOND.recipient]), NONCE, len(plain))
    sealer = ChunkSealer(key, NONCE)
    chunks = (
        sealer.seal(i, plain[slice(*layout.plain_range(i))], last=layout.is_last(i))
        for i in range(layout.chunk_count())
    )
    return layout.prefix + b"".join(chunks), layout, key


@settings(max_examples=30, deadline=None)
@given(size=sizes, piece=st.integers(1, 3 * CHUNK_BYTES))
def test_every_size_round_trips_in_any_pieces(size: int, piece: int) -> None:
    plain = bytes(range(251)) * (size // 251 + 1)
    plain = plain[:size]
    sealed = seal(plain, [FIRST.recipient, SECOND.recipient])
    piece = max(piece, len(sealed) // 200)
    for identity in (FIRST, SECOND):
        assert b"".join(open_pieces((sealed[i : i + piece] for i in range(0, len(sealed), piece)), [identity])) == plain


@settings(max_examples=30, deadline=None)
@given(size=sizes)
def test_geometry_tiles_the_object(size: int) -> None:
    sealed, layout, _ = sealed_object(bytes(size))
    assert layout.object_size() == len(sealed)
    assert plain_size_of(len(sealed) - layout.payload_offset) == size
    plain_at, cipher_at = 0, layout.payload_offset
    for chunk in range(layout.chunk_count()):
        plain_range, cipher_range = layout.plain_range(chunk), layout.cipher_range(chunk)
        assert (plain_range[0], cipher_range[0]) == (plain_at, cipher_at)
        plain_at, cipher_at = plain_range[1], cipher_range[1]
    assert (plain_at, cipher_at) == (size, len(sealed))


@settings(max_examples=60, deadline=None)
@given(size=sizes, cuts=st.lists(st.integers(0, 4 * SEALED_CHUNK_BYTES), min_size=2, max_size=4))
def test_parts_cut_anywhere_and_sealed_alone_join_to_the_object(size: int, cuts: list[int]) -> None:
    plain = bytes(range(7, 256)) * (size // 249 + 1)
    plain = plain[:size]
    sealed, layout, key = sealed_object(plain)
    sealer = ChunkSealer(key, NONCE)

    def part(start: int, stop: int) -> bytes:
        chunks = layout.chunks_of(start, stop)
        touched = b"".join(sealer.seal(i, plain[slice(*layout.plain_range(i))], last=layout.is_last(i)) for i in chunks)
        base = layout.cipher_range(chunks.start)[0] if chunks else 0
        before = layout.prefix[start:stop]
        first = max(start, layout.payload_offset)
        return before + touched[first - base : stop - base] if chunks else before

    edges = sorted({0, len(sealed), *(min(cut, len(sealed)) for cut in cuts)})
    assert b"".join(part(a, b) for a, b in pairwise(edges)) == sealed


@settings(max_examples=60, deadline=None)
@given(size=sizes, ends=st.tuples(st.integers(0, 4 * CHUNK_BYTES), st.integers(0, 4 * CHUNK_BYTES)))
def test_any_range_reads_only_the_chunks_it_needs(size: int, ends: tuple[int, int]) -> None:
    plain = bytes(range(7, 256)) * (size // 249 + 1)
    plain = plain[:size]
    sealed, layout, _ = sealed_object(plain)
    reads: list[tuple[int, int]] = []

    def read(start: int, stop: int) -> bytes:
        reads.append((start, stop))
        return sealed[start:stop]

    opener = RangedOpener(read, len(sealed), [SECOND])
    assert opener.plain_size == size
    assert opener.layout == layout
    reads.clear()
    start, stop = sorted(min(end, size) for end in ends)
    assert opener.read(start, stop) == plain[start:stop]
    assert sum(b - a for a, b in reads) <= stop - start + 2 * SEALED_CHUNK_BYTES


def test_a_stream_of_unknown_size_has_full_chunks() -> None:
    layout = SealedLayout(b"header", NONCE, None)
    assert layout.plain_range(5) == (5 * CHUNK_BYTES, 6 * CHUNK_BYTES)
    assert layout.cipher_range(1) == (22 + SEALED_CHUNK_BYTES, 22 + 2 * SEALED_CHUNK_BYTES)
    assert layout.chunks_of(0, 22 + 2 * SEALED_CHUNK_BYTES) == range(2)
    for unknown in (layout.object_size, layout.chunk_count):
        with pytest.raises(ValueError, match="not known"):
            unknown()


def test_geometry_refuses_what_is_outside() -> None:
    layout = SealedLayout(b"header", NONCE, CHUNK_BYTES + 1)
    assert layout.chunks_of(0, 22) == range(0)
    assert layout.chunks_of(21, 23) == range(1)
    for bad in (lambda: layout.plain_range(2), lambda: layout.cipher_range(-1), lambda: layout.chunks_of(3, 2)):
        with pytest.raises(ValueError, match=r"no chunk|range"):
            bad()
    with pytest.raises(ValueError, match="range"):
        layout.chunks_of(0, layout.object_size() + 1)
    with pytest.raises(ValueError, match="negative"):
        SealedLayout(b"header", NONCE, -1)
    with pytest.raises(ValueError, match="16 bytes"):
        SealedLayout(b"header", NONCE[:12], 0)


@pytest.mark.parametrize("payload", [0, 15, SEALED_CHUNK_BYTES + 15, SEALED_CHUNK_BYTES + TAG_BYTES])
def test_no_file_has_these_payload_sizes(payload: int) -> None:
    assert plain_size_of(payload) is None


def test_sealer_refuses_lengths_that_are_no_chunk() -> None:
    sealer = ChunkSealer(FileKey.new(), NONCE)
    for index, size, last in [(0, 5, False), (0, CHUNK_BYTES + 1, True), (1, 0, True), (0, 0, False)]:
        with pytest.raises(ValueError, match="chunk"):
            sealer.seal(index, bytes(size), last=last)
    with pytest.raises(ValueError, match="16 bytes"):
        ChunkSealer(FileKey.new(), NONCE[:15])


def test_seal_into_writes_the_same_bytes() -> None:
    sealer = ChunkSealer(FileKey.new(), NONCE)
    out = bytearray(SEALED_CHUNK_BYTES + 100 + TAG_BYTES)
    view = memoryview(out)
    assert sealer.seal_into(0, bytes(CHUNK_BYTES), view[:SEALED_CHUNK_BYTES], last=False) == SEALED_CHUNK_BYTES
    assert sealer.seal_into(1, memoryview(bytes(100)), view[SEALED_CHUNK_BYTES:], last=True) == 100 + TAG_BYTES
    assert bytes(out) == sealer.seal(0, bytes(CHUNK_BYTES), last=False) + sealer.seal(1, bytes(100), last=True)


def test_one_sealer_serves_many_threads(data_of: DataOf) -> None:
    plain = data_of(24 * CHUNK_BYTES)
    key = FileKey.new()
    sealer = ChunkSealer(key, NONCE)

    def one(i: int) -> bytes:
        return sealer.seal(i, plain[i * CHUNK_BYTES : (i + 1) * CHUNK_BYTES], last=i == 23)

    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(one, range(24)))
    assert together == [one(i) for i in range(24)]


@pytest.mark.parametrize("damage", ["index", "last", "bit", "short", "long", "nonce"])
def test_opener_refuses_a_chunk_that_is_not_that_one(damage: str) -> None:
    key = FileKey.new()
    cipher = bytearray(ChunkSealer(key, NONCE).seal(1, bytes(CHUNK_BYTES), last=False))
    assert ChunkOpener(key, NONCE).open(1, cipher, last=False) == bytes(CHUNK_BYTES)
    index, last, nonce = 1, False, NONCE
    if damage == "index":
        index = 2
    elif damage == "last":
        last = True
    elif damage == "nonce":
        nonce = NONCE[::-1]
    elif damage == "bit":
        cipher[70] ^= 1
    elif damage == "short":
        del cipher[-1]
    else:
        cipher += b"\0"
    with pytest.raises(VerificationError):
        ChunkOpener(key, nonce).open(index, cipher, last=last)


def test_opener_refuses_an_empty_last_chunk_of_a_file_that_is_not_empty() -> None:
    with pytest.raises(PayloadError, match="empty"):
        ChunkOpener(FileKey.new(), NONCE).open(1, bytes(TAG_BYTES), last=True)


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, CHUNK_BYTES + 1, 2 * CHUNK_BYTES])
def test_every_cut_is_noticed(size: int) -> None:
    sealed, layout, _ = sealed_object(bytes(size))
    offset = layout.payload_offset
    cuts = {1, 21, 30, offset - 17, offset - 1, offset, offset + 15, offset + 16, offset + SEALED_CHUNK_BYTES}
    for cut in sorted(c for c in cuts | {len(sealed) - 1, len(sealed) - 16} if c < len(sealed)):
        with pytest.raises(HeaderError if cut < offset else PayloadError):
            open_sealed(sealed[:cut], [FIRST])
        with pytest.raises(HeaderError if cut < offset else PayloadError):
            RangedOpener(lambda a, b: sealed[a:b], cut, [FIRST])
    with pytest.raises(PayloadError):
        open_sealed(sealed + b"\0", [FIRST])


def test_plaintext_is_released_as_it_is_proved() -> None:
    sealed, layout, _ = sealed_object(bytes(3 * CHUNK_BYTES))
    unsealer = Unsealer([FIRST])
    assert list(unsealer.feed(sealed[: layout.payload_offset])) == []
    assert list(unsealer.feed(sealed[layout.payload_offset : layout.cipher_range(1)[1]])) == [bytes(CHUNK_BYTES)] * 2
    unsealer.feed(sealed[layout.cipher_range(2)[0] :])  # not iterated: finish gives it
    assert unsealer.finish() == bytes(CHUNK_BYTES)
    with pytest.raises(ValueError, match="finished"):
        unsealer.feed(b"x")
    with pytest.raises(ValueError, match="finished"):
        unsealer.finish()


def test_a_bad_chunk_stays_bad() -> None:
    sealed, layout, _ = sealed_object(bytes(3 * CHUNK_BYTES))
    bad = bytearray(sealed)
    bad[layout.cipher_range(1)[0]] ^= 1
    unsealer = Unsealer([FIRST])
    released = []
    with pytest.raises(PayloadError):
        released += unsealer.feed(bad)
    for again in (lambda: list(unsealer.feed(b"")), unsealer.finish):
        with pytest.raises(PayloadError):
            again()


def test_ranged_opener_trusts_no_size_and_no_short_answer() -> None:
    sealed, layout, _ = sealed_object(bytes(2 * CHUNK_BYTES + 5))
    with pytest.raises(PayloadError):
        RangedOpener(lambda a, b: sealed[a:b], layout.cipher_range(1)[1], [FIRST])
    with pytest.raises(PayloadError, match="came"):
        RangedOpener(lambda a, b: sealed[a : b - 1], len(sealed), [FIRST])
    opener = RangedOpener(lambda a, b: sealed[a:b], len(sealed), [FIRST])
    with pytest.raises(ValueError, match="range"):
        opener.read(0, opener.plain_size + 1)
    with pytest.raises(ValueError, match="range"):
        opener.stream(5, 4)


def test_a_header_longer_than_the_first_read_opens_by_range() -> None:
    plain = b"0123456789"
    sealed = seal(plain, [FIRST.recipient] * 60 + [SECOND.recipient])
    opener = RangedOpener(lambda a, b: sealed[a:b], len(sealed), [SECOND])
    assert opener.read(2, 9) == plain[2:9]


def test_a_header_without_end_is_refused_before_it_fills_memory() -> None:
    endless = VERSION_LINE + b"-> X25519 a\n" + b"A" * MAX_HEADER_BYTES
    with pytest.raises(HeaderError, match="without end"):
        RangedOpener(lambda a, b: endless[a:b], len(endless), [FIRST])
    unsealer = Unsealer([FIRST])
    with pytest.raises(HeaderError, match="without end"):
        list(unsealer.feed(endless))


# runs of chunks, as downloads fetch them


def _run_of(plain: bytes, first: int, after: int) -> tuple[ChunkRun, bytearray, bytes]:
    """Return what opens the chunks ``[first, after)``, where they go, and their bytes."""
    sealed, layout, _ = sealed_object(plain)
    opened = open_prefix(sealed, [FIRST])
    assert opened is not None
    opener, payload_offset = opened
    assert payload_offset == layout.payload_offset
    with_last = after == layout.chunk_count()
    out = bytearray(layout.plain_range(after - 1)[1] - layout.plain_range(first)[0])
    cipher = sealed[layout.cipher_range(first)[0] : layout.cipher_range(after - 1)[1]]
    return ChunkRun(opener, first, memoryview(out), with_last=with_last), out, cipher


@settings(max_examples=40)
@given(
    size=sizes,
    piece=st.sampled_from([7001, CHUNK_BYTES, SEALED_CHUNK_BYTES, 3 * SEALED_CHUNK_BYTES + 5]),
    data=st.data(),
)
def test_a_run_of_chunks_in_pieces_of_any_size(size: int, piece: int, data: st.DataObject) -> None:
    plain = bytes(range(256)) * (size // 256 + 1)
    plain = plain[:size]
    count = max(1, -(-size // CHUNK_BYTES))
    first = data.draw(st.integers(0, count - 1))
    after = data.draw(st.integers(first + 1, count))
    run, out, cipher = _run_of(plain, first, after)
    for start in range(0, len(cipher), piece):
        assert not run.is_complete
        run.feed(cipher[start : start + piece])
    run.finish()
    assert bytes(out) == plain[first * CHUNK_BYTES : after * CHUNK_BYTES]
    with pytest.raises(PayloadError):
        run.feed(b"x")


@pytest.mark.parametrize("how", ["flipped", "cut", "swapped", "not the last"])
def test_a_run_of_chunks_that_is_not_right(how: str) -> None:
    plain = bytes(3 * CHUNK_BYTES + 100)
    run, _, cipher = _run_of(plain, 1, 4 if how != "not the last" else 3)
    wrong = bytearray(cipher)
    if how == "flipped":
        wrong[SEALED_CHUNK_BYTES + 9] ^= 1
    elif how == "cut":
        del wrong[-1]
    elif how == "swapped":
        wrong[:SEALED_CHUNK_BYTES], wrong[SEALED_CHUNK_BYTES : 2 * SEALED_CHUNK_BYTES] = (
            wrong[SEALED_CHUNK_BYTES : 2 * SEALED_CHUNK_BYTES],
            wrong[:SEALED_CHUNK_BYTES],
        )
    else:
        # the first chunks of a file, given out for all of it
        run, _, _ = _run_of(plain, 1, 3)
        run._with_last = True
    with pytest.raises(PayloadError):
        run.feed(wrong)
        run.finish()


def test_a_prefix_in_pieces() -> None:
    sealed, layout, _ = sealed_object(b"x")
    for size in (0, 1, layout.payload_offset - 1):
        assert open_prefix(sealed[:size], [FIRST]) is None


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES, 2 * CHUNK_BYTES, 2 * CHUNK_BYTES + 7])
@pytest.mark.parametrize("first", [0, 5])
def test_a_run_of_chunks_is_its_chunks_one_after_the_other(size: int, first: int) -> None:
    if size == 0 and first:
        return
    sealer = ChunkSealer(FileKey.new(), NONCE)
    plain = bytes(range(256)) * (size // 256 + 1)
    count = max(1, -(-size // CHUNK_BYTES))
    last = first + count - 1
    out = bytearray(size + count * TAG_BYTES)
    sealer.seal_run_into(first, memoryview(plain)[:size], memoryview(out), last=last)
    starts = range(0, max(size, 1), CHUNK_BYTES)
    chunks = (plain[start : min(start + CHUNK_BYTES, size)] for start in starts)
    assert out == b"".join(sealer.seal(first + n, c, last=first + n == last) for n, c in enumerate(chunks))


@pytest.mark.parametrize(
    ("size", "out_size", "last"),
    [
        (CHUNK_BYTES + 1, CHUNK_BYTES + 1 + 2 * TAG_BYTES, 9),
        (2 * CHUNK_BYTES, 2 * SEALED_CHUNK_BYTES, 0),
        (CHUNK_BYTES, SEALED_CHUNK_BYTES - 1, 9),
        (CHUNK_BYTES, SEALED_CHUNK_BYTES + TAG_BYTES, 9),
        (0, TAG_BYTES, 9),
    ],
    ids=["a short one before the last", "behind the last", "too little room", "too much room", "nothing"],
)
def test_a_run_that_is_no_run_of_chunks_is_refused(size: int, out_size: int, last: int) -> None:
    sealer = ChunkSealer(FileKey.new(), NONCE)
    with pytest.raises(ValueError, match="chunk"):
        sealer.seal_run_into(0, memoryview(bytes(size)), memoryview(bytearray(out_size)), last=last)


@pytest.mark.parametrize(("first", "count"), [(0, 0), (0, 1), (2, 3)])
def test_a_run_is_opened_as_its_chunks_one_after_the_other(first: int, count: int, data_of: DataOf) -> None:
    file_key = FileKey.new()
    sealer, opener = ChunkSealer(file_key, NONCE), ChunkOpener(file_key, NONCE)
    plain = data_of(count * CHUNK_BYTES)
    chunks = (plain[start : start + CHUNK_BYTES] for start in range(0, len(plain), CHUNK_BYTES))
    cipher = b"".join(sealer.seal(first + n, chunk, last=False) for n, chunk in enumerate(chunks))
    out = bytearray(len(plain))
    opener.open_run_into(first, memoryview(cipher), memoryview(out))
    assert out == plain


@pytest.mark.parametrize("how", ["flipped", "swapped", "moved", "the last of the file"])
def test_a_run_with_a_chunk_that_is_not_that_one_is_refused(how: str) -> None:
    file_key = FileKey.new()
    sealer, opener = ChunkSealer(file_key, NONCE), ChunkOpener(file_key, NONCE)
    one, two = (sealer.seal(n, bytes(CHUNK_BYTES), last=n == 1 and how == "the last of the file") for n in (0, 1))
    cipher = bytearray(two + one if how == "swapped" else one + two)
    if how == "flipped":
        cipher[SEALED_CHUNK_BYTES + 7] ^= 1
    bad = {"swapped": 0, "moved": 5}.get(how, 1)
    with pytest.raises(PayloadError, match=f"chunk {bad} is not"):
        opener.open_run_into(5 if how == "moved" else 0, memoryview(cipher), memoryview(bytearray(2 * CHUNK_BYTES)))


@pytest.mark.parametrize(("size", "room"), [(-1, 0), (1, 0), (0, -1), (0, 1), (0, CHUNK_BYTES)])
def test_a_run_of_chunks_that_are_not_full_is_no_run(size: int, room: int) -> None:
    opener = ChunkOpener(FileKey.new(), NONCE)
    cipher, out = bytes(2 * SEALED_CHUNK_BYTES + size), bytearray(2 * CHUNK_BYTES + room)
    with pytest.raises(ValueError, match="fit"):
        opener.open_run_into(0, memoryview(cipher), memoryview(out))
