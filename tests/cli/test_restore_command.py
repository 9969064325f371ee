"""``ecogsafe restore`` as it is typed: asks, needs a yes, ends with 31 and says when to come back."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.ui.cli.main import run_cli
from tests.service.cold_store import ColdMemory
from tests.service.small_lab import CODES, PASSWORD, SmallLab, in_memory, made_home, small_lab
from tests.service.test_restore import ALL, URL, archived, back, cold

__all__ = ["archived", "cold", "in_memory", "made_home", "small_lab"]


@pytest.fixture
def words(archived: SmallLab, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    password = archived.folder / "password.txt"
    password.touch(mode=0o600)
    password.write_bytes(PASSWORD.reveal())
    monkeypatch.setenv("ECOGSAFE_PASSWORD_FILE", str(password))
    (archived.folder / "back").mkdir()
    return ["--home", str(archived.home.root), "restore", CODES[0], "--from", URL, "-d", str(archived.folder / "back")]


def events(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def test_nobody_there_to_say_yes(
    archived: SmallLab, cold: ColdMemory, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["--json", *words]) == 2
    told = events(capsys)
    (error,) = [e for e in told if e["message_type"] == "error"]
    assert error["code"] == "confirmation-needed"
    assert "Thaw 2 objects" in error["message"]
    assert [e for e in told if e.get("action") == "price"]
    assert cold.requests == []


def test_yes_then_later(
    archived: SmallLab, cold: ColdMemory, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert run_cli(["--json", "--yes", *words]) == 31
    told = events(capsys)
    assert told[-1]["exit_status"] == 31
    assert told[-1]["counts"]["still_cold"] == 2
    assert "run the same command again after" in told[-1]["message"]
    assert {e["details"]["tier"] for e in told if e.get("action") == "thaw"} == {"Bulk"}
    cold.ready()
    assert run_cli(words) == 0
    assert back(archived) == ALL
    shown = capsys.readouterr()
    assert f"restored {len(ALL)} files, digests equal" in shown.out + shown.err


def test_words_that_cannot_be(words: list[str], tmp_path: Path) -> None:
    assert run_cli([*words, "--tier", "Fast"]) == 2
    assert run_cli([*words, "--tier", "Expedited", "--yes"]) == 2
    assert run_cli([*words[:-1], str(tmp_path / "nowhere")]) == 2
    assert run_cli([*words, "-b", "bucket"]) == 2
