"""Whatever is changed in the audit record shows: any single byte, any row gone, any two rows in another order."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ecogsafe.catalog import audit, meta
from ecogsafe.catalog.audit import BEGINNING, Act, AuditRow
from ecogsafe.catalog.database import Catalog

_COLUMNS = (
    *("run_id", "prev_hash", "hash", "at", "who", "host", "version"),
    *("act", "subject", "object", "digest", "store", "result"),
)
_ROWS = 12
#: rows that the sealed snapshot holds
_SEALED = 9


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A catalogue with the acts of three runs at once, without the triggers that refuse changes, and its snapshot."""
    folder = tmp_path_factory.mktemp("audit")
    path = folder / "catalog.sqlite"
    with Catalog.open(path, create=True) as catalog:
        for n in range(_ROWS):
            if n == _SEALED:
                with (
                    closing(sqlite3.connect(path)) as here,
                    closing(sqlite3.connect(folder / "sealed.sqlite")) as there,
                ):
                    here.backup(there)
            act = Act(act=f"upload{n}", subject="abcd1234", object=f"abcd1234/{n}", digest="d" * 64, store="s")
            with catalog.write() as tx:
                audit.append_all(tx, [act], run_id=f"r{n % 3}", who="lab", host="hé", version="0.1")
    with closing(sqlite3.connect(path)) as db:
        db.executescript("DROP TRIGGER audit_refuses_update; DROP TRIGGER audit_refuses_delete;")
        db.execute("PRAGMA journal_mode=DELETE")
    return folder


@pytest.fixture
def copy(made: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(made / "catalog.sqlite", tmp_path / "copy.sqlite"))


def problems(path: Path) -> list[str]:
    with Catalog.open(path) as catalog, catalog.read() as tx:
        return audit.check(tx)


def against(path: Path, made: Path) -> tuple[int, list[str]]:
    sealed = path.with_name("sealed-copy.sqlite")
    shutil.copy(made / "sealed.sqlite", sealed)
    with Catalog.open(path) as here, Catalog.open(sealed) as older, here.read() as tx, older.read() as other:
        return audit.against(tx, other)


def run_sql(path: Path, *statements: tuple[str, tuple[object, ...]]) -> None:
    with closing(sqlite3.connect(path)) as db:
        for sql, values in statements:
            db.execute(sql, values)
        db.commit()


