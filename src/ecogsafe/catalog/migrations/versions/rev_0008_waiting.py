"""Runs tell what was there already, what they wait for, and which files are on their way.

Revision ID: 0008
Revises: 0007
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import BigInteger, Column, Text

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns; an older run told none of it."""
    for name in ("files_present", "bytes_present", "retries"):
        op.add_column("runs", Column(name, BigInteger, nullable=False, server_default="0"))
    op.add_column("runs", Column("waiting", Text, nullable=False, server_default=""))
    op.add_column("runs", Column("current_files", Text, nullable=False, server_default="[]"))
