"""What a vault's inventory says: the list that the store prepares about once a day, taken apart.

Each archive carries words that whoever stored it chose: the lab's script put the file's name there, other programs put
whatever they liked. Words of the lab's form become a name and a subject; all others are private and kept nowhere.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from ecogsafe.catalog.vaults import VaultArchiveRow
from ecogsafe.core.clock import stamp_of
from ecogsafe.core.errors import StoreError, StoreRefusedError, VerificationError
from ecogsafe.stores.glacier_vault import GlacierVault

#: what the lab's script named its archives
_OLD_NAME = re.compile(r"(?P<code>[a-f][0-9a-f]{7})_(?:vid|edf)\.tar\.gz\.enc")
_TREE_HASH = re.compile(r"[0-9a-f]{64}")
_ARCHIVE_ID = re.compile(r"[A-Za-z0-9_-]{1,256}")
#: a longer list (half a million archives) is not read into memory
_MAX_BYTES = 256 << 20
_READ_AT_ONCE = 8 << 20


@dataclass(frozen=True, slots=True)
class VaultListing:
    """One inventory."""

    #: what it says held then, by the store's clock
    as_of: str
    archives: tuple[VaultArchiveRow, ...]


def old_name(description: str) -> tuple[str | None, str | None]:
    """Return the archive's name and subject that ``description`` gives; two times None unless it has the lab's form.

    A path before the name is left out: it may hold anything.
    """
    name = re.split(r"[/\\]", description)[-1]
    match = _OLD_NAME.fullmatch(name)
    return (name, match["code"]) if match else (None, None)


def read_listing(vault: GlacierVault, job_id: str) -> bytes:
    """Return the output of an inventory job.

    Raises
    ------
    ObjectMissingError
        It has expired.
    StoreRefusedError
        It is too long to be read.
    """
    data = bytearray()
    size = 1
    failures = 0
    while len(data) < size:
        try:
            output = vault.output(job_id, len(data), len(data) + _READ_AT_ONCE)
            size = output.size
            if size > _MAX_BYTES:
                raise StoreRefusedError(
                    vault.url,
                    f"its list of archives has {size:,} bytes, more than can be read here",
                    next="fetch the list with the AWS tools (aws glacier get-job-output)",
                )
            for piece in output.body:
                data += piece
            failures = 0
        except StoreError as error:
            failures += 1
            vault.patience.wait(error, failures)
    return bytes(data)


def parse_listing(vault: str, data: bytes, *, at_least: str | None = None) -> VaultListing:
    """Return what an inventory in the form of the guide ("Retrieving a Vault Inventory", JSON) lists.

    Parameters
    ----------
    at_least
        A `utc_stamp`: the list is known to be no older.

    Raises
    ------
    VerificationError
        It does not have that form. Nothing of it is repeated.
    """
    try:
        told = json.loads(data)
        as_of = max(_stamp(told["InventoryDate"]), at_least or "")
        return VaultListing(as_of, tuple(_archive(vault, each, as_of) for each in told["ArchiveList"]))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise VerificationError(
            vault,
            f"its list of archives is not of the form that it should have ({type(error).__name__})",
            next="run the same command again; if it stays so, fetch the list with the AWS tools",
        ) from None


def _stamp(text: str) -> str:
    at = datetime.fromisoformat(text)
    return stamp_of(at if at.tzinfo else at.replace(tzinfo=UTC))


def _archive(vault: str, told: dict[str, Any], as_of: str) -> VaultArchiveRow:
    key, subject = old_name(told.get("ArchiveDescription") or "")
    archive_id, digest, size = told["ArchiveId"], told["SHA256TreeHash"], told["Size"]
    if not _ARCHIVE_ID.fullmatch(archive_id) or not _TREE_HASH.fullmatch(digest) or int(size) < 0:
        raise ValueError
    return VaultArchiveRow(
        vault=vault,
        archive_id=archive_id,
        key=key,
        subject=subject,
        size=int(size),
        tree_hash=digest,
        created_at=_stamp(told["CreationDate"]),
        first_seen=as_of,
        as_of=as_of,
    )
