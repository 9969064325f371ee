"""`modernise` and `decrypt` killed at any moment: nothing half-done has a name, and the next run finishes."""

from __future__ import annotations

import os
import random
import subprocess
import sys
import time
from pathlib import Path

from tests.cli.lab import Lab
from tests.formats.builders_avi import clip
from tests.service.old_locks import OLD_PASSWORD, locked, noise, tar_gz

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "3"))
SEED = int(os.environ.get("ECOGSAFE_SEED", "20261123"))
A, B = "abcd1234", "bcde2345"
FILES = {
    f"{code}/{code}_{n}/{code}_{n}_{i:04d}.avi": clip() + noise(300_000, 100 * n + i)
    for code in (A, B)
    for n in (1, 2)
    for i in range(5)
}


def _tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_killed_at_any_moment_and_finished_by_the_next_run(lab: Lab) -> None:
    chance = random.Random(SEED)
    print(f"ECOGSAFE_SEED={SEED}")
    password = lab.folder / "old-password.txt"
    password.touch(mode=0o600)
    password.write_bytes(OLD_PASSWORD)
    lab.extra_env["ECOGSAFE_OLD_PASSWORD_FILE"] = str(password)
    old, staging, store, out = (lab.folder / name for name in ("old", "staging", "store", "out"))
    for folder in (old, staging, store, out):
        folder.mkdir()
    for code in (A, B):
        files = {name: data for name, data in FILES.items() if name.startswith(code)}
        (old / f"{code}_vid.tar.gz.enc").write_bytes(locked(tar_gz(files)))
    before = _tree(old)
    commands = [
        ["modernise", str(old), "-d", str(staging), "--to", store.as_uri()],
        ["decrypt", str(old / f"{A}_vid.tar.gz.enc"), "--untar", "-o", str(out / "unpacked")],
        ["decrypt", str(old / f"{A}_vid.tar.gz.enc"), "-o", str(out / "packed.tar.gz")],
    ]
    for number in range(KILLS):
        words = [sys.executable, "-m", "ecogsafe", *commands[number % len(commands)]]
        process = subprocess.Popen(words, env=lab.env(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        time.sleep(chance.uniform(0.4, 2.0))
        process.kill()
        process.wait()
        laid_out = {name: data for name, data in _tree(staging).items() if name.startswith("video/")}
        assert all(FILES[name.removeprefix("video/")] == data for name, data in laid_out.items())
        visible = [p.name for p in out.iterdir() if not p.name.startswith(".")]
        assert not visible or all(n in ("unpacked", "packed.tar.gz") for n in visible)
        if (out / "unpacked").exists():
            assert _tree(out / "unpacked") == {n: d for n, d in FILES.items() if n.startswith(A)}
    lab.here(*commands[0])
    for words in commands[1:]:
        lab.here(*words, status=None)
    assert {n.removeprefix("video/"): d for n, d in _tree(staging).items() if n.startswith("video/")} == FILES
    assert _tree(out / "unpacked") == {n: d for n, d in FILES.items() if n.startswith(A)}
    assert not [p for p in (*staging.rglob("*"), *out.rglob("*")) if "ecogsafe-part" in p.name]
    assert _tree(old) == before
    lab.here("verify", "--deep")
    back = lab.folder / "back"
    back.mkdir()
    lab.here("download", "--from", store.as_uri(), "-d", back)
    assert _tree(back) == FILES
