"""Every act is in the audit record: who, when, what, where; nothing of it identifies anybody."""

from __future__ import annotations

import shutil

from ecogsafe.catalog import audit
from ecogsafe.catalog.audit import AuditRow
from tests.cli.lab import Lab
from tests.service.looking import reading
from tests.service.small_lab import CODES, URL, SmallLab, StoresInMemory


def _rows(small: SmallLab, act: str) -> list[AuditRow]:
    with small.reading() as tx:
        assert audit.check(tx) == []
        return [row for row in audit.recent(tx, 1000) if row.act == act]


def test_every_object_that_leaves_a_store_has_a_row(small_lab: SmallLab, in_memory: StoresInMemory) -> None:
    small_lab.two_subjects()
    small_lab.upload("v", URL)
    small_lab.download(URL)
    rows = _rows(small_lab, "download")
    assert {row.subject for row in rows} == set(CODES)
    assert sorted(row.object or "" for row in rows) == sorted(
        f"{c}/{c}_{n}/{c}_{n}_0001.avi.age" for c in CODES for n in (1, 2)
    )
    assert all(row.digest and row.store and row.result == "done" for row in rows)
    # what was here already did not leave the store again
    small_lab.download(URL)
    assert len(_rows(small_lab, "download")) == len(rows)


def test_a_home_that_is_made_or_recovered_says_so(applied: Lab) -> None:
    with reading(applied) as tx:
        (made,) = [row for row in audit.recent(tx, 1000) if row.act == "init"]
    assert made.seq == 1 and made.digest
    keys = applied.folder / "keys"
    keys.mkdir()
    applied.configure(f'[key_backup]\nurls = ["{keys.as_uri()}"]')
    applied.here("deid", "scan", applied.out, "--subject", applied.codes["a"])
    applied.here("upload", "-d", applied.out, "--to", keys.as_uri(), "-t", "e")
    shutil.rmtree(applied.home)
    applied.here("init", "--recover", keys.as_uri())
    with reading(applied) as tx:
        assert audit.check(tx) == []
        (recovered,) = [row for row in audit.recent(tx, 1000) if row.act == "init --recover"]
    assert recovered.digest == made.digest and recovered.who and recovered.host
