"""Commands at a terminal: what is asked, what is shown once, what happens to other answers."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import edfio
import numpy as np
import pexpect
import pytest

from ecogsafe.core.config import load_settings
from tests.cli.lab import PASSWORD, Lab
from tests.formats.builders_avi import clip
from tests.service.old_locks import OLD_PASSWORD, locked

Spawn = Callable[..., "pexpect.spawn[str]"]
_KEY = re.compile(r"AGE-SECRET-KEY-1[0-9A-Z]+")


@pytest.fixture
def new_lab(tmp_path: Path) -> Lab:
    """A lab without a home."""
    return Lab(tmp_path)


@pytest.fixture
def spawn() -> Iterator[Spawn]:
    """Start commands at a terminal of their own; whatever still runs at the end is ended."""
    children: list[pexpect.spawn[str]] = []

    def start(lab: Lab, *words: str | Path, **env: str) -> pexpect.spawn[str]:
        environment = {**lab.env(), "TERM": "xterm", "ECOGSAFE_PASSWORD_FILE": "", **env}
        child = pexpect.spawn(
            sys.executable,
            ["-m", "ecogsafe", *map(str, words)],
            env=environment,  # type: ignore[arg-type]
            cwd=str(lab.folder),
            encoding="utf-8",
            timeout=40,
            dimensions=(40, 200),
        )
        children.append(child)
        return child

    yield start
    for child in children:
        child.close(force=True)


def ended(child: pexpect.spawn[str]) -> int:
    """Wait for the end and return the exit status; a traceback fails the test."""
    child.expect(pexpect.EOF)
    assert "Traceback" not in (child.before or "")
    child.close()
    assert child.exitstatus is not None
    return int(child.exitstatus)


def type_password(child: pexpect.spawn[str], first: str = PASSWORD, second: str = PASSWORD) -> None:
    child.expect("New lab password")
    child.waitnoecho()
    child.sendline(first)
    child.expect("Once more")
    child.waitnoecho()
    child.sendline(second)


def answer(child: pexpect.spawn[str], *questions: str, text: str = "") -> None:
    """Give each question the same answer; none leaves it for later."""
    for question in questions:
        child.expect_exact(question)
        child.sendline(text)


def test_init_writes_what_it_was_told_into_a_commented_file(new_lab: Lab, spawn: Spawn) -> None:
    """The few questions that matter; an answer that does not fit is told and asked again."""
    nas = new_lab.folder / "nas with spaces"
    nas.mkdir()
    child = spawn(new_lab, "init", "--recovery-file", new_lab.folder / "key.txt")
    type_password(child)
    for question, text in (
        ("Time zone", "America/Los_Angeles"),
        ("Folder where de-identified", str(new_lab.out)),
        ("A place for copies", "s3://lab-video"),
        ("What goes there", "v"),
        ("cold storage", "n"),
        ("Another place", "s3://lab-deep"),
        ("What goes there", ""),
        ("cold storage", "y"),
        ("Another place", "ftp://nowhere"),
        ("What goes there", ""),
    ):
        child.expect_exact(question)
        child.sendline(text)
    child.expect_exact("cannot be opened")
    for question, text in (("Another place", str(nas)), ("What goes there", "ve"), ("Unencrypted", "y")):
        child.expect_exact(question)
        child.sendline(text)
    answer(child, "Another place")
    assert ended(child) == 0
    config = new_lab.home / "config.toml"
    settings = load_settings(config)
    assert (settings.time_zone, settings.outbox) == ("America/Los_Angeles", str(new_lab.out))
    assert [(d.name, d.url, d.types, d.archive, d.plain) for d in settings.destination] == [
        ("lab-video", "s3://lab-video", ("v",), False, False),
        ("lab-deep", "s3://lab-deep", ("v", "e"), True, False),
        ("nas with spaces", nas.as_uri(), ("v", "e"), False, True),
    ]
    assert config.read_text().count("#") > 20


def test_init_asks_twice_and_shows_the_recovery_key_once(new_lab: Lab, spawn: Spawn) -> None:
    child = spawn(new_lab, "init")
    type_password(child)
    child.expect("Time zone of the recording site")
    child.sendline("America/Los_Angeles")
    answer(child, "Folder where de-identified", "A place for copies")
    child.expect(_KEY.pattern)
    key = child.match.group()
    child.expect("Is it written down")
    child.sendline("y")
    assert ended(child) == 0
    shown = child.before or ""
    assert PASSWORD not in shown
    # it is nowhere else, and it opens what is sealed
    for path in new_lab.home.rglob("*"):
        if path.is_file():
            assert key.encode() not in path.read_bytes()
            assert path.stat().st_mode & 0o077 == 0
    assert 'time_zone = "America/Los_Angeles"' in (new_lab.home / "config.toml").read_text()
    identity = new_lab.folder / "typed-from-paper.txt"
    identity.write_text(key)
    sealed = new_lab.folder / "probe.age"
    recipients = new_lab.home / "recipients.txt"
    subprocess.run(["age", "-R", recipients, "-o", sealed], input=b"probe", check=True)
    opened = subprocess.run(["age", "-d", "-i", identity, sealed], capture_output=True, check=True)
    assert opened.stdout == b"probe"
    # the password is the one that was typed
    status = spawn(new_lab, "deid", "undo", "abcdef01")
    status.expect("Lab password")
    status.sendline(PASSWORD)
    assert ended(status) == 2


def test_init_with_another_second_password_asks_again(new_lab: Lab, spawn: Spawn) -> None:
    child = spawn(new_lab, "init", "--recovery-file", new_lab.folder / "key.txt")
    type_password(child, second="something else")
    child.expect("do not match")
    type_password(child)
    child.expect("Time zone")
    child.sendline("-")
    answer(child, "Folder where de-identified", "A place for copies")
    assert ended(child) == 0
    assert "# time_zone" in (new_lab.home / "config.toml").read_text()


def test_init_with_a_short_password_makes_nothing(new_lab: Lab, spawn: Spawn) -> None:
    child = spawn(new_lab, "init", "--recovery-file", new_lab.folder / "key.txt")
    type_password(child, "short", "short")
    child.expect("shorter than")
    assert ended(child) == 2
    assert not (new_lab.home / "lab-key.age").exists()
    assert not (new_lab.folder / "key.txt").exists()


def test_init_does_not_end_before_the_recovery_key_is_written_down(new_lab: Lab, spawn: Spawn) -> None:
    """Whoever says no is shown it again; whoever leaves then has no home, and init can be run again."""
    child = spawn(new_lab, "init")
    type_password(child)
    child.expect("Time zone")
    child.sendline("UTC")
    answer(child, "Folder where de-identified", "A place for copies")
    child.expect(_KEY.pattern)
    first = child.match.group()
    child.expect("Is it written down")
    child.sendline("n")
    child.expect(first)
    child.expect("Is it written down")
    child.sendcontrol("c")
    assert ended(child) == 130
    assert not (new_lab.home / "lab-key.age").exists()
    again = spawn(new_lab, "init")
    type_password(again)
    again.expect("Time zone")
    again.sendline("UTC")
    again.expect(_KEY.pattern)
    assert again.match.group() != first
    again.expect("Is it written down")
    again.sendline("y")
    assert ended(again) == 0


def test_init_without_a_terminal_needs_a_recovery_file(new_lab: Lab) -> None:
    new_lab.write_password()
    done = new_lab.run("--json", "init", status=2)
    assert "--recovery-file" in done.error["message"]
    assert not (new_lab.home / "lab-key.age").exists()
    path = new_lab.folder / "key.txt"
    new_lab.run("init", "--recovery-file", path)
    assert path.stat().st_mode & 0o777 == 0o600
    assert not _KEY.search("".join(new_lab.told))
    second = new_lab.run("--json", "init", "--recovery-file", new_lab.folder / "other.txt", status=2)
    assert "initialised already" in second.error["message"]


def test_a_recovery_file_is_never_replaced_and_never_in_the_home(new_lab: Lab) -> None:
    new_lab.write_password()
    taken = new_lab.folder / "taken.txt"
    taken.write_text("something of mine")
    for path in (taken, new_lab.home / "recovery.txt"):
        new_lab.here("--json", "init", "--recovery-file", path, status=2)
    assert taken.read_text() == "something of mine"
    assert not (new_lab.home / "lab-key.age").exists()


def same_name_other_person(lab: Lab) -> list[str | Path]:
    """De-identify patient b, then hand over another person of that name; return the words that apply it."""
    lab.apply("b")
    namesake = lab.folder / "namesake.toml"
    namesake.touch(mode=0o600)
    namesake.write_text('last_name = "Post"\nfirst_name = "Quillan"\n')
    second = lab.folder / "second" / "export"
    second.mkdir(parents=True)
    wave = np.arange(256, dtype=float)
    signals = [edfio.EdfSignal(wave + channel, 128, label=f"LG{channel}") for channel in (1, 2)]
    person = edfio.Patient(sex="M", name="Post,Quillan")
    edfio.Edf(signals, patient=person).write(second / "Post.edf")
    return ["deid", "apply", second, "--to", lab.folder / "outbox-2", "--identifiers", namesake, "--settle", "0"]


def test_apply_asks_about_a_person_of_the_same_name(handed_over: Lab, spawn: Spawn) -> None:
    words = same_name_other_person(handed_over)
    before = (handed_over.home / "linking-key.age").read_bytes()
    refused = handed_over.run("--json", *words, status=2)
    assert refused.error["code"] == "confirmation-needed"
    assert "--yes" in refused.error["next"]
    child = spawn(handed_over, *words, ECOGSAFE_PASSWORD_FILE=str(handed_over.password_file))
    child.expect(r"\[y/N\]")
    assert "Quillan" not in (child.before or "")
    child.sendline("n")
    assert ended(child) == 2
    assert (handed_over.home / "linking-key.age").read_bytes() == before
    assert not (handed_over.folder / "outbox-2").exists()
    child = spawn(handed_over, *words, ECOGSAFE_PASSWORD_FILE=str(handed_over.password_file))
    child.expect(r"\[y/N\]")
    child.sendline("y")
    assert ended(child) == 0
    (folder,) = (handed_over.folder / "outbox-2" / "edf").iterdir()
    assert folder.name != f"{handed_over.codes['b']}_edf"


def test_yes_answers_for_a_script(handed_over: Lab) -> None:
    handed_over.run("--yes", *same_name_other_person(handed_over))


def test_undo_asks_when_copies_stand_in_stores(handed_over: Lab, spawn: Spawn) -> None:
    handed_over.apply("b")
    store = handed_over.folder / "store"
    store.mkdir()
    handed_over.here("upload", "-d", handed_over.out, "--to", store.as_uri(), "-t", "e")
    code = handed_over.codes["b"]
    refused = handed_over.run("--json", "deid", "undo", code, status=2)
    assert refused.error["code"] == "confirmation-needed"
    assert "3 copies" in refused.error["message"], "a script is not told what was asked"
    child = spawn(handed_over, "deid", "undo", code, ECOGSAFE_PASSWORD_FILE=str(handed_over.password_file))
    child.expect(r"copies.*\[y/N\]")
    child.sendline("y")
    assert ended(child) == 0
    assert not [p for p in handed_over.out.rglob("*") if p.is_file()]
    assert len(list(store.rglob("*.edf"))) + len(list(store.rglob("*.bdf"))) == 3


def test_a_wrong_password_typed_ends_12(applied: Lab, spawn: Spawn) -> None:
    child = spawn(applied, "deid", "scan", applied.out, "--subject", applied.codes["a"])
    child.expect("Lab password")
    child.waitnoecho()
    child.sendline("guess")
    child.expect("wrong-password")
    assert ended(child) == 12


def test_decrypt_asks_for_the_old_password_once_and_does_not_show_it(lab: Lab, spawn: Spawn) -> None:
    files = [lab.folder / f"abcd1234_1_000{n}.avi.enc" for n in (1, 2)]
    for n, file in enumerate(files):
        file.write_bytes(locked(clip() + bytes([n]) * 100))
    child = spawn(lab, "decrypt", *files)
    child.expect("Old lab password")
    child.waitnoecho()
    child.sendline(OLD_PASSWORD.decode())
    child.expect("2 files opened")
    assert OLD_PASSWORD.decode() not in (child.before or "")
    assert ended(child) == 0
    assert files[1].with_suffix("").read_bytes() == clip() + bytes([1]) * 100


def test_show_names_works_on_a_terminal_only(handed_over: Lab, spawn: Spawn) -> None:
    words = ["deid", "plan", handed_over.export, "--identifiers", handed_over.identifiers("b"), "--show-names"]
    assert handed_over.run("--json", *words, status=2).error["message"].startswith("--show-names")
    child = spawn(handed_over, *words, ECOGSAFE_PASSWORD_FILE=str(handed_over.password_file))
    child.expect(r"Post_\d.*->  edf/")
    assert ended(child) == 0


def test_ctrl_c_at_a_question_ends_130(handed_over: Lab, spawn: Spawn) -> None:
    child = spawn(handed_over, "deid", "apply", handed_over.export, "--to", handed_over.out, "--last-name", "Post")
    child.expect("Lab password")
    child.waitnoecho()
    child.sendcontrol("c")
    assert ended(child) == 130
    assert not handed_over.out.exists()


def test_a_terminal_shows_progress_and_the_verdict(applied: Lab, spawn: Spawn) -> None:
    store = applied.folder / "store"
    store.mkdir()
    child = spawn(applied, "upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    child.expect(r"upload: \d+ files stored and proven")
    assert ended(child) == 0
