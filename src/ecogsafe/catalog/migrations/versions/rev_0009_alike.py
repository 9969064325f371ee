"""What `status` counts is kept by alike files and corrected file by file; stores tell where they physically are.

Before, one change made the database forget the sums of the whole subject (0003), and whoever asked next had to
look at every file of it.

Revision ID: 0009
Revises: 0008
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, Index, Integer, Text

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")
#: the columns a count rests on, and how a row names the file (or the volume) that is to be counted anew
_RESTS_ON = {
    "files": ("id", ("subject", "tree", "path", "size", "freed_at", "superseded_at")),
    "copies": (
        "file_id",
        ("file_id", "store_id", "level", "stored_at", "checksum_at", "restored_at", "bad_at", "bad_reason"),
    ),
    "archive_members": ("file_id", ("file_id", "restored_at")),
}


def upgrade() -> None:
    """Replace the table and its triggers; everything is counted anew by the first who asks, and then kept."""
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    _drop(is_sqlite=is_sqlite)
    op.add_column("stores", Column("place", Text))
    op.create_table(
        "alike",
        Column("id", _ROW_NUMBER, primary_key=True),
        Column("subject", Text, nullable=False),
        Column("tree", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("held", Text, nullable=False),
        Column("files", BigInteger, nullable=False),
        Column("bytes", BigInteger, nullable=False),
        Column("freed_files", BigInteger, nullable=False),
        Column("freed_bytes", BigInteger, nullable=False),
        Index("ix_alike_subject", "subject"),
    )
    op.create_table(
        "standings",
        Column("file_id", BigInteger, primary_key=True, autoincrement=False),
        Column("alike_id", BigInteger, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("freed", Boolean, nullable=False),
    )
    op.create_table(
        "touched",
        Column("seq", _ROW_NUMBER, primary_key=True),
        Column("file_id", BigInteger, nullable=False),
    )
    op.execute("INSERT INTO touched (file_id) SELECT id FROM files WHERE superseded_at IS NULL AND tree <> 'archive'")
    for table, (file_id, columns) in _RESTS_ON.items():
        (_sqlite if is_sqlite else _postgresql)(table, file_id, columns)


def _drop(*, is_sqlite: bool) -> None:
    if is_sqlite:
        for table in ("files", "copies"):
            for act in ("insert", "update", "delete"):
                op.execute(f"DROP TRIGGER sums_{table}_{act}")
        op.execute("DROP TRIGGER sums_archive_members_update")
    else:
        for table in ("files", "copies", "archive_members"):
            # takes the trigger along
            op.execute(f"DROP FUNCTION sums_{table}() CASCADE")
    op.drop_table("sums")


def _touch(row: str, file_id: str) -> str:
    return f"INSERT INTO touched (file_id) VALUES ({row}.{file_id});"  # noqa: S608  names of this module


def _sqlite(table: str, file_id: str, columns: tuple[str, ...]) -> None:
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in columns)
    moved = f"INSERT INTO touched (file_id) SELECT NEW.{file_id} WHERE OLD.{file_id} <> NEW.{file_id};"
    for act, when, body in (
        ("INSERT", "", _touch("NEW", file_id)),
        (f"UPDATE OF {', '.join(columns)}", f"WHEN {changed}", f"{_touch('OLD', file_id)} {moved}"),
        ("DELETE", "", _touch("OLD", file_id)),
    ):
        word = act.split(" ", 1)[0].lower()
        op.execute(f"CREATE TRIGGER touched_{table}_{word} AFTER {act} ON {table} {when} BEGIN {body} END")


def _postgresql(table: str, file_id: str, columns: tuple[str, ...]) -> None:
    op.execute(
        f"CREATE FUNCTION touched_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP <> 'INSERT' THEN {_touch('OLD', file_id)} END IF; "
        f"IF TG_OP <> 'DELETE' THEN {_touch('NEW', file_id)} END IF; "
        "RETURN NULL; END $$"
    )
    acts = f"INSERT OR DELETE OR UPDATE OF {', '.join(columns)}"
    op.execute(
        f"CREATE TRIGGER touched_{table} AFTER {acts} ON {table} FOR EACH ROW EXECUTE FUNCTION touched_{table}()"
    )
