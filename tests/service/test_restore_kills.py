"""Real runs of ``ecogsafe restore`` of an archive, killed with SIGKILL at random moments, until they are through.

``ECOGSAFE_SOAK_KILLS`` says how often, ``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import os
import random
import secrets
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ecogsafe.core.private import Secret
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "5"))
PASSWORD = "correct horse battery"
CODE = "abcd1234"
SIZES = [40_000_000, 0, 1, 300_000, 1_500_000, 5000, 5001, 2_000_000]
#: each MiB takes so long at least, so that kills meet files with some frames there, seconds
MIB_S = 0.06

_RUN = "from ecogsafe.ui.cli.main import main; main()"
#: the same over a slow line; every frame is made durable by itself
_RUN_SLOWLY = f"""
import time
from ecogsafe.stores.retrying import Retrying
from ecogsafe.transfer import durable_ranges
durable_ranges._BATCH_BYTES = 1
read = Retrying.read
def slow(self, key, start=0, stop=None, **more):
    for data in read(self, key, start, stop, **more):
        time.sleep({MIB_S})
        yield data
Retrying.read = slow
{_RUN}
"""


class Site:
    """A lab with an archive in a folder, and a folder that it comes back to."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = Home(folder / "home")
        self.back = folder / "back"
        self.back.mkdir()
        self.store = folder / "nas"
        self.store.mkdir()
        password = folder / "password.txt"
        password.touch(mode=0o600)
        password.write_text(PASSWORD)
        self.environment = os.environ | {"ECOGSAFE_PASSWORD_FILE": str(password)}
        initialise(
            self.home, Secret(PASSWORD.encode()), recovery_file=folder / "recovery.txt", time_zone=None, work_factor=10
        )
        self.sources: dict[str, bytes] = {}

    def fill(self, numbers: random.Random) -> None:
        for number, size in enumerate(SIZES):
            path = Path(CODE, f"{CODE}_1", f"{CODE}_1_{number:04}.avi")
            self.sources[str(path)] = data = numbers.randbytes(size)
            target = self.folder / "out" / "video" / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(data)
        self.carry_out(_RUN, "archive", "-d", str(self.folder / "out"), "--to", self.store.as_uri(), "-t", "vid")

    def _command(self, script: str, *words: str) -> list[str]:
        return [sys.executable, "-c", script, "--home", str(self.home.root), "--json", *words]

    def carry_out(self, script: str, *words: str) -> None:
        done = subprocess.run(
            self._command(script, *words), env=self.environment, capture_output=True, check=False, timeout=120
        )
        assert done.returncode == 0, (done.stdout + done.stderr).decode()[-3000:]

    @property
    def words(self) -> tuple[str, ...]:
        return ("restore", CODE, "--from", self.store.as_uri(), "-d", str(self.back), "--jobs", "2")

    def start(self) -> subprocess.Popen[bytes]:
        command = self._command(_RUN_SLOWLY, *self.words)
        return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=self.environment)

    def named(self) -> dict[str, Path]:
        found = {str(p.relative_to(self.back)): p for p in self.back.rglob("*") if p.is_file()}
        return {name: path for name, path in found.items() if not path.name.startswith(".")}

    def check_named(self) -> None:
        for name, path in self.named().items():
            assert path.read_bytes() == self.sources[name], f"{name} has its name and is not what was archived"

    @property
    def noted(self) -> int:
        """Lines that call something durable."""
        return sum(len(p.read_text().splitlines()) for p in self.back.rglob(".*.ecogsafe-ranges"))


@pytest.fixture(params=["index", "no-index"])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    made = Site(tmp_path)
    made.fill(random.Random(7))
    if request.param == "no-index":
        # as in a lab that lost its catalogue and its warm store
        (index,) = made.store.rglob("*.index.age")
        index.unlink()
        with made.home.open_catalog() as catalog, catalog.write() as tx:
            for table in ("archive_frames", "archive_members", "archive_volumes"):
                tx.exec_driver_sql(f"DELETE FROM {table}")
    yield made


def test_killed_restores_go_on(site: Site) -> None:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
    print(f"ECOGSAFE_SEED={seed} ECOGSAFE_SOAK_KILLS={KILLS}")
    numbers = random.Random(seed)
    kills = found_something = 0
    while kills < KILLS:
        child = site.start()
        while child.poll() is None and not list(site.back.rglob(".*")):
            time.sleep(0.01)
        time.sleep(numbers.uniform(0, 1.2))
        child.kill()
        child.communicate()
        kills += child.returncode == -signal.SIGKILL
        found_something += site.noted > 1
        site.check_named()
        if len(site.named()) == len(site.sources):
            # keep something under way for every kill
            max(site.named().values(), key=lambda path: path.stat().st_size).unlink()
    site.carry_out(_RUN, *site.words)
    site.check_named()
    assert set(site.named()) == set(site.sources)
    # of a run that was killed right after it gave a name, the next one finds the leftovers
    site.carry_out(_RUN, *site.words)
    assert [p.name for p in site.back.rglob(".*")] == []
    print(f"{kills} kills, {found_something} runs left something durable")
