"""The catalogue under SIGKILL and power cuts at random SQL statements: it opens, and claims nothing that is not so.

Real commands run as processes of their own and are killed when they are about to carry out their n-th statement,
BEGIN and COMMIT included. A power cut also loses or garbles what SQLite had written and not made durable: all of
its log behind the last commit. ``ECOGSAFE_SOAK_KILLS`` says how often, ``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import os
import random
import secrets
import shutil
import signal
import sqlite3
import struct
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import zstandard
from sqlalchemy import create_engine

from ecogsafe.catalog import audit, meta, migrate, schema
from ecogsafe.catalog.copies import copies_in_store
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.stores import all_stores
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.checksums import crc64nvme
from tests.service.small_lab import CODES, PASSWORD, SmallLab

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "10"))
#: statements of the longest of these commands, about
MOST = {"upload": 200, "verify": 190, "backup": 95, "open": 105}

#: what a killed process runs first: it counts the statements of every connection
_COUNTING = """
import os, signal, sqlite3
left = int(os.environ["DIE_AT"])
def step(statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)
real = sqlite3.dbapi2.connect
def connect(*arguments, **options):
    made = real(*arguments, **options)
    made.set_trace_callback(step)
    return made
sqlite3.connect = sqlite3.dbapi2.connect = connect
"""
_COMMAND = f"{_COUNTING}\nfrom ecogsafe.ui.cli.main import main\nmain()"
_OPENING = f"{_COUNTING}\nimport sys\nfrom ecogsafe.catalog.database import Catalog\nCatalog.open(sys.argv[1]).close()"


def log_after_commit(data: bytes) -> int:
    """Return where the log's last commit ends; what follows was never called durable (SQLite file format, 4)."""
    if len(data) < 32:
        return 0
    page, salts, end = struct.unpack(">I", data[8:12])[0], data[16:24], 32
    for start in range(32, len(data) - 24 - page + 1, 24 + page):
        if data[start + 8 : start + 16] != salts:
            break
        if data[start + 4 : start + 8] != bytes(4):
            end = start + 24 + page
    return end


def cut_power(catalog: Path, numbers: random.Random) -> None:
    """Do to the files beside the killed catalogue what a power cut may do."""
    log = catalog.with_name(f"{catalog.name}-wal")
    catalog.with_name(f"{catalog.name}-shm").unlink(missing_ok=True)
    if not log.exists():
        return
    data = log.read_bytes()
    end = log_after_commit(data)
    keep = numbers.randint(end, max(end, len(data)))
    # pages that were on their way: some there, some not, some half
    log.write_bytes(data[:keep] + numbers.randbytes(len(data) - keep if numbers.random() < 0.5 else 0))


@dataclass
class Site:
    """A lab that sends to one folder."""

    small: SmallLab
    numbers: random.Random
    clips: int = 0
    killed: int = 0
    plain: dict[str, bytes] = field(default_factory=dict)

    def run(self, script: str, *words: str, die_at: int = 1 << 30) -> bool:
        """Run a process; return whether it was killed."""
        password = self.small.folder / "password.txt"
        password.touch(mode=0o600)
        password.write_bytes(PASSWORD.reveal())
        env = {**os.environ, "DIE_AT": str(die_at), "ECOGSAFE_PASSWORD_FILE": str(password)}
        done = subprocess.run(
            [sys.executable, "-c", script, *words], env=env, capture_output=True, check=False, timeout=120
        )
        assert done.returncode in (0, -signal.SIGKILL), (done.stdout + done.stderr).decode()[-3000:]
        return done.returncode != 0

    def command(self, *words: str, die_at: int = 1 << 30) -> bool:
        return self.run(_COMMAND, "--home", str(self.small.home.root), "--json", *words, die_at=die_at)

    def new_clips(self) -> None:
        for _ in range(2):
            self.clips += 1
            path = self.small.avi(CODES[self.clips % 2], index=self.clips)
            self.plain[path.relative_to(self.small.out / "video").as_posix()] = path.read_bytes()

    def words(self, act: str) -> list[str]:
        url = self.small.folder_store()
        if act == "upload":
            return ["upload", "-d", str(self.small.out), "--to", url, "-t", "v"]
        return ["verify"] if act == "verify" else ["catalog", "backup"]

    def check(self, act: str) -> None:
        """The catalogue opens, its record is whole, and every copy that it claims is there and opens."""
        store = self.small.folder / "store"
        with self.small.catalog() as catalog, catalog.read() as tx:
            assert audit.check(tx) == [], f"the audit record broke in {act}"
            rows = [pair for row in all_stores(tx) for pair in copies_in_store(tx, row.store_id)]
        for copy, file in rows:
            assert copy.bad_at is None
            data = (store / copy.key).read_bytes()
            assert (len(data), crc64nvme(data)) == (copy.size, copy.crc64), f"{copy.key} is not what is recorded"
            assert open_sealed(data, [self.small.identity()]) == self.plain[file.path]

    def snapshots(self) -> list[Path]:
        return sorted((self.small.folder / "store" / "_ecogsafe" / "catalog").glob("*.sqlite.zst.age"))


