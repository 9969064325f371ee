"""Requests to thaw objects: what was asked when, and when it can be read.

Revision ID: 0006
Revises: 0005
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Integer, Text

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the table."""
    op.create_table(
        "thaws",
        Column("store_id", Text, primary_key=True),
        Column("key", Text, primary_key=True),
        Column("tier", Text, nullable=False),
        Column("requested_at", Text, nullable=False),
        Column("expected_at", Text, nullable=False),
        Column("days", Integer, nullable=False),
        Column("expires_at", Text),
    )
