"""The unfinished file: what is noted of it, who may have it, and disks that refuse in the middle."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.core.errors import LockedError, SourceUnreadableError
from ecogsafe.stores.memory import MemoryStore
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer import durable_ranges, landing, landing_names, part_file
from ecogsafe.transfer.hidden_folder import HiddenFolder
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.landing_names import clear_leftovers
from ecogsafe.transfer.receivers import receive_all

from .test_receiving import DATA, TARGET, files_in, into, receive, reception, store
from .test_receiving_ranges import NOTES, PART

__all__ = ["into", "store"]
INFO = ObjectInfo(key=f"{TARGET}.age", size=10 << 20, etag="e")
PIECE = 4096


def landing_of(folder: Path, *, mtime_ns: int | None = None) -> Landing:
    return Landing(folder, TARGET, mtime_ns=mtime_ns)


def begun(folder: Path) -> Landing:
    made = landing_of(folder)
    made.open(INFO, INFO.size)
    made.begin(INFO, INFO.size, b"p", in_ranges=True)
    return made


def write(made: Landing, number: int, letter: bytes = b"y") -> None:
    made.write(memoryview(letter * PIECE), number * PIECE)
    made.note(number, number + 100, PIECE)


def noted(folder: Path) -> dict[int, int]:
    again = landing_of(folder)
    found = again.open(INFO, INFO.size)
    again.close()
    return dict(found.ranges) if found is not None else {}


def killed(folder: Path, data: bytes = b"") -> None:
    """Leave what a run leaves that is killed before it noted anything."""
    made = landing_of(folder)
    made.open(INFO, 0)
    if data:
        made.write(memoryview(data), 0)
    os.close(made._fd)


@pytest.fixture
def at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make every range durable by itself."""
    monkeypatch.setattr(durable_ranges, "_BATCH_BYTES", 1)


# what is durable


def test_beginning_again_forgets_what_was_written_before(into: Path) -> None:
    made = begun(into)
    write(made, 0)
    made.leave()
    again = landing_of(into)
    assert again.open(INFO, INFO.size) is not None
    again.go_on()
    write(again, 3)
    again.begin_again()
    again.begin(INFO, INFO.size, b"p", in_ranges=True)
    write(again, 1)
    again.leave()
    assert noted(into) == {1: 101}, "zeros were noted as bytes that are on the disk"


