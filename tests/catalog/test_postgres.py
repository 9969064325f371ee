"""A catalogue on a PostgreSQL server that two machines write to at the same time; skipped where there is no server."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ecogsafe.catalog import audit, leases
from ecogsafe.catalog.audit import Act
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import LockedError

_DEBIAN = Path("/usr/lib/postgresql")
WRITES = 40


def _program(name: str) -> str | None:
    return shutil.which(name) or next((str(path) for path in _DEBIAN.glob(f"*/bin/{name}")), None)


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """A server with an empty catalogue, on a socket of its own."""
    pytest.importorskip("psycopg")
    initdb, control = _program("initdb"), _program("pg_ctl")
    if initdb is None or control is None:
        pytest.skip("no PostgreSQL server is installed")
    # the path of a socket is short
    folder = Path(tempfile.mkdtemp(prefix="ecogsafe-pg-"))
    user: dict[str, Any] = {}
    if os.geteuid() == 0:
        # the server refuses to run as root
        user = {"user": "nobody", "extra_groups": [], "cwd": "/"}
        shutil.chown(folder, "nobody")
    data = folder / "data"
    options = f"-k {folder} -c listen_addresses='' -F"
    try:
        made = [initdb, "--no-sync", "--auth=trust", "--username=lab", f"--pgdata={data}"]
        subprocess.run(made, check=True, capture_output=True, **user)
        begin = [control, "start", "--wait", f"--pgdata={data}", f"--options={options}", f"--log={folder / 'log'}"]
        subprocess.run(begin, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **user)
        try:
            found = f"postgresql+psycopg://lab@/postgres?host={folder}"
            Catalog.open(found, create=True).close()
            yield found
        finally:
            subprocess.run(
                [control, "stop", f"--pgdata={data}", "--mode=fast"], check=True, capture_output=True, **user
            )
    finally:
        shutil.rmtree(folder)


def test_two_machines_write_at_once_and_neither_is_refused(url: str) -> None:
    """Every commit adds to the one audit chain."""
    failed: list[Exception] = []

    def write(name: str) -> None:
        with Catalog.open(url) as catalog:
            for number in range(WRITES):
                act = Act(act="upload", object=f"{name}{number}")
                try:
                    with catalog.write() as tx:
                        audit.append_all(tx, [act], run_id=name, who="tester", host=name, version="0")
                except LockedError as error:
                    failed.append(error)

    machines = [threading.Thread(target=write, args=(name,)) for name in ("one", "two")]
    for machine in machines:
        machine.start()
    for machine in machines:
        machine.join()
    assert failed == []
    with Catalog.open(url) as catalog, catalog.read() as tx:
        assert audit.check(tx) == []
        assert len(audit.recent(tx, limit=3 * WRITES)) == 2 * WRITES


def test_who_reads_does_not_wait_for_who_writes_and_who_writes_does_not_wait_for_ever(url: str) -> None:
    with Catalog.open(url) as first, Catalog.open(url, busy_timeout_s=0.2) as second, first.write() as tx:
        leases.acquire(tx, "run", "the first", 60, shared=True)
        with second.read() as other:
            assert leases.holders(other, "run") == []
        with pytest.raises(LockedError, match="another run is writing to it"), second.write():
            pass
