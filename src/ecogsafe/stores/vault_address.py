"""URLs of old vaults: ``glacier://NAME``, the vault of the account and region that the SDK's settings say."""

from __future__ import annotations

import re

from ecogsafe.core.errors import StoreRefusedError, UsageError

SCHEME = "glacier://"
#: Amazon Glacier Developer Guide, "Creating a Vault"
_NAME = re.compile(r"[A-Za-z0-9._-]{1,255}")


def is_vault_url(url: str) -> bool:
    """Return whether ``url`` is meant to be a vault's."""
    return url.startswith(SCHEME)


def vault_name(url: str) -> str:
    """Return the vault's name.

    Raises
    ------
    UsageError
        ``url`` is not ``glacier://NAME``. It is not repeated: a URL typed wrong may hold credentials.
    """
    name = url.removeprefix(SCHEME).removesuffix("/")
    if not is_vault_url(url) or not _NAME.fullmatch(name):
        raise UsageError("the vault", "is not a vault's URL", next="write it as glacier://NAME")
    return name


def read_only(url: str) -> StoreRefusedError:
    """Return the refusal to treat a vault as a place for objects."""
    return StoreRefusedError(
        f"{SCHEME}{vault_name(url)}",
        "is an old vault, and vaults are only read: it has archives by id, no objects by name",
        safe="Nothing was sent",
        next="send to s3://bucket with --storage-class DEEP_ARCHIVE; what the vault holds is listed by "
        "ecogsafe inventory and fetched by ecogsafe restore",
    )
