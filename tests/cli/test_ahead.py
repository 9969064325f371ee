"""What is begun before a command is loaded: only what it needs, and only where nobody notices."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import click
import pytest

from ecogsafe.core.private import Secret
from ecogsafe.crypt.keys import generate_identity
from ecogsafe.crypt.lab_key import protect
from ecogsafe.ui.cli import ahead
from ecogsafe.ui.cli.main import cli
from ecogsafe.ui.cli.shell import Shell, read_password_file
from tests.cli.lab import Lab

IDENTITY = generate_identity()
SEALED = protect(IDENTITY, Secret(b"correct horse"), work_factor=4)


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "home"
    folder.mkdir()
    (folder / "lab-key.age").write_bytes(SEALED)
    password = tmp_path / "password"
    password.touch(mode=0o600)
    password.write_bytes(b"correct horse\r\nsecond line\n")
    monkeypatch.setenv("ECOGSAFE_PASSWORD_FILE", str(password))
    monkeypatch.delenv("ECOGSAFE_HOME", raising=False)
    return folder


def test_a_download_opens_the_key_before_it_is_loaded(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = ahead.unlock_ahead("download", ["-b", "bucket", "-d", "back"], home)
    assert found is not None
    password = read_password_file(Path(os.environ["ECOGSAFE_PASSWORD_FILE"]))
    monkeypatch.setattr("ecogsafe.service.unlock_ahead.open_lab_key", lambda *_: pytest.fail("opened once more"))
    shell = Shell(home=home, as_json=True, quiet=True, verbose=False, yes=False, ahead=found)
    assert shell.home.open_lab_key(SEALED, password).to_text() == IDENTITY.to_text()


def test_the_home_may_be_named_by_the_environment(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert ahead.unlock_ahead("download", [], home.parent) is None
    monkeypatch.setenv("ECOGSAFE_HOME", str(home))
    assert ahead.unlock_ahead("download", [], None) is not None


@pytest.mark.parametrize(
    ("command", "arguments"),
    [("upload", []), ("status", []), ("download", ["--dry-run"]), ("download", ["--no-decrypt"]), ("download", ["-h"])],
)
def test_nothing_is_opened_that_is_not_needed(home: Path, command: str, arguments: list[str]) -> None:
    assert ahead.unlock_ahead(command, ["-d", "back", *arguments], home) is None


@pytest.mark.parametrize("what", ["no variable", "no file", "empty", "no lab key"])
def test_what_cannot_be_read_is_left_to_the_command(home: Path, monkeypatch: pytest.MonkeyPatch, what: str) -> None:
    password = Path(os.environ["ECOGSAFE_PASSWORD_FILE"])
    if what == "no variable":
        monkeypatch.delenv("ECOGSAFE_PASSWORD_FILE")
    elif what == "no file":
        password.unlink()
    elif what == "empty":
        password.write_bytes(b"\n")
    else:
        (home / "lab-key.age").unlink()
    assert ahead.unlock_ahead("download", [], home) is None


def test_a_pipe_that_gives_the_password_once_is_left_to_the_command(
    home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """As of ``ECOGSAFE_PASSWORD_FILE=<(pass show lab)``: what is read here would be missing there."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    monkeypatch.setenv("ECOGSAFE_PASSWORD_FILE", str(pipe))
    assert ahead.unlock_ahead("download", [], home) is None
    writer = threading.Thread(target=pipe.write_bytes, args=(b"correct horse\n",))
    writer.start()
    assert ahead.unlock_ahead("download", [], home) is None
    assert read_password_file(pipe).reveal() == b"correct horse"
    writer.join()


def test_a_file_that_is_named_by_its_descriptor_is_read_once(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``/dev/fd/3`` gives the rest of an open file on some systems: the command would find nothing behind it."""
    monkeypatch.setattr(ahead.os.path, "realpath", lambda _path: "/dev/fd/3")
    assert ahead.unlock_ahead("download", [], home) is None


def test_what_is_loaded_for_it_is_little() -> None:
    code = "import sys; import ecogsafe.ui.cli.ahead, ecogsafe.service.unlock_ahead; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert "ecogsafe.crypt.lab_key" in loaded
    assert [n for n in ("sqlalchemy", "urllib3", "awscrt", "ecogsafe.catalog", "ecogsafe.stores") if n in loaded] == []


def test_the_command_line_begins_it(home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    begun: list[tuple[str, list[str], Path | None]] = []
    monkeypatch.setattr("ecogsafe.ui.cli.main.unlock_ahead", lambda *words: begun.append(words))
    words = ["--home", str(home), "--json", "-q", "download", "-d", str(tmp_path / "back"), "--from", "nonsense://x"]
    with pytest.raises(click.UsageError, match="a store is"):
        cli.main(args=words, prog_name="ecogsafe", standalone_mode=False)
    assert begun == [("download", words[5:], home)]


def test_a_wrong_password_is_told_as_ever(applied: Lab, tmp_path: Path) -> None:
    """The run itself says so, with its own exit status, and nothing is left in the folder."""
    store, wrong = tmp_path / "store", tmp_path / "wrong"
    store.mkdir()
    wrong.touch(mode=0o600)
    wrong.write_text("not the password\n")
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    back = tmp_path / "back"
    done = applied.here(
        "download", "--from", store.as_uri(), "-d", back, status=12, env={"ECOGSAFE_PASSWORD_FILE": str(wrong)}
    )
    assert "password" in done.err
    assert not list(back.rglob("*")) if back.exists() else True
    applied.here("download", "--from", store.as_uri(), "-d", back)
    assert [p for p in back.rglob("*") if p.is_file()]
