"""A folder store against links, lost mounts, full and lying disks, and killed writers."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from ecogsafe.core import durable
from ecogsafe.core.errors import (
    ChecksumRefusedError,
    ObjectExistsError,
    StoreError,
    StoreForbiddenError,
    StoreFullError,
    StoreRefusedError,
    StoreUnreachableError,
)
from ecogsafe.stores import directory_files
from ecogsafe.stores.bodies import body_crc64
from ecogsafe.stores.check import got, put, sample
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.directory_files import remove_abandoned

KEY = "abcd1234/abcd1234_1/abcd1234_1_0001.avi"
DATA = sample("clip", 150_000)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "nas"
    folder.mkdir()
    return folder


@pytest.fixture
def store(root: Path) -> DirectoryStore:
    return DirectoryStore(root)


def all_names(root: Path) -> set[str]:
    return {str(path.relative_to(root)) for path in root.rglob("*") if not path.is_dir()}


def test_a_folder_that_is_not_there_is_not_made(tmp_path: Path) -> None:
    with pytest.raises(StoreUnreachableError) as caught:
        DirectoryStore(tmp_path / "unmounted")
    assert "the folder is not there" in caught.value.problem
    assert not (tmp_path / "unmounted").exists()


def test_a_file_is_no_store(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreRefusedError):
        DirectoryStore(tmp_path / "file")


def test_a_mount_that_vanished_is_not_an_empty_store(root: Path, store: DirectoryStore) -> None:
    put(store, KEY, DATA)
    root.rename(root.with_name("elsewhere"))
    for ask in (lambda: store.head(KEY), lambda: list(store.list()), lambda: put(store, "b/c", DATA)):
        with pytest.raises(StoreUnreachableError):
            ask()
    root.mkdir()
    with pytest.raises(StoreUnreachableError) as caught:
        store.head(KEY)
    assert "a mount came or went" in caught.value.problem
    assert not any(root.iterdir())


def test_links_and_special_files_are_refused(tmp_path: Path, root: Path, store: DirectoryStore) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret").write_bytes(b"secret")
    (root / "folder-link").symlink_to(outside)
    (root / "file-link").symlink_to(outside / "secret")
    os.mkfifo(root / "pipe")
    for key in ("folder-link/secret", "file-link", "pipe"):
        with pytest.raises(StoreRefusedError):
            store.head(key)
        with pytest.raises(StoreRefusedError):
            got(store, key)
        with pytest.raises(StoreError):
            put(store, key, b"overwritten")
    with pytest.raises(StoreRefusedError):
        put(store, "folder-link/new", b"new")
    with pytest.raises(StoreRefusedError):
        list(store.list("folder-link/"))
    assert list(store.list()) == []
    assert (outside / "secret").read_bytes() == b"secret"
    assert [path.name for path in outside.iterdir()] == ["secret"]


def test_a_file_does_not_become_a_folder_nor_a_folder_a_file(store: DirectoryStore) -> None:
    put(store, "a/b", DATA)
    assert store.head("a") is None
    assert store.head("a/b/c") is None
    for key in ("a", "a/b/c"):
        with pytest.raises(StoreRefusedError):
            put(store, key, DATA)


def test_new_files_and_folders_are_not_for_everyone(root: Path, store: DirectoryStore) -> None:
    old = os.umask(0o002)
    try:
        put(store, "one/two/three.edf", DATA)
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "one/two").stat().st_mode) == 0o770
    assert stat.S_IMODE((root / "one/two/three.edf").stat().st_mode) == 0o660


def test_the_umask_counts(root: Path) -> None:
    store = DirectoryStore(root, folder_mode=0o2775, file_mode=0o664)
    old = os.umask(0o077)
    try:
        put(store, "one/two.edf", DATA)
    finally:
        os.umask(old)
    assert stat.S_IMODE((root / "one").stat().st_mode) & 0o777 == 0o700
    assert stat.S_IMODE((root / "one/two.edf").stat().st_mode) == 0o600


def test_a_full_disk_leaves_nothing_behind(root: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device", str(root))

    monkeypatch.setattr(os, "pwrite", full)
    with pytest.raises(StoreFullError) as caught:
        put(store, KEY, DATA)
    assert str(root) not in caught.value.problem
    assert all_names(root) == set()


def test_an_upload_that_cannot_fit_is_refused_at_once(root: Path, store: DirectoryStore) -> None:
    with pytest.raises(StoreFullError):
        store.begin_upload(KEY, token="t", size=1 << 60)
    assert all_names(root) == set()


@pytest.mark.parametrize(
    ("number", "kind"),
    [
        (errno.EROFS, StoreForbiddenError),
        (errno.EACCES, StoreForbiddenError),
        (errno.EDQUOT, StoreFullError),
        (errno.EIO, StoreUnreachableError),
        (errno.ESTALE, StoreUnreachableError),
        (errno.ENAMETOOLONG, StoreRefusedError),
    ],
)
def test_errors_of_the_disk_are_ours(
    root: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch, number: int, kind: type[StoreError]
) -> None:
    put(store, "there.edf", DATA)

    def refuse(*_: object, **__: object) -> int:
        raise OSError(number, os.strerror(number), f"{root}/patient")

    with monkeypatch.context() as patch:
        patch.setattr(os, "open", refuse)
        for ask in (lambda: store.head("there.edf"), lambda: got(store, "there.edf"), lambda: put(store, "x", b"x")):
            with pytest.raises(kind) as caught:
                ask()
            assert "patient" not in str(caught.value)
            assert caught.value.item == store.url
            assert caught.value.next


def lie_when_read_back(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = os.pread

    def lying(fd: int, size: int, offset: int) -> bytes:
        data = honest(fd, size, offset)
        return bytes([data[0] ^ 1]) + data[1:] if data else data

    monkeypatch.setattr(os, "pread", lying)


def test_a_disk_that_gives_back_other_bytes_publishes_nothing(
    root: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    lie_when_read_back(monkeypatch)
    with pytest.raises(ChecksumRefusedError):
        put(store, KEY, DATA)
    assert all_names(root) == set()


def test_read_back_goes_past_the_page_cache(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(os, "fsync", lambda fd: asked.append("fsync"))
    monkeypatch.setattr(os, "posix_fadvise", lambda *_: asked.append("drop"))
    honest = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: (asked.append("read"), honest(*args))[1])
    put(store, "file.edf", DATA)
    first_read = asked.index("read")
    assert asked[first_read - 2 : first_read] == ["fsync", "drop"]


def test_the_checksum_of_head_is_read_only_when_asked(store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    put(store, KEY, DATA)
    read: list[int] = []
    honest = os.pread
    monkeypatch.setattr(os, "pread", lambda *args: (read.append(args[1]), honest(*args))[1])
    quick, thorough = store.head(KEY), None
    assert quick is not None and quick.crc64 is None and not read
    thorough = store.head(KEY, checksum=True)
    assert thorough is not None and thorough.crc64 == body_crc64(DATA) and read
    assert thorough.etag == quick.etag


def test_changed_bytes_change_the_checksum_and_etag(root: Path, store: DirectoryStore) -> None:
    before = put(store, KEY, DATA)
    with (root / KEY).open("r+b") as file:
        file.write(b"damage")
    os.utime(root / KEY, ns=(0, 12345))
    after = store.head(KEY, checksum=True)
    assert after is not None and after.crc64 != before.crc64 and after.etag != before.etag


def without_noreplace(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object, **__: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(durable, "_kernel_rename_noreplace", lambda source, target: False)
    monkeypatch.setattr(os, "link", no_links)


def test_a_file_system_without_hard_links_works(
    root: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    without_noreplace(monkeypatch)
    put(store, KEY, DATA)
    with pytest.raises(ObjectExistsError):
        put(store, KEY, b"other")
    assert all_names(root) == {KEY}
    assert got(store, KEY) == DATA


def test_a_rename_that_happened_in_spite_of_its_error_is_done(
    root: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeated(source: Path, target: Path) -> None:
        source.rename(target)
        raise FileExistsError(errno.EEXIST, "a repeated request found the name taken")

    monkeypatch.setattr(directory_files, "rename_noreplace", repeated)
    assert put(store, KEY, DATA).crc64 == body_crc64(DATA)
    assert all_names(root) == {KEY}


def test_two_writers_of_one_key_one_wins(root: Path, store: DirectoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    honest = directory_files.rename_noreplace

    def late(source: Path, target: Path) -> None:
        target.write_bytes(b"the other writer")
        honest(source, target)

    monkeypatch.setattr("ecogsafe.stores.directory_files.rename_noreplace", late)
    with pytest.raises(ObjectExistsError):
        put(store, KEY, DATA)
    assert (root / KEY).read_bytes() == b"the other writer"
    assert all_names(root) == {KEY}


def test_files_of_killed_writers_are_hidden_and_cleared_when_old(root: Path, store: DirectoryStore) -> None:
    put(store, "s/one.edf", DATA)
    old = root / "s" / f".ecogsafe-{'a' * 32}.put"
    young = root / "s" / f".ecogsafe-{'b' * 32}.put"
    held = root / "s" / f".ecogsafe-{'c' * 32}.put"
    upload = root / "s" / f".ecogsafe-{'d' * 32}.part"
    for path in (old, young, held, upload, root / "s" / "plain.put"):
        path.write_bytes(b"half")
    for path in (old, held, upload, root / "s" / "plain.put"):
        os.utime(path, (0, 0))
    assert {info.key for info in store.list()} == {"s/one.edf", "s/plain.put"}
    with held.open("rb") as writer:
        fcntl.flock(writer, fcntl.LOCK_EX)
        put(DirectoryStore(root), "s/two.edf", DATA)
        assert not old.exists()
        assert young.exists() and held.exists() and upload.exists()
    assert remove_abandoned(root / "s") == 1
    assert not held.exists() and (root / "s" / "plain.put").exists()


WRITER = """
import sys
from pathlib import Path
from ecogsafe.stores.check import put, sample
from ecogsafe.stores.directory import DirectoryStore
store = DirectoryStore(Path(sys.argv[1]))
for number in range(10_000):
    put(store, f"s/{number}.edf", sample(str(number), 400_000))
    print(number, flush=True)
