"""Real runs of ``ecogsafe download``, killed with SIGKILL at random moments, and run again until they are through.

``ECOGSAFE_SOAK_KILLS`` says how often, ``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import base64
import json
import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest

from ecogsafe.core.private import Secret
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.transfer.ranges import RANGE_BYTES, plan_ranges
from tests.servers.seaweed import SeaweedServer

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "10"))
PASSWORD = "correct horse battery"
CODE = "abcd1234"
LARGE = 4 * RANGE_BYTES + 100_000
#: each MiB takes so long at least, so that kills meet files with some ranges there, seconds
MIB_S = 0.01

_RUN = "from ecogsafe.ui.cli.main import main; main()"
#: the same over a slow line, which notes what arrives; every range is made durable by itself
_RUN_SLOWLY = f"""
import json, os, time
from ecogsafe.stores.retrying import Retrying
from ecogsafe.transfer import durable_ranges
durable_ranges._BATCH_BYTES = 1
read = Retrying.read
def noted(self, key, start=0, stop=None, **more):
    for data in read(self, key, start, stop, **more):
        out = os.open(os.environ["READS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.write(out, (json.dumps([key, start]) + "\\n").encode())
        os.close(out)
        start += len(data)
        time.sleep({MIB_S})
        yield data
Retrying.read = noted
{_RUN}
"""


class Site:
    """A lab with one store that holds its files, and a folder that they come back to."""

    def __init__(self, folder: Path, url: str, environment: dict[str, str]) -> None:
        self.folder = folder
        self.url = url
        self.home = Home(folder / "home")
        self.back = folder / "back"
        self.back.mkdir()
        self.log = folder / "reads.log"
        password = folder / "password.txt"
        password.touch(mode=0o600)
        password.write_text(PASSWORD)
        self.environment = os.environ | environment
        self.environment |= {"READS_LOG": str(self.log), "ECOGSAFE_PASSWORD_FILE": str(password)}
        initialise(
            self.home,
            Secret(PASSWORD.encode()),
            recovery_file=folder / "recovery.txt",
            time_zone=None,
            work_factor=10,
        )
        self.sources: dict[str, bytes] = {}

    def fill(self, numbers: random.Random) -> None:
        for number, size in enumerate([LARGE, 0, 1, 300_000, LARGE - 1, RANGE_BYTES, 5000]):
            path = Path(CODE, f"{CODE}_1", f"{CODE}_1_{number:04}.avi")
            self.sources[str(path)] = data = numbers.randbytes(size)
            (self.folder / "out" / "video" / path).parent.mkdir(parents=True, exist_ok=True)
            (self.folder / "out" / "video" / path).write_bytes(data)
        words = ["upload", "-d", str(self.folder / "out"), "--to", self.url, "-t", "v"]
        done = subprocess.run(self._command(_RUN, words), env=self.environment, capture_output=True, check=False)
        assert done.returncode == 0, done.stderr.decode()

    def _command(self, script: str, words: list[str]) -> list[str]:
        return [sys.executable, "-c", script, "--home", str(self.home.root), "--json", *words]

    def start(self) -> subprocess.Popen[bytes]:
        words = ["download", "--from", self.url, "-d", str(self.back), "--jobs", "3"]
        command = self._command(_RUN_SLOWLY, words)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=self.environment)

    def reads(self) -> list[tuple[str, int]]:
        """Return key and first byte of every piece so far, those of our own objects left out."""
        lines = self.log.read_text().splitlines() if self.log.exists() else []
        found = [(str(key), int(start)) for key, start in map(json.loads, lines)]
        return [(key, start) for key, start in found if not key.startswith("_ecogsafe")]

    def durable(self) -> set[tuple[str, int, int]]:
        """Return key, first byte and the one behind the last of every range that the notes call durable."""
        found: set[tuple[str, int, int]] = set()
        for notes in self.back.rglob(".*.ecogsafe-ranges"):
            first, *lines = notes.read_text().split("\n")
            if not first.endswith("}"):
                continue
            head = json.loads(first)
            plan = plan_ranges(head["object"]["size"], len(base64.b64decode(head["prefix"])))
            ranges = [plan.range(json.loads(line)[0]) for line in lines if line.endswith("]")]
            found |= {(head["object"]["key"], r.object_start, r.object_stop) for r in ranges}
        return found

    def named(self) -> dict[str, Path]:
        """Return the files that have their name."""
        found = {str(p.relative_to(self.back)): p for p in self.back.rglob("*") if p.is_file()}
        return {name: path for name, path in found.items() if not path.name.startswith(".")}

    def check_named(self) -> None:
        for name, path in self.named().items():
            assert path.read_bytes() == self.sources[name], f"{name} has its name and is not what was sent"


@pytest.fixture(params=["folder", pytest.param("s3", marks=pytest.mark.server)])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "folder":
        (tmp_path / "nas").mkdir()
        yield Site(tmp_path, (tmp_path / "nas").as_uri(), {})
        return
    server: SeaweedServer = request.getfixturevalue("s3_server")
    yield Site(tmp_path, f"s3://{server.new_bucket()}/lab", server.env())


def _of(reads: Iterable[tuple[str, int]], durable: set[tuple[str, int, int]]) -> list[tuple[str, int]]:
    """Return the pieces that begin in one of these ranges."""
    return [(key, at) for key, at in reads if any(key == k and start <= at < stop for k, start, stop in durable)]


def _kill_somewhere(site: Site, numbers: random.Random) -> bool:
    """Kill a run when some pieces have come; return whether it was still running."""
    child = site.start()
    wanted = len(site.reads()) + numbers.randrange(40)
    while child.poll() is None and len(site.reads()) < wanted:
        time.sleep(0.01)
    time.sleep(numbers.uniform(0, 20 * MIB_S))
    child.kill()
    child.communicate()
    return child.returncode == -signal.SIGKILL


def _finish(site: Site) -> None:
    child = site.start()
    out, err = child.communicate(timeout=120)
    assert child.returncode == 0, (out + err).decode()[-3000:]


def test_killed_downloads_go_on(site: Site) -> None:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
    print(f"ECOGSAFE_SEED={seed} ECOGSAFE_SOAK_KILLS={KILLS}")
    numbers = random.Random(seed)
    site.fill(numbers)
    kills = resumed = 0
    while kills < KILLS:
        durable, count = site.durable(), len(site.reads())
        kills += _kill_somewhere(site, numbers)
        assert not _of(site.reads()[count:], durable), "what was durable was fetched again"
        resumed += bool(durable)
        site.check_named()
        if len(site.named()) == len(site.sources):
            # keep something under way for every kill
            numbers.choice(list(site.named().values())).unlink()
            max(site.named().values(), key=lambda path: path.stat().st_size).unlink()
    assert resumed or kills < 10
    durable, count = site.durable(), len(site.reads())
    _finish(site)
    assert not _of(site.reads()[count:], durable), "what was durable was fetched again"
    assert set(site.named()) == set(site.sources)
    site.check_named()
    # of a run that was killed right after it gave a name, the next one finds the leftovers
    _finish(site)
    assert [p.name for p in site.back.rglob(".*")] == []
    print(f"{kills} kills, {resumed} runs found durable ranges, {len(site.reads())} pieces fetched")


def test_ctrl_c_keeps_what_came(tmp_path: Path) -> None:
    (tmp_path / "nas").mkdir()
    site = Site(tmp_path, (tmp_path / "nas").as_uri(), {})
    site.fill(random.Random(1))
    child = site.start()
    while len(site.reads()) < 5:
        time.sleep(0.01)
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, (out + err).decode()[-3000:]
    assert b"run the same command again" in out
    before = site.reads()
    # every range came to its end: it is in a file that has its name, or durable in one that has not
    named = {f"{name}.age" for name in site.named()}
    unfinished = [(key, at) for key, at in before if key not in named]
    assert _of(unfinished, site.durable()) == unfinished
    assert site.durable()
    _finish(site)
    after = site.reads()
    assert len(after) == len(set(after)), "a range came twice"
    site.check_named()
    assert len(site.named()) == len(site.sources)
