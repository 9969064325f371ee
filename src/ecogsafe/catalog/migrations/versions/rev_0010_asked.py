"""Copies know when they were last asked about and last read, so that `verify` takes the oldest evidence first.

Revision ID: 0010
Revises: 0009
"""

from __future__ import annotations

from alembic import op
from sqlalchemy import Column, Text

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns, filled from the evidence there is, and an index of each that answers without the rows."""
    for name in ("asked_at", "read_at"):
        op.add_column("copies", Column(name, Text, nullable=False, server_default=""))
    op.execute(
        "UPDATE copies SET read_at = COALESCE(restored_at, ''), asked_at = CASE "
        "WHEN COALESCE(restored_at, '') > COALESCE(checksum_at, '') THEN restored_at "
        "ELSE COALESCE(checksum_at, '') END"
    )
    for name in ("asked", "read"):
        op.create_index(f"ix_copies_{name}", "copies", [f"{name}_at", "id", "store_id", "size"])
