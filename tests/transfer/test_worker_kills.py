"""``ecogsafe upload`` of many small files, killed with SIGKILL in the middle of it."""

from __future__ import annotations

import os
import random
import signal
import time
from contextlib import suppress
from pathlib import Path

import pytest

from .test_kills import CODE, FolderSite, _check_catalogue, _check_store, _finish

FILES = 400
pytestmark = pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="one processor: no workers are begun")


def many_small(site: FolderSite) -> None:
    numbers = random.Random(3)
    for n in range(FILES):
        site.write(f"{n:04}", 300 + n, numbers)


def stored(site: FolderSite) -> int:
    return sum(1 for _ in (site.folder / "nas" / CODE).rglob("*.age")) if (site.folder / "nas" / CODE).exists() else 0


def children_of(pid: int) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                parent = (entry / "stat").read_text().rpartition(")")[2].split()[1]
                if int(parent) == pid:
                    found.append(int(entry.name))
    return found


def workers_of(pid: int) -> list[int]:
    """Return the processes that were forked from the one that the run had set aside."""
    (nursery,) = children_of(pid)
    return children_of(nursery)


def begin_and_wait(site: FolderSite, wanted: int):  # type: ignore[no-untyped-def]
    child = site.start()
    while stored(site) < wanted:
        assert child.poll() is None, "it was through before it could be disturbed"
        time.sleep(0.005)
    return child


def test_when_the_run_is_killed_its_workers_end_and_the_next_run_finishes(tmp_path: Path) -> None:
    site = FolderSite(tmp_path)
    many_small(site)
    for wanted in (1, 150):
        child = begin_and_wait(site, wanted)
        workers = workers_of(child.pid)
        child.kill()
        child.communicate()
        assert child.returncode == -signal.SIGKILL
        assert len(workers) == len(os.sched_getaffinity(0))
        until = time.monotonic() + 20
        while any(Path(f"/proc/{pid}/fd").exists() and os.path.exists(f"/proc/{pid}/exe") for pid in workers):
            assert time.monotonic() < until, "a worker goes on without its run"
            time.sleep(0.05)
    before = stored(site)
    assert before < FILES
    status, seen = _finish(site)
    assert status == 0, seen
    _check_store(site)
    _check_catalogue(site)
    # what had been announced and never came is not waited for any more
    assert site.rows("SELECT token FROM intents WHERE state = 'open'") == []


def test_ctrl_c_at_the_terminal_is_judged_by_the_run_alone(tmp_path: Path) -> None:
    site = FolderSite(tmp_path)
    many_small(site)
    child = begin_and_wait(site, 20)
    workers = workers_of(child.pid)
    # what a terminal does: the whole foreground group gets it
    assert {os.getpgid(pid) for pid in workers}.isdisjoint({os.getpgid(child.pid)})
    child.send_signal(signal.SIGINT)
    out, err = child.communicate(timeout=60)
    assert child.returncode == 130, (out + err).decode()[-2000:]
    there = {str(path.relative_to(site.folder / "nas")) for path in (site.folder / "nas" / CODE).rglob("*.age")}
    assert {key for (key,) in site.rows("SELECT key FROM copies")} == there
    assert site.rows("SELECT token FROM intents WHERE state = 'open'") == []
    assert _finish(site)[0] == 0
    _check_store(site)
    _check_catalogue(site)
