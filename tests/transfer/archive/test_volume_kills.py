"""Real runs of ``ecogsafe archive``, killed with SIGKILL at random moments, and run again until they are through.

In between the sources change, and so does the zstd library. ``ECOGSAFE_SOAK_KILLS`` says how often,
``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import json
import os
import random
import secrets
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from ecogsafe.catalog import audit
from ecogsafe.core.private import Secret
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "5"))
PASSWORD = Secret(b"correct horse battery")
CODE = "abcd1234"
MIB = 2**20
PART_S = 0.05

#: small frames and parts, a slow disk that notes each part it is given, and a zstd that can be exchanged
_RUN = f"""
import hashlib, json, os, time
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.transfer.archive import frames, making, planning, volume_pass
frames.FRAME_BYTES = {MIB}
planning.plan_volume.__kwdefaults__["least_part"] = {MIB}
if os.environ.get("OTHER_ZSTD"):
    import zstandard
    other = zstandard.ZstdCompressor(level=7, write_checksum=True)
    volume_pass.compressed_frame = other.compress
    making.ZSTD_VERSION = volume_pass.ZSTD_VERSION = "9.9.9"
put_part = DirectoryStore.put_part
def noted(self, key, upload_id, number, body, **more):
    line = json.dumps([upload_id, number, hashlib.sha256(body).hexdigest()]) + "\\n"
    out = os.open(os.environ["PARTS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(out, line.encode())
    os.close(out)
    time.sleep({PART_S} * (1 + number % 3))
    return put_part(self, key, upload_id, number, body, **more)
DirectoryStore.put_part = noted
from ecogsafe.ui.cli.main import main; main()
"""


class Site:
    """A lab with one subject and a folder to archive it to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        initialise(self.home, PASSWORD, recovery_file=folder / "recovery.txt", time_zone=None, work_factor=10)
        self.deep = folder / "deep"
        self.deep.mkdir()
        self.log = folder / "parts.log"
        self.sources: list[Path] = []
        self.other_zstd = False

    def write(self, name: str, data: bytes) -> None:
        path = self.folder / "out" / "video" / CODE / f"{CODE}_1" / f"{CODE}_1_{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        self.sources.append(path)

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _RUN, "--home", str(self.home.root), "--json", "archive"]
        command += ["-d", str(self.folder / "out"), "--to", self.deep.as_uri(), "-t", "vid"]
        environment = os.environ | {"PARTS_LOG": str(self.log), "OTHER_ZSTD": "1" if self.other_zstd else ""}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    def parts(self) -> list[tuple[str, int, str]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.home.catalog_path, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def acknowledged(self) -> set[tuple[object, ...]]:
        return set(self.rows("SELECT u.upload_id, a.number FROM acks a JOIN uploads u ON u.token = a.token"))


def _kill_somewhere(site: Site, numbers: random.Random) -> bool:
    child = site.start()
    wanted = len(site.parts()) + numbers.randrange(10)
    while child.poll() is None and len(site.parts()) < wanted:
        time.sleep(0.01)
    time.sleep(numbers.uniform(0, 3 * PART_S))
    child.kill()
    child.communicate()
    return child.returncode == -signal.SIGKILL


def _restored(site: Site) -> dict[str, bytes]:
    """Return what stock tools make of all volumes, one after the other."""
    target = site.folder / "restored"
    target.mkdir()
    identity = site.folder / "identity.txt"
    identity.write_text(open_lab_key(site.home.lab_key.read_bytes(), PASSWORD).to_text() + "\n")
    for volume in sorted(site.deep.glob(f"{CODE}/*.tar.zst.age")):
        command = f"set -o pipefail; age -d -i {identity} {volume} | zstd -dq | tar x -C {target}"
        subprocess.run(["bash", "-c", command], check=True)
        subprocess.run(["sha256sum", "--strict", "--quiet", "-c", "MANIFEST.sha256"], cwd=target, check=True)
    return {path.name: path.read_bytes() for path in target.rglob("*.avi")}


def test_killed_runs_are_continued_and_restore_with_stock_tools(tmp_path: Path) -> None:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
    print(f"ECOGSAFE_SEED={seed} ECOGSAFE_SOAK_KILLS={KILLS}")
    numbers = random.Random(seed)
    site = Site(tmp_path)
    site.write("0001", numbers.randbytes(5 * MIB + 1))
    site.write("0002", numbers.randbytes(200_000) * 30)
    site.write("0003", b"")
    site.write("0004", bytes(range(256)) * 4000)
    kills = resumed = 0
    while kills < KILLS:
        if site.rows("SELECT 1 FROM archive_volumes") and not site.rows(
            "SELECT 1 FROM archive_volumes WHERE state = 'sending'"
        ):
            # keep something under way for every kill
            site.write(f"1{len(site.sources):03}", numbers.randbytes(6 * MIB + len(site.sources)))
        before = site.acknowledged()
        sent = len(site.parts())
        kills += _kill_somewhere(site, numbers)
        again = {(upload_id, number) for upload_id, number, _ in site.parts()[sent:]} & before
        assert not again, "acknowledged parts were sent again"
        resumed += bool(before)
        if numbers.random() < 0.2:
            path = numbers.choice(site.sources)
            path.write_bytes(path.read_bytes() + b"more")
        if numbers.random() < 0.2:
            site.other_zstd = not site.other_zstd
    child = site.start()
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, (out + err).decode()[-3000:]
    print(f"{kills} kills, {resumed} of them left parts, {len(site.parts())} parts sent")
    sealing_of = dict(site.rows("SELECT upload_id, sealing_id FROM uploads WHERE upload_id IS NOT NULL"))
    bodies: dict[tuple[object, int], str] = {}
    for upload_id, number, sha256 in site.parts():
        body = bodies.setdefault((sealing_of[upload_id], number), sha256)
        assert body == sha256, "one key and nonce, two plaintexts"
    assert _restored(site) == {path.name: path.read_bytes() for path in site.sources}
    assert site.rows("SELECT id FROM sealings WHERE wrapped_key IS NOT NULL OR state = 'open'") == []
    assert site.rows("SELECT token FROM uploads WHERE state = 'open'") == []
    assert list(site.deep.rglob(".ecogsafe-*")) == []
    with site.home.open_catalog() as catalog, catalog.read() as tx:
        assert audit.check(tx) == []
