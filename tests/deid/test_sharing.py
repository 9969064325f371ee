"""Sharing a folder with a group: who gets in, who no longer does, what is refused, the way back."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from ecogsafe.core.errors import UsageError, VerificationError
from ecogsafe.deid.sharing import SharePlan, plan_share, set_rights

GROUP = 4242


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "lab" / "out"
    (folder / "video" / "abcd1234").mkdir(parents=True)
    clip = folder / "video" / "abcd1234" / "clip.avi"
    clip.write_bytes(b"x")
    clip.chmod(0o604)
    (folder / "run.sh").write_bytes(b"x")
    (folder / "run.sh").chmod(0o755)
    return folder


def _share(folder: Path, tmp_path: Path) -> SharePlan:
    return plan_share(folder, GROUP, home=tmp_path / "home")


def _modes(folder: Path) -> dict[str, tuple[int, int]]:
    paths = [folder, *sorted(folder.rglob("*"))]
    states = [(p, p.lstat()) for p in paths]
    return {p.relative_to(folder).as_posix(): (stat.S_IMODE(s.st_mode), s.st_gid) for p, s in states}


def test_the_group_gets_in_and_everybody_else_is_out(out: Path, tmp_path: Path) -> None:
    new = {r.path: r.new_mode for r in _share(out, tmp_path).rights}
    assert new["video/abcd1234/clip.avi"] == 0o660
    assert new["run.sh"] == 0o770
    assert new["video"] & stat.S_ISGID
    assert all(mode & stat.S_IRWXO == 0 for mode in new.values())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to any group")
def test_sharing_and_taking_it_back_leaves_every_right_as_it_was(out: Path, tmp_path: Path) -> None:
    before = _modes(out)
    plan = _share(out, tmp_path)
    assert all(set_rights(plan.folder, right, back=False) for right in plan.rights)
    assert {gid for _, gid in _modes(out).values()} == {GROUP}
    again = SharePlan.from_json(plan.to_json())
    assert again == plan
    assert all(set_rights(again.folder, right, back=True) for right in reversed(again.rights))
    assert _modes(out) == before


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files to any group")
def test_an_entry_that_changed_since_is_left_alone_on_the_way_back(out: Path, tmp_path: Path) -> None:
    plan = _share(out, tmp_path)
    for right in plan.rights:
        set_rights(plan.folder, right, back=False)
    clip = out / "video" / "abcd1234" / "clip.avi"
    clip.chmod(0o400)
    right = next(r for r in plan.rights if r.path.endswith("clip.avi"))
    assert not set_rights(plan.folder, right, back=True)
    assert stat.S_IMODE(clip.stat().st_mode) == 0o400


def test_a_link_that_leads_out_stops_the_whole(out: Path, tmp_path: Path) -> None:
    (out / "way-out").symlink_to(tmp_path)
    with pytest.raises(UsageError, match="leads out"):
        _share(out, tmp_path)


def test_a_link_that_stays_inside_is_not_followed(out: Path, tmp_path: Path) -> None:
    (out / "inside").symlink_to(out / "video")
    assert "inside" not in {r.path for r in _share(out, tmp_path).rights}


@pytest.mark.parametrize("folder", [Path("/"), Path("/usr/share"), Path("/proc"), Path.home(), Path.home().parent])
def test_dangerous_folders_are_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError):
        _share(folder, tmp_path)


def test_the_home_of_the_keys_is_refused_from_above_and_below(out: Path, tmp_path: Path) -> None:
    for home in (out, out / "video", out.parent):
        with pytest.raises(UsageError, match="keys"):
            plan_share(out, GROUP, home=home)


def test_a_damaged_journal_is_said_to_be_so() -> None:
    with pytest.raises(VerificationError):
        SharePlan.from_json(b'{"format": "something else"}')
