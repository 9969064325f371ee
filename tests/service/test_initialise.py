"""`init`: the home, its keys, and that it can be cut anywhere and run again."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import stat
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import meta
from ecogsafe.catalog.database import Catalog
from ecogsafe.core import durable
from ecogsafe.core.errors import ConfigError, EcogsafeError, LabKeyError, LockedError, UsageError
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed, seal
from ecogsafe.crypt.keys import parse_identities
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.crypt.recovery_sheet import read_sheet
from ecogsafe.service import initialise as module
from ecogsafe.service.home import RECIPIENTS_DIGEST, Home
from ecogsafe.service.initialise import check_can_initialise, initialise
from tests.service.small_lab import PASSWORD, make_home


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path / "home")


def make(home: Home, recovery: Path | None = None, **changes: Any) -> Any:
    recovery = recovery or home.root.parent / "recovery.txt"
    arguments: dict[str, Any] = {"recovery_file": recovery, "time_zone": None, "work_factor": 10}
    return initialise(home, PASSWORD, **{**arguments, **changes})


def opens_everything(home: Home, recovery: Path) -> None:
    """Both keys open what is sealed to recipients.txt, and the catalogue knows that file."""
    with home.open_catalog() as catalog:
        recipients = home.recipients(catalog)
    sealed = seal(b"data", recipients)
    lab = home.identity(lambda: PASSWORD, recipients)
    assert open_sealed(sealed, [lab]) == b"data"
    assert open_sealed(sealed, parse_identities(recovery.read_text())) == b"data"
    sheet = read_sheet(home.recovery_sheet.read_text())
    assert open_lab_key(sheet.lab_key_age, PASSWORD).to_text() == lab.to_text()
    assert home.settings() is not None
    assert not home.unfinished.exists()


def test_a_home_is_made(home: Home) -> None:
    made = make(home)
    opens_everything(home, home.root.parent / "recovery.txt")
    assert {p.name for p in home.root.iterdir() if not p.name.startswith(".")} == {
        "config.toml",
        "catalog.sqlite",
        "lab-key.age",
        "recipients.txt",
        "recovery-sheet.txt",
        "journals",
        "resume.key",
    }
    for path in [home.root, *home.root.rglob("*")]:
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path.name
    assert stat.S_IMODE((home.root.parent / "recovery.txt").stat().st_mode) == 0o600
    assert made.lab_recipient != made.recovery_recipient


def test_the_recovery_key_is_nowhere_in_the_home(home: Home) -> None:
    make(home)
    (secret,) = parse_identities((home.root.parent / "recovery.txt").read_text())
    for path in home.root.rglob("*"):
        if path.is_file():
            assert secret.to_text().encode() not in path.read_bytes()


class _Cut(Exception):
    """The machine went down here."""


def steps(home: Home, monkeypatch: pytest.MonkeyPatch, *, cut_at: int | None, when: str) -> int:
    """Run `init`, cut before or after its n-th durable write; return how many there were."""
    count = 0
    real = durable.write_atomically

    def write(path: Path, data: bytes, **options: Any) -> None:
        nonlocal count
        count += 1
        if count == cut_at and when == "before":
            raise _Cut
        real(path, data, **options)
        if count == cut_at:
            raise _Cut

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomically", write)
        patched.setattr("ecogsafe.service.home.write_atomically", write)
        if cut_at is None:
            make(home)
        else:
            with pytest.raises(_Cut):
                make(home)
    return count


@pytest.mark.parametrize("when", ["before", "after"])
def test_init_can_be_cut_anywhere_and_run_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, when: str) -> None:
    (tmp_path / "whole").mkdir()
    number = steps(Home(tmp_path / "whole" / "home"), monkeypatch, cut_at=None, when=when)
    assert number >= 8
    for cut_at in range(1, number + 1):
        folder = tmp_path / str(cut_at)
        folder.mkdir()
        home = Home(folder / "home")
        steps(home, monkeypatch, cut_at=cut_at, when=when)
        if home.is_initialised:
            # the lab key is the last: whatever was left to do does not matter
            assert (cut_at, when) == (number, "after")
            home.unfinished.unlink()
        else:
            # cut once more, earlier, then let through: with the same command
            steps(home, monkeypatch, cut_at=max(1, cut_at // 2), when=when)
            assert not home.is_initialised
            make(home)
        opens_everything(home, folder / "recovery.txt")


def test_cut_while_the_recovery_key_is_shown(home: Home) -> None:
    shown: list[str] = []

    def walks_away(text: str) -> None:
        shown.append(text)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        make(home, recovery_file=None, hand_over=walks_away)
    assert not home.is_initialised
    make(home, recovery_file=None, hand_over=shown.append)
    first, second = (parse_identities(text)[0].to_text() for text in shown)
    assert first != second
    recovery = home.root.parent / "typed.txt"
    recovery.write_text(shown[1])
    opens_everything(home, recovery)


def test_nobody_to_show_the_recovery_key_to(home: Home) -> None:
    with pytest.raises(UsageError, match="recovery-file"):
        make(home, recovery_file=None)
    assert not home.root.exists()


def test_an_initialised_home_is_refused(home: Home, tmp_path: Path) -> None:
    make(home)
    before = {p: p.read_bytes() for p in home.root.rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match="initialised already"):
        make(home, tmp_path / "other.txt")
    assert {p: p.read_bytes() for p in home.root.rglob("*") if p.is_file()} == before
    assert not (tmp_path / "other.txt").exists()


@pytest.mark.parametrize("left", ["linking-key.age", "journals/abcd1234-0001-00000000.age", "recovery-sheet.txt"])
def test_no_new_keys_over_what_the_old_ones_open(home: Home, tmp_path: Path, left: str) -> None:
    """The lab key is gone; the sheet in the home may be its only copy."""
    make(home)
    home.lab_key.unlink()
    sheet = home.recovery_sheet.read_bytes()
    if left != "recovery-sheet.txt":
        home.recovery_sheet.unlink()
        (home.root / left).write_bytes(b"sealed")
    with pytest.raises(LabKeyError, match="is missing"):
        make(home, tmp_path / "other.txt")
    with pytest.raises(LabKeyError):
        home.require()
    if left == "recovery-sheet.txt":
        assert home.recovery_sheet.read_bytes() == sheet


# the recovery file


def test_the_recovery_file_is_never_overwritten(home: Home) -> None:
    recovery = home.root.parent / "recovery.txt"
    recovery.write_text("my notes")
    with pytest.raises(UsageError, match="exists already"):
        make(home)
    assert recovery.read_text() == "my notes"
    recovery.unlink()
    recovery.symlink_to(home.root.parent / "nowhere")
    with pytest.raises(UsageError, match="exists already"):
        make(home)


def test_a_recovery_key_of_another_home_is_never_taken_for_ours(home: Home, tmp_path: Path) -> None:
    other = Home(tmp_path / "other")
    make(other, tmp_path / "theirs.txt")
    home.create_folder()
    home.unfinished.write_bytes(b"")
    shutil.copy(other.recipients_file.with_name("recipients.txt"), tmp_path / "x")
    with pytest.raises(UsageError, match="exists already"):
        make(home, tmp_path / "theirs.txt")


@pytest.mark.parametrize("name", ["home/r.txt", "home/deep/r.txt", "x/../home/r.txt", "link/r.txt", "link/deep/r.txt"])
def test_the_recovery_file_never_lies_in_the_home(home: Home, tmp_path: Path, name: str) -> None:
    (tmp_path / "home" / "deep").mkdir(parents=True)
    (tmp_path / "x").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "home")
    with pytest.raises(UsageError, match="would lie in the home"):
        check_can_initialise(home, tmp_path / name)
    with pytest.raises(UsageError, match="would lie in the home"):
        check_can_initialise(Home(tmp_path / "link"), tmp_path / name)


def test_a_recovery_file_that_cannot_be_written(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="its folder is not there"):
        make(home, home.root.parent / "nowhere" / "r.txt")
    assert not home.root.exists()
    real = durable.write_atomically

    def full(path: Path, data: bytes, **options: Any) -> None:
        if path.name == "recovery.txt":
            raise OSError(28, "No space left on device")
        real(path, data, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomically", full)
        with pytest.raises(UsageError, match="No space left"):
            make(home)
    assert not home.is_initialised
    make(home)


@pytest.mark.parametrize("name", ["recovery.txt", "lab-key.age"])
def test_what_came_back_from_the_disk_is_compared(home: Home, monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    real = durable.write_atomically

    def bad(path: Path, data: bytes, **options: Any) -> None:
        real(path, data[:-5] if path.name == name else data, **options)

    with monkeypatch.context() as patched:
        patched.setattr(module, "write_atomically", bad)
        with pytest.raises(LabKeyError, match="could not be read back"):
            make(home)
    assert not home.is_initialised
    make(home, home.root.parent / "another.txt")


def test_a_stick_that_keeps_no_permissions(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    """FAT refuses chmod; a stick with FAT is where most recovery keys go."""

    def refuse(_fd: int, _mode: int) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "fchmod", refuse)
    durable.write_atomically(home.root.parent / "recovery.txt", b"key")
    assert (home.root.parent / "recovery.txt").read_bytes() == b"key"


# what is asked first


def test_a_short_password(home: Home) -> None:
    with pytest.raises(UsageError, match="shorter than 8"):
        initialise(home, Secret(b"short"), recovery_file=home.root.parent / "r.txt", time_zone=None)
    assert not home.root.exists()


def test_a_time_zone_that_is_none(home: Home) -> None:
    """Written into config.toml it would stop this `init` and every later one."""
    with pytest.raises(ConfigError, match="time_zone"):
        make(home, time_zone='Nowhere" # /')
    assert not home.root.exists()
    make(home, time_zone="Europe/Madrid")
    assert home.settings().time_zone == "Europe/Madrid"


def test_a_config_that_was_there_is_kept_and_checked(home: Home) -> None:
    home.root.mkdir()
    home.config.write_text('time_zon = "Europe/Madrid"\n')
    with pytest.raises(ConfigError, match="time_zon"):
        make(home)
    home.config.write_text('time_zone = "Europe/Madrid"\n')
    make(home)
    assert home.config.read_text() == 'time_zone = "Europe/Madrid"\n'


def test_a_home_that_cannot_be_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = Home(tmp_path / "file" / "home")
    (tmp_path / "file").write_bytes(b"x")
    with pytest.raises(UsageError, match="cannot be written"):
        make(home, tmp_path / "r.txt")
    assert not (tmp_path / "r.txt").exists()


def test_a_shared_catalogue_that_has_keys_is_refused(home: Home, tmp_path: Path) -> None:
    """A second machine of a lab needs that lab's keys: with others the first could not work any more."""
    url = f"sqlite:///{tmp_path / 'shared.sqlite'}"
    first = Home(tmp_path / "first", catalog_url=url)
    make(first, tmp_path / "first.txt")
    second = Home(tmp_path / "second", catalog_url=url)
    with pytest.raises(UsageError, match="belongs to a lab"):
        make(second, tmp_path / "second.txt")
    with Catalog.open(url) as catalog:
        first.recipients(catalog)


