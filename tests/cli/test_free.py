"""`free` as a person types it: asked first, told what stays and why, and nothing misses the files afterwards."""

from __future__ import annotations

import re

import pytest

from ecogsafe.service.outgoing import NOTE_NAME
from tests.cli.lab import Lab
from tests.service.places_apart import disks_apart

__all__ = ["disks_apart"]


@pytest.fixture
def sent(applied: Lab) -> Lab:
    """Two patients whose recordings stand in two folders, and their linking key in one of them."""
    urls = [(applied.folder / name).as_uri() for name in ("one", "two")]
    applied.configure(f'[policy]\ncopies = 2\noffsite = 0\n[key_backup]\nurls = ["{urls[0]}"]')
    for name, url in zip(("one", "two"), urls, strict=True):
        (applied.folder / name).mkdir()
        applied.here("upload", "-d", applied.out, "--to", url, "-t", "e")
    return applied


def recordings(lab: Lab) -> dict[str, bytes]:
    return {p.relative_to(lab.out).as_posix(): p.read_bytes() for p in (lab.out / "edf").rglob("*.edf")}


def test_what_it_refuses(sent: Lab) -> None:
    before = recordings(sent)
    assert "--yes" in sent.here("free", sent.out / "edf", status=2).err
    assert "there is no such folder" in sent.here("--yes", "free", sent.out / "nowhere", status=2).err
    # the folders of a test lie on the disk of its outbox
    done = sent.here("--json", "--yes", "free", sent.out / "edf", status=3)
    kept = done.of("item", action="free", status="skipped")
    assert len(kept) == done.summary["files"]["skipped"] == 6
    assert all("on the same disk" in item["message"] for item in kept)
    # a person is told once, unless they ask for every file
    assert "skip" not in sent.here("--yes", "free", sent.out / "edf", status=3).said.replace("skipped", "")
    told = sent.here("-v", "--yes", "free", sent.out / "edf", status=3).said
    assert (told.count("6 files stay"), told.count("skip  free ")) == (1, 6)
    assert recordings(sent) == before
    # a note does not stand in the way of a scan
    (sent.out / "edf" / NOTE_NAME).write_text("Where the data of this folder went\n")
    sent.here("deid", "scan", sent.out / "edf", "--subject", sent.codes["a"])


@pytest.mark.usefixtures("disks_apart")
def test_proven_freed_and_brought_back(sent: Lab) -> None:
    before = recordings(sent)
    # never brought back, so not proven; status says what is to be done, and then it is safe
    assert "were brought back" in sent.here("-q", "status", "--check", status=3).out
    held_back = sent.here("free", sent.out / "edf", "--dry-run", status=3).out
    assert "too little was brought back" in held_back
    # followed literally, the advice supplies what is missing
    assert re.search(r"\(next: ecogsafe verify \w{8} --store \S+ --deep\)", held_back)
    sent.here("verify", "--deep")
    assert "safe: the policy is met" in sent.here("status", "--check").out
    # every morning from cron: good news makes no mail
    assert sent.here("-q", "status", "--check").said == ""
    assert sent.here("free", sent.out / "edf", "--dry-run").out.count("would be deleted") >= 6
    done = sent.here("--yes", "free", sent.out / "edf")
    assert "6 of 6 files" in done.said
    assert recordings(sent) == {}
    # nobody misses them
    sent.here("status", "--check")
    assert "3 freed here" in sent.here("status").out
    sent.here("verify")
    sent.here("--yes", "free", sent.out / "edf")
    record = sent.here("audit", "--object", next(iter(before)).removeprefix("edf/")).out
    assert "deleted" in record
    url = (sent.folder / "one").as_uri()
    assert "nothing waits here" in sent.here("upload", "-d", sent.out, "--to", url, "-t", "e").said
    assert "nothing waits here" in sent.here("archive", "-d", sent.out, "--to", url, "-t", "edf").said
    sent.configure(f'[[destination]]\nname = "one"\nurl = "{url}"\ntypes = ["e"]')
    assert "nothing waits here" in sent.here("backup", sent.out).said
    # the lines of the note, as they stand there
    code = sent.codes["a"]
    note = [line.strip() for line in (sent.out / "edf" / NOTE_NAME).read_text().splitlines()]
    (line,) = [line for line in note if line.startswith("ecogsafe") and code in line and url in line]
    words = [word.strip("'") for word in line.split()[1:]]
    words[words.index("-d") + 1] = str(sent.out / "edf")
    sent.here(*words)
    assert recordings(sent) == {path: data for path, data in before.items() if code in path}
