"""Real runs of ``ecogsafe upload``, killed with SIGKILL at random moments, and run again until they are through.

``ECOGSAFE_SOAK_KILLS`` says how often, ``ECOGSAFE_SEED`` with which random numbers.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
import random
import secrets
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from ecogsafe.catalog import audit
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_stream
from ecogsafe.crypt.keys import parse_identities
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.stores import azure_connect
from ecogsafe.stores.azure_blocks import ENDING, OPENING, Block, block_of
from ecogsafe.stores.directory import DirectoryStore
from ecogsafe.stores.protocol import Store
from ecogsafe.stores.s3_connect import connect
from tests.servers.azurite import AzuriteServer
from tests.servers.proxy import Proxy, Trouble
from tests.servers.seaweed import SeaweedServer

KILLS = int(os.environ.get("ECOGSAFE_SOAK_KILLS", "10"))
PASSWORD = Secret(b"correct horse battery")
CODE = "abcd1234"
LARGE = 36 * 2**20
#: part n takes n times as long at least, so that kills meet uploads with some parts there, seconds
PART_S = 0.1

#: three parts a file and seven in the largest, so that a kill meets some that are there and some that are not
_RUN = """
from ecogsafe.transfer import unfinished
unfinished.part_size_for = lambda size: 16 * 2**20
from ecogsafe.ui.cli.main import main
main()
"""
#: the same with a slow disk, which notes each part it is given
_RUN_ON_SLOW_DISK = f"""
import hashlib, json, os, time
from ecogsafe.stores.directory import DirectoryStore
put_part = DirectoryStore.put_part
def noted(self, key, upload_id, number, body, **more):
    line = json.dumps([upload_id, number, hashlib.sha256(body).hexdigest()]) + "\\n"
    out = os.open(os.environ["PARTS_LOG"], os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(out, line.encode())
    os.close(out)
    time.sleep({PART_S} * number)
    return put_part(self, key, upload_id, number, body, **more)
DirectoryStore.put_part = noted
{_RUN}
"""


#: bytes of a body that are compared at once: a request that was cut by a kill is compared as far as it came
BLOCK = 64 * 1024


@dataclass(frozen=True)
class Sent:
    """One part on its way: which upload, which number, the digests of its blocks as far as they came."""

    upload_id: str
    number: int
    blocks: tuple[str, ...]
    #: what came after the last whole block
    rest: bytes = b""

    @classmethod
    def of(cls, upload_id: str, number: int, body: bytes) -> Sent:
        whole = len(body) // BLOCK * BLOCK
        blocks = tuple(hashlib.sha256(body[at : at + BLOCK]).hexdigest() for at in range(0, whole, BLOCK))
        return cls(upload_id, number, blocks, body[whole:])

    def agrees_with(self, other: Sent) -> bool:
        """Return whether one is the beginning of the other."""
        common = min(len(self.blocks), len(other.blocks))
        if self.blocks[:common] != other.blocks[:common]:
            return False
        apart = len(self.blocks) != len(other.blocks)
        return apart or self.rest.startswith(other.rest) or other.rest.startswith(self.rest)

    @property
    def size(self) -> int:
        return len(self.blocks) * BLOCK + len(self.rest)


class Site:
    """A lab with two destinations' worth of commands; `parts` tells what was sent so far."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.home = Home(folder / "home")
        self.environment = dict(os.environ)
        self.script = _RUN
        self.url = ""
        initialise(self.home, PASSWORD, recovery_file=folder / "recovery.txt", time_zone=None, work_factor=10)
        self.sources: dict[str, Path] = {}

    def write(self, name: str, size: int, numbers: random.Random) -> None:
        path = self.out / "video" / CODE / f"{CODE}_1" / f"{CODE}_1_{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(numbers.randbytes(size))
        self.sources[f"{CODE}/{CODE}_1/{path.name}.age"] = path

    def parts(self) -> list[Sent]:
        raise AssertionError

    def answered(self) -> int:
        """Return how many parts the store has taken so far."""
        return len(self.parts())

    def store(self) -> Store:
        raise AssertionError

    def start(self, output: int = subprocess.PIPE) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", self.script, "--home", str(self.home.root), "--json"]
        command += ["upload", "-d", str(self.out), "--to", self.url, "-t", "v"]
        return subprocess.Popen(command, stdout=output, stderr=output, env=self.environment)

    def rows(self, query: str) -> list[tuple[str, ...]]:
        with closing(sqlite3.connect(self.home.catalog_path, timeout=10)) as connection:
            return connection.execute(query).fetchall()


class FolderSite(Site):
    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self._nas = folder / "nas"
        self._nas.mkdir()
        self._log = folder / "parts.log"
        self.environment["PARTS_LOG"] = str(self._log)
        self.script = _RUN_ON_SLOW_DISK
        self.url = self._nas.as_uri()

    def parts(self) -> list[Sent]:
        lines = self._log.read_text().splitlines() if self._log.exists() else []
        return [Sent(upload_id, number, (digest,)) for upload_id, number, digest in map(json.loads, lines)]

    def store(self) -> Store:
        return DirectoryStore(self._nas)


class S3Site(Site):
    def __init__(self, folder: Path, server: SeaweedServer, proxy: Proxy) -> None:
        super().__init__(folder)
        self._proxy = proxy
        self._server = server
        self._bucket = server.new_bucket()
        self.environment |= server.env() | {"AWS_ENDPOINT_URL_S3": proxy.url}
        self.url = f"s3://{self._bucket}/lab"
        # the proxy alone makes a part slow; the last parts wait, so that some are there before all are
        for n in (3, 4):
            proxy.make(Trouble("delay", _is_part(n), times=10**9, seconds=PART_S * n))
        self._sent: list[Sent] = []
        proxy.record = self._note

    def _note(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        if method == "PUT" and "partNumber" in query:
            self._sent.append(Sent.of(query["uploadId"], int(query["partNumber"]), body))

    def parts(self) -> list[Sent]:
        return list(self._sent)

    def answered(self) -> int:
        return sum(seen.part_number is not None and seen.status == 200 for seen in list(self._proxy.seen))

    def store(self) -> Store:
        server = self._server
        return connect(
            self._bucket,
            "lab",
            endpoint_url=server.endpoint_url,
            access_key=server.access_key,
            secret_key=Secret(server.secret_key.encode()),
            region=server.region,
        )


class AzureSite(Site):
    def __init__(self, folder: Path, server: AzuriteServer, proxy: Proxy) -> None:
        super().__init__(folder)
        self._proxy = proxy
        self._server = server
        self._container = server.new_container()
        through = server.connection_string.replace(f"http://127.0.0.1:{server.port}", proxy.url)
        self.environment["AZURE_STORAGE_CONNECTION_STRING"] = through
        self.url = f"azure://{self._container}/lab"
        for n in (3, 4):
            proxy.make(Trouble("delay", _is_block(n), times=10**9, seconds=PART_S * n))
        self._sent: list[Sent] = []
        proxy.record = self._note

    def _note(self, method: str, path: str, query: dict[str, str], body: bytes) -> None:
        block = _block(query)
        if method == "PUT" and block is not None:
            self._sent.append(Sent.of(block.upload_id, block.number, body))

    def parts(self) -> list[Sent]:
        return list(self._sent)

    def answered(self) -> int:
        return sum(_block(seen.query) is not None and seen.status == 201 for seen in list(self._proxy.seen))

    def store(self) -> Store:
        return azure_connect.connect(self._container, "lab", environment=self._server.env())


def _block(query: dict[str, str]) -> Block | None:
    """Return which part a request to Azure sends, None for other requests."""
    if query.get("comp") != "block":
        return None
    block = block_of(base64.b64decode(query["blockid"]).decode())
    return None if block is None or block.number in (OPENING, ENDING) else block


def _is_block(number: int) -> Callable[[str, str], bool]:
    def matches(method: str, target: str) -> bool:
        block = _block({name: values[0] for name, values in parse_qs(urlsplit(target).query).items()})
        return block is not None and block.number == number

    return matches


def _is_part(number: int) -> Callable[[str, str], bool]:
    return lambda method, target: f"partNumber={number}&" in f"{target}&"


@pytest.fixture(
    params=["folder", *(pytest.param(kind, marks=pytest.mark.server) for kind in ("s3", "azure"))],
)
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Site]:
    if request.param == "folder":
        yield FolderSite(tmp_path)
        return
    if request.param == "azure":
        azurite: AzuriteServer = request.getfixturevalue("azurite")
        with Proxy(azurite.endpoint_url) as proxy:
            yield AzureSite(tmp_path, azurite, proxy)
        return
    server: SeaweedServer = request.getfixturevalue("s3_server")
    with Proxy(server.endpoint_url) as proxy:
        yield S3Site(tmp_path, server, proxy)


def _kill_somewhere(site: Site, numbers: random.Random) -> bool:
    """Kill a run when it has sent a few parts, sometimes long before; return whether it was still running."""
    # nobody listens before it has ended: a pipe would be full after some hundred files
    child = site.start(subprocess.DEVNULL)
    if numbers.random() < 0.15:
        time.sleep(numbers.uniform(0, 1))
    else:
        wanted = site.answered() + numbers.randrange(7)
        while child.poll() is None and site.answered() < wanted:
            time.sleep(0.01)
        time.sleep(numbers.uniform(0, 4 * PART_S))
    child.kill()
    child.communicate()
    return child.returncode == -signal.SIGKILL


def _acknowledged(site: Site) -> set[tuple[str, int]]:
    """Return upload id and number of every part that the catalogue knows to be there."""
    found = site.rows("SELECT u.upload_id, a.number FROM acks a JOIN uploads u ON u.token = a.token")
    return {(upload_id, int(number)) for upload_id, number in found}


def test_killed_runs_are_finished_without_a_trace(site: Site) -> None:
    seed = int(os.environ.get("ECOGSAFE_SEED") or secrets.randbits(32))
    print(f"ECOGSAFE_SEED={seed} ECOGSAFE_SOAK_KILLS={KILLS}")
    numbers = random.Random(seed)
    for name, size in [("0001", LARGE), ("0002", LARGE - 1), ("0003", 0), ("0004", 1), ("0005", 300_000)]:
        site.write(name, size, numbers)
    kills = resumed = changed = 0
    done_before: list[tuple[set[tuple[str, int]], int]] = []
    while kills < KILLS:
        if not _unfinished(site):
            # keep something large under way for every kill
            site.write(f"1{len(site.sources):03}", LARGE + len(site.sources), numbers)
        kills += _kill_somewhere(site, numbers)
        acknowledged = _acknowledged(site)
        resumed += bool(acknowledged)
        done_before.append((acknowledged, len(site.parts())))
        if acknowledged and numbers.random() < 0.3:
            changed += _change(site, numbers)
    assert resumed or kills < 10
    status, seen = _finish(site)
    assert status == 0, seen
    sealing_of = dict(site.rows("SELECT upload_id, sealing_id FROM uploads WHERE upload_id IS NOT NULL"))
    sent = site.parts()
    print(f"{kills} kills, {resumed} of them left parts, {changed} changed sources, {len(sent)} parts sent")
    _check_nothing_twice(sent, done_before, sealing_of)
    _check_store(site)
    _check_catalogue(site)


def _unfinished(site: Site) -> list[str]:
    stored = {key for (key,) in site.rows("SELECT key FROM copies")}
    return [key for key, path in site.sources.items() if key not in stored and path.stat().st_size >= LARGE - 1]


def _change(site: Site, numbers: random.Random) -> bool:
    """Change a byte of a large file that is under way: its upload must not go on under its key."""
    # where the store may have been asked to complete it, the object may still come to stand there
    query = "SELECT DISTINCT key FROM uploads WHERE state = 'open' AND key NOT IN (SELECT key FROM intents)"
    keys = sorted(key for (key,) in site.rows(query))
    if not keys:
        return False
    path = site.sources[numbers.choice(keys)]
    with path.open("r+b") as file:
        file.seek(numbers.randrange(path.stat().st_size))
        byte = file.read(1)[0] ^ 1
        file.seek(-1, os.SEEK_CUR)
        file.write(bytes([byte]))
    return True


def _finish(site: Site) -> tuple[int, str]:
    child = site.start()
    out, err = child.communicate(timeout=60)
    return child.returncode, (out + err).decode()[-3000:]


def _check_nothing_twice(
    sent: list[Sent], done_before: list[tuple[set[tuple[str, int]], int]], sealing_of: dict[str, str]
) -> None:
    for acknowledged, count in done_before:
        again = {(part.upload_id, part.number) for part in sent[count:]} & acknowledged
        assert not again, "acknowledged parts were sent again"
    longest: dict[tuple[str, int], Sent] = {}
    for part in sent:
        # an upload that was begun and killed before its id was noted never got a part
        place = (sealing_of[part.upload_id], part.number)
        before = longest.setdefault(place, part)
        assert before.agrees_with(part), "one key and nonce, two plaintexts"
        longest[place] = max(before, part, key=lambda seen: seen.size)


def test_the_search_for_two_plaintexts_finds_them() -> None:
    body = random.Random(3).randbytes(3 * BLOCK + 100)
    other = body[:-1] + bytes([body[-1] ^ 1])
    whole, cut, changed = (Sent.of("u", 1, b) for b in (body, body[: BLOCK + 7], other))
    _check_nothing_twice([cut, whole, cut], [], {"u": "s"})
    with pytest.raises(AssertionError, match="two plaintexts"):
        _check_nothing_twice([cut, whole, changed], [], {"u": "s"})


def _check_store(site: Site) -> None:
    store = site.store()
    objects = {info.key for info in store.list()}
    assert objects - set(site.sources) == set()
    assert set(site.sources) - objects == set()
    assert list(store.list_uploads()) == []
    identity = open_lab_key(site.home.lab_key.read_bytes(), PASSWORD).to_text()
    identity_file = site.folder / "identity.txt"
    identity_file.write_text(identity + "\n")
    sealed = site.folder / "sealed.age"
    for number, (key, path) in enumerate(site.sources.items()):
        with sealed.open("wb") as out:
            out.writelines(store.read(key))
        if shutil.which("age") and number < 3:
            opened = subprocess.run(["age", "-d", "-i", identity_file, sealed], check=True, capture_output=True)
            assert opened.stdout == path.read_bytes()
        else:
            with sealed.open("rb") as file:
                assert b"".join(open_stream(file, parse_identities(identity))) == path.read_bytes()
    store.close()


def _check_catalogue(site: Site) -> None:
    assert site.rows("PRAGMA integrity_check") == [("ok",)]
    assert site.rows("PRAGMA foreign_key_check") == []
    copies = site.rows("SELECT key, level, bad_at FROM copies ORDER BY key")
    assert copies == [(key, "checksum", None) for key in sorted(site.sources)]
    for table, what in [("parts", "number"), ("acks", "number")]:
        assert site.rows(f"SELECT {what} FROM {table}") == []
    assert site.rows("SELECT id FROM sealings WHERE wrapped_key IS NOT NULL OR state = 'open'") == []
    assert site.rows("SELECT token FROM uploads WHERE state = 'open'") == []
    done = site.rows("SELECT DISTINCT key FROM intents WHERE state = 'done'")
    assert {key for (key,) in done} == set(site.sources)
    with site.home.open_catalog() as catalog, catalog.read() as tx:
        assert audit.check(tx) == []


def test_ctrl_c_finishes_the_parts_in_flight(tmp_path: Path) -> None:
    site = FolderSite(tmp_path)
    site.write("0001", 3 * LARGE, random.Random(1))
    child = site.start()
    while len(site.parts()) < 3:
        time.sleep(0.01)
        assert child.poll() is None
    child.send_signal(signal.SIGINT)
    child.communicate(timeout=30)
    assert child.returncode == 130
    before = site.parts()
    acknowledged = _acknowledged(site)
    assert {(part.upload_id, part.number) for part in before} == acknowledged
    assert len(before) < 7
    assert site.rows("SELECT name FROM leases") == []
    assert _finish(site)[0] == 0
    after = site.parts()
    assert len(after) == len({part.number for part in after}) == 7
    _check_store(site)
    _check_catalogue(site)
