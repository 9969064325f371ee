"""``-b BUCKET`` and the URL options."""

from __future__ import annotations

import click


def store_url(bucket: str | None, url: str | None, option: str) -> str:
    """Return the store's URL; ``-b NAME`` means ``s3://NAME``."""
    if (bucket is None) == (url is None):
        raise click.UsageError(f"Give one of -b BUCKET and {option} URL.")
    chosen = url if url is not None else f"s3://{bucket}"
    if not chosen.startswith(("s3://", "azure://", "file:///", "glacier://")):
        raise click.UsageError(
            f"{option}: a store is s3://bucket[/prefix], azure://container[/prefix] or file:///path."
        )
    return chosen
