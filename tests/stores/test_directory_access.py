"""Group and mode in a folder store: as the config says, whatever the umask is, on mounts that keep neither too."""

from __future__ import annotations

import errno
import fcntl
import grp
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.core.errors import StoreRefusedError
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.directory_access import Access

KEY, PARTS_KEY = "a/b/recording.edf", "a/c/long.edf"
DATA = b"samples" * 100


@pytest.fixture
def root(tmp_path: Path) -> Iterator[Path]:
    """A folder, and a umask that lets nobody else in."""
    old = os.umask(0o077)
    (tmp_path / "nas").mkdir()
    yield tmp_path / "nas"
    os.umask(old)


def fill(store: DirectoryStore) -> None:
    """Store one file whole and one in parts."""
    crc64 = crc64nvme(DATA)
    store.put(KEY, DATA, crc64=crc64, token="f" * 32)
    upload = store.begin_upload(PARTS_KEY, token="f" * 32, size=2 * len(DATA))
    parts = [store.put_part(PARTS_KEY, upload, n + 1, DATA, offset=n * len(DATA), crc64=crc64) for n in (0, 1)]
    store.finish_upload(PARTS_KEY, upload, parts, crc64=crc64nvme(DATA + DATA), size=2 * len(DATA), token="f" * 32)


def modes(root: Path) -> set[tuple[bool, str]]:
    """Return whether it is a folder, and its mode, of everything below ``root``."""
    return {(p.is_dir(), f"{stat.S_IMODE(p.stat().st_mode):o}") for p in root.rglob("*")}


@pytest.mark.parametrize(("mode", "folders"), [(0o640, "2750"), (0o660, "2770"), (0o644, "2755"), (0o600, "2700")])
def test_everything_has_the_mode(root: Path, mode: int, folders: str) -> None:
    fill(DirectoryStore(root, access=Access(file_mode=mode)))
    assert modes(root) == {(True, folders), (False, f"{mode:o}")}


def test_everything_belongs_to_the_group(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[bool, int] = {}

    def chown(made: int | Path, owner: int, group: int) -> None:
        assert owner == -1
        given[isinstance(made, Path)] = group

    monkeypatch.setattr(os, "chown", chown)
    other = next(g for g in grp.getgrall() if g.gr_gid != root.stat().st_gid)
    fill(DirectoryStore(root, access=Access(group=other.gr_name)))
    assert given == {False: other.gr_gid, True: other.gr_gid}, "files or folders keep the group of who ran it"


def test_a_group_that_nobody_knows_is_said_before_a_byte_is_written(root: Path) -> None:
    with pytest.raises(StoreRefusedError, match="not known on this machine"):
        DirectoryStore(root, access=Access(group="no-such-group"))
    assert list(root.iterdir()) == []


def test_who_is_no_member_is_told_so(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", refuse)
    other = next(g for g in grp.getgrall() if g.gr_gid != root.stat().st_gid)
    with pytest.raises(StoreRefusedError, match="cannot be given to the group"):
        fill(DirectoryStore(root, access=Access(group=other.gr_name)))
    assert [p for p in root.rglob("*") if p.is_file()] == []


def test_a_share_that_keeps_no_modes_and_has_no_locks_links_or_special_renames(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SMB as it is often mounted: chmod EPERM, flock ENOLCK, link EPERM, renameat2 EINVAL."""

    def error(number: int) -> object:
        def refuse(*_: object, **__: object) -> None:
            raise OSError(number, os.strerror(number))

        return refuse

    monkeypatch.setattr(os, "chmod", error(errno.EPERM))
    monkeypatch.setattr(fcntl, "flock", error(errno.ENOLCK))
    monkeypatch.setattr(os, "link", error(errno.EPERM))
    monkeypatch.setattr("ecogsafe.core.durable._kernel_rename_noreplace", lambda *_: False)
    store = DirectoryStore(root, access=Access())
    fill(store)
    assert {info.key: info.size for info in store.list()} == {KEY: len(DATA), PARTS_KEY: 2 * len(DATA)}
    assert {p.name for p in root.rglob("*") if p.is_file()} == {"recording.edf", "long.edf"}
