"""The tables of the kept sums, as the newest migration leaves them; see `ecogsafe.catalog.sums`."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, Column, Index, Table, Text

from ecogsafe.catalog.schema_types import ROW_NUMBER, metadata

#: current files of which the same is held in the same stores, counted
alike = Table(
    "alike",
    metadata,
    Column("id", ROW_NUMBER, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("tree", Text, nullable=False),
    Column("kind", Text, nullable=False),
    #: JSON, see `ecogsafe.catalog.sums.CopyState`
    Column("held", Text, nullable=False),
    Column("files", BigInteger, nullable=False),
    Column("bytes", BigInteger, nullable=False),
    Column("freed_files", BigInteger, nullable=False),
    Column("freed_bytes", BigInteger, nullable=False),
    Index("ix_alike_subject", "subject"),
)

#: as what a current file was counted; no foreign keys: a row outlives its file until the next count
standings = Table(
    "standings",
    metadata,
    Column("file_id", BigInteger, primary_key=True, autoincrement=False),
    Column("alike_id", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("freed", Boolean, nullable=False),
)

#: files, or volumes, that were changed since they were counted; triggers of the database add a row a change
touched = Table(
    "touched",
    metadata,
    Column("seq", ROW_NUMBER, primary_key=True),
    Column("file_id", BigInteger, nullable=False),
)
