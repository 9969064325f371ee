"""Revisions: the tables are those of the schema, old catalogues are kept, newer ones refused."""

from __future__ import annotations

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext

from ecogsafe.catalog import database, meta, migrate, schema
from ecogsafe.catalog.database import Catalog
from ecogsafe.core.errors import UsageError

_NEXT = """
from alembic import op
from sqlalchemy import Column, Integer, Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_table("extra", Column("id", Integer, primary_key=True))
    op.add_column("stores", Column("note", Text))
    {end}
"""


@pytest.fixture
def next_revision(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "migrations"
    shutil.copytree(migrate._FOLDER, folder)
    module = folder / "versions" / "rev_0003_extra.py"
    module.write_text(_NEXT.format(end="pass"))
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
    monkeypatch.setattr(database, "REVISION", "0003")
    for _ in range(2):
        with Catalog.open(path) as catalog, catalog.read() as tx:
            assert tx.exec_driver_sql("SELECT version_num FROM alembic_version").scalar() == "0003"
            assert tx.exec_driver_sql("SELECT count(*) FROM extra").scalar() == 0
            assert meta.get(tx, "kept") == "yes"
    with closing(sqlite3.connect(tmp_path / "catalog.sqlite.before-0003")) as kept:
        assert kept.execute("SELECT version_num FROM alembic_version").fetchone() == ("0002",)
        assert kept.execute("SELECT value FROM meta WHERE name = 'kept'").fetchone() == ("yes",)


def test_a_migration_that_fails_leaves_the_older_revision_whole(
    tmp_path: Path, next_revision: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "catalog.sqlite"
    _old(path)
    next_revision.write_text(_NEXT.format(end="raise ZeroDivisionError"))
    with monkeypatch.context() as patch:
        patch.setattr(database, "REVISION", "0003")
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
        assert ("BIGSERIAL" in made) == (table.name in ("journals", "files", "copies", "leases"))
        for index in table.indexes:
            str(CreateIndex(index).compile(dialect=dialect))
