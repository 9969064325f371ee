"""Rows of old vaults: jobs that are of use, and what the newest inventory lists."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ecogsafe.catalog import vaults
from ecogsafe.catalog.database import Catalog
from ecogsafe.catalog.vaults import JobState, VaultArchiveRow, VaultJobRow

VAULT, OTHER = "glacier://one", "glacier://two"
DAYS = tuple(f"2026-03-0{day}T00:00:00.000Z" for day in range(1, 6))


def job(token: str, *, day: int = 1, vault: str = VAULT, archive: str | None = None) -> VaultJobRow:
    kind: vaults.JobKind = "inventory" if archive is None else "retrieval"
    return VaultJobRow(
        token=token, vault=vault, kind=kind, archive_id=archive, asked_at=DAYS[day], expected_at=DAYS[day + 1]
    )


def archive(archive_id: str, *, subject: str | None = "abcd1234", as_of: str = DAYS[0]) -> VaultArchiveRow:
    return VaultArchiveRow(
        vault=VAULT,
        archive_id=archive_id,
        key=f"{subject}_vid.tar.gz.enc" if subject else None,
        subject=subject,
        size=5,
        tree_hash="ab",
        created_at=DAYS[0],
        first_seen=as_of,
        as_of=as_of,
    )


def test_the_newest_open_job_of_an_archive_or_of_the_list(catalog: Catalog) -> None:
    with catalog.write() as tx:
        for row in (
            job("a"),
            job("b", day=2),
            job("c", day=3, vault=OTHER),
            job("d", day=3, archive="x"),
            job("e", day=3, archive="y"),
        ):
            vaults.remember_job(tx, row)
        vaults.job_begun(tx, "d", "job-d")
        vaults.job_ended(tx, "d", DAYS[4])
    with catalog.read() as tx:
        found = [
            vaults.open_job(tx, VAULT, "inventory"),
            vaults.open_job(tx, VAULT, "retrieval", "x"),
            vaults.open_job(tx, VAULT, "retrieval", "z"),
        ]
    expected = replace(job("d", day=3, archive="x"), job_id="job-d", state="begun", ended_at=DAYS[4])
    assert found == [job("b", day=2), expected, None]


@pytest.mark.parametrize("state", ["used", "failed", "expired"])
def test_a_job_that_is_closed_is_of_no_further_use(catalog: Catalog, state: JobState) -> None:
    with catalog.write() as tx:
        vaults.remember_job(tx, job("a"))
        vaults.close_job(tx, "a", state, as_of=DAYS[0])
    with catalog.read() as tx:
        assert vaults.open_job(tx, VAULT, "inventory") is None
        last = vaults.last_inventory(tx, VAULT)
    assert (last is not None) == (state == "used")


def test_an_inventory_adds_renews_and_tells_what_is_gone(catalog: Catalog) -> None:
    with catalog.write() as tx:
        vaults.put_inventory(tx, VAULT, [archive("1"), archive("2"), archive("3", subject=None)], DAYS[0])
        vaults.note_vault_restored(tx, VAULT, "2")
        fourth = archive("4", subject="bcde2345", as_of=DAYS[1])
        second = [archive("2", as_of=DAYS[1]), fourth, fourth]
        vaults.put_inventory(tx, VAULT, second, DAYS[1])
    with catalog.read() as tx:
        rows = {row.archive_id: row for row in vaults.archives_of(tx, VAULT)}
        of_one = [row.archive_id for row in vaults.archives_of(tx, VAULT, "abcd1234")]
        assert vaults.archives_of(tx, OTHER) == []
    assert {i: (r.first_seen, r.as_of, r.gone_at) for i, r in rows.items()} == {
        "1": (DAYS[0], DAYS[0], DAYS[1]),
        "2": (DAYS[0], DAYS[1], None),
        "3": (DAYS[0], DAYS[0], DAYS[1]),
        "4": (DAYS[1], DAYS[1], None),
    }
    assert [i for i, r in rows.items() if r.restored_at] == ["2"]
    assert of_one == ["1", "2"]
    with catalog.write() as tx:
        vaults.put_inventory(tx, VAULT, [archive("1", as_of=DAYS[2])], DAYS[2])
        back = {row.archive_id: row.gone_at for row in vaults.archives_of(tx, VAULT)}
    assert back == {"1": None, "2": DAYS[2], "3": DAYS[1], "4": DAYS[2]}
