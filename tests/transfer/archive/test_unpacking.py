"""Files out of volumes: with the index by ranges, without it by reading all; nothing wrong is ever named."""

from __future__ import annotations

import os
import random
import re
import tarfile
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import EcogsafeError, StoreRefusedError, VerificationError
from ecogsafe.crypt.age_file import seal
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.archive.frame_fetching import FrameFetcher, index_fits
from ecogsafe.transfer.archive.index import parse_index
from ecogsafe.transfer.archive.tar_stream import Entry
from ecogsafe.transfer.archive.unpacked import Arrival, Wish, whole_seconds
from ecogsafe.transfer.archive.unpacking import Unpacking
from ecogsafe.transfer.archive.unpacking_whole import WholeUnpacking
from tests.transfer.archive.volume_builder import MTIME, Volume, build, hostile_tar, sealed_tar

FLIPS = int(os.environ.get("ECOGSAFE_SOAK_FLIPS", "20"))
SEED = int(os.environ.get("ECOGSAFE_SEED", "5"))
OURS = re.compile(r"abcd1234/[a-z0-9_/]+\.[a-z0-9]+")


def is_ours(path: str) -> bool:
    return OURS.fullmatch(path) is not None


def named(number: int) -> str:
    return f"abcd1234/abcd1234_1/abcd1234_1_{number:04d}.avi"


@pytest.fixture(scope="module")
def identity() -> X25519Identity:
    return generate_identity()


@pytest.fixture(scope="module")
def files() -> dict[str, bytes]:
    """Many small ones in one frame, some with frames of their own, one in several frames, an empty one."""
    draw = random.Random(SEED)
    sizes = [0, 1, 511, 512, 513, 70_000, 2_000_000, 1_100_000, 33_600_000]
    found = {named(number): draw.randbytes(size) for number, size in enumerate(sizes)}
    found |= {named(100 + number): bytes([number]) * (3000 + number) for number in range(40)}
    found[named(900)] = b"text that repeats itself; " * 60_000
    return found


@pytest.fixture(scope="module")
def volume(identity: X25519Identity, files: dict[str, bytes]) -> Volume:
    return build(files, [identity.recipient])


@pytest.fixture
def store(volume: Volume) -> MemoryStore:
    return stored(volume.data, volume.key)


def stored(data: bytes, key: str) -> MemoryStore:
    made = MemoryStore()
    made.put(key, data, crc64=crc64nvme(data), token="0" * 32)
    return made


def info_of(store: Store, key: str) -> ObjectInfo:
    info = store.head(key)
    assert info is not None
    return info


def wishes(volume: Volume, *paths: str) -> list[Wish]:
    members = [m for m in volume.index.members if not paths or m.path in paths]
    return [Wish(m.path, m.size, m.sha256, whole_seconds(m.mtime)) for m in members]


def unpack(
    store: Store, volume: Volume, identity: X25519Identity, folder: Path, *paths: str, connections: int = 3
) -> list[Arrival]:
    fetcher = FrameFetcher(store, volume.index, [identity])
    fetcher.open()
    unpacking = Unpacking(fetcher, info_of(store, volume.key), folder, connections=connections, stop=threading.Event())
    return list(unpacking.run(wishes(volume, *paths)))


def read_all(
    store: Store,
    key: str,
    identity: X25519Identity,
    folder: Path,
    *,
    decide: Callable[[Entry], Wish | None] | None = None,
) -> Iterator[Arrival]:
    whole = WholeUnpacking(
        store, info_of(store, key), [identity], folder, crc64=None, is_ours=is_ours, stop=threading.Event()
    )
    return whole.run(decide or (lambda entry: Wish(entry.path, entry.size, None, whole_seconds(entry.mtime))))