_EXAMPLES = settings(
    max_examples=40, deadline=None, derandomize=True, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


@_EXAMPLES
@given(
    row=st.integers(1, _ROWS),
    column=st.sampled_from(_COLUMNS),
    place=st.integers(0, 200),
    bits=st.integers(1, 255),
)
def test_any_single_byte(made: Path, tmp_path: Path, row: int, column: str, place: int, bits: int) -> None:
    path = Path(shutil.copy(made / "catalog.sqlite", tmp_path / "copy.sqlite"))
    with closing(sqlite3.connect(path)) as db:
        sql = f"SELECT CAST({column} AS BLOB) FROM audit WHERE seq = ?"
        data = bytearray(db.execute(sql, (row,)).fetchone()[0])
    data[place % len(data)] ^= bits
    run_sql(path, (f"UPDATE audit SET {column} = CAST(? AS TEXT) WHERE seq = ?", (bytes(data), row)))
    assert problems(path), f"{column} of act {row} was changed unseen"


@_EXAMPLES
@given(gone=st.sets(st.integers(1, _ROWS), min_size=1, max_size=4))
def test_any_rows_that_are_gone(made: Path, tmp_path: Path, gone: set[int]) -> None:
    path = Path(shutil.copy(made / "catalog.sqlite", tmp_path / "copy.sqlite"))
    run_sql(path, *(("DELETE FROM audit WHERE seq = ?", (seq,)) for seq in gone))
    assert problems(path), f"acts {gone} are gone unseen"


@_EXAMPLES
@given(pair=st.lists(st.integers(1, _ROWS), min_size=2, max_size=2, unique=True))
def test_any_two_rows_in_another_order(made: Path, tmp_path: Path, pair: list[int]) -> None:
    path = Path(shutil.copy(made / "catalog.sqlite", tmp_path / "copy.sqlite"))
    one, two = pair
    swap = "UPDATE audit SET seq = ? WHERE seq = ?"
    run_sql(path, (swap, (99, one)), (swap, (one, two)), (swap, (two, 99)))
    assert problems(path), f"acts {one} and {two} changed places unseen"


def test_every_column_is_tried() -> None:
    assert {"seq", *_COLUMNS} == set(AuditRow.__dataclass_fields__)


@pytest.mark.parametrize("column", ["subject", "object", "digest", "store"])
@pytest.mark.parametrize("value", [None, ""])
def test_a_value_taken_away(copy: Path, column: str, value: str | None) -> None:
    run_sql(copy, (f"UPDATE audit SET {column} = ? WHERE seq = 5", (value,)))
    assert problems(copy), f"{column} of act 5 was taken away unseen"


@_EXAMPLES
@given(row=st.integers(1, _ROWS), number=st.integers(-3, 40).filter(lambda n: n < 1 or n > _ROWS))
def test_any_number_of_a_row(made: Path, tmp_path: Path, row: int, number: int) -> None:
    path = Path(shutil.copy(made / "catalog.sqlite", tmp_path / "copy.sqlite"))
    run_sql(path, ("UPDATE audit SET seq = ? WHERE seq = ?", (number, row)))
    assert problems(path), f"act {row} became number {number} unseen"


@pytest.mark.parametrize("place", range(1, 60, 7))
def test_the_noted_head(copy: Path, place: int) -> None:
    """The number and the hash of the newest act, which show that acts at the end are gone."""
    with closing(sqlite3.connect(copy)) as db:
        head = bytearray(db.execute("SELECT value FROM meta WHERE name = 'audit_head'").fetchone()[0].encode())
    head[place] ^= 1
    run_sql(copy, ("UPDATE meta SET value = ? WHERE name = 'audit_head'", (head.decode(),)))
    assert problems(copy)
    run_sql(copy, ("DELETE FROM meta WHERE name = 'audit_head'", ()))
    assert problems(copy)


def test_bytes_in_place_of_text(copy: Path) -> None:
    run_sql(copy, ("UPDATE audit SET act = x'00ff' WHERE seq = 3", ()))
    assert problems(copy)


def forge(path: Path, keep: Iterator[int] | range, **changed: str) -> None:
    """Make the whole record anew with right hashes, as somebody who may write the catalogue can."""
    with Catalog.open(path) as catalog:
        with catalog.read() as tx:
            rows = {row.seq: row for row in audit.recent(tx, _ROWS)}
        kept = [rows[seq] for seq in keep]
        with catalog.write() as tx:
            tx.exec_driver_sql("DELETE FROM audit")
            meta.set(tx, "audit_head", f"0 {BEGINNING}")
            for row in kept:
                act = changed.get(f"act{row.seq}", row.act)
                one = Act(act=act, subject=row.subject, object=row.object, digest=row.digest, store=row.store)
                audit.append_all(tx, [one], run_id=row.run_id, who=row.who, host=row.host, version=row.version)


@pytest.mark.parametrize("seq", range(1, _SEALED + 1))
def test_a_record_made_anew_shows_against_the_sealed_one(copy: Path, made: Path, seq: int) -> None:
    forge(copy, range(1, _ROWS + 1), **{f"act{seq}": "another"})
    assert problems(copy) == [], "the chain fits itself: only the snapshot can tell"
    last, found = against(copy, made)
    assert last == _SEALED and found


def test_the_last_act_of_a_run_changed_with_a_right_hash(copy: Path, made: Path) -> None:
    """No later act rests on it, so its hash can be made to fit; the snapshot's rows still tell."""
    with Catalog.open(copy) as catalog, catalog.read() as tx:
        rows = {row.seq: row for row in audit.recent(tx, _ROWS)}
    old = rows[_SEALED]
    new = AuditRow(**{**{n: getattr(old, n) for n in AuditRow.__dataclass_fields__}, "result": "another"})
    run_sql(copy, ("UPDATE audit SET result = ?, hash = ? WHERE seq = ?", ("another", audit.hash_of(new), _SEALED)))
    assert against(copy, made)[1] == [f"audit row {_SEALED} is not what the snapshot holds"]


def test_a_record_cut_to_before_the_sealed_head(copy: Path, made: Path) -> None:
    forge(copy, range(1, 4))
    assert problems(copy) == []
    found = against(copy, made)[1]
    assert f"audit row {_SEALED} is gone" in found


@pytest.mark.parametrize("seq", range(1, _SEALED + 1))
def test_a_record_made_anew_without_one_act_shows_against_the_sealed_one(copy: Path, made: Path, seq: int) -> None:
    forge(copy, (n for n in range(1, _ROWS + 1) if n != seq))
    assert problems(copy) == [], "the chain fits itself: only the snapshot can tell"
    assert against(copy, made)[1], f"act {seq} is gone unseen"


def test_what_grew_since_is_the_same(copy: Path, made: Path) -> None:
    assert problems(copy) == []
    assert against(copy, made) == (_SEALED, [])
