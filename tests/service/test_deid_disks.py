"""`deid apply` and `undo` on disks that are other, read-only or full."""

from __future__ import annotations

import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.deid.disk import Disk
from tests.cli.lab import Lab
from tests.cli.restricted import NEEDS_SETPRIV, need_mounts, read_only, small_disk, without_override
from tests.cli.trees import tree_state
from tests.service.looking import cleared, journals, linking_key, outbox, residue, segments


@pytest.fixture
def other_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on another file system than the tests' own."""
    for place in (Path("/dev/shm"), Path.home(), Path("/var/tmp")):
        if place.is_dir() and place.stat().st_dev != tmp_path.stat().st_dev:
            folder = Path(tempfile.mkdtemp(prefix="ecogsafe-", dir=place))
            yield folder
            shutil.rmtree(folder)
            return
    pytest.skip("all folders of this machine lie on one file system")


def _words(lab: Lab, out: Path, *more: str) -> list[str]:
    person = ["--identifiers", str(lab.identifiers("a"))]
    return ["--json", "deid", "apply", str(lab.export), "--to", str(out), *person, *more]


def test_across_file_systems_and_back(handed_over: Lab, other_disk: Path) -> None:
    lab = handed_over
    before = tree_state(lab.export)
    out = other_disk / "outbox"
    done = lab.here(*_words(lab, out))
    code = done.of("item", action="segment")[0]["subject"]
    files = [p for p in out.rglob("*") if p.is_file()]
    assert len(files) == 50 and len(cleared(lab, code)) == 50
    assert {stat.S_IMODE(p.stat().st_mode) & 0o007 for p in files} == {0}
    assert len([p for p in tree_state(lab.export) if "Maëlis" in p and p.endswith((".erd", ".edf"))]) == 0
    lab.here("--json", "deid", "undo", code)
    assert tree_state(lab.export) == before
    assert [p for p in out.rglob("*") if p.is_file()] == []
    assert segments(lab, code, with_retired=True) == []


@pytest.mark.parametrize("writes", [3, 30])
def test_a_disk_that_fills_up_while_it_is_copied_to(
    handed_over: Lab, other_disk: Path, monkeypatch: pytest.MonkeyPatch, writes: int
) -> None:
    """There was room for the plan when it was checked; then somebody else was quicker."""
    lab = handed_over
    before = tree_state(lab.export)
    write_at, left = Disk.write_at, [writes]

    def full(self: Disk, fd: int, data: bytes | memoryview, offset: int) -> None:
        left[0] -= 1
        if left[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_at(self, fd, data, offset)

    out = other_disk / "outbox"
    with monkeypatch.context() as patch:
        patch.setattr(Disk, "write_at", full)
        done = lab.here(*_words(lab, out), status=3)
    assert done.error["code"] == "no-space" and done.error["safe"] != "Nothing was changed"
    again = lab.here(*_words(lab, out))
    (code,) = linking_key(lab).codes
    assert len(cleared(lab, code)) == 50 and "finished first" in again.out
    lab.here("deid", "undo", code)
    assert tree_state(lab.export) == before


def test_an_outbox_on_a_read_only_disk(handed_over: Lab) -> None:
    need_mounts()
    lab = handed_over
    lab.out.mkdir()
    _check_nothing_was_written(lab, read_only(lab.out))


@NEEDS_SETPRIV
def test_an_outbox_without_write_permission(handed_over: Lab) -> None:
    lab = handed_over
    lab.out.mkdir(mode=0o500)
    _check_nothing_was_written(lab, without_override())


@NEEDS_SETPRIV
def test_an_outbox_that_cannot_be_made(handed_over: Lab) -> None:
    lab = handed_over
    above = lab.folder / "closed"
    above.mkdir(mode=0o500)
    before = tree_state(lab.export)
    done = lab.run(*_words(lab, above / "out"), status=2, prefix=without_override())
    assert "cannot be made" in done.error["message"] and tree_state(lab.export) == before


def _check_nothing_was_written(lab: Lab, prefix: list[str]) -> None:
    before = tree_state(lab.export)
    done = lab.run(*_words(lab, lab.out), status=2, prefix=prefix)
    assert done.error["message"] == "OUT: cannot be written" and done.error["next"]
    assert tree_state(lab.export) == before and not (lab.home / "linking-key.age").exists()
    assert not list((lab.home / "journals").iterdir())


@NEEDS_SETPRIV
def test_an_outbox_in_which_one_tree_cannot_be_written(handed_over: Lab) -> None:
    lab = handed_over
    before = tree_state(lab.export)
    (lab.out / "edf").mkdir(parents=True)
    (lab.out / "edf").chmod(0o500)
    try:
        done = lab.run(*_words(lab, lab.out), status=None, prefix=without_override())
        assert done.status in (2, 3), done.said
        assert done.error["next"] and "Québrane" not in done.said
        assert residue(lab, "a") == []
    finally:
        (lab.out / "edf").chmod(0o700)
    lab.here(*_words(lab, lab.out))
    (code,) = linking_key(lab).codes
    assert len(cleared(lab, code)) == 50 and {j.state for j in journals(lab, code)} == {"closed"}
    lab.here("deid", "undo", code)
    assert tree_state(lab.export) == before


@pytest.mark.parametrize("room_kib", [64, 140, 260])
def test_a_home_whose_disk_is_full(handed_over: Lab, room_kib: int) -> None:
    """The home lies on a disk that has so much room left; whatever does not fit, nothing is lost or half-done."""
    need_mounts()
    lab = handed_over
    before = tree_state(lab.export)
    kept = lab.folder / "kept"
    shutil.copytree(lab.home, kept)
    home = lab.home
    used = sum(p.stat().st_size for p in kept.rglob("*") if p.is_file()) // 1024
    size = f"{used + 24 + room_kib}k"
    script = f'cp -a {kept}/. {home}/ && "$@"; status=$?; rm -rf {kept}; cp -a {home} {kept}; exit $status'
    prefix = [*small_disk(home, size, lab.folder / "listing"), "sh", "-c", script, "sh"]
    done = lab.run(*_words(lab, lab.out), status=None, prefix=prefix)
    shutil.rmtree(home)
    kept.rename(home)
    assert done.status in (0, 2, 3), done.said
    if done.status and lab.out.exists() and outbox(lab):
        assert done.of("error")[-1]["safe"] != "Nothing was changed" and done.of("error")[-1]["next"]
    assert residue(lab, "a") == [] if lab.out.exists() else tree_state(lab.export) == before
    lab.here(*_words(lab, lab.out))
    (code,) = linking_key(lab).codes
    assert len(outbox(lab)) == 50 and len(cleared(lab, code)) == 50
    lab.here("deid", "undo", code)
    assert tree_state(lab.export) == before
