"""A part's row keeps the digest of the source up to the part's end, no longer of the part alone.

What was under way cannot be judged by the new digest: it starts over under new keys.

Revision ID: 0004
Revises: 0003
"""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Rename the digest and abandon every open sealing; the next run aborts their uploads."""
    op.execute("DELETE FROM parts")
    op.execute("UPDATE sealings SET state = 'abandoned', wrapped_key = NULL WHERE state = 'open'")
    op.alter_column("parts", "plain_sha256", new_column_name="prefix_sha256")