def found(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


# through the index


@pytest.mark.parametrize("connections", [1, 4])
def test_everything_comes_back(
    store: MemoryStore,
    volume: Volume,
    identity: X25519Identity,
    files: dict[str, bytes],
    tmp_path: Path,
    connections: int,
) -> None:
    ends = unpack(store, volume, identity, tmp_path, connections=connections)
    assert [a.error for a in ends] == [None] * len(files)
    assert found(tmp_path) == files
    assert (tmp_path / named(1)).stat().st_mtime == MTIME


def test_every_frame_is_fetched_once(
    store: MemoryStore, volume: Volume, identity: X25519Identity, tmp_path: Path
) -> None:
    fetched: list[int] = []
    fetcher = FrameFetcher(store, volume.index, [identity], fetched.append)
    fetcher.open()
    unpacking = Unpacking(fetcher, info_of(store, volume.key), tmp_path, connections=2, stop=threading.Event())
    list(unpacking.run(wishes(volume)))
    assert sum(fetched) < 1.03 * len(volume.data)


def test_one_file_fetches_little_more_than_itself(
    store: MemoryStore, volume: Volume, identity: X25519Identity, tmp_path: Path
) -> None:
    fetched: list[int] = []
    fetcher = FrameFetcher(store, volume.index, [identity], fetched.append)
    fetcher.open()
    unpacking = Unpacking(fetcher, info_of(store, volume.key), tmp_path, connections=2, stop=threading.Event())
    (end,) = unpacking.run(wishes(volume, named(8)))
    assert end.error is None
    assert sum(fetched) < 1.02 * end.wish.size


def test_an_interrupted_file_goes_on_where_it_stopped(
    volume: Volume, store: MemoryStore, identity: X25519Identity, files: dict[str, bytes], tmp_path: Path
) -> None:
    class Ending(MemoryStore):
        left = 2

        def read(self, key: str, start: int = 0, stop: int | None = None, **more: Any) -> Iterator[Any]:
            if start:
                if not self.left:
                    raise StoreRefusedError("the store", "is gone")
                self.left -= 1
            return MemoryStore.read(store, key, start, stop)

    failing = Ending()
    failing._objects = store._objects
    (first,) = unpack(failing, volume, identity, tmp_path, named(8), connections=1)
    assert isinstance(first.error, StoreRefusedError)
    assert list(found(tmp_path)) != [named(8)]
    kept: list[int] = []
    fetched: list[int] = []
    fetcher = FrameFetcher(store, volume.index, [identity], fetched.append)
    fetcher.open()
    unpacking = Unpacking(
        fetcher, info_of(store, volume.key), tmp_path, connections=1, stop=threading.Event(), on_kept=kept.append
    )
    (second,) = unpacking.run(wishes(volume, named(8)))
    assert second.error is None
    assert sum(kept) > 8 << 20
    assert sum(kept) + sum(fetched) < 1.02 * second.wish.size
    assert found(tmp_path) == {named(8): files[named(8)]}


def test_what_was_left_and_is_wrong_is_fetched_again(
    volume: Volume, store: MemoryStore, identity: X25519Identity, files: dict[str, bytes], tmp_path: Path
) -> None:
    faulty = Faulty(store, {"read": [None, None, *[Fault(error=StoreRefusedError("the store", "no"))] * 9]})
    (first,) = unpack(faulty, volume, identity, tmp_path, named(8), connections=1)
    assert first.error is not None
    (part,) = tmp_path.rglob("*.ecogsafe-part")
    with part.open("r+b") as file:
        file.write(b"something else was written here")
    (second,) = unpack(store, volume, identity, tmp_path, named(8))
    assert second.error is None
    assert found(tmp_path) == {named(8): files[named(8)]}


def test_stopping_keeps_what_came_and_names_nothing_unfinished(
    store: MemoryStore, volume: Volume, identity: X25519Identity, files: dict[str, bytes], tmp_path: Path
) -> None:
    stop = threading.Event()
    fetcher = FrameFetcher(store, volume.index, [identity], lambda _: None)
    fetcher.open()
    ended = 0
    for end in Unpacking(fetcher, info_of(store, volume.key), tmp_path, connections=2, stop=stop).run(wishes(volume)):
        ended += 1
        assert end.error is None
        if ended == 5:
            stop.set()
    assert ended == 5
    visible = {path for path in found(tmp_path) if "/." not in path}
    assert visible < set(files)
    assert len(visible) == 5
    assert [end.error for end in unpack(store, volume, identity, tmp_path, *(set(files) - visible))] == [None] * (
        len(files) - 5
    )
    assert found(tmp_path) == files


def test_a_flipped_byte_anywhere_is_found_and_named(identity: X25519Identity, tmp_path: Path) -> None:
    """Through the index and without it: what has a name is right, what is wrong has none, and the volume is named."""
    draw = random.Random(SEED)
    files = {named(number): draw.randbytes(size) for number, size in enumerate([0, 1, 70_000, 1_200_000])}
    files[named(9)] = b"text that repeats itself; " * 10_000
    volume = build(files, [identity.recipient], part_bytes=400_000)
    for number in range(FLIPS):
        data = bytearray(volume.data)
        position = draw.randrange(len(data)) if number else 0
        data[position] ^= 1 << draw.randrange(8)
        store = stored(bytes(data), volume.key)
        # whoever changed it made the store tell what it told before
        store._objects[volume.key] = (
            replace(store._objects[volume.key][0], crc64=volume.index.object_crc64nvme),
            bytes(data),
        )
        through = tmp_path / f"{number}-index"
        through.mkdir()
        errors: list[Exception] = []
        try:
            errors = [end.error for end in unpack(store, volume, identity, through) if end.error is not None]
        except EcogsafeError as error:
            errors = [error]
        assert all(isinstance(error, EcogsafeError) for error in errors)
        assert all(content == files[path] for path, content in found(through).items()), f"byte {position}"
        # a byte of padding, or of the manifest, is looked at by nobody who fetches by range
        assert all(volume.key in str(error) for error in errors), f"byte {position}"
        if len(found(through)) < len(files):
            assert errors
        whole = tmp_path / f"{number}-whole"
        whole.mkdir()
        with pytest.raises(EcogsafeError) as caught:
            list(read_all(store, volume.key, identity, whole))
        assert volume.key in str(caught.value) or position < volume.index.header_bytes
        assert found(whole) == {}, f"byte {position}"


def test_an_index_of_another_object_is_not_believed(store: MemoryStore, volume: Volume) -> None:
    info = info_of(store, volume.key)
    assert index_fits(volume.index, info, crc64=None)
    assert not index_fits(replace(volume.index, object_size=volume.index.object_size + 65_552), info, crc64=None)
    assert not index_fits(replace(volume.index, zstd_size=volume.index.zstd_size - 1), info, crc64=None)
    assert not index_fits(replace(volume.index, object_crc64nvme=1), info, crc64=None)
    assert not index_fits(volume.index, replace(info, crc64=None), crc64=2)
    assert not index_fits(volume.index, replace(info, size=1), crc64=None)


def test_a_frame_that_announces_more_than_it_should_takes_no_memory(identity: X25519Identity, tmp_path: Path) -> None:
    """Whoever has the public key can seal a frame of a terabyte of zeros."""
    made = build({named(1): b"a clip " * 1000}, [identity.recipient])
    # magic, single segment, content size in 8 bytes: 2**40; one last raw block of one byte
    bomb = b"\x28\xb5\x2f\xfd\xe0" + (1 << 40).to_bytes(8, "little") + b"\x09\x00\x00x"
    data = seal(bomb, [identity.recipient])
    frames = (replace(made.index.frames[0], zstd_start=0, zstd_stop=len(bomb)),)
    index = replace(
        made.index,
        frames=frames,
        tar_size=frames[0].tar_stop,
        zstd_size=len(bomb),
        object_size=len(data),
        object_crc64nvme=crc64nvme(data),
    )
    store = stored(data, made.key)
    (end,) = unpack(store, replace(made, index=index), identity, tmp_path)
    assert isinstance(end.error, VerificationError)
    assert "another length" in str(end.error)
    assert found(tmp_path) == {}
    large = replace(index.frames[0], tar_stop=1 << 40)
    assert not index_fits(replace(index, frames=(large,), tar_size=1 << 40), info_of(store, made.key), crc64=None)


def test_the_index_survives_its_own_text(volume: Volume) -> None:
    assert parse_index(volume.index.to_bytes(), item="x") == volume.index


# without the index


def test_reading_all_of_it(
    store: MemoryStore, volume: Volume, identity: X25519Identity, files: dict[str, bytes], tmp_path: Path
) -> None:
    ends = list(read_all(store, volume.key, identity, tmp_path))
    assert [end.error for end in ends] == [None] * len(files)
    assert found(tmp_path) == files


def test_reading_all_for_two_files_whose_digests_are_known(
    store: MemoryStore, volume: Volume, identity: X25519Identity, files: dict[str, bytes], tmp_path: Path
) -> None:
    known = {wish.path: wish for wish in wishes(volume, named(3), named(0))}
    known[named(0)] = replace(known[named(0)], sha256="0" * 64)
    right, wrong = named(3), named(0)
    ends = {
        end.wish.path: end.error
        for end in read_all(store, volume.key, identity, tmp_path, decide=lambda entry: known.get(entry.path))
    }
    assert ends[right] is None
    assert isinstance(ends[wrong], VerificationError)
    assert found(tmp_path) == {right: files[right]}


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.999])
def test_a_cut_volume_leaves_nothing(volume: Volume, identity: X25519Identity, tmp_path: Path, share: float) -> None:
    store = stored(volume.data[: int(share * len(volume.data))], volume.key)
    with pytest.raises(VerificationError) as caught:
        list(read_all(store, volume.key, identity, tmp_path))
    assert volume.key in str(caught.value)
    assert found(tmp_path) == {}


