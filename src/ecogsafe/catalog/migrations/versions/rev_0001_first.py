"""The first tables: everything the catalogue holds (DESIGN 5.11).

Revision ID: 0001
Revises: none

Kept apart from `ecogsafe.catalog.schema`, which describes the newest revision: this module never changes.
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Integer,
    LargeBinary,
    Text,
    UniqueConstraint,
    text,
)

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_ROW_NUMBER = BigInteger().with_variant(Integer, "sqlite")


def upgrade() -> None:
    """Create the tables."""
    op.create_table(
        "meta",
        Column("name", Text, primary_key=True),
        Column("value", Text, nullable=False),
    )
    op.create_table(
        "stores",
        Column("store_id", Text, primary_key=True),
        Column("url", Text, nullable=False),
        Column("kind", Text, nullable=False),
        Column("first_seen", Text, nullable=False),
        Column("last_seen", Text, nullable=False),
    )
    op.create_index("ix_stores_url", "stores", ["url"])
    op.create_table(
        "subjects",
        Column("code", Text, primary_key=True),
        Column("created_at", Text, nullable=False),
        Column("revision", Integer, nullable=False),
    )
    op.create_table(
        "segments",
        Column("subject", Text, ForeignKey("subjects.code"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("start_utc", Text),
        Column("start_local", Text),
        Column("duration_s", Float),
        Column("kinds", Text, nullable=False),
        Column("fingerprint", Text, nullable=False),
        Column("retired_at", Text),
    )
    op.create_table(
        "journals",
        Column("seq", _ROW_NUMBER, primary_key=True),
        Column("id", Text, nullable=False, unique=True),
        Column("subject", Text, ForeignKey("subjects.code"), nullable=False),
        Column("kind", Text, nullable=False),
        Column("state", Text, nullable=False),
        Column("created_at", Text, nullable=False),
        Column("closed_at", Text),
        Column("sha256", Text, nullable=False),
        Column("undoes", Text, ForeignKey("journals.id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_journals_subject", "journals", ["subject"])
    op.create_table(
        "files",
        Column("id", _ROW_NUMBER, primary_key=True),
        Column("tree", Text, nullable=False),
        Column("path", Text, nullable=False),
        # No foreign key: data of a subject that another home de-identified can be uploaded too.
        Column("subject", Text, nullable=False),
        Column("segment", Integer),
        Column("size", BigInteger, nullable=False),
        Column("mtime_ns", BigInteger, nullable=False),
        Column("inode", Text, nullable=False),
        Column("device", Text, nullable=False),
        Column("sha256", Text),
        Column("first_seen", Text, nullable=False),
        Column("freed_at", Text),
        Column("superseded_at", Text),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_files_content", "files", ["tree", "path", "sha256"])
    op.create_index(
        "ux_files_current",
        "files",
        ["tree", "path"],
        unique=True,
        sqlite_where=text("superseded_at IS NULL"),
        postgresql_where=text("superseded_at IS NULL"),
    )
    op.create_index("ix_files_subject", "files", ["subject", "superseded_at", "tree", "freed_at", "size"])
    op.create_table(
        "clearances",
        Column("tree", Text, primary_key=True),
        Column("path", Text, primary_key=True),
        Column("subject", Text, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("text_sha256", Text, nullable=False),
        Column("revision", Integer, nullable=False),
        Column("scanner_version", Text, nullable=False),
        Column("at", Text, nullable=False),
        Column("accepted", Text, nullable=False),
    )
    op.create_index("ix_clearances_subject", "clearances", ["subject"])
    op.create_table(
        "sealings",
        Column("id", Text, primary_key=True),
        Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("mtime_ns", BigInteger, nullable=False),
        Column("ctime_ns", BigInteger, nullable=False),
        Column("inode", Text, nullable=False),
        Column("device", Text, nullable=False),
        Column("sealed", Boolean, nullable=False),
        Column("header", LargeBinary, nullable=False),
        Column("payload_nonce", LargeBinary, nullable=False),
        Column("wrapped_key", LargeBinary),
        Column("part_size", BigInteger, nullable=False),
        Column("object_size", BigInteger, nullable=False),
        Column("created_at", Text, nullable=False),
        Column("state", Text, nullable=False),
    )
    op.create_index("ix_sealings_state", "sealings", ["state", "file_id"])
    op.create_table(
        "parts",
        Column("sealing_id", Text, ForeignKey("sealings.id"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("plain_sha256", LargeBinary, nullable=False),
        Column("length", BigInteger, nullable=False),
        Column("crc64", Text, nullable=False),
    )
    op.create_table(
        "uploads",
        Column("token", Text, primary_key=True),
        Column("sealing_id", Text, ForeignKey("sealings.id"), nullable=False),
        Column("store_id", Text, ForeignKey("stores.store_id"), nullable=False),
        Column("key", Text, nullable=False),
        Column("upload_id", Text),
        Column("state", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("fence", BigInteger, nullable=False),
        Column("created_at", Text, nullable=False),
        Column("storage_class", Text),
    )
    op.create_index("ix_uploads_state", "uploads", ["state", "store_id", "key"])
    op.create_index("ix_uploads_sealing", "uploads", ["sealing_id"])
    op.create_table(
        "acks",
        Column("token", Text, ForeignKey("uploads.token"), primary_key=True),
        Column("number", Integer, primary_key=True, autoincrement=False),
        Column("etag", Text, nullable=False),
    )
    op.create_table(
        "intents",
        Column("token", Text, primary_key=True),
        Column("store_id", Text, ForeignKey("stores.store_id"), nullable=False),
        Column("key", Text, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("crc64", Text, nullable=False),
        Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
        Column("sha256", Text, nullable=False),
        Column("sealed", Boolean, nullable=False),
        Column("created_at", Text, nullable=False),
        Column("state", Text, nullable=False),
    )
    op.create_index("ix_intents_key", "intents", ["store_id", "key"])
    op.create_index("ix_intents_file", "intents", ["file_id"])
    op.create_index("ix_intents_state", "intents", ["state", "store_id"])
    op.create_table(
        "copies",
        Column("id", _ROW_NUMBER, primary_key=True),
        Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
        Column("store_id", Text, ForeignKey("stores.store_id"), nullable=False),
        Column("key", Text, nullable=False),
        Column("sealed", Boolean, nullable=False),
        Column("size", BigInteger, nullable=False),
        Column("crc64", Text),
        Column("etag", Text),
        Column("version_id", Text),
        Column("storage_class", Text),
        Column("token", Text, nullable=False),
        Column("level", Text, nullable=False),
        Column("stored_at", Text, nullable=False),
        Column("checksum_at", Text),
        Column("restored_at", Text),
        Column("bad_at", Text),
        Column("bad_reason", Text),
        Column("store_date", Text),
        Column("seen_at", Text),
        UniqueConstraint("store_id", "key", name="uq_copies_key"),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_copies_file", "copies", ["file_id"])
    op.create_index(
        "ix_copies_bad",
        "copies",
        ["store_id", "key"],
        sqlite_where=text("bad_at IS NOT NULL"),
        postgresql_where=text("bad_at IS NOT NULL"),
    )
    op.create_table(
        "leases",
        # The row number is the fencing number: it only rises and is never given twice, whatever is deleted.
        Column("fence", _ROW_NUMBER, primary_key=True),
        Column("name", Text, nullable=False),
        Column("owner", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("shared", Boolean, nullable=False),
        Column("acquired_at", Text, nullable=False),
        Column("expires_at", Text, nullable=False),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_leases_name", "leases", ["name"])
    op.create_table(
        "runs",
        Column("id", Text, primary_key=True),
        Column("command", Text, nullable=False),
        Column("started_at", Text, nullable=False),
        Column("updated_at", Text, nullable=False),
        Column("ended_at", Text),
        Column("exit_status", Integer),
        Column("host", Text, nullable=False),
        Column("pid", Integer, nullable=False),
        Column("files_done", BigInteger, nullable=False),
        Column("files_total", BigInteger),
        Column("bytes_done", BigInteger, nullable=False),
        Column("bytes_total", BigInteger),
        Column("bytes_per_s", Float, nullable=False),
        Column("seconds_left", Float),
        Column("current", Text, nullable=False),
    )
    op.create_index("ix_runs_started", "runs", ["started_at"])
    op.create_table(
        "audit",
        Column("seq", BigInteger, primary_key=True, autoincrement=False),
        Column("run_id", Text, nullable=False),
        Column("prev_hash", Text, nullable=False),
        Column("hash", Text, nullable=False, unique=True),
        Column("at", Text, nullable=False),
        Column("who", Text, nullable=False),
        Column("host", Text, nullable=False),
        Column("version", Text, nullable=False),
        Column("act", Text, nullable=False),
        Column("subject", Text),
        Column("object", Text),
        Column("digest", Text),
        Column("store", Text),
        Column("result", Text, nullable=False),
    )
    op.create_index("ix_audit_run", "audit", ["run_id", "seq"])
    op.create_index("ix_audit_object", "audit", ["object"])
    if op.get_bind().dialect.name == "sqlite":
        for act in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER audit_refuses_{act.lower()} BEFORE {act} ON audit "
                "BEGIN SELECT RAISE(ABORT, 'the audit record is append-only'); END"
            )
