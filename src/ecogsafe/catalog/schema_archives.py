"""The tables of archives, as the newest migration leaves them; `ecogsafe.catalog.schema` has the others."""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    UniqueConstraint,
)

from ecogsafe.catalog.schema_types import Unsigned64, metadata

#: an archive's volume; it is a row of ``files`` too (tree ``archive``)
archive_volumes = Table(
    "archive_volumes",
    metadata,
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

archive_members = Table(
    "archive_members",
    metadata,
    Column("volume_id", BigInteger, ForeignKey("archive_volumes.volume_id"), primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("file_id", BigInteger, ForeignKey("files.id"), nullable=False),
    Column("tree", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("mtime_ns", BigInteger, nullable=False),
    Column("ctime_ns", BigInteger, nullable=False),
    Column("inode", Unsigned64, nullable=False),
    Column("device", Unsigned64, nullable=False),
    Column("stored", Boolean, nullable=False),
    Column("data_offset", BigInteger, nullable=False),
    Column("sha256", Text),
    Column("restored_at", Text),
    Index("ix_archive_members_file", "file_id"),
)

archive_frames = Table(
    "archive_frames",
    metadata,
    Column("volume_id", BigInteger, ForeignKey("archive_volumes.volume_id"), primary_key=True),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("part", Integer, nullable=False),
    Column("tar_start", BigInteger, nullable=False),
    Column("tar_stop", BigInteger, nullable=False),
    Column("zstd_start", BigInteger, nullable=False),
    Column("zstd_stop", BigInteger, nullable=False),
    Column("sha256", LargeBinary, nullable=False),
)
