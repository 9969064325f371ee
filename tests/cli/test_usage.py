"""Command lines and settings that do not fit: 2, one clear message, no value of an option repeated."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

from tests.cli.lab import Lab


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["uplaod"], "Did you mean upload?"),
        (["upload", "-d", "."], "-t"),
        (["upload", "-t", "v", "-d", "."], "-b BUCKET"),
        (["upload", "-t", "v", "-d", ".", "-b", "a-b", "--to", "file:///x"], "one of"),
        (["upload", "-t", "x", "-d", ".", "-b", "a-b"], "-t"),
        (["upload", "-d", ".", "-b", "a-b", "-t", "v", "--jobs", "0"], "--jobs"),
        (["download", "-b", "a-b"], "-d"),
        (["deid"], "plan"),
        (["deid", "plan"], "EXPORT"),
        (["deid", "apply", "x"], "--to"),
        (["deid", "undo", "NotACode"], "code"),
        (["deid", "apply", "x", "--to", "y", "--annotations", "some"], "--annotations"),
        (["deid", "apply", "x", "--to", "y", "--subject", "12345678"], "--subject"),
        (["deid", "forget"], ""),
        (["--colour"], ""),
        (["verify", "abcdef01"], "recorded copy"),
        (["status", "abcdef01"], "status"),
    ],
)
def test_command_lines_that_do_not_fit(lab: Lab, words: Sequence[str], told: str) -> None:
    done = lab.here(*words, status=2)
    assert told in done.said
    assert len(done.said.splitlines()) <= 20
    lab.here("--json", *words, status=2)


@pytest.mark.parametrize("folder", ["nowhere", "a file", "empty"])
def test_a_dir_that_holds_nothing_to_send(lab: Lab, folder: str) -> None:
    (lab.folder / "empty").mkdir()
    (lab.folder / "a file").write_bytes(b"")
    (lab.folder / "store").mkdir()
    url = (lab.folder / "store").as_uri()
    done = lab.here("--json", "upload", "-d", lab.folder / folder, "--to", url, "-t", "e", status=2)
    assert done.error["message"].startswith("DIR: ")
    assert list((lab.folder / "store").iterdir()) == []


def test_a_name_given_to_an_option_by_mistake_is_not_repeated(lab: Lab) -> None:
    lab.here("deid", "plan", "export", "Quillonby", status=2)
    lab.here("upload", "-d", ".", "-b", "x-y", "-t", "Quillonby", status=2)
    lab.here("deid", "undo", "Quillonby", status=2)
    lab.here("deid", "plan", "export", "--settle", "Quillonby", status=2)
    lab.here("Quillonby", status=2)
    lab.here("deid", "Quillonby", status=2)
    lab.here("--json", "deid", "apply", "export", "--to", "x", "--annotations", "Quillonby", status=2)
    lab.here("--json", "deid", "plan", "export", "--last-nam", "Quillonby", status=2)
    assert lab.residue_in_words(["Quillonby"]) == []


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('timezone = "UTC"', "time_zone"),
        ("[policy]\ncopys = 2", "policy.copies"),
        ('[[destination]]\nname = "a"\nurl = "ftp://x"', "destination.url"),
        ('[[destination]]\nurl = "s3://lab"', "destination.name"),
        ("[policy]\ncopies = two", "TOML"),
        ("[policy]\ncopies = -1", "policy.copies"),
    ],
)
def test_settings_that_do_not_fit(lab: Lab, text: str, told: str) -> None:
    lab.configure(text)
    done = lab.here("--json", "status", status=2)
    assert done.error["code"] == "config"
    assert told in done.error["message"] + done.error["next"]


def test_a_time_zone_that_is_none(lab: Lab) -> None:
    config = lab.home / "config.toml"
    config.write_text(config.read_text().replace("America/Los_Angeles", "Mars/Olympus"))
    assert "time_zone" in lab.here("--json", "status", status=2).error["message"]


def test_global_options_may_stand_anywhere(lab: Lab) -> None:
    assert lab.here("status", "--json").summary["command"] == "status"
    other = lab.folder / "other"
    assert "home" in lab.here("status", "--home", other, status=2).said
    assert lab.here("-q", "status").status == 0


def test_standard_output_that_was_closed_is_no_bug(applied: Lab) -> None:
    """``ecogsafe … | head -1``: the reader is gone, the work goes on, and nobody sees a traceback."""
    store = applied.folder / "store"
    store.mkdir()
    words = ["--json", "upload", "-d", str(applied.out), "--to", store.as_uri(), "-t", "v", "-v"]
    process = subprocess.Popen(
        [sys.executable, "-m", "ecogsafe", *words],
        env=applied.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    told = process.stderr.read()
    process.stderr.close()
    assert process.wait(timeout=60) == 0, told
    assert "Traceback" not in told
    assert "BrokenPipe" not in told
    assert list(store.rglob("*.avi.age"))


def test_a_broken_installation_is_told_without_a_traceback(lab: Lab) -> None:
    code = "import sys; sys.modules['ecogsafe.service.download'] = None; import ecogsafe.__main__"
    done = subprocess.run(
        [sys.executable, "-c", code, "download", "--json"], env=lab.env(), capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr
    assert '"code": "bug"' in done.stdout
