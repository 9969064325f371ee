"""What is at the store already: known, lost, replaced, touched, changed, somebody else's."""

from __future__ import annotations

import os
import shutil
import threading
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import copies, files, stores, uploads
from ecogsafe.core.errors import EcogsafeError, ExitStatus, StoreUnreachableError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.service.presence import base_of, path_of_key, version_of
from ecogsafe.service.recover import recover
from ecogsafe.stores.faulty import Fault, Faulty
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.store_id import STORE_ID_KEY
from ecogsafe.transfer.source import FileSource
from tests.service.small_lab import (
    CODES,
    PASSWORD,
    Ended,
    Made,
    SmallLab,
    StoresInMemory,
    bytes_in,
    lose,
    overwrite,
)

URL = "s3://recordings"
CODE = CODES[0]
FIRST = f"{CODE}_edf/{CODE}_1.edf"
SECOND = f"{CODE}_edf/{CODE}_2.edf"
PARAMETERS = pytest.mark.parametrize("encrypt", [False, True], ids=["plain", "sealed"])


@pytest.fixture
def store(in_memory: StoresInMemory) -> MemoryStore:
    made = in_memory.add(URL)
    assert isinstance(made, MemoryStore)
    return made


@pytest.fixture(scope="module")
def made(made_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Made:
    def work(small: SmallLab) -> None:
        small.edf(number=1)
        small.edf(number=2)
        small.clear(CODE)
        assert send(small).keys("done") == [FIRST, SECOND]

    return Made.by(made_home, tmp_path_factory.mktemp("made"), URL, work)


@pytest.fixture
def sent(made: Made, small_lab: SmallLab, store: MemoryStore) -> SmallLab:
    """Two recordings at the store, plain."""
    return made.copy_to(small_lab, store)


def send(small: SmallLab, **wishes: Any) -> Ended:
    return small.upload("e", URL, **wishes)


def change(small: SmallLab, text: str = "changed", number: int = 1) -> bytes:
    """Change a recording, and clear it again."""
    path = small.edf(number=number, text=text)
    small.clear(CODE)
    return path.read_bytes()


def puts(store: Faulty) -> list[str]:
    return [key for method, key in store.calls if method == "put" and not key.startswith("_ecogsafe/")]


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


def test_unchanged_files_are_not_read_again(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    def pieces(self: FileSource) -> Any:
        raise AssertionError("a file was read whole")

    monkeypatch.setattr(FileSource, "pieces", pieces)
    assert len(send(sent).keys("present")) == 2


def test_a_touched_file_is_read_and_found_the_same(sent: SmallLab) -> None:
    os.utime(sent.out / "edf" / FIRST)
    ended = send(sent)
    assert ended.keys("present") == [FIRST, SECOND]
    with sent.reading() as tx:
        row = files.file_by_path(tx, "edf", FIRST)
    assert row is not None
    assert row.mtime_ns == (sent.out / "edf" / FIRST).stat().st_mtime_ns


@pytest.mark.parametrize("what", ["superseded", "freed"])
def test_a_file_taken_back_or_freed_is_read_before_it_counts(sent: SmallLab, what: str) -> None:
    """`deid undo` and a new apply can give other bytes the same size and time."""
    path = sent.out / "edf" / FIRST
    times = path.stat()
    data = bytearray(path.read_bytes())
    data[256 * 4] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    with sent.writing() as tx:
        row = files.file_by_path(tx, "edf", FIRST)
        assert row is not None
        (files.retire_files if what == "superseded" else files.mark_freed)(tx, [row.id])
    ended = send(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [FIRST]


# lost and replaced


def test_a_lost_object_is_sent_again(sent: SmallLab, store: MemoryStore) -> None:
    lose(store, FIRST)
    with sent.writing() as tx:
        copies.mark_bad(tx, sent.copy(FIRST).id, "it is missing from the store")
    ended = send(sent)
    assert ended.status is ExitStatus.DONE
    assert ended.keys("done") == [FIRST]
    assert any("is gone" in item.message for item in ended.items(status="note", key=FIRST))
    assert bytes_in(store, FIRST) == (sent.out / "edf" / FIRST).read_bytes()
    # a new object stands there, so what was wrong with the old one is over
    assert sent.copy(FIRST).bad_at is None


def test_an_object_replaced_by_other_content_is_never_touched(sent: SmallLab, store: MemoryStore) -> None:
    overwrite(store, FIRST, b"something else")
    ended = send(sent)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [FIRST]
    assert bytes_in(store, FIRST) == b"something else"


def test_an_object_replaced_by_the_same_bytes_counts(sent: SmallLab, store: MemoryStore) -> None:
    overwrite(store, FIRST, bytes_in(store, FIRST))
    for _ in range(2):
        ended = send(sent)
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


def test_a_lost_version_does_not_hide_the_later_ones(sent: SmallLab, store: MemoryStore) -> None:
    for text in ("two", "three"):
        change(sent, text)
        send(sent, new_version=True)
    lose(store, version_of(FIRST, 2))
    assert version_of(FIRST, 3) in send(sent, new_version=True).keys("present")
    change(sent, "four")
    # the name of a lost version is not given to another content
    assert send(sent, new_version=True).keys("done") == [version_of(FIRST, 4)]


def test_the_first_name_is_used_again_where_it_is_free(sent: SmallLab, store: MemoryStore) -> None:
    change(sent, "two")
    send(sent, new_version=True)
    lose(store, FIRST)
    change(sent, "three")
    assert send(sent).keys("done") == [FIRST]


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
def test_a_copy_called_bad(sent: SmallLab, store: MemoryStore, reason: str) -> None:
    """A store's checksum takes back what it can speak of; a full read that failed only a full read takes back."""
    with sent.writing() as tx:
        copies.mark_bad(tx, sent.copy(FIRST).id, reason)
    ended = send(sent)
    if reason.startswith("its content"):
        assert ended.status is ExitStatus.PARTIAL
        assert "known to be bad" in ended.items(status="skipped", key=FIRST)[0].message
        assert sent.copy(FIRST).bad_at is not None
        repaired = send(sent, new_version=True)
        assert repaired.keys("done") == [version_of(FIRST, 2)]
        assert send(sent).status is ExitStatus.DONE
    else:
        assert ended.status is ExitStatus.DONE
        assert sent.copy(FIRST).bad_at is None
        assert sent.copy(FIRST).level == "checksum"


# objects of others


def other_machine(small: SmallLab) -> SmallLab:
    """The same lab on another computer: its keys, its files, and a catalogue that knows of no copy."""
    other = SmallLab(small.folder / "other machine")
    other.folder.mkdir()
    recover(other.home, str(small.home.recovery_sheet), lambda: PASSWORD, lambda _e: None)
    return other


def test_a_second_machine_adopts_equal_plain_objects(sent: SmallLab, store: MemoryStore) -> None:
    other = other_machine(sent)
    for number in (1, 2):
        other.write(
            f"edf/{CODE}_edf/{CODE}_{number}.edf", (sent.out / "edf" / f"{CODE}_edf/{CODE}_{number}.edf").read_bytes()
        )
    other.clear(CODE)
    ended = send(other)
    assert ended.status is ExitStatus.DONE
    assert ended.keys("present") == [FIRST, SECOND]
    assert other.copy(FIRST).level == "checksum"
    assert other.verify().status is ExitStatus.DONE
    # and from then on without reading
    assert send(other).keys("present") == [FIRST, SECOND]
    # what the other adopted it adopts again after both sides changed
    changed = change(other, "new")
    overwrite(store, FIRST, changed)
    assert FIRST in send(other).keys("present")


def test_a_second_machine_cannot_tell_sealed_objects(small_lab: SmallLab, store: MemoryStore) -> None:
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    send(small_lab, encrypt=True)
    other = other_machine(small_lab)
    other.edf(number=1)
    ended = send(other, encrypt=True)
    assert ended.status is ExitStatus.PARTIAL
    assert ended.keys("skipped") == [f"{FIRST}.age"]
    # a store that has the plain form does not hinder the sealed one
    assert send(other, encrypt=True, new_version=True).keys("done") == [f"{version_of(FIRST, 2)}.age"]


def test_an_unknown_plain_object_of_the_same_size_is_different(small_lab: SmallLab, store: MemoryStore) -> None:
    path = small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    data = bytes(len(path.read_bytes()))
    store.put(FIRST, data, crc64=crc64nvme(data), token="0" * 32)
    ended = send(small_lab)
    assert ended.keys("skipped") == [FIRST]
    assert ended.keys("done") == [SECOND]


# killed runs


@PARAMETERS
def test_what_a_killed_run_stored_is_adopted(
    small_lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch, encrypt: bool
) -> None:
    """The object stands, its intent is durable, and nobody noted the copy."""
    small_lab.edf(number=1)
    small_lab.edf(number=2)
    small_lab.clear(CODE)
    inner = MemoryStore(URL)
    in_memory.add(URL, inner)

    def killed(*_a: object, **_k: object) -> None:
        raise EcogsafeError("x", "killed")

    with monkeypatch.context() as patched:
        patched.setattr("ecogsafe.catalog.copies.record_copy", killed)
        send(small_lab, encrypt=encrypt)
    with small_lab.reading() as tx:
        assert len(uploads.open_intents(tx)) == 2
    key = f"{FIRST}.age" if encrypt else FIRST
    before = bytes_in(inner, key)
    ended = send(small_lab, encrypt=encrypt)
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("present")) == 2
    assert bytes_in(inner, key) == before
    assert small_lab.copy(key).level == "checksum"
    with small_lab.reading() as tx:
        assert uploads.open_intents(tx) == []


def test_a_changed_source_is_not_what_the_killed_run_stored(
    small_lab: SmallLab, in_memory: StoresInMemory, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory.add(URL)
    small_lab.edf(number=1)
    small_lab.edf(number=2)

    def killed(*_a: object, **_k: object) -> None:
        raise EcogsafeError("x", "killed")

    with monkeypatch.context() as patched:
        patched.setattr("ecogsafe.catalog.copies.record_copy", killed)
        send(small_lab, encrypt=True)
    change(small_lab)
    ended = send(small_lab, encrypt=True)
    assert ended.keys("skipped") == [f"{FIRST}.age"]
    assert ended.keys("present") == [f"{SECOND}.age"]


# the second look itself


def test_one_file_that_cannot_be_compared_does_not_stop_the_others(
    sent: SmallLab, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent.edf(number=3)
    sent.clear(CODE)
    os.utime(sent.out / "edf" / FIRST)
    real = FileSource.pieces

    def pieces(self: FileSource) -> Any:
        for piece in real(self):
            if self.name.endswith("_1.edf"):
                os.utime(sent.out / "edf" / FIRST)
            yield piece

    monkeypatch.setattr(FileSource, "pieces", pieces)
    ended = send(sent)
    assert ended.status is ExitStatus.SOURCE_CHANGED
    assert ended.keys("done") == [f"{CODE}_edf/{CODE}_3.edf"]


def test_ctrl_c_while_comparing(sent: SmallLab, monkeypatch: pytest.MonkeyPatch) -> None:
    os.utime(sent.out / "edf" / FIRST)
    stop = threading.Event()
    real = FileSource.pieces

    def pieces(self: FileSource) -> Any:
        stop.set()
        return real(self)

    monkeypatch.setattr(FileSource, "pieces", pieces)
    assert send(sent, stop=stop).status is ExitStatus.INTERRUPTED


def test_a_store_that_goes_away_while_comparing(sent: SmallLab, in_memory: StoresInMemory, store: MemoryStore) -> None:
    os.utime(sent.out / "edf" / FIRST)
    overwrite(store, FIRST, bytes_in(store, FIRST))
    gone = Fault(error=StoreUnreachableError(URL, "no answer"))
    in_memory.add(URL, Faulty(store, {"head": [None, gone]}))
    assert send(sent).status is ExitStatus.STORE


# dry run


def test_a_dry_run_changes_nothing(sent: SmallLab, in_memory: StoresInMemory, tmp_path: Path) -> None:
    sent.edf(number=3)
    sent.clear(CODE)
    os.utime(sent.out / "edf" / FIRST)
    fresh = Faulty(MemoryStore("s3://fresh"))
    in_memory.add("s3://fresh", fresh)
    ended = sent.upload("e", "s3://fresh", dry_run=True)
    assert ended.status is ExitStatus.DONE
    assert len(ended.keys("planned")) == 3
    assert fresh.count("put") == 0
    assert fresh.inner.head(STORE_ID_KEY) is None
    with sent.reading() as tx:
        before = files.file_by_path(tx, "edf", FIRST)
    ended = send(sent, dry_run=True)
    assert ended.keys("planned") == [f"{CODE}_edf/{CODE}_3.edf"]
    assert ended.keys("present") == [FIRST, SECOND]
    with sent.reading() as tx:
        assert files.file_by_path(tx, "edf", FIRST) == before


def test_a_dry_run_adopts_nothing(sent: SmallLab) -> None:
    other = other_machine(sent)
    shutil.copytree(sent.out, other.out)
    other.clear(CODE)
    ended = send(other, dry_run=True)
    assert ended.keys("present") == [FIRST, SECOND]
    with other.reading() as tx:
        assert uploads.open_intents(tx) == []
        assert [copies.copy_by_key(tx, s.store_id, FIRST) for s in stores.all_stores(tx)] == [None]
