"""The table of thaw requests, as the newest migration leaves it."""

from __future__ import annotations

from sqlalchemy import Column, Integer, Table, Text

from ecogsafe.catalog.schema_types import metadata

#: no foreign key: a place that was never given an id has the empty one
thaws = Table(
    "thaws",
    metadata,
    Column("store_id", Text, primary_key=True),
    Column("key", Text, primary_key=True),
    Column("tier", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("expected_at", Text, nullable=False),
    Column("days", Integer, nullable=False),
    Column("expires_at", Text),
)
