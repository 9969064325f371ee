"""What is at the store already: known, lost, replaced, touched, changed, somebody else's."""

from __future__ import annotations

import os
from typing import Any

import pytest

from ecogsafe.catalog import copies, files
from ecogsafe.core.errors import ExitStatus
from ecogsafe.service.presence import base_of, path_of_key, version_of
from ecogsafe.stores.faulty import Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.transfer.source import FileSource
from tests.service.recordings_sent import CODE, FIRST, PARAMETERS, SECOND, change, puts, send
from tests.service.small_lab import (
    URL,
    SmallLab,
    StoresInMemory,
    bytes_in,
    lose,
    overwrite,
)

# known and unchanged


@PARAMETERS
def test_what_is_there_is_not_sent_twice(small_lab: SmallLab, in_memory: StoresInMemory, encrypt: bool) -> None:
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    watched = Faulty(MemoryStore(URL))
    in_memory.add(URL, watched)
    send(small_lab, encrypt=encrypt)
    assert len(puts(watched)) == 2
    again = send(small_lab, encrypt=encrypt)
    assert again.status is ExitStatus.DONE
    assert len(again.keys("present")) == 2
    assert again.run is not None
    assert (again.run.tally.done, again.run.tally.present) == (0, 2)
    assert len(puts(watched)) == 2


