"""Leases, fences, and owners whose process has ended."""

from __future__ import annotations

from pathlib import Path

import pytest

from ecogsafe.catalog import leases
from ecogsafe.catalog.database import Catalog
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


def test_what_a_dead_owner_held_is_free_at_once(catalog: Catalog) -> None:
    asked = []

    def gone(owner: str) -> bool:
        asked.append(owner)
        return owner == "dead"

    with catalog.write() as tx:
        for name in (NAME, "run"):
            leases.acquire(tx, name, "dead", 600, shared=False)
        leases.acquire(tx, "upload:1", "living", 600, shared=False)
        with pytest.raises(LockedError):
            leases.acquire(tx, NAME, "b", 60, shared=False)
        with pytest.raises(LockedError):
            leases.acquire(tx, "upload:1", "b", 60, shared=False, gone=gone)
        lease = leases.acquire(tx, NAME, "b", 60, shared=False, gone=gone)
        assert leases.holders(tx, NAME) == [lease]
        assert leases.holders(tx, "run") == []
        assert asked == ["living", "dead"]


def test_an_owner_renews_everything_it_holds(catalog: Catalog) -> None:
    with catalog.write() as tx:
        for name in (NAME, "run"):
            leases.acquire(tx, name, "a", -1, shared=False)
        other = leases.acquire(tx, "upload:1", "b", 60, shared=False)
        leases.renew_all(tx, "a", 60)
        assert [leases.holders(tx, name)[0].owner for name in (NAME, "run")] == ["a", "a"]
        assert leases.holders(tx, "upload:1") == [other]
