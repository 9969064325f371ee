"""A lab whose every byte goes through a proxy in front of a real S3 server: real commands, killed or disturbed.

Parts and ranges are as small as the server takes them, so that files of a few MiB have several of them.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from types import TracebackType
from typing import Any

from ecogsafe.catalog import audit
from ecogsafe.core.private import Secret
from ecogsafe.crypt.age_file import open_sealed
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.lab_key import open_lab_key
from ecogsafe.service.home import Home
from ecogsafe.service.initialise import initialise
from ecogsafe.stores.bodies import crc64_from_text
from tests.servers.proxy import Proxy
from tests.servers.seaweed import SeaweedServer

from .wire_ledger import Geometry, WireLedger

PASSWORD = "correct horse battery"
CODE = "abcd1234"
#: the server takes no smaller ones
PART = 5 << 20
#: files above this go in parts here
SMALL = 6 << 20

#: an impatient command waits so long for an answer, and a proxy that stalls longer
PATIENCE_S = 1.0
STALL_S = 1.5

#: what every Python of the lab does first: small parts, short waits, and a clock that may be wrong
_FIRST = f"""
import datetime, os, sys
if "ecogsafe" in " ".join(sys.orig_argv):
    from ecogsafe.core import clock
    OFFSET = datetime.timedelta(seconds=float(os.environ.get("LAB_CLOCK_OFFSET_S", "0")))
    if OFFSET:
        utc_now = clock.utc_now
        clock.utc_now = lambda: utc_now() + OFFSET
    from ecogsafe.transfer import parts, ranges
    parts.SINGLE_REQUEST_LIMIT = {SMALL}
    parts.part_size_for = lambda size: {PART}
    ranges.RANGE_BYTES = 4 * ranges.CHUNK_BYTES
    ranges.FIRST_REQUEST_BYTES = 4 * ranges.SEALED_CHUNK_BYTES + 4096
    from ecogsafe.stores import retrying, s3_wire
    if "LAB_READ_TIMEOUT_S" in os.environ:
        s3_wire.READ_TIMEOUT_S = s3_wire.RECEIVING_TIMEOUT_S = float(os.environ["LAB_READ_TIMEOUT_S"])
    retrying.Backoff.pause_s = lambda self, failures, chance: 0.05 * chance
    if "ecogsafe.transfer." not in " ".join(sys.orig_argv):
        from ecogsafe.transfer import hiring
        hiring.LEAST_FOR_WORKERS = 8
        if os.environ["LAB_CUTTERS"] == "1":
            hiring.LEAST_FOR_CUTTERS = 0
