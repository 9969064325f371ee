"""A place as somebody types it in answer to ``init``, made a destination of the settings."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from ecogsafe.core.config import Destination
from ecogsafe.core.errors import UsageError
from ecogsafe.stores.open import parse_store_url


def destination_of(
    url: str, *, types: str, taken: Collection[str], plain: bool = False, archive: bool = False
) -> Destination:
    """Return the destination, under a name of its own.

    Parameters
    ----------
    url
        ``s3://``, ``azure://`` or ``file:///``; the absolute path of a folder means ``file://``.
    types
        ``v``, ``e`` or both.
    taken
        Names that other destinations have.

    Raises
    ------
    UsageError
        It is not the URL of a store, or the types are others.
    """
    if url.startswith("/"):
        url = Path(url).as_uri()
    address = parse_store_url(url)
    kinds = tuple(kind for kind in ("v", "e") if kind in types)
    if not kinds or set(types) - set("ve, "):
        raise UsageError("the kinds of data", "are v, e or both")
    name = base = address.bucket or (address.folder.name if address.folder else "") or "folder"
    number = 1
    while name in taken:
        number += 1
        name = f"{base}-{number}"
    return Destination(
        name=name,
        url=address.url,
        types=kinds,
        plain=plain,
        archive=archive,
        storage_class="DEEP_ARCHIVE" if archive else None,
    )


def is_folder_url(url: str) -> bool:
    """Return whether ``url`` is a folder of this machine, as `destination_of` takes it."""
    return url.startswith(("/", "file:///"))
