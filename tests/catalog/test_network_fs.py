"""Which file system a folder lies on."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.catalog import network_fs
from ecogsafe.catalog.network_fs import file_system_of, is_on_network

MOUNTS = """\
/dev/sda1 / ext4 rw 0 0
server:/export /data nfs4 rw 0 0
/dev/sdb1 /data/local xfs rw 0 0
//server/share /mnt/lab\\040share cifs rw 0 0
host:/x /home/lab fuse.sshfs rw 0 0
tmpfs /home/lab tmpfs rw 0 0
nonsense
"""


@pytest.mark.parametrize(
    ("folder", "kind"),
    [
        ("/", "ext4"),
        ("/database", "ext4"),
        ("/data", "nfs4"),
        ("/data/x/y", "nfs4"),
        ("/data/local/x", "xfs"),
        ("/mnt/lab share/x", "cifs"),
        ("/home/lab", "tmpfs"),
    ],
)
def test_the_innermost_and_newest_mount_counts(folder: str, kind: str) -> None:
    assert file_system_of(Path(folder), MOUNTS) == kind


def test_without_mounts_nothing_is_known() -> None:
    assert file_system_of(Path("/data"), "") is None


def test_is_on_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mounts = tmp_path / "mounts"
    monkeypatch.setattr(network_fs, "_MOUNTS", mounts)
    assert not is_on_network(tmp_path)
    mounts.write_text("server:/export / nfs rw 0 0\n")
    assert is_on_network(tmp_path)
    mounts.write_text("/dev/sda1 / ext4 rw 0 0\n")
    assert not is_on_network(tmp_path)
