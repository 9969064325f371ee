"""The audit chain shows each kind of tampering; runs are told of."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from ecogsafe.catalog import audit, runs
from ecogsafe.catalog.audit import AuditRow
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import EcogsafeError


def _append(catalog: Catalog, run_id: str, act: str, **more: str) -> AuditRow:
    with catalog.write() as tx:
        return audit.append(tx, run_id=run_id, who="lab", host="h", version="0.1", act=act, **more)


@pytest.fixture
def rows(catalog: Catalog) -> list[AuditRow]:
    made = [
        _append(catalog, run, f"act{n}", subject="abcd1234", object=f"key{n % 2}", digest="é", store="s")
        for n, run in enumerate(["r1", "r1", "r2", "r1", "r2", "r3"])
    ]
    with catalog.read() as tx:
        assert audit.check(tx, anchor=made[1].hash) == []
    return made


def test_each_run_is_a_chain_that_hangs_on_the_newest_row(rows: list[AuditRow]) -> None:
    assert [row.seq for row in rows] == [1, 2, 3, 4, 5, 6]
    before = [audit.BEGINNING, rows[0].hash, rows[1].hash, rows[1].hash, rows[2].hash, rows[4].hash]
    assert [row.prev_hash for row in rows] == before


def test_the_hash_is_the_one_of_the_format() -> None:
    row = AuditRow(1, "r", "0" * 64, "", "t", "w", "h", "v", "a", None, "é", None, "s", "done")
    assert audit.hash_of(row) == "12deba2f2b64d315b0ac72371071055fd8459205f5709c0e5152208738b5c97c"


def test_recent(catalog: Catalog, rows: list[AuditRow]) -> None:
    with catalog.read() as tx:
        assert audit.recent(tx, 2) == [rows[5], rows[4]]
        assert audit.recent(tx, object="key1") == [rows[5], rows[3], rows[1]]
        assert audit.recent(tx, run_id="r2") == [rows[4], rows[2]]


@pytest.mark.parametrize("sql", ["UPDATE audit SET act = 'x' WHERE seq = 2", "DELETE FROM audit"])
def test_the_record_is_append_only(catalog: Catalog, rows: list[AuditRow], sql: str) -> None:
    with pytest.raises(EcogsafeError), catalog.write() as tx:
        tx.exec_driver_sql(sql)
    with catalog.read() as tx:
        assert audit.check(tx) == []


@pytest.mark.parametrize(
    ("sql", "problem"),
    [
        ("UPDATE audit SET result = 'x' WHERE seq = 2", "audit row 2 was changed"),
        ("UPDATE audit SET subject = NULL WHERE seq = 6", "audit row 6 was changed"),
        ("DELETE FROM audit WHERE seq IN (2, 3)", "audit rows 2 to 3 are missing"),
        ("DELETE FROM audit WHERE seq = 6", "the record ends at audit row 5, the catalogue says 6"),
        ("DELETE FROM audit", "the record ends at audit row 0, the catalogue says 6"),
        ("UPDATE audit SET seq = 9 WHERE seq = 6", "audit rows 6 to 8 are missing"),
        ("UPDATE audit SET prev_hash = 'x' WHERE seq = 4", "audit row 4 does not follow the row before it"),
    ],
)
def test_tampering_shows(catalog: Catalog, rows: list[AuditRow], sql: str, problem: str) -> None:
    assert catalog.path is not None
    with closing(sqlite3.connect(catalog.path)) as other:
        other.execute("DROP TRIGGER audit_refuses_update")
        other.execute("DROP TRIGGER audit_refuses_delete")
        other.execute(sql)
        other.commit()
    with catalog.read() as tx:
        assert problem in audit.check(tx)


def test_a_record_rewritten_from_the_start_lacks_the_anchor(catalog: Catalog, rows: list[AuditRow]) -> None:
    with catalog.read() as tx:
        problems = audit.check(tx, anchor="f" * 64)
    assert problems == ["the record does not hold the row that an older copy ends with"]


def test_a_rolled_back_act_leaves_no_hole(catalog: Catalog, rows: list[AuditRow]) -> None:
    with pytest.raises(ZeroDivisionError), catalog.write() as tx:
        audit.append(tx, run_id="r4", who="lab", host="h", version="0.1", act="x")
        raise ZeroDivisionError
    assert _append(catalog, "r4", "y").seq == 7
    with catalog.read() as tx:
        assert audit.check(tx) == []


def test_runs(tmp_path: Path) -> None:
    with Catalog.open(tmp_path / "c.sqlite", create=True) as catalog:
        with catalog.write() as tx:
            runs.start_run(tx, "r1", "upload")
            runs.start_run(tx, "r2", "verify")
            runs.update_run(
                tx,
                "r2",
                files_done=1,
                files_total=3,
                bytes_done=2**40,
                bytes_total=None,
                bytes_per_s=1.5,
                seconds_left=9.0,
                current="abcd1234/x",
            )
            runs.end_run(tx, "r1", 3)
        with catalog.read() as tx:
            two, one = runs.recent_runs(tx)
            assert runs.recent_runs(tx, 1) == [two]
            assert runs.run(tx, "none") is None
            assert runs.run(tx, "r1") == one
        assert (one.command, one.exit_status, one.ended_at is None) == ("upload", 3, False)
        assert (two.files_done, two.files_total, two.bytes_done, two.bytes_total) == (1, 3, 2**40, None)
        assert (two.bytes_per_s, two.seconds_left, two.current, two.ended_at) == (1.5, 9.0, "abcd1234/x", None)
