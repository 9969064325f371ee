"""The tables of old vaults, as the newest migration leaves them; `ecogsafe.catalog.schema` has the others."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Index, Table, Text

from ecogsafe.catalog.schema_types import metadata

#: a job at a vault; asked for once, remembered before it is asked for
vault_jobs = Table(
    "vault_jobs",
    metadata,
    Column("token", Text, primary_key=True),
    Column("vault", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("archive_id", Text),
    Column("tier", Text),
    Column("job_id", Text),
    Column("state", Text, nullable=False),
    Column("asked_at", Text, nullable=False),
    Column("expected_at", Text, nullable=False),
    Column("ended_at", Text),
    Column("as_of", Text),
    Index("ix_vault_jobs_state", "vault", "kind", "state"),
)

vault_archives = Table(
    "vault_archives",
    metadata,
    Column("vault", Text, primary_key=True),
    Column("archive_id", Text, primary_key=True),
    Column("key", Text),
    Column("subject", Text),
    Column("size", BigInteger, nullable=False),
    Column("tree_hash", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("first_seen", Text, nullable=False),
    Column("as_of", Text, nullable=False),
    Column("gone_at", Text),
    Column("restored_at", Text),
    Index("ix_vault_archives_subject", "vault", "subject"),
)
