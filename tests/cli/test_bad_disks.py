"""Full disks and read-only folders: a clear message, nothing half-done, and the same command goes on later."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.restricted import NEEDS_SETPRIV, full_disk, need_mounts, read_only, small_disk, without_override
from tests.cli.trees import digests, tree_state


def stored(lab: Lab) -> Path:
    store = lab.folder / "store"
    store.mkdir()
    lab.here("upload", "-d", lab.out, "--to", store.as_uri(), "-t", "v")
    return store


def test_a_disk_without_room_for_a_download(applied: Lab) -> None:
    need_mounts()
    store = stored(applied)
    back, listing = applied.folder / "back", applied.folder / "listing"
    back.mkdir()
    words = ["--json", "download", "--from", store.as_uri(), "-d", back, "--jobs", "2"]
    done = applied.run(*words, status=3, prefix=small_disk(back, "200k", listing))
    assert done.error["code"] == "no-space"
    assert "too few" in done.error["message"]
    assert listing.read_text() == "", "something was begun"
    # and onto a disk with room
    again = applied.here(*words)
    assert digests(back) == {n: d for t in ("video", "text") for n, d in digests(applied.out / t).items()}
    assert again.summary["files"]["done"] == len(digests(back))


def test_a_disk_that_others_fill_during_a_download(applied: Lab) -> None:
    """Each file needs whole blocks, which the sum of the sizes does not know: the last ones do not fit."""
    need_mounts()
    store = stored(applied)
    back, listing = applied.folder / "back", applied.folder / "listing"
    back.mkdir()
    sizes = [p.stat().st_size for t in ("video", "text") for p in (applied.out / t).rglob("*") if p.is_file()]
    room = -(-sum(sizes) // 4096) * 4096
    words = ["--json", "download", "--from", store.as_uri(), "-d", back, "--jobs", "2"]
    done = applied.run(*words, status=3, prefix=small_disk(back, f"{room // 1024}k", listing))
    assert {e["code"] for e in done.of("error")} == {"no-space"}
    kept = [Path(line) for line in listing.read_text().splitlines()]
    assert len(kept) == done.summary["files"]["done"] > 0
    assert not [p for p in kept if "ecogsafe" in p.name], "a part of a file was left"


def test_a_full_store(applied: Lab) -> None:
    need_mounts()
    store, listing = applied.folder / "nas", applied.folder / "listing"
    store.mkdir()
    words = ["--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v"]
    done = applied.run(*words, status=None, prefix=small_disk(store, "400k", listing))
    assert done.status in (3, 10), done.said
    assert "store-full" in {e["code"] for e in done.of("error")}
    assert not [line for line in listing.read_text().splitlines() if ".ecogsafe-" in line and ".age" in line]


def test_an_outbox_without_room_for_the_whole_plan(handed_over: Lab) -> None:
    need_mounts()
    handed_over.out.mkdir()
    before = tree_state(handed_over.export)
    words = ["--json", "deid", "apply", handed_over.export, "--to", handed_over.out]
    prefix = small_disk(handed_over.out, "300k", handed_over.folder / "listing")
    done = handed_over.run(*words, "--identifiers", handed_over.identifiers("a"), status=3, prefix=prefix)
    assert done.error["code"] == "no-space"
    assert tree_state(handed_over.export) == before
    assert (handed_over.folder / "listing").read_text() == ""


@pytest.mark.parametrize("room_bytes", [0, 16_384, 65_536])
def test_a_home_on_a_full_disk_is_not_a_damaged_one(applied: Lab, room_bytes: int) -> None:
    need_mounts()
    before = tree_state(applied.export), tree_state(applied.out)
    prefix = full_disk(applied.home, room_bytes)
    words = ["--json", "--home", applied.home]
    for command in (
        ["status"],
        ["deid", "scan", applied.out, "--subject", applied.codes["a"]],
    ):
        done = applied.run(*words, *command, status=None, prefix=prefix)
        assert "damaged" not in done.said, done.said
        if done.status != 0:
            assert (done.status, done.error["code"]) == (3, "no-space"), done.said
            assert "make room" in done.error["next"]
    assert (tree_state(applied.export), tree_state(applied.out)) == before
    applied.here("status")


@NEEDS_SETPRIV
def test_a_home_that_may_not_be_written(applied: Lab) -> None:
    _check_read_only_home(applied, without_override(), mode=True)


def test_a_home_on_a_read_only_disk(applied: Lab) -> None:
    need_mounts()
    _check_read_only_home(applied, read_only(applied.home), mode=False)


def _check_read_only_home(lab: Lab, prefix: list[str], *, mode: bool) -> None:
    store = lab.folder / "store"
    store.mkdir()
    before, home = digests(lab.out), digests(lab.home)
    if mode:
        for path in (*lab.home.rglob("*"), lab.home):
            path.chmod(0o500 if path.is_dir() else 0o400)
    try:
        for words in (
            ["upload", "-d", lab.out, "--to", store.as_uri(), "-t", "v"],
            ["--yes", "deid", "undo", lab.codes["a"]],
            ["status"],
        ):
            done = lab.run("--json", *words, status=None, prefix=prefix)
            assert done.status == 2 or (words == ["status"] and done.status == 0), done.said
            if done.status:
                assert "home" in done.error["message"] or "catalogue" in done.error["message"]
                assert done.error["next"]
    finally:
        for path in (lab.home, *lab.home.rglob("*")):
            path.chmod(0o700 if path.is_dir() else 0o600)
    assert digests(lab.out) == before
    assert digests(lab.home) == home
    assert not list(store.rglob("*.age"))


@NEEDS_SETPRIV
def test_a_home_that_cannot_be_made(tmp_path: Path) -> None:
    lab = Lab(tmp_path / "lab")
    lab.folder.mkdir()
    lab.write_password()
    lab.folder.chmod(0o500)
    try:
        words = ["--json", "init", "--recovery-file", tmp_path / "recovery.txt"]
        done = lab.run(*words, status=2, prefix=without_override())
    finally:
        lab.folder.chmod(0o700)
    assert "home" in done.error["message"]
    assert not (tmp_path / "recovery.txt").exists()


@NEEDS_SETPRIV
def test_a_file_in_the_outbox_without_read_permission(applied: Lab) -> None:
    """The others are sent, this one is listed, and the next run sends it."""
    store = applied.folder / "store"
    store.mkdir()
    clip = sorted(applied.out.rglob("*.avi"))[0]
    clip.chmod(0)
    words = ["--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v"]
    done = applied.run(*words, status=3, prefix=without_override())
    assert done.of("error")[0]["code"] == "source-unreadable"
    assert done.summary["files"]["failed"] == 1
    clip.chmod(0o640)
    again = applied.here(*words)
    assert again.summary["files"] == {**again.summary["files"], "done": 1, "failed": 0}
