"""The old vault from the command line: listed, fetched, and no place to send to."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from ecogsafe.crypt.tree_hash import LEAF_BYTES as MIB
from tests.cli.lab import Lab
from tests.servers.vault import VaultServer
from tests.service.old_locks import OLD_PASSWORD, locked, noise, tar_gz

CODE, OTHER = "abcd1234", "bcde2345"
VAULT = "glacier://ecog-video"


@pytest.fixture
def server(lab: Lab) -> Iterator[VaultServer]:
    """A vault with the archives of two subjects, a day old, and a lab that may read it."""
    with VaultServer() as server:
        lab.extra_env |= server.environment
        for name, size in ((f"{CODE}_vid", 3 * MIB), (f"{CODE}_edf", 5), (f"{OTHER}_vid", 7)):
            server.add_archive("ecog-video", name.encode() * (size // 12 + 1), f"{name}.tar.gz.enc")
        server.advance(hours=25)
        yield server


def test_list_fetch_and_fetch_again(lab: Lab, server: VaultServer) -> None:
    back = lab.folder / "back"
    back.mkdir()
    words = ["restore", CODE, "--from", VAULT, "-d", back]
    first = lab.here("--json", "inventory", VAULT, status=31)
    assert first.of("item", status="planned")[0]["details"]["come_back_at"]
    server.advance(hours=5)
    listed = lab.here("--json", "inventory", VAULT)
    assert [i["key"] for i in listed.of("item", status="present")] == [
        f"{CODE}_edf.tar.gz.enc",
        f"{CODE}_vid.tar.gz.enc",
        f"{OTHER}_vid.tar.gz.enc",
    ]
    server.asked.clear()
    known = lab.here("--json", "inventory", "--known", VAULT)
    assert (len(known.of("item", status="present")), server.asked) == (3, [])
    assert "no terminal" not in lab.here(*words, status=2).said
    done = lab.run("--yes", *words, "--tier", "Standard", status=31)
    assert "come back after" in done.out
    server.advance(hours=5)
    lab.run(*words)
    assert sorted(p.name for p in back.iterdir()) == [f"{CODE}_edf.tar.gz.enc", f"{CODE}_vid.tar.gz.enc"]
    again = lab.here("--json", *words)
    assert again.summary["files"]["present"] == 2


def test_from_the_vault_to_open_files(lab: Lab, server: VaultServer) -> None:
    files = {f"{OTHER}_{n}/{OTHER}_{n}_0000.avi": noise(300_000, n) for n in (1, 2)}
    server.add_archive("ecog-video", locked(tar_gz(files, top=f"{OTHER}/")), f"{OTHER}_vid.tar.gz.enc")
    back, opened, password = (lab.folder / name for name in ("back", "opened", "old-password"))
    back.mkdir()
    password.touch(mode=0o600)
    password.write_bytes(OLD_PASSWORD)
    words = ["restore", OTHER, "--from", VAULT, "-d", back, "--tier", "Expedited"]
    server.advance(hours=25)
    lab.here(*words, status=31)
    server.advance(hours=5)
    lab.here("--yes", *words, status=31)
    server.advance(hours=1)
    assert "ecogsafe decrypt" in lab.here("-v", *words).said
    archive = back / f"{OTHER}_vid.tar.gz.enc"
    lab.here("decrypt", archive, "--untar", "-o", opened, env={"ECOGSAFE_OLD_PASSWORD_FILE": str(password)})
    found = {p.relative_to(opened / OTHER).as_posix(): p.read_bytes() for p in opened.rglob("*") if p.is_file()}
    assert found == files


@pytest.mark.parametrize(
    "words", [["upload", "-d", ".", "-t", "e", "--to", VAULT], ["download", "-d", ".", "--from", VAULT]]
)
def test_a_vault_is_only_read(applied: Lab, words: list[str]) -> None:
    done = applied.here("--json", *[str(applied.out) if w == "." else w for w in words], status=10)
    assert "DEEP_ARCHIVE" in done.error["next"]


def test_a_vault_that_nobody_listed_is_not_known(lab: Lab) -> None:
    lab.here("inventory", "--known", VAULT, status=2)
    lab.here("inventory", "--adopt", VAULT, status=2)


def test_a_region_that_is_missing_is_told(lab: Lab, server: VaultServer) -> None:
    del lab.extra_env["AWS_DEFAULT_REGION"]
    done = lab.here("--json", "inventory", VAULT, status=10)
    assert "AWS_DEFAULT_REGION" in done.error["next"]