def entry(name: str, kind: bytes = tarfile.REGTYPE, **values: object) -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type = kind
    for attribute, value in values.items():
        setattr(info, attribute, value)
    return info


GOOD = (entry(named(1)), b"a clip")
HOSTILE = {
    "absolute": [(entry("/etc/passwd"), b"x")],
    "leads outside": [(entry("abcd1234/../../escaped.avi"), b"x")],
    "symbolic link": [(entry(named(2), tarfile.SYMTYPE, linkname="/etc/passwd"), b"")],
    "hard link": [(entry(named(2), tarfile.LNKTYPE, linkname=named(1)), b"")],
    "a device": [(entry(named(2), tarfile.CHRTYPE), b"")],
    "device": [(entry(named(2), tarfile.BLKTYPE), b"")],
    "FIFO": [(entry(named(2), tarfile.FIFOTYPE), b"")],
    "folder entry": [(entry("abcd1234/abcd1234_9", tarfile.DIRTYPE), b"")],
    "two files of one name": [(entry(named(1)), b"another clip")],
    "not of our form": [(entry("abcd1234/Zwiebel Anna.avi"), b"x")],
    "none of ours": [(entry(named(2), pax_headers={"comment": "x" * 70}), b"x")],
    "kind that is none": [(entry(named(2), tarfile.CONTTYPE), b"x")],
}


