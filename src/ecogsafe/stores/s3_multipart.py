"""What S3 is told, and says, when an upload in parts begins and ends.

Answers are searched, not parsed: whatever an unknown server sends, no parser works on it.

References
----------
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CreateMultipartUpload.html
https://docs.aws.amazon.com/AmazonS3/latest/API/API_CompleteMultipartUpload.html
"""

from __future__ import annotations

import html
import re
from collections.abc import Sequence
from typing import Any

from ecogsafe.stores.bodies import crc64_to_text
from ecogsafe.stores.protocol import UploadedPart

_NAMESPACE = "http://s3.amazonaws.com/doc/2006-03-01/"
#: beside what every new object has
BEGIN_HEADERS = {"x-amz-checksum-algorithm": "CRC64NVME", "x-amz-checksum-type": "FULL_OBJECT"}
_COMPLETED = b"CompleteMultipartUploadResult"
#: elements of the answer, as the SDK calls them too
_TOLD = ("ETag", "ChecksumCRC64NVME", "ChecksumType")


def finish_headers(crc64: int, size: int) -> dict[str, str]:
    """Return what makes the store compare the whole with its checksum and size, and never replace."""
    return {
        "x-amz-checksum-crc64nvme": crc64_to_text(crc64),
        "x-amz-checksum-type": "FULL_OBJECT",
        "x-amz-mp-object-size": str(size),
        "if-none-match": "*",
        "content-type": "application/xml",
    }


def finish_body(parts: Sequence[UploadedPart]) -> bytes:
    """Return the list of ``parts`` in the order of their numbers."""
    listed = "".join(
        f"<Part><PartNumber>{part.number}</PartNumber><ETag>{html.escape(part.etag, quote=False)}</ETag>"
        f"{_checksum(part)}</Part>"
        for part in sorted(parts, key=lambda part: part.number)
    )
    return f'<CompleteMultipartUpload xmlns="{_NAMESPACE}">{listed}</CompleteMultipartUpload>'.encode()


def _checksum(part: UploadedPart) -> str:
    if part.crc64 is None:
        return ""
    return f"<ChecksumCRC64NVME>{crc64_to_text(part.crc64)}</ChecksumCRC64NVME>"


def upload_id_of(answer: bytes) -> str | None:
    """Return the name of a new upload, None where the answer has none."""
    return _element("UploadId", answer)


def finished(answer: bytes) -> dict[str, Any] | None:
    """Return what the store says of the finished object, in the SDK's words; None where it says no such thing."""
    if _COMPLETED not in answer:
        return None
    told = {name: _element(name, answer) for name in _TOLD}
    return {name: value for name, value in told.items() if value is not None}


def _element(name: str, answer: bytes) -> str | None:
    found = re.search(rb"<%s>([^<]{1,2048})</%s>" % (name.encode(), name.encode()), answer)
    return None if found is None else html.unescape(found[1].decode("utf-8", "replace")).strip()
