"""What the commands about people say to input that cannot be: a clear end, nothing changed, nothing repeated."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.restricted import NEEDS_SETPRIV, need_mounts, small_disk, without_override
from tests.cli.trees import tree_state

NAME = "Quillfeather"
UNKNOWN = "abcd1234"


def table(lab: Lab, data: bytes) -> Path:
    path = lab.folder / f"{NAME}.csv"
    path.write_bytes(data)
    path.chmod(0o600)
    return path


def refused(lab: Lab, *words: str | Path, status: int, code: str = "usage", typed: str = "") -> str:
    """Check that a command ends with a status, an error code and a next step, changes nothing and repeats no name."""
    before = (tree_state(lab.out), sorted(p.name for p in lab.home.rglob("*") if "sqlite" not in p.name))
    files = sorted(lab.folder.rglob("*"))
    for form in ([], ["--json"]):
        done = lab.here(*form, *words, status=status, typed=typed)
        assert done.out if form else done.err
    assert done.error["code"] == code
    assert done.error["next"] and done.error["safe"]
    assert (tree_state(lab.out), sorted(p.name for p in lab.home.rglob("*") if "sqlite" not in p.name)) == before
    assert [p for p in sorted(lab.folder.rglob("*")) if p not in files and "sqlite" not in p.name] == []
    assert lab.residue_in_words([NAME]) == []
    return str(done.error["message"])


@pytest.mark.parametrize("command", ["show", "statement", "withdraw"])
def test_a_code_that_is_none_or_nobodys(applied: Lab, command: str) -> None:
    for code in (NAME, UNKNOWN, "ABCD1234", "../x", ""):
        refused(applied, "--yes", "subjects", command, code, status=2)


@pytest.mark.parametrize("code", [NAME, UNKNOWN, "../x"])
def test_a_code_that_nothing_can_be_made_of(applied: Lab, code: str) -> None:
    to = applied.folder / "again"
    refused(applied, "deid", "reidentify", code, "--to", to, status=2)
    refused(applied, "deid", "undo", code, status=2)
    refused(applied, "deid", "scan", applied.out, "--subject", code, status=2)
    assert not to.exists()


def _is_a_file(lab: Lab) -> Path:
    (lab.folder / NAME).write_bytes(b"x")
    return lab.folder / NAME


def _is_below_a_file(lab: Lab) -> Path:
    return _is_a_file(lab) / "deeper"


def _is_not_empty(lab: Lab) -> Path:
    (lab.folder / NAME / "x").mkdir(parents=True)
    return lab.folder / NAME


def _is_out(lab: Lab) -> Path:
    return lab.out / "video"


@pytest.mark.parametrize("place", [_is_a_file, _is_below_a_file, _is_not_empty, _is_out])
def test_a_folder_that_reidentify_cannot_take(applied: Lab, place: Callable[[Lab], Path]) -> None:
    folder = place(applied)
    refused(applied, "deid", "reidentify", applied.codes["a"], "--from", applied.out, "--to", folder, status=2)


def test_reidentify_onto_a_disk_that_is_full(applied: Lab) -> None:
    need_mounts()
    folder = applied.folder / "again"
    folder.mkdir()
    before = tree_state(applied.out)
    words = ["--json", "deid", "reidentify", applied.codes["a"], "--from", applied.out, "--to", folder / "x"]
    done = applied.run(*words, status=3, prefix=small_disk(folder, "100k", applied.folder / "listing"))
    assert {e["code"] for e in done.of("error")} == {"no-space"}
    assert (applied.folder / "listing").read_text() == ""
    assert tree_state(applied.out) == before


@NEEDS_SETPRIV
def test_reidentify_where_nothing_may_be_written(applied: Lab) -> None:
    folder = applied.folder / NAME
    folder.mkdir(mode=0o500)
    words = ["--json", "deid", "reidentify", applied.codes["a"], "--from", applied.out, "--to", folder / "x"]
    done = applied.run(*words, status=3, prefix=without_override())
    assert done.error["next"] and list(folder.iterdir()) == []
    assert applied.residue_in_words([NAME]) == []


@NEEDS_SETPRIV
def test_reidentify_of_a_file_that_cannot_be_read(applied: Lab) -> None:
    code = applied.codes["a"]
    victim = applied.out / "edf" / f"{code}_edf" / f"{code}_1.edf"
    victim.chmod(0)
    words = ["--json", "deid", "reidentify", code, "--from", applied.out, "--to", applied.folder / "again"]
    done = applied.run(*words, status=3, prefix=without_override())
    assert done.summary["files"]["done"] == 49
    (left,) = [item for item in done.of("item") if item["status"] in ("failed", "skipped", "left_behind")]
    assert left["path"] == victim.relative_to(applied.out).as_posix()


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n\n",
        b"code,last_name\n",
        f"{NAME},Odalys\n".encode(),
        f"last_name,first_name\n{NAME},Odalys\n".encode(),
        f"code,code,last_name\nc0ffee11,c0ffee12,{NAME}\n".encode(),
        f"code,last_name\nc0ffee11,{NAME}\nc0ffee11,Somebody\n".encode(),
        f"code,last_name\nc0ffee11,{NAME},more,than,the,head\n".encode(),
        f'code,last_name\nc0ffee11,"{NAME}\n'.encode(),
        f"code,last_name\n{NAME},{NAME}\n".encode(),
        b"PK\3\4 a spreadsheet under a wrong name",
    ],
    ids=[
        "empty",
        "blank",
        "head only",
        "no head",
        "no code",
        "two heads",
        "twice",
        "long",
        "open",
        "bad",
        "zip",
    ],
)
def test_a_table_that_cannot_be_taken(lab: Lab, data: bytes) -> None:
    lab.out.mkdir()
    path = table(lab, data)
    done = lab.here("--json", "subjects", "import", path, status=None)
    assert done.status in (2, 4), done.said
    assert done.error["next"]
    assert not (lab.home / "linking-key.age").exists()
    assert lab.residue_in_words([NAME, "Odalys"]) == []


def test_a_folder_for_a_table(lab: Lab) -> None:
    lab.out.mkdir()
    folder = lab.folder / NAME
    folder.mkdir()
    refused(lab, "subjects", "import", folder, status=2)


def test_a_wrong_password_stops_what_needs_one(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    path = table(lab, b"code,last_name\nc0ffee11,Somebody\n")
    lab.write_password("not these words")
    for words in (
        ["subjects", "show", code],
        ["subjects", "import", path],
        ["--yes", "subjects", "export", "--with-names", "-o", lab.folder / "x.csv"],
        ["deid", "reidentify", code, "--to", lab.folder / "again"],
        ["subjects", "add", "--last-name", NAME],
        ["deid", "scan", lab.out, "--subject", code],
    ):
        refused(lab, *words, status=12, code="wrong-password")


@pytest.mark.parametrize("target", ["gone/x.csv", "x.txt", "there.csv", "folder.csv"])
def test_a_target_that_export_cannot_take(applied: Lab, target: str) -> None:
    (applied.folder / "there.csv").write_bytes(b"x")
    (applied.folder / "folder.csv").mkdir()
    refused(applied, "subjects", "export", "-o", applied.folder / target, status=2)
    assert (applied.folder / "there.csv").read_bytes() == b"x"


@pytest.mark.parametrize("target", ["gone/x.txt", "there.txt", "folder"])
def test_a_target_that_a_statement_cannot_take(applied: Lab, target: str) -> None:
    (applied.folder / "there.txt").write_bytes(b"x")
    (applied.folder / "folder").mkdir()
    refused(applied, "subjects", "statement", applied.codes["a"], "-o", applied.folder / target, status=2)
    assert (applied.folder / "there.txt").read_bytes() == b"x"


def test_what_asks_is_not_done_where_nobody_answers(applied: Lab) -> None:
    lab, code = applied, applied.codes["a"]
    for words in (
        ["subjects", "withdraw", code],
        ["subjects", "export", "--with-names", "-o", lab.folder / "x.csv"],
        ["share", lab.out, "--group", "root"],
    ):
        refused(lab, *words, status=2, code="confirmation-needed")


def test_a_withdrawal_that_is_none_cannot_be_taken_back(applied: Lab) -> None:
    refused(applied, "--yes", "subjects", "withdraw", applied.codes["a"], "--undo", status=2)


def test_without_a_home(lab: Lab) -> None:
    shutil.rmtree(lab.home)
    for words in (["list"], ["show", UNKNOWN], ["statement", UNKNOWN], ["withdraw", UNKNOWN]):
        done = lab.here("--json", "subjects", *words, status=2)
        assert "ecogsafe init" in done.error["next"]
    assert not lab.home.exists()