def _hold(root: Path, ready: Any, done: Any) -> None:
    with Home(root).locked():
        ready.set()
        done.wait(20)


def test_two_inits_at_once(home: Home) -> None:
    home.create_folder()
    context = multiprocessing.get_context("spawn")
    ready, done = context.Event(), context.Event()
    other = context.Process(target=_hold, args=(home.root, ready, done))
    other.start()
    assert ready.wait(20)
    try:
        with pytest.raises(LockedError):
            make(home)
        assert not home.recipients_file.exists()
    finally:
        done.set()
        other.join()
    make(home)


# what the home gives


def test_recipients_changed_by_hand(home: Home) -> None:
    make(home)
    with home.recipients_file.open("a") as file:
        file.write("# a comment is enough\n")
    with home.open_catalog() as catalog, pytest.raises(EcogsafeError) as caught:
        home.recipients(catalog)
    assert caught.value.exit_status == 12


def test_a_new_resume_key_where_the_old_one_is_lost(home: Home) -> None:
    make(home)
    first = home.resume_key()
    assert home.resume_key() == first
    home.resume_key_file.unlink()
    second = home.resume_key()
    assert second != first
    assert home.resume_key() == second
    assert stat.S_IMODE(home.resume_key_file.stat().st_mode) == 0o600
    home.resume_key_file.write_bytes(b"short")
    with pytest.raises(LabKeyError, match="damaged"):
        home.resume_key()


def test_the_digest_in_the_catalogue_is_that_of_the_file(home: Home) -> None:
    make_home(home, home.root.parent / "r.txt")
    with home.open_catalog() as catalog, catalog.read() as tx:
        assert len(meta.get(tx, RECIPIENTS_DIGEST) or "") == 64
