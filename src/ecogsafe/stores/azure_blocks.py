"""The names of blocks: each says which upload it is of, its number, and the CRC64NVME of its bytes.

Azure knows no uploads, only blocks that wait under the name of a blob, so the name of a block carries what
an upload id would. Every block is sent with its Content-MD5, which Azure checks before it takes it; so the
list of a blob's blocks, as Azure tells it, vouches for the bytes: each name stands for a block that arrived
as the bytes of that CRC64NVME, and joined they are the checksum of the whole.

References
----------
https://learn.microsoft.com/en-us/rest/api/storageservices/put-block (all ids of a blob have one length, at most 64)
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from awscrt.checksums import combine_crc64nvme

#: the access tiers of block blobs, and the letter that stands for each in an upload id
TIERS = {"Hot": "h", "Cool": "c", "Cold": "d", "Archive": "a"}
NO_TIER = "-"
#: the block that opens an upload, and the one that ends it without an object
OPENING, ENDING = 0, 99_999
_UPLOAD = re.compile(r"[0-9a-f]{32}[hcda-]")
_BLOCK = re.compile(r"([0-9a-f]{32}[hcda-])([0-9]{5})([0-9a-f]{16})")


@dataclass(frozen=True, slots=True)
class Block:
    """One block of ours."""

    upload_id: str
    #: of the part from 1; `OPENING` and `ENDING` are no parts
    number: int
    #: of the bytes; of the opening block, the time in seconds since 1970
    crc64: int

    @property
    def name(self) -> str:
        """The block id, before Azure's base64."""
        return f"{self.upload_id}{self.number:05d}{self.crc64:016x}"

    @property
    def began(self) -> datetime:
        """When the upload was begun, of an opening block."""
        return datetime.fromtimestamp(self.crc64 % (1 << 35), tz=UTC)


@dataclass(frozen=True, slots=True)
class Held:
    """A block that Azure holds."""

    block: Block
    #: bytes, as Azure counts them
    size: int

    @property
    def is_part(self) -> bool:
        """True if its bytes belong to the object."""
        return self.block.number not in (OPENING, ENDING)


def is_upload_id(text: str) -> bool:
    """Return whether ``text`` is an upload id of ours."""
    return _UPLOAD.fullmatch(text) is not None


def tier_of(upload_id: str) -> str | None:
    """Return the access tier that the object is to have, None for the account's own."""
    letter = upload_id[-1]
    return next((tier for tier, short in TIERS.items() if short == letter), None)


def block_of(name: str) -> Block | None:
    """Return what the id of a block says, None for one that is not of ours."""
    found = _BLOCK.fullmatch(name)
    return None if found is None else Block(found[1], int(found[2]), int(found[3], 16))


def whole_crc64(held: Sequence[Held]) -> int:
    """Return the CRC64NVME of the blocks' bytes, one after the other."""
    crc = 0
    for each in held:
        crc = int(combine_crc64nvme(crc, each.block.crc64, each.size))
    return crc


def vouched_crc64(names: Sequence[tuple[str, int]], size: int) -> int | None:
    """Return the CRC64NVME that a blob's committed blocks vouch for, None where they do not.

    Parameters
    ----------
    names
        Ids and sizes in the blob's order.
    size
        Of the blob.
    """
    held = [Held(block, length) for name, length in names if (block := block_of(name)) is not None]
    in_order = [each.block.number for each in held] == list(range(1, len(names) + 1))
    if not held or not in_order or len({each.block.upload_id for each in held}) != 1:
        return None
    return whole_crc64(held) if sum(each.size for each in held) == size else None
