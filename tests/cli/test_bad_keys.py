"""Wrong and missing passwords and keys: 12, a clear message, and nothing is written."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.lab import Lab
from tests.cli.trees import digests, tree_state


def test_a_wrong_password_stops_apply(handed_over: Lab) -> None:
    handed_over.write_password("some other words")
    before = tree_state(handed_over.export)
    home = digests(handed_over.home / "journals")
    words = handed_over.apply_words("a")
    done = handed_over.here("--json", *words, status=12)
    assert done.error["code"] == "wrong-password"
    assert tree_state(handed_over.export) == before
    assert not (handed_over.home / "linking-key.age").exists()
    assert digests(handed_over.home / "journals") == home
    assert handed_over.residue_in_words(["some other words"]) == []


def test_a_wrong_password_stops_undo_and_scan(applied: Lab) -> None:
    before = tree_state(applied.out)
    applied.write_password("some other words")
    for words in (["undo", applied.codes["a"]], ["scan", applied.out, "--subject", applied.codes["a"]]):
        assert applied.here("--json", "--yes", "deid", *words, status=12).error["code"] == "wrong-password"
    assert tree_state(applied.out) == before


def test_a_wrong_password_stops_download_before_a_file_is_made(applied: Lab) -> None:
    store, back = applied.folder / "store", applied.folder / "back"
    store.mkdir()
    back.mkdir()
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    applied.write_password("some other words")
    done = applied.here("--json", "download", "--from", store.as_uri(), "-d", back, status=12)
    assert done.error["code"] == "wrong-password"
    assert not list(back.iterdir())
    assert applied.here("--json", "verify", "--deep", status=12).error["code"] == "wrong-password"
    applied.here("--json", "verify")


@pytest.mark.parametrize("password", ["", "\n", "missing"])
def test_a_password_file_that_holds_none(handed_over: Lab, password: str) -> None:
    if password == "missing":
        handed_over.password_file.unlink()
    else:
        handed_over.password_file.write_text(password)
    words = handed_over.apply_words("a")
    done = handed_over.here("--json", *words, status=12)
    assert "ECOGSAFE_PASSWORD_FILE" in done.error["message"]


def test_no_terminal_and_no_password_file(handed_over: Lab) -> None:
    words = handed_over.apply_words("a")
    done = handed_over.run("--json", *words, status=12, env={"ECOGSAFE_PASSWORD_FILE": ""})
    assert "no terminal" in done.error["message"]
    assert "ECOGSAFE_PASSWORD_FILE" in done.error["next"]
    assert not handed_over.out.exists()


def test_upload_status_and_verify_never_ask(applied: Lab) -> None:
    store = applied.folder / "store"
    store.mkdir()
    applied.password_file.unlink()
    for kind in ("v", "e"):
        applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", kind)
    applied.here("verify")
    applied.here("status")


def test_plan_without_a_password_says_what_it_cannot_know(handed_over: Lab) -> None:
    handed_over.apply("a")
    words = ["deid", "plan", handed_over.export, "--identifiers", handed_over.identifiers("b")]
    done = handed_over.here(*words, env={"ECOGSAFE_PASSWORD_FILE": ""})
    assert "password" in done.said


def test_a_changed_recipients_file_stops_uploads(applied: Lab) -> None:
    stranger = "age1qyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqszqgpqyqs3290gq"
    (applied.home / "recipients.txt").open("a").write(f"{stranger}\n")
    store = applied.folder / "store"
    store.mkdir()
    done = applied.here("--json", "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v", status=12)
    assert done.error["code"] == "recipients-changed"
    assert not list(store.rglob("*.age"))


@pytest.mark.parametrize("damage", ["gone", "cut", "other"])
def test_a_lab_key_that_is_gone_or_damaged(applied: Lab, damage: str) -> None:
    key = applied.home / "lab-key.age"
    data = key.read_bytes()
    if damage == "gone":
        key.unlink()
    else:
        key.write_bytes(data[:100] if damage == "cut" else b"not a key\n")
    done = applied.here("--json", "--yes", "deid", "undo", applied.codes["a"], status=12)
    assert "init --recover" in done.error["next"]


def test_init_never_makes_new_keys_over_those_of_a_lab(applied: Lab) -> None:
    """The lab key was lost: a new one would make the linking key and the recovery sheet worthless."""
    data = (applied.home / "lab-key.age").read_bytes()
    (applied.home / "lab-key.age").unlink()
    before = digests(applied.home)
    done = applied.here("--json", "init", "--recovery-file", applied.folder / "other.txt", status=12)
    assert "init --recover" in done.error["next"]
    assert digests(applied.home) == before
    # and the way out that is named works: the sheet in the home brings the key back
    applied.here("init", "--recover", applied.home / "recovery-sheet.txt")
    assert (applied.home / "lab-key.age").read_bytes() == data
    store = applied.folder / "store"
    store.mkdir()
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "e")
    applied.here("deid", "scan", applied.out, "--subject", applied.codes["a"])


def test_a_damaged_linking_key_is_never_written_over(handed_over: Lab) -> None:
    handed_over.apply("a")
    linking_key = handed_over.home / "linking-key.age"
    damaged = linking_key.read_bytes()[:-40]
    linking_key.write_bytes(damaged)
    words = handed_over.apply_words("b")
    before = tree_state(handed_over.export)
    done = handed_over.here("--json", *words, status=None)
    assert done.status in (12, 30), done.said
    assert linking_key.read_bytes() == damaged
    assert tree_state(handed_over.export) == before


def test_commands_without_a_home(tmp_path: Path) -> None:
    lab = Lab(tmp_path)
    lab.write_password()
    for words in (
        ["status"],
        ["verify"],
        ["deid", "plan", tmp_path],
        ["upload", "-d", tmp_path, "-b", "abc", "-t", "v"],
    ):
        done = lab.here("--json", *words, status=2)
        assert done.error["code"] == "not-initialised"
        assert "ecogsafe init" in done.error["next"]
    assert not lab.home.exists()
