"""`init --recover`: from the sheet and from a store, as a lab does it whose computer is gone."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from ecogsafe.synthetic.timeline import SITE_ZONE
from tests.cli.lab import Lab
from tests.cli.trees import digests


@pytest.fixture
def lost(applied: Lab) -> Lab:
    """A lab whose data stand in a store, and whose home is gone; the sheet was printed."""
    nas = applied.folder / "nas"
    nas.mkdir()
    applied.here("upload", "-d", applied.out, "--to", nas.as_uri(), "-t", "v")
    shutil.copy(applied.home / "recovery-sheet.txt", applied.folder / "printed.txt")
    applied.home.rename(applied.folder / "lost")
    return applied


def back_again(lab: Lab) -> None:
    """Everything that needs the lab key works in the new home."""
    back = lab.folder / "back"
    back.mkdir()
    lab.here("--json", "download", "--from", (lab.folder / "nas").as_uri(), "-d", back)
    assert digests(back) == {n: d for t in ("video", "text") for n, d in digests(lab.out / t).items()}


def test_from_the_printed_sheet(lost: Lab) -> None:
    printed = lost.folder / "printed.txt"
    # as it comes back from a scan: other line ends, margins, a page number
    text = "\r\n".join(f"   {line}" for line in printed.read_text().splitlines()) + "\r\n  1/1\r\n"
    printed.write_text(text, newline="")
    told = lost.here("--json", "init", "--recover", printed)
    assert told.summary["message"] == "the home is recovered"
    for name in ("lab-key.age", "recipients.txt"):
        assert (lost.home / name).read_bytes() == (lost.folder / "lost" / name).read_bytes(), name
    for name in ("lab-key.age", "recipients.txt", "config.toml", "catalog.sqlite", "resume.key", "recovery-sheet.txt"):
        assert (lost.home / name).stat().st_mode & 0o777 == 0o600, name
    assert lost.home.stat().st_mode & 0o777 == 0o700
    back_again(lost)


def test_a_recovered_home_goes_on(lost: Lab) -> None:
    """The catalogue is new: sealed data goes out again, plain data only once it is searched again."""
    lost.here("init", "--recover", lost.folder / "printed.txt")
    code = lost.codes["a"]
    other = lost.folder / "other"
    other.mkdir()
    lost.here("--json", "upload", "-d", lost.out, "--to", other.as_uri(), "-t", "v")
    refused = lost.here("--json", "upload", "-d", lost.out, "--to", other.as_uri(), "-t", "e", status=20)
    assert refused.error["code"] == "not-cleared"
    # the linking key was not in the sheet: put it back from where it was
    shutil.copy(lost.folder / "lost" / "linking-key.age", lost.home)
    lost.here("--json", "deid", "scan", lost.out, "--subject", code)
    lost.here("--json", "upload", "-d", lost.out / "edf" / f"{code}_edf", "--to", other.as_uri(), "-t", "e")


def test_a_recovered_home_makes_a_sheet_that_recovers(lost: Lab) -> None:
    lost.here("init", "--recover", lost.folder / "printed.txt")
    first = lost.home.rename(lost.folder / "first")
    lost.here("init", "--recover", first / "recovery-sheet.txt")
    assert (lost.home / "recipients.txt").read_bytes() == (first / "recipients.txt").read_bytes()
    back_again(lost)


def test_from_a_store_with_key_copies(handed_over: Lab) -> None:
    lab = handed_over
    nas = lab.folder / "nas"
    nas.mkdir()
    lab.configure(f'[key_backup]\nurls = ["{nas.as_uri()}"]')
    lab.apply("a")
    lab.here("upload", "-d", lab.out, "--to", nas.as_uri(), "-t", "v")
    lost = lab.home.rename(lab.folder / "lost")
    told = lab.here("--json", "init", "--recover", nas.as_uri())
    assert "linking key and 1 journals" in " ".join(e.get("message", "") for e in told.of("item"))
    for name in ("lab-key.age", "recipients.txt", "linking-key.age"):
        assert (lab.home / name).read_bytes() == (lost / name).read_bytes(), name
    back_again(lab)
    # the returning patient is recognised, and the apply of the lost computer can be taken back
    config = lab.home / "config.toml"
    config.write_text(f'time_zone = "{SITE_ZONE}"\n' + config.read_text())
    before = len(digests(lab.export))
    lab.here("--yes", "deid", "undo", lab.codes["a"])
    assert len(digests(lab.export)) > before
    planned = lab.here("deid", "plan", lab.export, "--identifiers", lab.identifiers("a"))
    assert f"returning patient: {lab.codes['a']}" in planned.said


@pytest.mark.parametrize("how", ["no such file", "no sheet", "cut", "wrong password", "no key copies", "home exists"])
def test_what_cannot_recover(lost: Lab, how: str) -> None:
    printed = lost.folder / "printed.txt"
    source: str | Path = printed
    status = 12
    if how == "no such file":
        source, status = lost.folder / "nowhere.txt", 2
    elif how == "no sheet":
        printed.write_text("Dear colleague,\n")
    elif how == "cut":
        text = printed.read_text()
        printed.write_text(text[: text.index("recovery key:")])
    elif how == "wrong password":
        lost.write_password("not these words")
    elif how == "no key copies":
        (lost.folder / "empty").mkdir()
        source, status = (lost.folder / "empty").as_uri(), 2
    else:
        (lost.folder / "lost").rename(lost.home)
        status = 2
    before = digests(lost.home) if lost.home.exists() else {}
    done = lost.here("--json", "init", "--recover", source, status=status)
    assert done.error["next"] or how == "wrong password"
    assert (digests(lost.home) if lost.home.exists() else {}) == before
