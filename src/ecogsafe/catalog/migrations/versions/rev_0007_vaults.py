"""Old vaults: the jobs that were asked for, and the archives that an inventory listed.

Revision ID: 0007
Revises: 0006
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Index, Text

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the two tables."""
    op.create_table(
        "vault_jobs",
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
    op.create_table(
        "vault_archives",
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