"""


@dataclass
class Ended:
    """What a command ended with and said."""

    status: int
    events: list[dict[str, Any]]
    errors: str

    @property
    def told(self) -> str:
        """The last words, with the status."""
        return f"{self.status}: " + "; ".join(e.get("message", "") for e in self.events[-4:]) + self.errors

    def items(self, action: str) -> dict[str, str]:
        """Return the status of every object that was told of, by key."""
        found = [e for e in self.events if e["message_type"] == "item" and e.get("action") == action]
        return {e["key"]: e["status"] for e in found if e.get("key")}


@dataclass
class Machine:
    """One computer of the lab: its own home and catalogue."""

    home: Home
    environment: dict[str, str]
    #: catalogues that were replaced by an older one
    forgotten: list[Path] = field(default_factory=list)
    #: commands so far; every other one reads large files in processes of their own
    commands: int = 0

    def start(self, *words: str, clock_offset_s: float = 0.0, is_impatient: bool = False) -> subprocess.Popen[bytes]:
        """Start a command."""
        command = [sys.executable, "-m", "ecogsafe", "--home", str(self.home.root), "--json", *words]
        self.commands += 1
        environment = self.environment | {"LAB_CLOCK_OFFSET_S": str(clock_offset_s)}
        environment["LAB_CUTTERS"] = str(self.commands % 2)
        if is_impatient:
            environment["LAB_READ_TIMEOUT_S"] = str(PATIENCE_S)
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env=environment)

    def run(self, *words: str, clock_offset_s: float = 0.0, is_impatient: bool = False) -> Ended:
        """Carry a command out; an impatient one waits for an answer less long than a proxy that stalls."""
        child = self.start(*words, clock_offset_s=clock_offset_s, is_impatient=is_impatient)
        try:
            out, err = child.communicate(timeout=300)
        except BaseException:
            child.kill()
            child.communicate()
            raise
        errors = err.decode()
        assert "Traceback" not in errors, errors
        return Ended(child.returncode, [json.loads(line) for line in out.decode().splitlines()], errors)

    def rows(self, query: str) -> list[Any]:
        with closing(sqlite3.connect(self.home.catalog_path, timeout=10)) as connection:
            return connection.execute(query).fetchall()

    def keep_catalogue(self, into: Path) -> None:
        """Copy the catalogue as a backup would."""
        with closing(sqlite3.connect(self.home.catalog_path)) as here, closing(sqlite3.connect(into)) as there:
            here.backup(there)

    def put_back_catalogue(self, old: Path) -> None:
        """Let an older catalogue take the place of this one."""
        gone = old.with_name(f"forgotten-{self.home.root.name}-{len(self.forgotten)}.sqlite")
        self.keep_catalogue(gone)
        self.forgotten.append(gone)
        for leftover in self.home.root.glob("catalog.sqlite*"):
            leftover.unlink()
        shutil.copy(old, self.home.catalog_path)

    def geometries(self) -> list[Geometry]:
        """Return what this catalogue, and those forgotten, say of uploads in parts."""
        found: list[Geometry] = []
        for path in (self.home.catalog_path, *self.forgotten):
            with closing(sqlite3.connect(path, timeout=10)) as connection:
                rows = connection.execute(
                    "SELECT u.upload_id, s.header, s.payload_nonce, s.part_size, s.object_size"
                    " FROM uploads u JOIN sealings s ON s.id = u.sealing_id WHERE u.upload_id IS NOT NULL"
                ).fetchall()
            found += [Geometry(i, bytes(h) + bytes(n), part, size) for i, h, n, part, size in rows]
        return found


class WireLab:
    """Use it as a context manager; every machine works on the same ``out``."""

    def __init__(self, folder: Path, server: SeaweedServer, *, machines: int = 1) -> None:
        self.folder = folder
        self.out = folder / "out"
        self.back = folder / "back"
        self.back.mkdir()
        self.ledger = WireLedger(folder / "wire")
        self.proxy = Proxy(server.endpoint_url, self.ledger.note)
        self._server = server
        self._bucket = server.new_bucket()
        self.url = f"s3://{self._bucket}/lab"
        #: every content that a file had, oldest first, by key
        self.versions: dict[str, list[bytes]] = {}
        self.paths: dict[str, Path] = {}
        self._first = folder / "first"
        self._first.mkdir()
        (self._first / "sitecustomize.py").write_text(_FIRST)
        self.machines = [self._machine(number) for number in range(machines)]

    def __enter__(self) -> WireLab:
        self.proxy.__enter__()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.proxy.__exit__(kind, error, trace)
        if error is None:
            shutil.rmtree(self.folder / "wire")

    def _machine(self, number: int) -> Machine:
        home = Home(self.folder / f"home{number}")
        if number == 0:
            recovery = self.folder / "recovery.txt"
            secret = Secret(PASSWORD.encode())
            initialise(home, secret, recovery_file=recovery, time_zone=None, work_factor=10)
            (self.folder / "password.txt").touch(mode=0o600)
            (self.folder / "password.txt").write_text(PASSWORD)
        else:
            # the same keys, a catalogue of its own
            shutil.copytree(self.folder / "home0", home.root)
            home.resume_key_file.unlink(missing_ok=True)
        environment = dict(os.environ) | self._server.env() | {"AWS_ENDPOINT_URL_S3": self.proxy.url}
        searched = [str(self._first), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
        environment |= {
            "PYTHONPATH": os.pathsep.join(filter(None, searched)),
            "ECOGSAFE_PASSWORD_FILE": str(self.folder / "password.txt"),
        }
        return Machine(home, environment)

    # files

    def write(self, name: str, data: bytes) -> str:
        """Write a clip and return the key of its object."""
        path = self.out / "video" / CODE / f"{CODE}_1" / f"{CODE}_1_{name}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        key = f"{CODE}/{CODE}_1/{path.name}.age"
        self.versions.setdefault(key, []).append(data)
        self.paths[key] = path
        return key

    def change(self, key: str, numbers: random.Random) -> None:
        """Change one byte of a file."""
        data = bytearray(self.versions[key][-1])
        data[numbers.randrange(len(data))] ^= 1
        self.paths[key].write_bytes(data)
        self.versions[key].append(bytes(data))

    @property
    def upload_words(self) -> tuple[str, ...]:
        return "upload", "-d", str(self.out), "--to", self.url, "-t", "v"

    @property
    def download_words(self) -> tuple[str, ...]:
        return "download", "--from", self.url, "-d", str(self.back), "--jobs", "3"

    # what the server really has, asked behind the proxy's back

    @cached_property
    def identities(self) -> list[Identity]:
        home = self.machines[0].home
        return [open_lab_key(home.lab_key.read_bytes(), Secret(PASSWORD.encode()))]

    def objects(self) -> dict[str, int]:
        """Return size by key of everything but our own objects."""
        client = self._server.client()
        found: dict[str, int] = {}
        for page in client.get_paginator("list_objects_v2").paginate(Bucket=self._bucket, Prefix=f"lab/{CODE}"):
            found |= {each["Key"].removeprefix("lab/"): each["Size"] for each in page.get("Contents", ())}
        return found

    def sealed(self, key: str) -> bytes:
        data: bytes = self._server.client().get_object(Bucket=self._bucket, Key=f"lab/{key}")["Body"].read()
        return data

    def put_behind(self, key: str, data: bytes) -> None:
        """Put an object as somebody else."""
        self._server.client().put_object(Bucket=self._bucket, Key=f"lab/{key}", Body=data)

    def abort_behind(self, key: str, upload_id: str) -> None:
        """Abort an upload as the bucket's own clean-up does."""
        self._server.client().abort_multipart_upload(Bucket=self._bucket, Key=f"lab/{key}", UploadId=upload_id)

    def crc64(self, key: str) -> int | None:
        answer = self._server.client().head_object(Bucket=self._bucket, Key=f"lab/{key}", ChecksumMode="ENABLED")
        return crc64_from_text(answer.get("ChecksumCRC64NVME"))

    def open_uploads(self) -> dict[str, str]:
        """Return the key of every upload in parts that is open at the server, by id."""
        answer = self._server.client().list_multipart_uploads(Bucket=self._bucket, Prefix="lab/")
        assert not answer.get("IsTruncated")
        return {each["UploadId"]: each["Key"].removeprefix("lab/") for each in answer.get("Uploads", ())}

    # what must hold, whatever happened

    def check_truth(self, machine: Machine) -> None:
        """Fail if this catalogue calls a copy good that is not at the server, whole and the file it says."""
        there = self.objects()
        query = (
            "SELECT c.key, c.size, c.crc64, c.level, f.sha256 FROM copies c JOIN files f ON f.id = c.file_id"
            " WHERE c.bad_at IS NULL"
        )
        for key, size, crc64, level, digest in machine.rows(query):
            assert there.get(key) == size, f"{key} is called stored, and is not there whole"
            assert level != "checksum" or self.crc64(key) == int(crc64, 16), f"{key}: another checksum"
            content = open_sealed(self.sealed(key), self.identities)
            assert sha256(content).hexdigest() == digest, f"{key} is called stored, and is another file"

    def check_objects(self, *, stock_age: int = 3) -> dict[str, bytes]:
        """Fail if an object does not open to what its file was at some time; return the contents by key."""
        found: dict[str, bytes] = {}
        for number, key in enumerate(sorted(self.objects())):
            sealed = self.sealed(key)
            found[key] = self._opened_by_age(sealed) if number < stock_age else open_sealed(sealed, self.identities)
            assert found[key] in self.versions[key], f"{key} holds what its file never was"
        return found

    def _opened_by_age(self, sealed: bytes) -> bytes:
        age = shutil.which("age")
        if age is None:
            return open_sealed(sealed, self.identities)
        identity = self.folder / "identity.txt"
        identity.write_text(self.identities[0].to_text() + "\n")  # type: ignore[attr-defined]
        return subprocess.run([age, "-d", "-i", identity], input=sealed, check=True, capture_output=True).stdout

    def check_named(self) -> int:
        """Fail if a file that has its name is not what an object held; return how many have one."""
        count = 0
        for path in self.back.rglob("*"):
            if path.is_file() and not path.name.startswith("."):
                count += 1
                key = f"{path.relative_to(self.back).as_posix()}.age"
                assert path.read_bytes() in self.versions[key], f"{path.name} has its name and is not what was sent"
        return count

    def check_catalogue(self, machine: Machine) -> None:
        """Fail if the catalogue is not consistent in itself."""
        assert machine.rows("PRAGMA integrity_check") == [("ok",)]
        assert machine.rows("PRAGMA foreign_key_check") == []
        with machine.home.open_catalog() as catalog, catalog.read() as tx:
            assert audit.check(tx) == []

    def known_uploads(self) -> set[str]:
        """Return the id of every upload that some catalogue calls open."""
        query = "SELECT upload_id FROM uploads WHERE state = 'open' AND upload_id IS NOT NULL"
        return {str(upload_id) for machine in self.machines for (upload_id,) in machine.rows(query)}

    def check_uploads_listed(self, machine: Machine) -> None:
        """Fail if an upload is open at the server, and `inventory` does not show it."""
        ended = machine.run("inventory", self.url)
        shown = {e.get("details", {}).get("upload_id") for e in ended.events if e["message_type"] == "item"}
        left = {upload_id: key for upload_id, key in self.open_uploads().items() if upload_id not in shown}
        assert left == {}, "uploads are open at the server, and nobody would ever hear of them"


def sizes(numbers: random.Random, *, large: int, small: int) -> Mapping[str, int]:
    """Return names and sizes of clips, an empty one and some on a border between two ways among them."""
    found = {f"{n:04}": numbers.choice([SMALL + 1, 2 * PART, 3 * PART + numbers.randrange(PART)]) for n in range(large)}
    found |= {f"{1000 + n:04}": numbers.choice([0, 1, 65_536, numbers.randrange(200_000)]) for n in range(small)}
    return found
