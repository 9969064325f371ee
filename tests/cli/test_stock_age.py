"""Uploaded objects open with the stock ``age`` command: with the lab key and its password, or with the recovery key."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pexpect
import pytest

from tests.cli.lab import PASSWORD, Lab
from tests.servers.seaweed import SeaweedServer


def age() -> str:
    """Return the stock command; its absence fails a test, it never skips one."""
    found = shutil.which("age")
    assert found is not None, "age is not installed: apt install age (`make test` sees to it)"
    return found


def opened_identity(lab: Lab) -> Path:
    """Open lab-key.age with ``age -d``, typing the password, and return the identity file."""
    identity = lab.folder / "lab-identity.txt"
    child = pexpect.spawn(age(), ["-d", "-o", str(identity), str(lab.home / "lab-key.age")], timeout=20)
    child.expect("passphrase")
    child.sendline(PASSWORD)
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 0
    return identity


def decrypted(identity: Path, sealed: bytes) -> bytes:
    return subprocess.run([age(), "-d", "-i", str(identity)], input=sealed, capture_output=True, check=True).stdout


@pytest.mark.parametrize("which", ["lab key", "recovery key"])
def test_every_object_of_a_bucket_opens_with_stock_age(applied: Lab, s3_server: SeaweedServer, which: str) -> None:
    identity = opened_identity(applied) if which == "lab key" else applied.folder / "recovery-key.txt"
    applied.extra_env = s3_server.env()
    bucket = s3_server.new_bucket()
    applied.here("upload", "-d", applied.out, "-b", bucket, "-t", "v", "--exclude", "*_001.*")
    applied.here("upload", "-d", applied.out, "-b", bucket, "-t", "e", "--encrypt")
    client = s3_server.client()
    keys = [o["Key"] for o in client.list_objects_v2(Bucket=bucket)["Contents"]]
    kinds = set()
    for key in (k for k in keys if not k.startswith("_ecogsafe/")):
        assert key.endswith(".age")
        sealed = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        (source,) = [p for t in ("video", "edf", "text") if (p := applied.out / t / key[:-4]).is_file()]
        kinds.add(source.suffix)
        assert decrypted(identity, sealed) == source.read_bytes()
    assert kinds >= {".avi", ".erd", ".eeg", ".vtc", ".txt", ".edf", ".bdf"}


def test_the_catalogue_beside_the_data_opens_with_the_recovery_key(applied: Lab) -> None:
    store = applied.folder / "store"
    store.mkdir()
    applied.here("upload", "-d", applied.out, "--to", store.as_uri(), "-t", "v")
    (snapshot,) = (store / "_ecogsafe" / "catalog").iterdir()
    assert snapshot.name.endswith(".sqlite.zst.age")
    zipped = decrypted(applied.folder / "recovery-key.txt", snapshot.read_bytes())
    opened = subprocess.run(["zstd", "-dqc"], input=zipped, capture_output=True, check=True).stdout
    assert opened.startswith(b"SQLite format 3\0")


def test_the_linking_key_and_journals_open_with_the_recovery_key(applied: Lab) -> None:
    assert applied.ledger is not None
    for path in (applied.home / "linking-key.age", *(applied.home / "journals").glob("*.age")):
        opened = decrypted(applied.folder / "recovery-key.txt", path.read_bytes())
        names = [p.last_name for p in applied.ledger.patients]
        assert any(name in opened.decode("utf-8", errors="replace") for name in names)
