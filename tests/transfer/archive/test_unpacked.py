"""Files that wait under their hidden names until the manifest has said that they are right."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from ecogsafe.core.errors import LockedError, SourceUnreadableError, VerificationError
from ecogsafe.crypt.age_recipients import X25519Identity
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.archive.tar_stream import Entry
from ecogsafe.transfer.archive.unpacked import Wish, whole_seconds
from ecogsafe.transfer.landing_names import part_path
from tests.transfer.archive.test_unpacking import found, named, read_all, stored
from tests.transfer.archive.volume_builder import Volume, build

FILES = {named(number): f"content {number} ".encode() * 1000 for number in range(4)}


@pytest.fixture
def identity() -> X25519Identity:
    return generate_identity()


@pytest.fixture
def volume(identity: X25519Identity) -> Volume:
    return build(FILES, [identity.recipient])


@pytest.fixture
def store(volume: Volume) -> MemoryStore:
    return stored(volume.data, volume.key)


def wish(entry: Entry) -> Wish:
    return Wish(entry.path, entry.size, None, whole_seconds(entry.mtime))


@pytest.mark.parametrize("how", ["removed", "changed"])
def test_what_is_done_to_a_waiting_file_here_does_not_speak_against_the_copy(
    store: MemoryStore, volume: Volume, identity: X25519Identity, tmp_path: Path, how: str
) -> None:
    """A verification error would mark a copy as damaged that is right."""
    hidden = part_path(tmp_path / named(1))

    def decide(entry: Entry) -> Wish:
        if entry.path == named(3):
            hidden.unlink() if how == "removed" else hidden.write_bytes(bytes(hidden.stat().st_size))
        return wish(entry)

    ends = {end.wish.path: end.error for end in read_all(store, volume.key, identity, tmp_path, decide=decide)}
    assert isinstance(ends.pop(named(1)), SourceUnreadableError)
    assert set(ends.values()) == {None}
    assert found(tmp_path) == {path: data for path, data in FILES.items() if path != named(1)}


def test_a_waiting_file_that_another_run_took_is_left_to_it(
    store: MemoryStore, volume: Volume, identity: X25519Identity, tmp_path: Path
) -> None:
    hidden, held = part_path(tmp_path / named(1)), []

    def decide(entry: Entry) -> Wish:
        if entry.path == named(3):
            held.append(os.open(hidden, os.O_RDWR))
            fcntl.flock(held[0], fcntl.LOCK_EX)
        return wish(entry)

    ends = {end.wish.path: end.error for end in read_all(store, volume.key, identity, tmp_path, decide=decide)}
    assert isinstance(ends[named(1)], LockedError)
    assert not isinstance(ends[named(1)], VerificationError)
    assert hidden.exists()
    os.close(held[0])


def test_a_volume_that_is_cut_leaves_no_waiting_file(volume: Volume, identity: X25519Identity, tmp_path: Path) -> None:
    cut = stored(volume.data[:-200], volume.key)
    with pytest.raises(VerificationError):
        list(read_all(cut, volume.key, identity, tmp_path))
    assert found(tmp_path) == {}
