"""Does a store keep its promises? Named checks against the contract of `ecogsafe.stores.protocol`.

They run on any store, a user's own bucket too, and write objects below one prefix; a store has no delete,
so these stay. Each check uses keys of its own and may run alone. Those of uploads in parts are in
`ecogsafe.stores.check_uploads`.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import ClassVar, TypeAlias

from ecogsafe.core.errors import (
    ChecksumRefusedError,
    EcogsafeError,
    ObjectExistsError,
    ObjectMissingError,
    ObjectReplacedError,
    StoreError,
    StoreRefusedError,
)
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.protocol import OWN_PREFIX, Buffer, ObjectInfo, Store

#: takes the store and the prefix to work below (ends with a slash); raises `CheckFailed`
Check: TypeAlias = Callable[[Store, str], None]


class CheckFailed(StoreError):
    """A store broke a promise of the contract."""

    code: ClassVar[str] = "store-check-failed"


def require(holds: bool, store: Store, promise: str) -> None:  # noqa: FBT001 (reads as an assertion)
    """Raise `CheckFailed` naming the ``promise`` unless it ``holds``."""
    if not holds:
        raise CheckFailed(store.url, f"does not keep its promise: {promise}", next="do not rely on this store")


@contextmanager
def refusal(store: Store, kind: type[EcogsafeError], promise: str) -> Iterator[None]:
    """Require that the block raises ``kind``."""
    try:
        yield
    except kind:
        return
    except EcogsafeError as error:
        raise CheckFailed(store.url, f"does not keep its promise: {promise} (it says {error.code})") from error
    require(False, store, promise)


def sample(seed: str, size: int) -> bytes:
    """Return ``size`` bytes that look random and are the same for the same ``seed``."""
    return hashlib.shake_128(seed.encode()).digest(size)


def put(store: Store, key: str, data: bytes, *, token: str = "check", crc64: int | None = None) -> ObjectInfo:  # noqa: S107
    """Put ``data``, with its true checksum unless another is given."""
    return store.put(key, data, crc64=body_crc64(data) if crc64 is None else crc64, token=token)


def got(store: Store, key: str, start: int = 0, stop: int | None = None) -> bytes:
    """Return a range of an object in one piece."""
    return b"".join(store.read(key, start, stop))


def require_object(store: Store, key: str, data: bytes, promise: str) -> None:
    """Require that ``key`` holds exactly ``data``, by its bytes, by HEAD and by LIST."""
    require(got(store, key) == data, store, f"{promise}: the bytes come back")
    info = store.head(key, checksum=True)
    require(info is not None and info.size == len(data), store, f"{promise}: HEAD knows it and its size")
    listed = {found.key: found.size for found in store.list(key)}
    require(listed.get(key) == len(data), store, f"{promise}: LIST knows it and its size")


def absent_key_is_told(store: Store, under: str) -> None:
    """HEAD of nothing is None, GET of nothing raises, LIST of nothing is empty."""
    key = f"{under}absent/nothing.edf"
    require(store.head(key) is None, store, "HEAD of an absent key tells it is absent")
    require(not list(store.list(f"{under}absent/")), store, "LIST of an absent folder is empty")
    with refusal(store, ObjectMissingError, "GET of an absent key tells it is absent"):
        got(store, key)


def objects_come_back(store: Store, under: str) -> None:
    """What was put comes back, whatever its size; the answer to put describes it."""
    for size in (0, 1, 65_536, 300_001):
        key = f"{under}whole/{size}.avi.age"
        data = sample(key, size)
        info = put(store, key, data)
        require(info.key == key and info.size == size, store, "the answer to put has the key and size")
        require_object(store, key, data, "put stores the object")


def bodies_of_several_buffers_are_joined(store: Store, under: str) -> None:
    """A body in several buffers is one object."""
    key = f"{under}buffers.edf"
    data = sample(key, 200_003)
    pieces: list[Buffer] = [data[:70_000], memoryview(data)[70_000:70_001], b"", bytearray(data[70_001:])]
    store.put(key, pieces, crc64=body_crc64(data), token="check")  # noqa: S106
    require_object(store, key, data, "put joins the buffers of a body")


def ranges_are_exact(store: Store, under: str) -> None:
    """A range gives its bytes and no others; behind the end there is nothing."""
    key = f"{under}ranges.vtc"
    data = sample(key, 200_000)
    put(store, key, data)
    edges = (0, 1, 65_535, 65_536, 65_537, 199_999, 200_000)
    for start in edges:
        for stop in (*(edge for edge in edges if edge >= start), 200_007, None):
            require(got(store, key, start, stop) == data[start:stop], store, "a range gives exactly its bytes")


def checksum_and_token_are_kept(store: Store, under: str) -> None:
    """HEAD tells the CRC64NVME and the token of an object, where the store claims to keep them."""
    key = f"{under}evidence.edf"
    data = sample(key, 100_000)
    token = secrets.token_hex(16)
    for info in (put(store, key, data, token=token), store.head(key, checksum=True)):
        require(info is not None, store, "an object that was stored is there")
        if info is not None:
            wanted = body_crc64(data) if store.capabilities.full_object_checksum else None
            require(info.crc64 == wanted, store, "it tells the checksum of the whole object, or none")
            kept = token if store.capabilities.keeps_token else None
            require(info.token in (token, kept), store, "it keeps the token")
    told = store.head(key)
    if store.capabilities.keeps_token:
        require(told is not None and told.token == token, store, "HEAD tells the token")


def etag_follows_the_object(store: Store, under: str) -> None:
    """HEAD and LIST agree on the ETag, so that LIST can say "same object"; and only that object is read."""
    key = f"{under}etag/one.edf"
    data = sample(key, 1000)
    put(store, key, data)
    put(store, f"{under}etag/two.edf", sample("two", 2000))
    told, other = store.head(key), store.head(f"{under}etag/two.edf")
    listed = {found.key: found.etag for found in store.list(f"{under}etag/")}
    require(told is not None and told.etag is not None, store, "HEAD tells an ETag")
    if told is None or other is None:
        return
    require(listed.get(key) == told.etag, store, "LIST tells the same ETag as HEAD")
    same = b"".join(store.read(key, 10, 20, etag=told.etag))
    require(same == data[10:20], store, "an object is read by its ETag")
    with refusal(store, ObjectReplacedError, "by the ETag of another object nothing is read"):
        list(store.read(key, 10, 20, etag=other.etag))


def put_never_replaces(store: Store, under: str) -> None:
    """A second put of a key is refused and leaves the first object as it was."""
    key = f"{under}kept.edf"
    data = sample(key, 5000)
    put(store, key, data, token="first")  # noqa: S106
    for other in (sample("other", 5000), data):
        with refusal(store, ObjectExistsError, "put with if_absent refuses a key that exists"):
            put(store, key, other, token="second")  # noqa: S106
    require_object(store, key, data, "a refused put leaves the object as it was")
    told = store.head(key)
    require(told is not None and told.token in ("first", None), store, "a refused put leaves the token as it was")


def one_of_many_writers_wins(store: Store, under: str) -> None:
    """Of several threads that put one key at once, one succeeds and the others are told."""
    key = f"{under}race.edf"
    bodies = {f"writer {number}": sample(f"writer {number}", 20_000) for number in range(6)}

    def write(token: str) -> bool:
        try:
            put(store, key, bodies[token], token=token)
        except ObjectExistsError:
            return False
        return True

    with ThreadPoolExecutor(len(bodies)) as pool:
        winners = [token for token, won in zip(bodies, pool.map(write, bodies), strict=True) if won]
    require(len(winners) == 1, store, "one of several writers of a key wins")
    require_object(store, key, bodies[winners[0]], "the winner's object is the one that stays")


def false_checksum_is_refused(store: Store, under: str) -> None:
    """A body that does not fit its checksum is refused, and nothing is stored."""
    key = f"{under}false.edf"
    data = sample(key, 70_000)
    with refusal(store, ChecksumRefusedError, "put refuses a body that does not fit its checksum"):
        put(store, key, data, crc64=body_crc64(data) ^ 1)
    require(store.head(key) is None, store, "a refused body is not stored")
    require(not list(store.list(key)), store, "a refused body is not listed")
    put(store, key, data)
    require_object(store, key, data, "the right body is taken afterwards")


def listing_is_whole(store: Store, under: str) -> None:
    """LIST shows each object of a prefix once, at once, and no others, over more than one page of answers."""
    folder = f"{under}listed/"
    # "a-b" sorts before "a/b" as text but may come after it as a folder
    names = ("a/b.edf", "a/c/d.edf", "a-b.edf", "a.edf", "ab.edf", "b.edf")
    put(store, f"{under}listed-not.edf", b"x")
    for number, name in enumerate(names, 1):
        put(store, folder + name, sample(name, number))
    found = [(info.key, info.size) for info in store.list(folder)]
    wanted = sorted((folder + name, number) for number, name in enumerate(names, 1))
    require(sorted(found) == wanted, store, "LIST shows every object of a prefix once, and no others")
    part = sorted(info.key for info in store.list(f"{folder}a/"))
    require(part == [f"{folder}a/b.edf", f"{folder}a/c/d.edf"], store, "LIST of a folder shows what is in it")
    begun = {info.key for info in store.list(f"{folder}a")}
    require(begun == {folder + name for name in names if name.startswith("a")}, store, "a prefix may end in a name")


def own_keys_are_apart(store: Store, under: str) -> None:
    """Keys of ours alone show only to a prefix that asks for them."""
    key = f"{OWN_PREFIX}check/{under}own.json"
    put(store, key, b"{}")
    require(key in {info.key for info in store.list(OWN_PREFIX)}, store, "LIST shows our own keys when asked")
    shown = any(info.key.startswith(OWN_PREFIX) for info in store.list())
    require(not shown, store, "LIST hides our own keys unless asked")


def names_are_kept(store: Store, under: str) -> None:
    """Spaces, signs and letters beyond ASCII come back as they were."""
    folder = f"{under}names/"
    for name in ("a b.edf", "é+%41.edf", "~2 & #1?.edf", "'quoted' \"name\".edf", "日本.edf", "x=1;y,z@.edf"):
        data = sample(name, 40)
        put(store, folder + name, data)
        require_object(store, folder + name, data, "every name is kept")
    require(len(list(store.list(folder))) == 6, store, "different names are different objects")


def bad_keys_are_refused(store: Store, under: str) -> None:
    """What could mean another place is no key, for reading and for writing."""
    for key in ("", "/a", "a/", "a//b", ".", "a/../b", "../a", "a/./b", "a\0b", "a\nb", f"{'n' * 256}", "a/\udcff"):
        bad = key if key.startswith((".", "/")) or not key else under + key
        with refusal(store, StoreRefusedError, "put refuses what is not a key"):
            put(store, bad, b"x")
        with refusal(store, StoreRefusedError, "HEAD refuses what is not a key"):
            store.head(bad)
        with refusal(store, StoreRefusedError, "GET refuses what is not a key"):
            got(store, bad)


OBJECT_CHECKS: tuple[Check, ...] = (
    absent_key_is_told,
    objects_come_back,
    bodies_of_several_buffers_are_joined,
    ranges_are_exact,
    checksum_and_token_are_kept,
    etag_follows_the_object,
    put_never_replaces,
    one_of_many_writers_wins,
    false_checksum_is_refused,
    listing_is_whole,
    own_keys_are_apart,
    names_are_kept,
    bad_keys_are_refused,
)
