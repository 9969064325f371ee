"""What `status` counts is kept by subject, and forgotten by the database itself when a row it rests on changes.

Revision ID: 0003
Revises: 0002
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

#: the columns a kept count rests on
_RESTS_ON = {
    "files": ("subject", "tree", "size", "freed_at", "superseded_at"),
    "copies": ("file_id", "store_id", "level", "stored_at", "checksum_at", "restored_at", "bad_at"),
}
#: the subject of a row, ``{row}`` being NEW or OLD
_SUBJECT = {"files": "{row}.subject", "copies": "(SELECT f.subject FROM files f WHERE f.id = {row}.file_id)"}


def upgrade() -> None:
    """Add the table and its triggers: a writer that forgot to tell it would make `status` promise too much."""
    op.create_table(
        "sums",
        Column("subject", Text, primary_key=True),
        Column("claim", Text, nullable=False),
        Column("record", Text),
    )
    make = _sqlite if op.get_bind().dialect.name == "sqlite" else _postgresql
    for table in _RESTS_ON:
        make(table)


def _forget(table: str, row: str) -> str:
    return f"DELETE FROM sums WHERE subject = {_SUBJECT[table].format(row=row)};"  # noqa: S608  names of this module


def _sqlite(table: str) -> None:
    columns = _RESTS_ON[table]
    changed = " OR ".join(f"OLD.{name} IS NOT NEW.{name}" for name in columns)
    for act, when, rows in (
        ("INSERT", "", ("NEW",)),
        (f"UPDATE OF {', '.join(columns)}", f"WHEN {changed}", ("OLD", "NEW")),
        ("DELETE", "", ("OLD",)),
    ):
        word = act.split(" ", 1)[0].lower()
        body = " ".join(_forget(table, row) for row in rows)
        op.execute(f"CREATE TRIGGER sums_{table}_{word} AFTER {act} ON {table} {when} BEGIN {body} END")


def _postgresql(table: str) -> None:
    op.execute(
        f"CREATE FUNCTION sums_{table}() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"IF TG_OP <> 'INSERT' THEN {_forget(table, 'OLD')} END IF; "
        f"IF TG_OP <> 'DELETE' THEN {_forget(table, 'NEW')} END IF; "
        "RETURN NULL; END $$"
    )
    acts = f"INSERT OR DELETE OR UPDATE OF {', '.join(_RESTS_ON[table])}"
    op.execute(f"CREATE TRIGGER sums_{table} AFTER {acts} ON {table} FOR EACH ROW EXECUTE FUNCTION sums_{table}()")
