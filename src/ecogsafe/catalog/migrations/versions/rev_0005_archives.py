"""Archives: volumes, their members and their frames.

A volume is also a row of ``files`` (tree ``archive``), so that sealings, uploads, intents and copies serve it too.

Revision ID: 0005
Revises: 0004
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Boolean, Column, ForeignKey, Index, Integer, LargeBinary, Text, UniqueConstraint

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

#: a kept sum (0003) rests on what was restored of a member, too
_SUBJECT = "(SELECT f.subject FROM files f WHERE f.id = {row}.file_id)"


def upgrade() -> None:
    """Add the three tables."""
    op.create_table(
        "archive_volumes",
        Column("volume_id", BigInteger, ForeignKey("files.id"), primary_key=True, autoincrement=False),
        Column("subject", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("number", Integer, nullable=False),
        Column("store_id", Text, ForeignKey("stores.store_id"), nullable=False),
        Column("key", Text, nullable=False),
        Column("storage_class", Text),
        Column("state", Text, nullable=False),
        Column("sealing_id", Text, nullable=False),
        Column("tar_size", BigInteger, nullable=False),
        Column("part_size", BigInteger, nullable=False),
        Column("zstd_version", Text, nullable=False),
        Column("created_at", Text, nullable=False),
        Column("zstd_size", BigInteger),
        Column("header_bytes", BigInteger),
        Column("object_size", BigInteger),
        Column("manifest_sha256", Text),
        Column("index_store_id", Text),
        Column("index_key", Text),
        UniqueConstraint("subject", "kind", "number", name="uq_archive_volumes_number"),
        Index("ix_archive_volumes_store", "store_id", "subject", "kind"),
    )
    op.create_table(
        "archive_members",
        Column("volume_id", BigInteger, ForeignKey("archive_volumes.volume_id"), primary_key=True),
        Column("position", Integer, primary_key=True, autoincrement=False),
        Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
        Column("tree", Text, nullable=False),
        Column("path", Text, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("mtime_ns", BigInteger, nullable=False),
        Column("ctime_ns", BigInteger, nullable=False),
        Column("inode", Text, nullable=False),
        Column("device", Text, nullable=False),
        Column("stored", Boolean, nullable=False),
        Column("data_offset", BigInteger, nullable=False),
        Column("sha256", Text),
        Column("restored_at", Text),
        Index("ix_archive_members_file", "file_id"),
    )
    op.create_table(
        "archive_frames",
        Column("volume_id", BigInteger, ForeignKey("archive_volumes.volume_id"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("part", Integer, nullable=False),
        Column("tar_start", BigInteger, nullable=False),
        Column("tar_stop", BigInteger, nullable=False),
        Column("zstd_start", BigInteger, nullable=False),
        Column("zstd_stop", BigInteger, nullable=False),
        Column("sha256", LargeBinary, nullable=False),
    )
    (_sqlite if op.get_bind().dialect.name == "sqlite" else _postgresql)()


def _forget(row: str) -> str:
    return f"DELETE FROM sums WHERE subject = {_SUBJECT.format(row=row)};"  # noqa: S608  names of this module


def _sqlite() -> None:
    op.execute(
        "CREATE TRIGGER sums_archive_members_update AFTER UPDATE OF file_id, restored_at ON archive_members "
        "WHEN OLD.file_id IS NOT NEW.file_id OR OLD.restored_at IS NOT NEW.restored_at "
        f"BEGIN {_forget('OLD')} {_forget('NEW')} END"
    )


def _postgresql() -> None:
    op.execute(
        "CREATE FUNCTION sums_archive_members() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        f"{_forget('OLD')} {_forget('NEW')} RETURN NULL; END $$"
    )
    op.execute(
        "CREATE TRIGGER sums_archive_members_update AFTER UPDATE OF file_id, restored_at ON archive_members "
        "FOR EACH ROW EXECUTE FUNCTION sums_archive_members()"
    )
