"""Two device numbers can be one disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from ecogsafe.service import disks
from ecogsafe.service.disks import disks_of, same_disk

#: /data and /home are subvolumes of one partition, /nas is a share, /boot another partition of the same disk
_MOUNTINFO = """\
21 1 0:30 /@data /data rw,relatime shared:1 - btrfs {device} rw
22 1 0:31 /@home /home rw,relatime - btrfs {device} rw
23 1 0:40 / /nas rw,relatime shared:2 master:1 - cifs //nas/share rw
24 1 8:1 / /boot rw - ext4 /dev/sda1 rw
"""


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A computer with a disk sda of two partitions, sdb, and a mapped disk over both."""
    blocks = tmp_path / "block"
    devices = tmp_path / "devices"
    blocks.mkdir()
    for disk, number, parts in (("sda", "8:0", {"sda1": "8:1", "sda2": "8:2"}), ("sdb", "8:16", {})):
        (devices / disk).mkdir(parents=True)
        (blocks / number).symlink_to(devices / disk)
        for part, part_number in parts.items():
            (devices / disk / part).mkdir()
            (devices / disk / part / "partition").write_text("1")
            (blocks / part_number).symlink_to(devices / disk / part)
    slaves = devices / "dm-0" / "slaves"
    slaves.mkdir(parents=True)
    (slaves / "sda2").symlink_to(devices / "sda" / "sda2")
    (slaves / "sdb").symlink_to(devices / "sdb")
    (blocks / "253:0").symlink_to(devices / "dm-0")
    mounts = tmp_path / "mountinfo"
    mounts.write_text(_MOUNTINFO.format(device="/dev/no-such-device-here"))
    monkeypatch.setattr(disks, "_BLOCKS", blocks)
    monkeypatch.setattr(disks, "_MOUNTS", mounts)
    return tmp_path


def place(major: int, minor: int) -> str:
    return f"device:{os.makedev(major, minor):x}"


def apart(one: tuple[int, int], other: tuple[int, int]) -> bool:
    return not same_disk(place(*one), disks_of(os.makedev(*other)))


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("one", "other"),
    [
        ((8, 1), (8, 1)),
        ((8, 1), (8, 2)),
        ((0, 30), (0, 31)),
        ((253, 0), (8, 1)),
        ((253, 0), (8, 16)),
        ((99, 1), (99, 1)),
    ],
    ids=[
        "itself",
        "partitions",
        "subvolumes",
        "mapped over a partition",
        "mapped over a disk",
        "a device nobody knows",
    ],
)
def test_one_disk_under_two_numbers(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert not apart(one, other)
    assert not apart(other, one)


@pytest.mark.usefixtures("machine")
@pytest.mark.parametrize(
    ("one", "other"), [((8, 1), (8, 16)), ((0, 40), (0, 30)), ((0, 40), (8, 1)), ((99, 1), (99, 2))]
)
def test_different_disks(one: tuple[int, int], other: tuple[int, int]) -> None:
    assert apart(one, other)


def test_what_is_no_device_is_on_none_of_them() -> None:
    here = disks_of(Path.home().stat().st_dev)
    assert not same_disk("s3://bucket", here)
    assert not same_disk("azure://container", here)
    assert not same_disk("device:of another kind", here)


def test_where_nothing_is_told_the_number_decides(machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(disks, "_MOUNTS", machine / "nothing")
    monkeypatch.setattr(disks, "_BLOCKS", machine / "nothing")
    assert disks_of(os.makedev(8, 1)) == {place(8, 1)}
