"""`verify` as people type it: in portions, and with the repair that its own message names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.cli.lab import Lab


@pytest.fixture
def sent(applied: Lab) -> Lab:
    """A lab whose outbox stands in the config and in a folder store, sealed."""
    store = applied.folder / "nas"
    store.mkdir()
    config = applied.home / "config.toml"
    config.write_text(f'outbox = "{applied.out}"\n{config.read_text()}')
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    return applied


def rot(path: Path) -> bytes:
    data = path.read_bytes()
    path.chmod(0o600)
    path.write_bytes(data[:-9] + bytes([data[-9] ^ 1]) + data[-8:])
    return path.read_bytes()


def test_in_portions(sent: Lab) -> None:
    assert sent.here("--json", "verify", "--max-age", "30").summary["files"]["done"] == 0
    assert sent.here("--json", "verify", "--max-duration", "1h30m").summary["files"]["done"] > 2
    drawn = sent.here("--json", "verify", "--deep", "--sample", "1", "--seed", "5")
    kinds = {Path(item["key"].removesuffix(".age")).suffix for item in drawn.of("item", action="verify", status="done")}
    assert ".avi" in kinds and len(kinds) > 2
    assert any("--seed 5" in item["message"] for item in drawn.of("item", action="verify", status="note"))
    for wrong in (("--max-duration", "soon"), ("--sample", "0"), ("--max-age", "-1")):
        assert sent.here("--json", "verify", *wrong, status=2).error["exit_status"] == 2


def test_the_repair_that_the_message_names(sent: Lab) -> None:
    store = sent.folder / "nas"
    first, second = sorted(store.rglob("*.avi.age"))[:2]
    rotten = rot(first)
    second.unlink()
    told = sent.here("--json", "verify", status=30)
    assert told.summary["counts"]["bad"] == 2
    (command,) = {error["next"].partition(" sends")[0] for error in told.of("error")}
    words = command.split()
    assert words[:2] == ["ecogsafe", "verify"]
    mended = sent.here("--json", *words[1:])
    assert (mended.summary["counts"]["repaired"], mended.summary["counts"]["bad"]) == (2, 2)
    assert first.read_bytes() == rotten
    assert second.is_file()
    better = first.with_name(first.name.replace(".avi", "~2.avi"))
    assert better.is_file()
    assert sent.here("--json", "verify", "--deep").summary["counts"]["replaced"] == 1
    back = sent.folder / "back"
    back.mkdir()
    sent.here("download", "--from", store.as_uri(), "-d", back)
    clip = first.relative_to(store).with_suffix("")
    assert (back / clip).read_bytes() == (sent.out / "video" / clip).read_bytes()
    assert not list(back.rglob("*~2*"))
