"""The content of an object read where it stands: range after range, or here and there."""

from __future__ import annotations

import hashlib
import io
import random

import pytest

from ecogsafe.core.errors import SourceChangedError
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.ranges import RANGE_BYTES
from ecogsafe.transfer.stored_content import DigestWatch, StoredContent, StoredReader, StoredSource

KEY = "abcd1234_edf/abcd1234_1.edf"


def held(data: bytes, *, sealed: bool) -> tuple[MemoryStore, StoredContent]:
    store = MemoryStore("s3://recordings")
    identities: list[Identity] | None = None
    if sealed:
        identity = generate_identity()
        data, identities = seal(data, [identity.recipient]), [identity]
    store.put(KEY, data, crc64=crc64nvme(data), token="f" * 32)
    info = store.head(KEY)
    assert info is not None
    return store, StoredContent(store, info, identities)


@pytest.mark.parametrize("sealed", [True, False])
@pytest.mark.parametrize("size", [0, 1, 65_536, RANGE_BYTES - 1, 2 * RANGE_BYTES + 12_345])
def test_all_of_it_and_parts_of_it(size: int, sealed: bool) -> None:
    data = random.Random(size).randbytes(size)
    _, content = held(data, sealed=sealed)
    source = StoredSource(content, "the copy")
    watch = DigestWatch("the copy", hashlib.sha256(data).hexdigest())
    position = 0
    for piece in source.pieces():
        watch.feed(position, piece)
        position += len(piece)
    watch.check()
    assert (position, source.size) == (size, size)
    reader = io.BufferedReader(StoredReader(content))
    draw = random.Random(7)
    for _ in range(12):
        start, count = draw.randrange(size + 10), draw.choice([1, 100, 70_000])
        reader.seek(start)
        assert reader.read(count) == data[start : start + count]
    assert reader.seek(-min(size, 5), io.SEEK_END) == size - min(size, 5)
    assert reader.read() == data[-min(size, 5) :][:5]


@pytest.mark.parametrize("size", [1000, 2 * RANGE_BYTES + 5])
def test_another_content_is_stopped(size: int) -> None:
    data = random.Random(size).randbytes(size)
    _, content = held(data, sealed=True)
    watch = DigestWatch("the copy", hashlib.sha256(data[:-1] + b"!").hexdigest())
    for piece in StoredSource(content, "the copy").pieces():
        watch.feed(0, piece)
    with pytest.raises(SourceChangedError, match="the copy"):
        watch.check()


def test_rot_behind_the_first_range_is_stopped() -> None:
    data = random.Random(3).randbytes(2 * RANGE_BYTES)
    store, content = held(data, sealed=True)
    info, body = store._objects[KEY]
    store._objects[KEY] = (info, body[:-30] + bytes([body[-30] ^ 1]) + body[-29:])
    with pytest.raises(SourceChangedError):
        list(StoredSource(content, "the copy").pieces())
