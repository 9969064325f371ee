"""docs/disaster.md, carried out as it is written: the home is gone; the sheet, the password and one store are left."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.trees import digests
from tests.servers.seaweed import SeaweedServer

PAGE = Path(__file__).resolve().parents[2] / "docs" / "disaster.md"


def steps() -> tuple[list[str], list[str]]:
    """Return the variables that the page asks to fill in, and its other blocks in their order."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL)
    (filled,) = [body for word, body in blocks if word == "sh"]
    return re.findall(r"^([A-Z]+)=", filled, re.MULTILINE), [body for word, body in blocks if word == ""]


def carry_out(lab: Lab, **filled: str) -> str:
    """Type the page into a shell; every line must end with 0. Return what was said."""
    names, blocks = steps()
    assert sorted(filled) == sorted(names), "the page asks for other variables than the test fills in"
    lines = [f"{name}={shlex.quote(value)}" for name, value in filled.items()]
    script = "\n".join(["set -eu", *lines, *blocks])
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    env = {**lab.env(), "PATH": path}
    done = subprocess.run(
        ["sh", "-c", script], env=env, cwd=lab.folder, capture_output=True, text=True, timeout=300, check=False
    )
    said = done.stdout + done.stderr
    lab.told.append(said)
    assert done.returncode == 0, said
    return said


def lose_everything(lab: Lab, url: str) -> dict[str, str]:
    """Send and archive, print the sheet, then lose home and outbox; return what must come back."""
    config = lab.home / "config.toml"
    config.write_text(config.read_text() + f'\n[[destination]]\nname = "one"\nurl = "{url}"\ntypes = ["v", "e"]\n')
    for kind in ("v", "e"):
        lab.here("upload", "-d", lab.out, "--to", url, "-t", kind)
    for kind in ("vid", "edf"):
        cold = ["--storage-class", "GLACIER_IR"] if url.startswith("s3") else []
        lab.here("archive", "-d", lab.out, "--to", url, "-t", kind, *cold)
    shutil.copy(lab.home / "recovery-sheet.txt", lab.folder / "sheet.txt")
    lab.home.rename(lab.folder / "lost home")
    lab.out.rename(lab.folder / "lost outbox")
    return {name: d for t in ("video", "text", "edf") for name, d in digests(lab.folder / "lost outbox" / t).items()}


def check_back(lab: Lab, url: str, expected: dict[str, str], code: str) -> None:
    """What the page promises: every file, the archive, and a catalogue that knows what it knew."""
    back = digests(lab.folder / "back")
    archived = {n.removeprefix("archived/"): d for n, d in back.items() if n.startswith("archived/")}
    assert {n: d for n, d in back.items() if not n.startswith("archived/")} == expected
    assert archived == {n: d for n, d in expected.items() if code in n.split("/")[0]}
    again = lab.here("--json", "inventory", url)
    (whole,) = [i for i in again.of("item", action="inventory") if i.get("details", {}).get("total")]
    assert (whole["details"]["unknown"], whole["details"]["missing"]) == (0, 0)
    listed = {i["subject"]: i["details"] for i in lab.here("--json", "subjects", "list").of("item") if "subject" in i}
    assert set(listed) == set(lab.codes.values())
    acts = json.dumps([*listed.values()])
    assert "segments" in acts, "the segments are known again"
    # the data are known for what they are: sending them again sends nothing
    (lab.folder / "lost outbox").rename(lab.out)
    resent = lab.here("--json", "upload", "-d", lab.out, "--to", url, "-t", "v")
    assert resent.summary["files"]["done"] == 0
    assert not list(lab.home.glob(".rebuild-*"))


def test_a_folder_and_the_sheet_alone(applied: Lab) -> None:
    store = applied.folder / "nas"
    store.mkdir()
    url, code = store.as_uri(), applied.codes["a"]
    expected = lose_everything(applied, url)
    before = {p: p.read_bytes() for p in store.rglob("*") if p.is_file()}
    said = carry_out(
        applied, STORE=url, KEYS=str(applied.folder / "sheet.txt"), BACK=str(applied.folder / "back"), CODE=code
    )
    assert "put back as of" in said
    check_back(applied, url, expected, code)
    assert {p: p.read_bytes() for p in before} == before, "something in the store was changed"


def test_a_folder_with_key_copies_brings_who_is_who(applied: Lab) -> None:
    store = applied.folder / "nas"
    store.mkdir()
    url, code = store.as_uri(), applied.codes["a"]
    applied.configure(f'[key_backup]\nurls = ["{url}"]')
    expected = lose_everything(applied, url)
    carry_out(applied, STORE=url, KEYS=url, BACK=str(applied.folder / "back"), CODE=code)
    check_back(applied, url, expected, code)
    lost = applied.folder / "lost home" / "linking-key.age"
    assert (applied.home / "linking-key.age").read_bytes() == lost.read_bytes()


@pytest.mark.server
def test_a_bucket_and_the_sheet_alone(applied: Lab, s3_server: SeaweedServer) -> None:
    applied.extra_env = s3_server.env()
    url, code = f"s3://{s3_server.new_bucket()}/lab", applied.codes["b"]
    expected = lose_everything(applied, url)
    carry_out(applied, STORE=url, KEYS=str(applied.folder / "sheet.txt"), BACK=str(applied.folder / "back"), CODE=code)
    check_back(applied, url, expected, code)
