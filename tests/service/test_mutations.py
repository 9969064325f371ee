"""Stores that lose, truncate, swap and flip what they hold, without a word: `verify` finds what its level can see.

By listing: what is gone or has another size. By the store's checksum: all but what a store hides that goes on
telling what it told before. By reading everything: everything. And never anything that is right.

``ECOGSAFE_SOAK_MUTATIONS`` says how many mutations, ``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import os
import random
import secrets
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import pytest

from ecogsafe.catalog import summaries
from ecogsafe.core.errors import ExitStatus
from ecogsafe.stores.memory import MemoryStore
from tests.servers.seaweed import SeaweedServer
from tests.service.small_lab import CODES, SmallLab, StoresInMemory, overwrite, patched

MUTATIONS = int(os.environ.get("ECOGSAFE_SOAK_MUTATIONS", "20"))
SEED = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))


class Place(Protocol):
    """A store from behind: what it holds can be changed without asking ecogsafe."""

    url: str
    #: it goes on telling the checksum, the size and the time of what it once took
    lies: bool

    def get(self, key: str) -> bytes: ...

    def set(self, key: str, data: bytes | None) -> None: ...

    def put_back(self) -> None: ...


class Memory:
    """A store in memory; one that lies hides what became of its bytes."""

    def __init__(self, stores: StoresInMemory, *, lies: bool) -> None:
        self.url = "s3://recordings"
        store = stores.add(self.url)
        assert isinstance(store, MemoryStore)
        self._store = store
        self.lies = lies
        self._kept: dict[str, Any] = {}

    def get(self, key: str) -> bytes:
        return self._store._objects[key][1]

    def set(self, key: str, data: bytes | None) -> None:
        self._kept.setdefault(key, self._store._objects[key])
        if data is None:
            del self._store._objects[key]
        else:
            overwrite(self._store, key, data, truthful=not self.lies)

    def put_back(self) -> None:
        self._store._objects.update(self._kept)
        self._kept = {}


class Folder:
    """A folder; its files keep their times, as when a disk rots."""

    lies = False

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self._folder = folder
        self.url = folder.as_uri()
        self._kept: dict[str, tuple[bytes, os.stat_result]] = {}

    def get(self, key: str) -> bytes:
        return (self._folder / key).read_bytes()

    def set(self, key: str, data: bytes | None) -> None:
        path = self._folder / key
        status = path.stat()
        self._kept.setdefault(key, (path.read_bytes(), status))
        path.chmod(0o600)
        if data is None:
            path.unlink()
            return
        path.write_bytes(data)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))

    def put_back(self) -> None:
        for key, (data, status) in self._kept.items():
            path = self._folder / key
            path.write_bytes(data)
            os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        self._kept = {}


class Bucket:
    """A bucket of a real server; objects are put again under their names, with their metadata."""

    lies = False

    def __init__(self, server: SeaweedServer) -> None:
        self._bucket = server.new_bucket()
        self._client = server.client()
        self.url = f"s3://{self._bucket}"
        self._kept: dict[str, tuple[bytes, dict[str, str]]] = {}

    def _fetch(self, key: str) -> tuple[bytes, dict[str, str]]:
        found = self._client.get_object(Bucket=self._bucket, Key=key)
        return found["Body"].read(), found["Metadata"]

    def get(self, key: str) -> bytes:
        return self._fetch(key)[0]

    def set(self, key: str, data: bytes | None) -> None:
        if key not in self._kept:
            self._kept[key] = self._fetch(key)
        if data is None:
            self._client.delete_object(Bucket=self._bucket, Key=key)
        else:
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data, Metadata=self._kept[key][1])

    def put_back(self) -> None:
        for key, (data, metadata) in self._kept.items():
            self._client.put_object(Bucket=self._bucket, Key=key, Body=data, Metadata=metadata)
        self._kept = {}


def lose(place: Place, draw: random.Random, keys: list[str]) -> None:
    place.set(keys[0], None)


def truncate(place: Place, draw: random.Random, keys: list[str]) -> None:
    data = place.get(keys[0])
    place.set(keys[0], data[: draw.choice([0, 1, len(data) // 2, len(data) - 16, len(data) - 1])])


def extend(place: Place, draw: random.Random, keys: list[str]) -> None:
    place.set(keys[0], place.get(keys[0]) + draw.randbytes(draw.choice([1, 16, 70_000])))


def flip(place: Place, draw: random.Random, keys: list[str]) -> None:
    data = bytearray(place.get(keys[0]))
    data[draw.randrange(len(data))] ^= 1 << draw.randrange(8)
    place.set(keys[0], bytes(data))


def blank(place: Place, draw: random.Random, keys: list[str]) -> None:
    """A block of zeros, as after a lost write."""
    data = place.get(keys[0])
    start = draw.randrange(max(1, len(data) - 16))
    place.set(keys[0], data[:start] + bytes(min(4096, len(data) - start)) + data[start + 4096 :])


def swap(place: Place, draw: random.Random, keys: list[str]) -> None:
    first, second = place.get(keys[0]), place.get(keys[1])
    place.set(keys[0], second)
    place.set(keys[1], first)


Mutation = Callable[[Place, random.Random, list[str]], None]
#: name: (what is done, objects it takes)
KINDS: dict[str, tuple[Mutation, int]] = {
    "lose": (lose, 1),
    "truncate": (truncate, 1),
    "extend": (extend, 1),
    "flip": (flip, 1),
    "blank": (blank, 1),
    "swap": (swap, 2),
}


@dataclass
class Bench:
    """A lab with eight sealed recordings of two sizes at one store."""

    lab: SmallLab
    place: Place
    keys: list[str]

    def bad(self) -> set[str]:
        with self.lab.reading() as tx:
            return {key for _, key, _ in summaries.bad_copies(tx)}

    def seen(self, what: str, **level: Any) -> set[str]:
        """Verify at a level, and return what is called bad then."""
        ended = self.lab.verify(**level)
        bad = self.bad()
        told = {error.item.removeprefix(f"{self.place.url}/") for error in ended.errors()}
        assert told == bad, f"{what}: what is told is not what is recorded"
        assert ended.status is (ExitStatus.VERIFY_FAILED if bad else ExitStatus.DONE), what
        return bad


@contextmanager
def bench_of(kind: str, lab: SmallLab, request: pytest.FixtureRequest, patch: pytest.MonkeyPatch) -> Iterator[Bench]:
    with patched(StoresInMemory()) if kind.startswith("memory") else _nothing() as stores:
        place: Place
        if isinstance(stores, StoresInMemory):
            place = Memory(stores, lies=kind == "memory that lies")
        elif kind == "folder":
            place = Folder(lab.folder / "nas")
        else:
            server: SeaweedServer = request.getfixturevalue("s3_server")
            for name, value in server.env().items():
                patch.setenv(name, value)
            place = Bucket(server)
        for code in CODES:
            for number in (1, 2, 3, 4):
                lab.edf(code, number, text="" if number < 3 else "seizure " * number)
        assert lab.upload("e", place.url, encrypt=True).status is ExitStatus.DONE
        keys = [f"{code}_edf/{code}_{number}.edf.age" for code in CODES for number in (1, 2, 3, 4)]
        yield Bench(lab, place, keys)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


SHARES = {"memory": 3, "memory that lies": 5, "folder": 6, "bucket": 6}


@pytest.mark.parametrize("kind", SHARES)
def test_verify_finds_what_its_level_can_see(
    kind: str, small_lab: SmallLab, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    print(f"ECOGSAFE_SEED={SEED} ECOGSAFE_SOAK_MUTATIONS={MUTATIONS} ({kind})")
    draw = random.Random(f"{SEED} {kind}")
    wanted = max(1, MUTATIONS * SHARES[kind] // sum(SHARES.values()))
    done = 0
    with bench_of(kind, small_lab, request, monkeypatch) as bench:
        assert bench.seen("nothing was touched", deep=True) == set()
        while done < wanted:
            done += _round(bench, draw, min(draw.randint(1, 3), wanted - done))


def _round(bench: Bench, draw: random.Random, count: int) -> int:
    """Do some mutations, look at every level, take them back; return how many."""
    place = bench.place
    free = draw.sample(bench.keys, len(bench.keys))
    touched: set[str] = set()
    shows_in_list: set[str] = set()
    what: list[str] = []
    before = {key: place.get(key) for key in bench.keys}
    for _ in range(count):
        name = draw.choice(list(KINDS))
        mutate, needed = KINDS[name]
        keys = [free.pop() for _ in range(needed)]
        mutate(place, draw, keys)
        what.append(f"{name} of {keys}")
        touched |= set(keys)
    told = f"{place.url}, seed {SEED}: {'; '.join(what)}"
    held = {key: _held(place, key) for key in touched}
    gone = {key for key in touched if held[key] is None}
    same = {key for key in touched if held[key] == before[key]}
    touched -= same
    shows_in_list = gone if place.lies else {k for k in touched if k in gone or len(held[k] or b"") != len(before[k])}
    listed = bench.seen(f"by listing: {told}", max_age_days=1)
    assert shows_in_list <= listed <= touched, f"by listing: {told}"
    asked = bench.seen(f"by the store's checksum: {told}")
    assert asked == (gone if place.lies else touched), f"by the store's checksum: {told}"
    assert bench.seen(f"by reading everything: {told}", deep=True) == touched, f"by reading everything: {told}"
    # nothing acquits what is bad but the proof that it is not
    assert bench.seen(f"asked once more: {told}") == touched, f"asked once more: {told}"
    place.put_back()
    assert bench.seen(f"put back: {told}", deep=True) == set(), f"put back: {told}"
    return count


def _held(place: Place, key: str) -> bytes | None:
    try:
        return place.get(key)
    except Exception:
        return None