def test_unchanged_files_are_not_read_again(recordings: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def pieces(self: FileSource) -> Any:
        raise AssertionError("a file was read whole")

    monkeypatch.setattr(FileSource, "pieces", pieces)
    assert len(send(recordings).keys("present")) == 2


def test_a_touched_file_is_read_and_found_the_same(recordings: SmallLab) -> None:
    os.utime(recordings.out / "edf" / FIRST)
    ended = send(recordings)
    assert ended.keys("present") == [FIRST, SECOND]
    with recordings.reading() as tx:
        row = files.file_by_path(tx, "edf", FIRST)
    assert row is not None
    assert row.mtime_ns == (recordings.out / "edf" / FIRST).stat().st_mtime_ns


@pytest.mark.parametrize("what", ["superseded", "freed"])
def test_a_file_taken_back_or_freed_is_read_before_it_counts(recordings: SmallLab, what: str) -> None:
    """`deid undo` and a new apply can give other bytes the same size and time."""
    path = recordings.out / "edf" / FIRST
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[256 * 4] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with recordings.writing() as tx:
        row = files.file_by_path(tx, "edf", FIRST)
        assert row is not None
        (files.retire_files if what == "superseded" else files.mark_freed)(tx, [row.id])
    ended = send(recordings)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [FIRST]


# lost and replaced


def test_a_lost_object_is_sent_again(recordings: SmallLab, store: MemoryStore) -> None:
    lose(store, FIRST)
    with recordings.writing() as tx:
        copies.mark_bad(tx, recordings.copy(FIRST).id, "it is missing from the store")
    ended = send(recordings)
    assert ended.status is ExitStatus.DONE
    assert ended.keys("done") == [FIRST]
    assert any("is gone" in item.message for item in ended.items(status="note", key=FIRST))
    assert bytes_in(store, FIRST) == (recordings.out / "edf" / FIRST).read_bytes()
    # a new object stands there, so what was wrong with the old one is over
    assert recordings.copy(FIRST).bad_at is None


def test_an_object_replaced_by_other_content_is_never_touched(recordings: SmallLab, store: MemoryStore) -> None:
    overwrite(store, FIRST, b"something else")
    ended = send(recordings)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [FIRST]
    assert bytes_in(store, FIRST) == b"something else"


def test_an_object_replaced_by_the_same_bytes_counts(recordings: SmallLab, store: MemoryStore) -> None:
    overwrite(store, FIRST, bytes_in(store, FIRST))
    for _ in range(2):
        ended = send(recordings)
        assert ended.status is ExitStatus.DONE
        assert ended.keys("present") == [FIRST, SECOND]


def test_a_touched_object_in_a_folder(small_lab: SmallLab) -> None:
    """Its time is its ETag there: the checksum says that it is the same."""
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.upload("e", encrypt=True)
    os.utime(small_lab.folder / "store" / f"{FIRST}.age", (1, 1))
    assert len(small_lab.upload("e", encrypt=True).keys("present")) == 2


# changed sources and versions


@PARAMETERS
def test_changed_content_is_skipped_and_then_a_version(small_lab: SmallLab, store: MemoryStore, encrypt: bool) -> None:
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    age = ".age" if encrypt else ""
    key, second, third = (f"{version_of(FIRST, n)}{age}" for n in (1, 2, 3))
    send(small_lab, encrypt=encrypt)
    before = bytes_in(store, key)
    change(small_lab, "two")
    ended = send(small_lab, encrypt=encrypt)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [key]
    assert "--new-version" in ended.items(status="skipped")[0].message
    versioned = send(small_lab, encrypt=encrypt, new_version=True)
    assert versioned.status is ExitStatus.DONE
    assert versioned.keys("done") == [second]
    assert bytes_in(store, key) == before
    # from now on the version is what counts, with the wish or without
    for wish in (False, True):
        again = send(small_lab, encrypt=encrypt, new_version=wish)
        assert again.status is ExitStatus.DONE
        assert second in again.keys("present")
    os.utime(small_lab.out / "edf" / FIRST)
    assert second in send(small_lab, encrypt=encrypt).keys("present")
    change(small_lab, "three")
    assert send(small_lab, encrypt=encrypt, new_version=True).keys("done") == [third]
    assert third in send(small_lab, encrypt=encrypt).keys("present")
    # and back to what it was at first: that is there too
    small_lab.edf(number=1)
    small_lab.clear(CODE)
    assert key in send(small_lab, encrypt=encrypt).keys("present")


def test_a_lost_version_does_not_hide_the_later_ones(recordings: SmallLab, store: MemoryStore) -> None:
    for text in ("two", "three"):
        change(recordings, text)
        send(recordings, new_version=True)
    lose(store, version_of(FIRST, 2))
    assert version_of(FIRST, 3) in send(recordings, new_version=True).keys("present")
    change(recordings, "four")
    # the name of a lost version is not given to another content
    assert send(recordings, new_version=True).keys("done") == [version_of(FIRST, 4)]


def test_the_first_name_is_used_again_where_it_is_free(recordings: SmallLab, store: MemoryStore) -> None:
    change(recordings, "two")
    send(recordings, new_version=True)
    lose(store, FIRST)
    change(recordings, "three")
    assert send(recordings).keys("done") == [FIRST]


@pytest.mark.parametrize(
    ("key", "path", "sealed"),
    [
        (FIRST, FIRST, False),
        (f"{FIRST}.age", FIRST, True),
        (f"{CODE}_edf/{CODE}_1~2.edf.age", FIRST, True),
        (f"{CODE}_edf/{CODE}_1~13.edf", FIRST, False),
        (f"{CODE}_edf/{CODE}_1~1.edf", f"{CODE}_edf/{CODE}_1~1.edf", False),
        (f"{CODE}_edf/{CODE}_1~0.edf", f"{CODE}_edf/{CODE}_1~0.edf", False),
        (f"{CODE}/{CODE}_1/{CODE}_1.ent~2.old", f"{CODE}/{CODE}_1/{CODE}_1.ent.old", False),
    ],
)
def test_keys_are_taken_apart(key: str, path: str, sealed: bool) -> None:
    assert path_of_key(key) == (path, sealed)


@pytest.mark.parametrize("key", [FIRST, f"{FIRST}.age", f"{CODE}/{CODE}_1/{CODE}_1.ent.old.age"])
@pytest.mark.parametrize("number", [1, 2, 9, 10, 123])
def test_versions_go_there_and_back(key: str, number: int) -> None:
    assert base_of(version_of(key, number)) == (key, number)


# copies known to be bad


@pytest.mark.parametrize("reason", ["its content is not the file that was sent", "it has 1 bytes instead of 2"])
def test_a_copy_called_bad(recordings: SmallLab, store: MemoryStore, reason: str) -> None:
    """A store's checksum takes back what it can speak of; a full read that failed only a full read takes back."""
    with recordings.writing() as tx:
        copies.mark_bad(tx, recordings.copy(FIRST).id, reason)
    ended = send(recordings)
    if reason.startswith("its content"):
        assert ended.status is ExitStatus.PARTIAL
        assert "known to be bad" in ended.items(status="skipped", key=FIRST)[0].message
        assert recordings.copy(FIRST).bad_at is not None
        repaired = send(recordings, new_version=True)
        assert repaired.keys("done") == [version_of(FIRST, 2)]
        assert send(recordings).status is ExitStatus.DONE
    else:
        assert ended.status is ExitStatus.DONE
        assert recordings.copy(FIRST).bad_at is None
        assert recordings.copy(FIRST).level == "checksum"