"""


def test_a_killed_writer_leaves_whole_files_only(root: Path) -> None:
    writer = subprocess.Popen([sys.executable, "-c", WRITER, str(root)], stdout=subprocess.PIPE, text=True)
    assert writer.stdout is not None
    acknowledged = [int(writer.stdout.readline()) for _ in range(5)]
    writer.kill()
    acknowledged += [int(line) for line in writer.stdout.read().split()]
    writer.stdout.close()
    writer.wait()
    store = DirectoryStore(root)
    there = {info.key: info.size for info in store.list()}
    assert {f"s/{number}.edf" for number in acknowledged} <= there.keys()
    for key in there:
        assert got(store, key) == sample(Path(key).stem, 400_000)
    put(store, "s/next.edf", DATA)
    remove_abandoned(root / "s", older_than_s=-1)
    assert all_names(root) == {*there, "s/next.edf"}


def test_names_that_are_no_text_are_not_listed(root: Path, store: DirectoryStore) -> None:
    (root / os.fsdecode(b"caf\xe9.edf")).write_bytes(b"x")
    put(store, "café.edf", DATA)
    assert [info.key for info in store.list()] == ["café.edf"]


def test_a_file_that_shrinks_while_it_is_read_is_noticed(root: Path, store: DirectoryStore) -> None:
    put(store, KEY, sample("long", 3 << 20))
    reading = store.read(KEY)
    next(reading)
    os.truncate(root / KEY, (1 << 20) + 5)
    with pytest.raises(StoreUnreachableError):
        list(reading)


@pytest.mark.parametrize(("start", "stop"), [(0, None), (5, None), (3, 2500), (2999, 9999)])
def test_it_reads_into_the_memory_that_is_given(store: DirectoryStore, start: int, stop: int | None) -> None:
    data = bytes(range(250)) * 12
    put(store, KEY, data)
    memory = memoryview(bytearray(1000))
    came = b""
    for piece in store.read(KEY, start, stop, into=memory):
        assert memory[: len(piece)] == piece
        came += piece
    assert came == data[start:stop]
    memory.release()
