"""The tables of the catalogue, as the newest migration leaves them.

No column holds an identifier: subjects are codes, files are paths below OUT (which begin with a code).
The migrations build the tables (and alone say what PostgreSQL needs beside, so that only who uses it loads what
SQLAlchemy has for it); a test compares the two. Times are `ecogsafe.core.clock.utc_stamp`
texts, digests are lower-case hexadecimal unless a column is a BLOB.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from ecogsafe.catalog.schema_archives import archive_frames, archive_members, archive_volumes
from ecogsafe.catalog.schema_sums import alike, standings, touched
from ecogsafe.catalog.schema_thaws import thaws
from ecogsafe.catalog.schema_types import ROW_NUMBER, TextTuple, Unsigned64, metadata
from ecogsafe.catalog.schema_vaults import vault_archives, vault_jobs

__all__ = [
    "REVISION",
    "TextTuple",
    "Unsigned64",
    "acks",
    "alike",
    "archive_frames",
    "archive_members",
    "archive_volumes",
    "audit",
    "clearances",
    "copies",
    "files",
    "intents",
    "journals",
    "leases",
    "meta",
    "metadata",
    "parts",
    "runs",
    "sealings",
    "segments",
    "standings",
    "stores",
    "subjects",
    "thaws",
    "touched",
    "uploads",
    "vault_archives",
    "vault_jobs",
]

#: the newest migration; a catalogue at another revision is migrated, or refused when it is newer
REVISION = "0010"


meta = Table(
    "meta",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", Text, nullable=False),
)

stores = Table(
    "stores",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("url", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("first_seen", Text, nullable=False),
    Column("last_seen", Text, nullable=False),
    #: `ecogsafe.stores.protocol.Store.place` when it was last reached; None: not reached since that is kept
    Column("place", Text),
    Index("ix_stores_url", "url"),
)

subjects = Table(
    "subjects",
    metadata,
    Column("code", Text, primary_key=True),
    Column("created_at", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("withdrawn_at", Text),
)

segments = Table(
    "segments",
    metadata,
    Column("subject", Text, ForeignKey("subjects.code"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("start_utc", Text),
    Column("start_local", Text),
    Column("duration_s", Float),
    Column("kinds", TextTuple, nullable=False),
    Column("fingerprint", Text, nullable=False),
    Column("retired_at", Text),
)

journals = Table(
    "journals",
    metadata,
    Column("seq", ROW_NUMBER, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("subject", Text, ForeignKey("subjects.code"), nullable=False),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("closed_at", Text),
    Column("sha256", Text, nullable=False),
    Column("undoes", Text, ForeignKey("journals.id")),
    Index("ix_journals_subject", "subject"),
    sqlite_autoincrement=True,
)

files = Table(
    "files",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("tree", Text, nullable=False),
    Column("path", Text, nullable=False),
    # No foreign key: data of a subject that another home de-identified can be uploaded too.
    Column("subject", Text, nullable=False),
    Column("segment", Integer),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("inode", Unsigned64, nullable=False),
    Column("device", Unsigned64, nullable=False),
    Column("sha256", Text),
    Column("first_seen", Text, nullable=False),
    Column("freed_at", Text),
    Column("superseded_at", Text),
    Index("ix_files_content", "tree", "path", "sha256"),
    Index(
        "ux_files_current",
        "tree",
        "path",
        unique=True,
        sqlite_where=text("superseded_at IS NULL"),
    ),
    Index("ix_files_subject", "subject", "superseded_at", "tree", "freed_at", "size"),
    sqlite_autoincrement=True,
)

clearances = Table(
    "clearances",
    metadata,
    Column("tree", Text, primary_key=True),
    Column("path", Text, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("text_sha256", Text, nullable=False),
    Column("revision", Integer, nullable=False),
    Column("scanner_version", Text, nullable=False),
    Column("at", Text, nullable=False),
    Column("accepted", TextTuple, nullable=False),
    Index("ix_clearances_subject", "subject"),
)

sealings = Table(
    "sealings",
    metadata,
    Column("id", Text, primary_key=True),
    Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("inode", Unsigned64, nullable=False),
    Column("device", Unsigned64, nullable=False),
    Column("sealed", Boolean, nullable=False),
    Column("header", LargeBinary, nullable=False),
    Column("payload_nonce", LargeBinary, nullable=False),
    Column("wrapped_key", LargeBinary),
    Column("part_size", BigInteger, nullable=False),
    Column("object_size", BigInteger, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Index("ix_sealings_state", "state", "file_id"),
)

parts = Table(
    "parts",
    metadata,
    Column("sealing_id", Text, ForeignKey("sealings.id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("prefix_sha256", LargeBinary, nullable=False),
    Column("length", BigInteger, nullable=False),
    Column("crc64", Unsigned64, nullable=False),
)

uploads = Table(
    "uploads",
    metadata,
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
    Index("ix_uploads_state", "state", "store_id", "key"),
    Index("ix_uploads_sealing", "sealing_id"),
)

acks = Table(
    "acks",
    metadata,
    Column("token", Text, ForeignKey("uploads.token"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("etag", Text, nullable=False),
)

intents = Table(
    "intents",
    metadata,
    Column("token", Text, primary_key=True),
    Column("store_id", Text, ForeignKey("stores.store_id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("crc64", Unsigned64, nullable=False),
    Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
    Column("sha256", Text, nullable=False),
    Column("sealed", Boolean, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("state", Text, nullable=False),
    Index("ix_intents_key", "store_id", "key"),
    Index("ix_intents_file", "file_id"),
    Index("ix_intents_state", "state", "store_id"),
)

copies = Table(
    "copies",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
    Column("store_id", Text, ForeignKey("stores.store_id"), nullable=False),
    Column("key", Text, nullable=False),
    Column("sealed", Boolean, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("crc64", Unsigned64),
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
    Column("asked_at", Text, nullable=False, server_default=""),
    Column("read_at", Text, nullable=False, server_default=""),
    UniqueConstraint("store_id", "key", name="uq_copies_key"),
    Index("ix_copies_file", "file_id"),
    Index("ix_copies_asked", "asked_at", "id", "store_id", "size"),
    Index("ix_copies_read", "read_at", "id", "store_id", "size"),
    Index(
        "ix_copies_bad",
        "store_id",
        "key",
        sqlite_where=text("bad_at IS NOT NULL"),
    ),
    sqlite_autoincrement=True,
)

leases = Table(
    "leases",
    metadata,
    # The row number is the fencing number: it only rises and is never given twice, whatever is deleted.
    Column("fence", ROW_NUMBER, primary_key=True),
    Column("name", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("host", Text, nullable=False),
    Column("shared", Boolean, nullable=False),
    Column("acquired_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Index("ix_leases_name", "name"),
    sqlite_autoincrement=True,
)

runs = Table(
    "runs",
    metadata,
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
    Column("files_present", BigInteger, nullable=False, server_default="0"),
    Column("bytes_present", BigInteger, nullable=False, server_default="0"),
    Column("retries", BigInteger, nullable=False, server_default="0"),
    Column("waiting", Text, nullable=False, server_default=""),
    #: JSON: a list of [path, bytes done, bytes in all]
    Column("current_files", Text, nullable=False, server_default="[]"),
    Index("ix_runs_started", "started_at"),
)

audit = Table(
    "audit",
    metadata,
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
    Index("ix_audit_run", "run_id", "seq"),
    Index("ix_audit_object", "object"),
)
