"""Subjects can be withdrawn: from then on nothing of theirs is sent.

Revision ID: 0002
Revises: 0001
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the time of the withdrawal."""
    op.add_column("subjects", Column("withdrawn_at", Text))
