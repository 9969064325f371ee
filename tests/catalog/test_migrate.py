"""Revisions: the tables are those of the schema, old catalogues are kept, newer ones refused."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import create_engine

from ecogsafe.catalog import database, meta, migrate, schema
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import UsageError

_NEXT = """
from alembic import op
from sqlalchemy import Column, Integer, Text

revision = "9000"
down_revision = "{present}"


def upgrade() -> None:
    op.create_table("extra", Column("id", Integer, primary_key=True))
    op.add_column("stores", Column("note", Text))
    {end}
"""


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "migrations"
    shutil.copytree(migrate._FOLDER, folder)
    module = folder / "versions" / "rev_9000_extra.py"
    module.write_text(_NEXT.format(end="pass", present=schema.REVISION))
    monkeypatch.setattr(migrate, "_FOLDER", folder)
    return module


def _old(path: Path) -> None:
    with Catalog.open(path, create=True) as catalog, catalog.write() as tx:
        meta.set(tx, "kept", "yes")


def test_the_migrations_end_where_the_schema_says() -> None:
    assert migrate.scripts().get_heads() == [schema.REVISION]


def test_the_migrated_tables_are_the_schema(catalog: Catalog) -> None:
    with catalog.write() as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True})
        assert compare_metadata(context, schema.metadata) == []


def test_opening_again_changes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    _old(path)
    Catalog.open(path).close()
    before = path.read_bytes()
    for _ in range(2):
        Catalog.open(path, create=True).close()
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["catalog.sqlite"]


def test_an_older_catalogue_is_kept_and_migrated(
    tmp_path: Path, next_revision: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.sqlite"
    _old(path)
    monkeypatch.setattr(database, "REVISION", "9000")
    for _ in range(2):
        with Catalog.open(path) as catalog, catalog.read() as tx:
            assert tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "9000"
            assert tx.exec_driver_sql("SELECT count(*) FROM extra").scalar() == 0
            assert meta.get(tx, "kept") == "yes"
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite.before-9000")) as kept:
        assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == (schema.REVISION,)
        assert kept.execute("SELECT value FROM meta WHERE name = 'kept'").fetchone() == ("yes",)


def test_a_migration_that_fails_leaves_the_older_revision_whole(
    tmp_path: Path, next_revision: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.sqlite"
    _old(path)
    next_revision.write_text(_NEXT.format(end="raise ZeroDivisionError", present=schema.REVISION))
    with monkeypatch.context() as patch:
        patch.setattr(database, "REVISION", "9000")
        with pytest.raises(ZeroDivisionError):
            Catalog.open(path)
    with Catalog.open(path) as catalog, catalog.read() as tx:
        assert tx.exec_driver_sql("SELECT count(*) FROM sqlite_master WHERE name = 'extra'").scalar() == 0
        assert meta.get(tx, "kept") == "yes"


def test_a_newer_catalogue_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "catalog.sqlite"
    _old(path)
    with closing(sqlite3.connect(path)) as other:
        other.execute("UPDATE alembic_version SET version_num = '0999'")
        other.commit()
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"newer ecogsafe \(revision 0999\)"):
        Catalog.open(path, create=True)
    assert path.read_bytes() == before


def test_no_column_is_made_for_an_identifier() -> None:
    words = ("first_name", "last_name", "mrn", "birth", "guid", "email", "phone", "source_path", "argv", "also")
    columns = [f"{table.name}.{column.name}" for table in schema.metadata.tables.values() for column in table.c]
    assert len(columns) > 100
    assert [c for c in columns if any(word in c for word in words)] == []


def test_the_tables_can_be_made_for_postgresql() -> None:
    from sqlalchemy.dialects import postgresql
    from sqlalchemy.schema import CreateIndex, CreateTable

    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    for table in schema.metadata.sorted_tables:
        made = str(CreateTable(table).compile(dialect=dialect))
        assert ("BIGSERIAL" in made) == (table.name in ("journals", "files", "copies", "leases", "alike", "touched"))
        for index in table.indexes:
            str(CreateIndex(index).compile(dialect=dialect))


def test_what_was_under_way_before_the_prefix_digests_starts_over(tmp_path: Path) -> None:
    """The rows of its parts say something else by the same name: they are not read as if they were new."""
    path = tmp_path / "catalog.sqlite"
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as tx:
        migrate.migrate(tx, "0003")
    with closing(sqlite3.connect(path)) as old, old:
        old.execute("PRAGMA foreign_keys = OFF")
        for number, state in enumerate(("open", "open", "done")):
            old.execute(
                "INSERT INTO sealings VALUES (?, 1, 9, 1, 1, 1, 1, 1, x'01', x'02', ?, 8, 30, 'then', ?)",
                (f"s{number}", None if state == "done" else b"wrapped", state),
            )
            old.execute("INSERT INTO parts VALUES (?, 1, x'aa', 8, 5)", (f"s{number}",))
    with engine.begin() as tx:
        migrate.migrate(tx, schema.REVISION)
        found = tx.exec_driver_sql("SELECT id, state, wrapped_key FROM sealings ORDER BY id").fetchall()
        assert [tuple(row) for row in found] == [
            ("s0", "abandoned", None),
            ("s1", "abandoned", None),
            ("s2", "done", None),
        ]
        assert tx.exec_driver_sql("SELECT prefix_sha256 FROM parts").fetchall() == []
    engine.dispose()
