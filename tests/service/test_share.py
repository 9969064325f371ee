"""`share` as a command: what it refuses and says, and that names of a folder that is no OUT are not repeated."""

from __future__ import annotations

import grp
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.service import sharing
from tests.cli.lab import Lab
from tests.cli.restricted import NEEDS_SETPRIV, without_override

GROUP = grp.getgrgid(os.getgid()).gr_name
NAME = "Quillfeather"


def modes(folder: Path) -> dict[str, int]:
    return {str(p.relative_to(folder)): p.lstat().st_mode for p in (folder, *sorted(folder.rglob("*")))}


def open_to_all(folder: Path) -> dict[str, int]:
    """Give everybody every right, as `chmod -R 777` would, and return the modes."""
    for path in (folder, *folder.rglob("*")):
        path.chmod(0o777)
    return modes(folder)


@pytest.fixture
def named(lab: Lab) -> Path:
    """A folder with a name in its own path and in what it holds."""
    folder = lab.folder / "data" / f"{NAME}~ Odalys"
    (folder / f"{NAME}_1").mkdir(parents=True)
    for number in (1, 2):
        (folder / f"{NAME}_1" / f"{NAME}_1_000{number}.avi").write_bytes(b"x")
    return folder


def test_the_group_gets_in_everybody_else_out_and_back(applied: Lab) -> None:
    lab = applied
    before = open_to_all(lab.out)
    done = lab.here("--json", "--yes", "share", lab.out, "--group", GROUP)
    assert done.summary["files"]["done"] == len(before)
    assert not [name for name, mode in modes(lab.out).items() if mode & 0o007]
    again = lab.here("--json", "share", lab.out, "--group", GROUP)
    assert "already" in again.summary["message"] and again.summary["files"]["done"] == 0
    lab.here("--json", "share", lab.out, "--undo")
    assert modes(lab.out) == before


def test_nobody_is_there_to_say_yes(applied: Lab) -> None:
    before = open_to_all(applied.out)
    done = applied.here("--json", "share", applied.out, "--group", GROUP, status=2)
    assert done.error["code"] == "confirmation-needed" and "--yes" in done.error["next"]
    assert modes(applied.out) == before
    assert not (applied.home / "shares").exists()


@pytest.mark.parametrize("words", [[], ["--group", "x", "--undo"]])
def test_one_of_group_and_undo(applied: Lab, words: list[str]) -> None:
    done = applied.here("--json", "share", applied.out, *words, status=2)
    assert "--group" in done.error["message"] and "--undo" in done.error["message"]


def test_a_group_that_is_not_there(applied: Lab) -> None:
    before = modes(applied.out)
    done = applied.here("--json", "--yes", "share", applied.out, "--group", "no-such-group", status=2)
    assert "getent group" in done.error["next"]
    assert modes(applied.out) == before


@pytest.mark.parametrize("what", ["missing", "a file", "a link", "link out", "loop", "home", "/"])
def test_folders_that_cannot_be_shared(lab: Lab, named: Path, what: str) -> None:
    (lab.folder / "elsewhere").mkdir()
    link = named.parent / f"{NAME} link"
    link.symlink_to(named)
    (named / "file").write_bytes(b"x")
    folder = {"missing": named / "gone", "a file": named / "file", "a link": link, "home": lab.home, "/": Path("/")}
    if what == "link out":
        (named / f"{NAME} out").symlink_to(lab.folder / "elsewhere")
    if what == "loop":
        (named / f"{NAME} loop").symlink_to(named / f"{NAME} loop")
    before = modes(named)
    done = lab.here("--json", "--yes", "share", folder.get(what, named), "--group", GROUP, status=2)
    assert done.error["next"] and done.error["safe"] == "No permission was changed"
    assert modes(named) == before
    assert lab.residue_in_words([NAME]) == []


def test_a_password_that_is_wrong_gives_nothing_back(applied: Lab) -> None:
    open_to_all(applied.out)
    applied.here("--yes", "share", applied.out, "--group", GROUP)
    shared = modes(applied.out)
    applied.write_password("wrong words entirely")
    applied.here("--json", "share", applied.out, "--undo", status=12)
    assert modes(applied.out) == shared


def test_the_way_back_of_what_was_never_shared(lab: Lab, named: Path) -> None:
    for folder in (named, named / "gone"):
        done = lab.here("--json", "share", folder, "--undo", status=2)
        assert "never shared" in done.error["message"]
    assert lab.residue_in_words([NAME]) == []


def test_an_unfinished_subject_is_refused(applied: Lab) -> None:
    before = open_to_all(applied.out)
    (applied.out / f".ecogsafe-open-{applied.codes['a']}").touch(mode=0o777)
    done = applied.here("--json", "--yes", "share", applied.out, "--group", GROUP, status=11)
    assert done.error["code"] == "locked"
    assert {n: m for n, m in modes(applied.out).items() if ".ecogsafe-open-" not in n} == before


def test_names_of_the_hospital_are_not_repeated(lab: Lab, named: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A folder that still has its old names may be shared; what fails in it is told masked."""
    open_to_all(named)

    def refuse(folder: Path, right: Any, *, back: bool) -> bool:
        if right.path.endswith("1.avi"):
            raise PermissionError(1, "Operation not permitted", str(folder / right.path))
        return not right.path.endswith("2.avi")

    monkeypatch.setattr(sharing, "set_rights", refuse)
    done = lab.here("--json", "--yes", "share", named, "--group", GROUP, status=3)
    assert len(done.of("item", status="failed")) == len(done.of("item", status="skipped")) == 1
    assert all(item["path"] for item in done.of("item", action="share"))
    assert lab.residue_in_words([NAME, "Odalys"]) == []


def test_paths_of_an_outbox_are_told_as_they_are(applied: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    open_to_all(applied.out)
    monkeypatch.setattr(sharing, "set_rights", lambda *_, **__: False)
    done = applied.here("--json", "--yes", "share", applied.out, "--group", GROUP, status=3)
    code = applied.codes["a"]
    assert f"video/{code}/{code}_1/{code}_1_0000.avi" in {item["path"] for item in done.of("item", action="share")}


@NEEDS_SETPRIV
def test_a_folder_in_it_that_cannot_be_read(lab: Lab, named: Path) -> None:
    open_to_all(named)
    (named / f"{NAME}_1").chmod(0)
    before = {p: p.stat().st_mode for p in (named, named / f"{NAME}_1")}
    done = lab.run("--json", "--yes", "share", named, "--group", GROUP, status=2, prefix=without_override())
    assert done.error["safe"] == "No permission was changed"
    assert {p: p.stat().st_mode for p in before} == before
    assert lab.residue_in_words([NAME]) == []


def test_the_way_back_has_a_second_copy_and_survives_the_loss_of_the_home(applied: Lab) -> None:
    keys = applied.folder / "keys"
    keys.mkdir()
    applied.configure(f'[key_backup]\nurls = ["{keys.as_uri()}"]')
    before = open_to_all(applied.out)
    applied.here("--yes", "share", applied.out, "--group", GROUP)
    (kept,) = (applied.home / "shares").glob("*.age")
    copies = list((keys / "_ecogsafe/keys/shares").glob("*.age"))
    assert [c.name for c in copies] == [kept.name] and copies[0].read_bytes() == kept.read_bytes()
    shutil.rmtree(applied.home)
    applied.here("init", "--recover", keys.as_uri())
    applied.here("share", applied.out, "--undo")
    assert modes(applied.out) == before