@pytest.mark.parametrize("problem", HOSTILE)
def test_a_hostile_volume_is_refused_and_leaves_nothing(identity: X25519Identity, tmp_path: Path, problem: str) -> None:
    key = "abcd1234/abcd1234_vid_0001.tar.zst.age"
    store = stored(sealed_tar(hostile_tar(GOOD, *HOSTILE[problem]), [identity.recipient]), key)
    inside = tmp_path / "inside"
    inside.mkdir()
    with pytest.raises(VerificationError, match=problem) as caught:
        list(read_all(store, key, identity, inside))
    assert key in str(caught.value)
    assert "Zwiebel" not in str(caught.value)
    assert found(tmp_path) == {}


@pytest.mark.parametrize(
    ("manifest", "problem"),
    [
        (b"", "other files than its manifest"),
        (b"0" * 64 + b"  " + named(1).encode() + b"\n", "digests are not those"),
        (b"0" * 64 + b"  " + named(1).encode(), "manifest that is cut"),
        (b"no digest\n", "manifest that is damaged"),
        (b"\xff\n", "manifest that is damaged"),
    ],
)
def test_a_manifest_that_does_not_fit(identity: X25519Identity, tmp_path: Path, manifest: bytes, problem: str) -> None:
    key = "abcd1234/abcd1234_vid_0001.tar.zst.age"
    store = stored(sealed_tar(hostile_tar(GOOD, manifest=manifest), [identity.recipient]), key)
    with pytest.raises(VerificationError, match=problem):
        list(read_all(store, key, identity, tmp_path))
    assert found(tmp_path) == {}


def test_what_is_behind_the_manifest_is_refused(identity: X25519Identity, tmp_path: Path) -> None:
    key = "abcd1234/abcd1234_vid_0001.tar.zst.age"
    store = stored(sealed_tar(hostile_tar(GOOD) + b"more", [identity.recipient]), key)
    with pytest.raises(VerificationError, match="behind its manifest"):
        list(read_all(store, key, identity, tmp_path))
    assert found(tmp_path) == {}
