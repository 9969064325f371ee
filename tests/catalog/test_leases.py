"""Leases, fences, and owners whose process has ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ecogsafe.catalog import leases
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.presence import Presence, is_gone
from ecogsafe.core.errors import LockedError

NAME = "subject:abcd1234"


def test_one_holds_it_alone_or_many_together(catalog: Catalog) -> None:
    with catalog.write() as tx:
        a = leases.acquire(tx, NAME, "a", 60, shared=True)
        b = leases.acquire(tx, NAME, "b", 60, shared=True)
        other = leases.acquire(tx, "run", "c", 60, shared=False)
        assert [lease.owner for lease in leases.holders(tx, NAME)] == ["a", "b"]
        with pytest.raises(LockedError, match=f"{NAME}: another run on .* holds it since 20"):
            leases.acquire(tx, NAME, "c", 60, shared=False)
        with pytest.raises(LockedError):
            leases.acquire(tx, NAME, "a", 60, shared=False)
        assert [lease.owner for lease in leases.holders(tx, NAME)] == ["a", "b"]
        leases.release(tx, b)
        alone = leases.acquire(tx, NAME, "a", 60, shared=False)
        assert leases.holders(tx, NAME) == [alone]
        with pytest.raises(LockedError):
            leases.acquire(tx, NAME, "b", 60, shared=True)
        assert a.fence < b.fence < other.fence < alone.fence


def test_the_fence_rises_across_releases_and_reopening(tmp_path: Path) -> None:
    fences = []
    for _ in range(3):
        with Catalog.open(tmp_path / "c.sqlite", create=True) as catalog, catalog.write() as tx:
            for owner in ("a", "b"):
                lease = leases.acquire(tx, NAME, owner, 60, shared=False)
                fences.append(lease.fence)
                leases.release(tx, lease)
                leases.release(tx, lease)
    assert fences == sorted(set(fences))
    assert len(fences) == 6


def test_a_lease_that_ran_out_is_free_and_cannot_be_renewed_once_taken(catalog: Catalog) -> None:
    with catalog.write() as tx:
        old = leases.acquire(tx, NAME, "a", -1, shared=False)
        assert leases.holders(tx, NAME) == []
        renewed = leases.renew(tx, old, -1)
        assert renewed.fence == old.fence
        new = leases.acquire(tx, NAME, "b", 60, shared=False)
        with pytest.raises(LockedError):
            leases.renew(tx, old, 60)
        assert leases.renew(tx, new, 120).expires_at > new.expires_at
        leases.release_all(tx, "b")
        with pytest.raises(LockedError):
            leases.renew(tx, new, 60)


_HOLD = """
import sys
from pathlib import Path
from ecogsafe.catalog.presence import Presence
presence = Presence(Path(sys.argv[1]), "child")
print("go", flush=True)
sys.stdin.read()
"""


def test_what_a_killed_process_held_is_free_at_once(catalog: Catalog, tmp_path: Path) -> None:
    folder = tmp_path / "owners"
    command = [sys.executable, "-c", _HOLD, str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "go\n"
        with catalog.write() as tx:
            for name in (NAME, "run"):
                leases.acquire(tx, name, "child", 600, shared=False)
            with pytest.raises(LockedError):
                leases.acquire(tx, NAME, "b", 60, shared=False, gone=lambda owner: is_gone(folder, owner))
        child.send_signal(signal.SIGKILL)
    with catalog.write() as tx:
        lease = leases.acquire(tx, NAME, "b", 60, shared=False, gone=lambda owner: is_gone(folder, owner))
        assert leases.holders(tx, NAME) == [lease]
        assert leases.holders(tx, "run") == []


def test_presence(tmp_path: Path) -> None:
    folder = tmp_path / "owners"
    assert not is_gone(folder, "a")
    with Presence(folder, "a") as presence:
        assert not is_gone(folder, "a")
        presence.close()
    assert not is_gone(folder, "a")
    dead = folder / "old.owner"
    dead.touch()
    assert is_gone(folder, "old")
    os.utime(dead, (0, 0))
    with Presence(folder, "b") as held:
        os.utime(folder / "b.owner", (0, 0))
        Presence(folder, "c").close()
        assert not dead.exists()
        assert not is_gone(folder, "b")
        held.close()
    assert list(folder.iterdir()) == []
