"""The seam to the disk: what is not followed, what is opened although protected, what cannot be asked."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.deid.disk import Disk


def test_links_are_never_followed(tmp_path: Path) -> None:
    (tmp_path / "real").write_bytes(b"x")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / "real")
    for call in (Disk().open_to_read, Disk().open_to_patch):
        with pytest.raises(OSError, match="symbolic"):
            call(link)
    state = Disk().lstat(link)
    assert state is not None and state.st_ino == link.lstat().st_ino
    assert Disk().lstat(tmp_path / "real" / "below") is None


def test_a_write_protected_file_of_ours_is_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "disc copy"
    path.write_bytes(b"abc")
    path.chmod(0o444)
    real = os.open

    def strict(name: Any, flags: int, *more: Any) -> int:
        if flags & os.O_RDWR and not Path(name).stat().st_mode & 0o200:
            raise PermissionError(errno.EACCES, "no")
        return real(name, flags, *more)

    monkeypatch.setattr(os, "open", strict)
    fd = Disk().open_to_patch(path)
    Disk().write_at(fd, b"X", 1)
    os.close(fd)
    assert path.read_bytes() == b"aXc" and path.stat().st_mode & 0o777 == 0o644
    (tmp_path / "folder").mkdir(0o500)
    with pytest.raises((PermissionError, IsADirectoryError)):
        Disk().open_to_patch(tmp_path / "folder")


def test_reading_leaves_the_time_of_access_where_it_may(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"abc")
    os.utime(path, (5, 9))
    fd = Disk().open_to_read(path)
    assert Disk().read_at(fd, 0, 10) == b"abc" and Disk().read_at(fd, 3, 1) == b""
    os.close(fd)
    if hasattr(os, "O_NOATIME"):
        assert path.stat().st_atime == 5
        real = os.open

        def others_file(name: Any, flags: int, *more: Any) -> int:
            if flags & os.O_NOATIME:
                raise PermissionError(errno.EPERM, "not yours")
            return real(name, flags, *more)

        monkeypatch.setattr(os, "open", others_file)
        os.close(Disk().open_to_read(path))


def test_a_file_system_without_folder_sync_is_put_up_with(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(number: int) -> Any:
        def fsync(fd: int) -> None:
            raise OSError(number, "no")

        return fsync

    monkeypatch.setattr(os, "fsync", refuse(errno.EINVAL))
    Disk().sync_folder(tmp_path)
    monkeypatch.setattr(os, "fsync", refuse(errno.EIO))
    with pytest.raises(OSError, match="no"):
        Disk().sync_folder(tmp_path)


def test_only_empty_folders_go(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    disk = Disk()
    assert disk.remove_folder(tmp_path / "a") is False
    assert disk.remove_folder(tmp_path / "a" / "b") is True
    assert disk.remove_folder(tmp_path / "a" / "b") is False


def test_one_mount_is_one_mount(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    disk = Disk()
    assert disk.mount_of(tmp_path) == disk.mount_of(tmp_path / "a")
    if Path("/proc/self").is_dir():
        assert disk.mount_of(tmp_path) != disk.mount_of(Path("/proc"))
    assert disk.free_bytes(tmp_path) > 0