def test_what_did_not_become_durable_is_never_noted(into: Path, at_once: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a failed fsync the next one says that all is well, whoever's bytes were lost."""
    made = begun(into)
    write(made, 0)
    sync, fails = os.fsync, iter([True])

    def fsync(fd: int) -> None:
        if next(fails, False):
            raise OSError(errno.EIO, "I/O error")
        sync(fd)

    monkeypatch.setattr(os, "fsync", fsync)
    with pytest.raises(OSError, match="I/O"):
        write(made, 1)
    # of another thread: written before the fsync failed, noted after it
    write(made, 2)
    assert made.leave()
    assert noted(into) == {0: 100}


def test_notes_that_do_not_fit_on_the_disk_are_not_added_to(
    into: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begun(into)
    write(made, 0)
    full, real = iter([True]), os.write

    def half(fd: int, data: bytes) -> int:
        return real(fd, data[: len(data) // 2] if next(full, False) else data)

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(OSError, match="space"):
        write(made, 1)
    write(made, 2)
    assert made.leave()
    assert noted(into) == {0: 100}


def test_other_threads_write_on_while_one_waits_for_the_disk(
    into: Path, at_once: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = begun(into)
    waiting, go_on, sync = threading.Event(), threading.Event(), os.fsync

    def slow(fd: int) -> None:
        waiting.set()
        assert go_on.wait(10)
        sync(fd)

    monkeypatch.setattr(os, "fsync", slow)
    first = threading.Thread(target=write, args=(made, 0))
    first.start()
    assert waiting.wait(10)
    monkeypatch.setattr(durable_ranges, "_BATCH_BYTES", 1 << 30)
    write(made, 1)
    assert first.is_alive()
    go_on.set()
    first.join(10)
    made.leave()
    assert noted(into) == {0: 100, 1: 101}


# whose it is


@pytest.mark.parametrize("data", [b"", b"some bytes"])
def test_a_kill_before_the_first_note_does_not_change_the_permissions(
    store: MemoryStore, into: Path, data: bytes
) -> None:
    killed(into, data)
    receive(into, store)
    umask = os.umask(0)
    os.umask(umask)
    assert stat.S_IMODE((into / TARGET).stat().st_mode) == 0o640 & ~umask


def test_a_run_that_loses_the_race_for_the_name_leaves_the_other_alone(
    into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed(into, b"z")
    other, real, tries = landing_of(into), os.open, iter([False, True])

    def opened(path: Any, flags: int, *more: Any, **named: Any) -> int:
        if flags & os.O_EXCL and str(path).endswith("-part") and next(tries, False):
            monkeypatch.setattr(os, "open", real)
            other.open(INFO, 0)
        return real(path, flags, *more, **named)

    monkeypatch.setattr(os, "open", opened)
    ours = landing_of(into)
    with pytest.raises(LockedError, match="another run"):
        ours.open(INFO, 0)
    ours.leave()
    assert files_in(into) == [PART]
    os.fstat(other._fd)
    other.close()


def test_only_the_file_that_was_proven_gets_the_name(into: Path) -> None:
    made = begun(into)
    made.write(memoryview(b"proven"), 0)
    (into / PART).unlink()
    (into / PART).write_bytes(b"somebody else's, half way")
    with pytest.raises(LockedError, match="something else has the name"):
        made.publish()
    made.discard()
    assert not (into / TARGET).exists()
    assert (into / PART).read_bytes() == b"somebody else's, half way"


def test_a_move_that_was_told_to_have_failed_and_did_not(into: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As NFS has it: the link is there, and a repeated request says that the name is taken."""
    made = begun(into)
    made.write(memoryview(b"proven"), 0)

    def repeated(source: Path, target: Path) -> None:
        os.link(source, target)
        raise FileExistsError(errno.EEXIST, "File exists")

    monkeypatch.setattr(landing, "rename_noreplace", repeated)
    made.publish()
    assert files_in(into) == [str(TARGET)]
    assert (into / TARGET).stat().st_nlink == 1


# a file system without locks


@pytest.fixture
def no_locks(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(_fd: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(part_file.fcntl, "flock", refused)


def test_a_file_comes_also_where_there_are_no_locks(store: MemoryStore, into: Path, no_locks: None) -> None:
    receive(into, store)
    assert (into / TARGET).read_bytes() == DATA
    assert files_in(into) == [str(TARGET)]


def test_without_locks_nobody_touches_what_may_be_in_use(store: MemoryStore, into: Path, no_locks: None) -> None:
    other = begun(into)
    write(other, 0, b"a")
    with pytest.raises(LockedError, match="no locks"):
        receive(into, store)
    clear_leftovers(into / TARGET)
    assert files_in(into) == [PART]
    assert not other.leave(), "the next run could not know that this one has ended"
    assert files_in(into) == []


def test_a_hidden_folder_without_locks(tmp_path: Path, no_locks: None) -> None:
    with HiddenFolder(tmp_path / "one", shown="one") as hidden:
        (hidden.path / "file").write_bytes(b"x")
        with pytest.raises(LockedError, match="no locks"), HiddenFolder(tmp_path / "one", shown="one"):
            pass
        hidden.publish()
    assert files_in(tmp_path) == ["one/file"]


# disks that refuse


def test_a_disk_that_became_read_only_is_told_and_is_no_bug(
    store: MemoryStore, into: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = reception(store, into)
    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", refusing(errno.EROFS))
        patched.setattr(Path, "unlink", refusing(errno.EROFS))
        (ended,) = receive_all([wanted], connections=2)
    assert isinstance(ended.error, OSError)
    assert ended.error.errno == errno.EROFS


def refusing(number: int) -> Callable[..., Any]:
    def refused(*_: object, **__: object) -> None:
        raise OSError(number, os.strerror(number))

    return refused


@pytest.mark.parametrize("left", ["nothing", "notes", "part"])
def test_a_file_that_is_right_needs_no_cleaning_up(into: Path, monkeypatch: pytest.MonkeyPatch, left: str) -> None:
    """On a folder that is mounted read-only every removal is refused, also of what is not there."""
    (into / TARGET).parent.mkdir(parents=True)
    (into / TARGET).write_bytes(DATA)
    if left != "nothing":
        (into / (PART if left == "part" else NOTES)).write_bytes(b"")
    with monkeypatch.context() as patched:
        patched.setattr(Path, "unlink", refusing(errno.EROFS))
        clear_leftovers(into / TARGET)
    assert (into / TARGET).read_bytes() == DATA


def test_a_second_name_of_a_file_that_is_right_is_cleared(into: Path) -> None:
    """A kill between the link and the unlink of a file system that moves that way."""
    (into / TARGET).parent.mkdir(parents=True)
    (into / TARGET).write_bytes(DATA)
    os.link(into / TARGET, into / PART)
    held = os.open(into / PART, os.O_RDWR)
    fcntl.flock(held, fcntl.LOCK_EX)
    clear_leftovers(into / TARGET)
    assert len(files_in(into)) == 2, "another run is between the two"
    os.close(held)
    clear_leftovers(into / TARGET)
    assert files_in(into) == [str(TARGET)]


# set aside


@pytest.mark.parametrize("how", ["removed", "written to", "made shorter", "taken by another run"])
def test_what_was_set_aside_is_only_named_as_it_was(into: Path, how: str) -> None:
    made = landing_of(into, mtime_ns=10**18)
    made.open(INFO, 7)
    made.begin(INFO, 7, b"", in_ranges=True)
    made.write(memoryview(b"content"), 0)
    made.set_aside()
    part = into / PART
    if how == "removed":
        part.unlink()
    elif how == "taken by another run":
        killed(into)
    else:
        os.truncate(part, 7 if how == "written to" else 3)
    if how == "taken by another run":
        other = landing_of(into)
        other.open(INFO, 0)
    with pytest.raises(LockedError if how.startswith("taken") else SourceUnreadableError):
        made.take_back()
    made.leave()
    assert not (into / TARGET).exists()
    assert part.exists() is how.startswith("taken")


def test_what_was_set_aside_gets_its_name(into: Path) -> None:
    made = landing_of(into, mtime_ns=10**18)
    made.open(INFO, 7)
    made.begin(INFO, 7, b"", in_ranges=True)
    made.write(memoryview(b"content"), 0)
    made.set_aside()
    made.take_back()
    made.publish()
    assert files_in(into) == [str(TARGET)]
    assert (into / TARGET).read_bytes() == b"content"
    assert landing_names.part_path(into / TARGET) == into / PART
