"""Real runs of ``ecogsafe backup`` that share one read among three places, killed with SIGKILL at random moments.

``ECOGSAFE_SOAK_KILLS`` says how often, ``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import hashlib
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
from ecogsafe.service.restore import restore
from ecogsafe.service.restore_request import RestoreRequest
from tests.formats.builders_avi import chunk, clip, listing
from tests.service.small_lab import CODES, PASSWORD, SmallLab

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "3"))
MIB = 1 << 20
PART_S = 0.03

#: small parts, and slow disks that note each part they are given
_RUN = f"""
import hashlib, json, os, time
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.transfer import file_job, unfinished
from ecogsafe.transfer.archive import frames, planning
frames.FRAME_BYTES = {MIB}
planning.plan_volume.__kwdefaults__["least_part"] = {MIB}
file_job.SINGLE_REQUEST_LIMIT = {MIB}
unfinished.part_size_for = lambda size: {MIB}
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
    """A lab with two subjects, two folders that get every file, and a folder of archives."""

    def __init__(self, lab: SmallLab, numbers: random.Random) -> None:
        self.lab = lab
        self.log = lab.folder / "parts.log"
        destinations = "".join(
            f'[[destination]]\nname = "{name}"\nurl = "{lab.folder_store(name)}"\n{more}'
            for name, more in (("nas", "encrypt = true\n"), ("spare", "encrypt = true\n"), ("deep", "archive = true\n"))
        )
        lab.home.config.write_text(f'outbox = "{lab.out}"\n{destinations}')
        for code in CODES:
            for index, size in enumerate((3 * MIB + 1, 1000, 2 * MIB), 1):
                self.write(code, index, numbers.randbytes(size))

    def write(self, code: str, index: int, data: bytes) -> None:
        path = f"video/{code}/{code}_1/{code}_1_{index:04d}.avi"
        self.lab.write(path, clip(movi=listing(b"movi", chunk(b"00dc", data))))

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", _RUN, "--home", str(self.lab.home.root), "--json", "backup"]
        environment = os.environ | {"PARTS_LOG": str(self.log)}
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    def parts(self) -> list[tuple[str, int, str]]:
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        return [tuple(json.loads(line)) for line in lines]

    def rows(self, query: str) -> list[tuple[object, ...]]:
        with closing(sqlite3.connect(self.lab.home.catalog_path, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def acknowledged(self) -> set[tuple[object, ...]]:
        return set(self.rows("SELECT u.upload_id, a.number FROM acks a JOIN uploads u ON u.token = a.token"))


def _digests(folder: Path) -> dict[str, str]:
    return {p.name: hashlib.sha256(p.read_bytes()).hexdigest() for p in folder.rglob("*.avi")}


def test_killed_backups_are_finished_by_the_next(small_lab: SmallLab) -> None:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
    print(f"ECOGSAFE_SEED={seed} ECOGSAFE_SOAK_KILLS={KILLS}")
    numbers = random.Random(seed)
    site = Site(small_lab, numbers)
    kills = 0
    while kills < KILLS:
        before, sent = site.acknowledged(), len(site.parts())
        child = site.start()
        wanted = sent + numbers.randrange(1, 12)
        while child.poll() is None and len(site.parts()) < wanted:
            time.sleep(0.01)
        time.sleep(numbers.uniform(0, 3 * PART_S))
        child.kill()
        out, err = child.communicate()
        assert child.returncode in (0, -signal.SIGKILL), (out + err).decode()[-3000:]
        kills += child.returncode == -signal.SIGKILL
        again = {(upload_id, number) for upload_id, number, _ in site.parts()[sent:]} & before
        assert not again, "acknowledged parts were sent again"
        # keep something under way for every kill
        site.write(numbers.choice(CODES), 10 + len(site.parts()), numbers.randbytes(2 * MIB))
    child = site.start()
    out, err = child.communicate(timeout=300)
    assert child.returncode == 0, (out + err).decode()[-3000:]
    sealing_of = {row[0]: row[1] for row in site.rows("SELECT upload_id, sealing_id FROM uploads")}
    bodies: dict[tuple[object, int], str] = {}
    for upload_id, number, sha256 in site.parts():
        assert bodies.setdefault((sealing_of[upload_id], number), sha256) == sha256, "one key, two plaintexts"
    _assert_everywhere(small_lab)
    assert site.rows("SELECT id FROM sealings WHERE wrapped_key IS NOT NULL OR state = 'open'") == []
    assert site.rows("SELECT token FROM uploads WHERE state = 'open'") == []
    with small_lab.reading() as tx:
        assert audit.check(tx) == []


def _assert_everywhere(lab: SmallLab) -> None:
    wanted = _digests(lab.out)
    for name in ("nas", "spare"):
        back = lab.folder / f"back-{name}"
        back.mkdir()
        assert lab.download(lab.folder_store(name), folder=back).error is None
        assert _digests(back) == wanted, name
    cold = lab.folder / "cold"
    cold.mkdir()
    for code in CODES:
        request = RestoreRequest(subject=code, url=lab.folder_store("deep"), folder=cold)
        ended = lab.run("restore", lambda run, r=request: restore(run, r, lambda: PASSWORD, lambda _: None))  # type: ignore[misc]
        assert ended.error is None, ended.error
    assert _digests(cold) == wanted
