"""CRC-64/NVME, the checksum S3 computes over whole objects.

Over parts it is combined from theirs, so that no byte is read twice.

References
----------
AWS, "Checking object integrity": full-object checksums; the header form is base64 of 8 bytes, big-endian.
"""

from __future__ import annotations

import base64
import binascii
from functools import cache
from typing import Any

from ecogsafe.core.errors import VerificationError

_CRC_BYTES = 8
#: awscrt takes lengths as a C int
_CALL_BYTES = 1 << 30


@cache
def library() -> Any:
    """Return what computes them: it takes 30 ms to load, and who only asks what is where needs none of it."""
    from awscrt import checksums

    return checksums


def crc64nvme(data: bytes | bytearray | memoryview, previous: int = 0) -> int:
    """Return the checksum of ``data``, or of what gave ``previous`` followed by ``data``."""
    if len(data) <= _CALL_BYTES:
        return int(library().crc64nvme(data, previous))
    with memoryview(data) as view:
        for start in range(0, len(view), _CALL_BYTES):
            previous = int(library().crc64nvme(view[start : start + _CALL_BYTES], previous))
    return previous


def combine(crc1: int, crc2: int, length2: int) -> int:
    """Return the checksum of A followed by B from those of A and B and the length of B in bytes."""
    return int(library().combine_crc64nvme(crc1, crc2, length2))


def crc64_to_b64(crc: int) -> str:
    """Return ``crc`` as S3 writes it in ``x-amz-checksum-crc64nvme``."""
    return base64.b64encode(crc.to_bytes(_CRC_BYTES, "big")).decode("ascii")


def crc64_from_b64(text: str) -> int:
    """Return the checksum that S3 wrote as ``text``.

    Raises
    ------
    VerificationError
        It is not base64 of 8 bytes.
    """
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise VerificationError("checksum", "the store's checksum is not base64") from error
    if len(data) != _CRC_BYTES:
        raise VerificationError("checksum", f"the store's checksum has {len(data)} bytes, not {_CRC_BYTES}")
    return int.from_bytes(data, "big")