@pytest.fixture
def site(small_lab: SmallLab) -> Iterator[Site]:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
    print(f"ECOGSAFE_SEED={seed} ECOGSAFE_SOAK_KILLS={KILLS}")
    made = Site(small_lab, random.Random(seed))
    made.new_clips()
    assert not made.command(*made.words("upload"))
    yield made


def test_killed_at_any_statement(site: Site) -> None:
    numbers = site.numbers
    tries = 0
    while site.killed < KILLS - KILLS // 4 and tries < 4 * KILLS:
        act = ("upload", "verify", "backup")[tries % 3]
        tries += 1
        site.new_clips()
        if site.command(*site.words(act), die_at=numbers.randrange(MOST[act])):
            site.killed += 1
            if numbers.random() < 0.5:
                cut_power(site.small.home.catalog_path, numbers)
        site.check(act)
    assert site.killed > KILLS // 3, "these commands have far fewer statements than is thought"
    for act in ("upload", "verify", "backup"):
        assert not site.command(*site.words(act)), f"{act} does not go on"
        site.check(act)
    with site.small.reading() as tx:
        known = {file.path for row in all_stores(tx) for _, file in copies_in_store(tx, row.store_id)}
    assert known == set(site.plain)
    for number, sealed in enumerate(site.snapshots()):
        path = site.small.folder / f"snapshot-{number}"
        path.write_bytes(zstandard.decompress(open_sealed(sealed.read_bytes(), [site.small.identity()])))
        with Catalog.open(path) as catalog, catalog.read() as tx:
            assert audit.check(tx) == []
        path.unlink()


@pytest.fixture
def old_catalogue(tmp_path: Path) -> Path:
    """A catalogue of an early revision with rows of its own."""
    path = tmp_path / "old" / "catalog.sqlite"
    path.parent.mkdir()
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as tx:
        migrate.migrate(tx, "0003")
    engine.dispose()
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("PRAGMA application_id=0x65436F47")
        old.executemany("INSERT INTO meta VALUES (?, ?)", [(f"n{n}", "v" * 300) for n in range(100)])
    return path


def test_killed_at_any_statement_of_a_migration(old_catalogue: Path, small_lab: SmallLab, tmp_path: Path) -> None:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
    print(f"ECOGSAFE_SEED={seed} ECOGSAFE_SOAK_KILLS={KILLS}")
    site = Site(small_lab, random.Random(seed))
    tries = 0
    while site.killed < max(2, KILLS // 4) and tries < 4 * KILLS:
        tries += 1
        path = tmp_path / f"try-{tries}" / "catalog.sqlite"
        shutil.copytree(old_catalogue.parent, path.parent)
        if site.run(_OPENING, str(path), die_at=site.numbers.randrange(MOST["open"])):
            site.killed += 1
            if site.numbers.random() < 0.5:
                cut_power(path, site.numbers)
        with closing(sqlite3.connect(path)) as found:
            revision = found.execute("SELECT version_num FROM alembic_version").fetchone()[0]
        assert revision in ("0003", schema.REVISION), "a migration stopped half-way"
        kept = path.with_name(f"catalog.sqlite.before-{schema.REVISION}")
        if revision == schema.REVISION:
            with closing(sqlite3.connect(kept)) as before:
                assert before.execute("SELECT version_num FROM alembic_version").fetchone()[0] == "0003"
        with Catalog.open(path) as catalog, catalog.read() as tx:
            assert len(meta.starting_with(tx, "n")) == 100
            assert tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == schema.REVISION
    assert site.killed


def test_where_the_log_of_a_killed_catalogue_ends(tmp_path: Path) -> None:
    """What the power cuts of these tests take away is never a commit."""
    path = tmp_path / "some.sqlite"
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute("PRAGMA journal_mode=WAL")
        db.execute("CREATE TABLE t (x)")
        for n in range(3):
            db.execute("INSERT INTO t VALUES (?)", (n,))
        log = path.with_name("some.sqlite-wal").read_bytes()
        assert log_after_commit(log) == len(log)
        copy = tmp_path / "copy.sqlite"
        shutil.copy(path, copy)
        copy.with_name("copy.sqlite-wal").write_bytes(log[:-1] + bytes([log[-1] ^ 1]) + b"rest")
    with closing(sqlite3.connect(copy)) as db:
        assert db.execute("SELECT count(*) FROM t").fetchone() == (2,), "a damaged commit counts"
