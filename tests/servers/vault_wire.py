"""What travels between a vault's client and the stand-in: requests and their signatures, answers, tree hashes."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from urllib.parse import quote

ACCESS_KEY, SECRET_KEY, REGION = "AKIDVAULTTESTS000000", "not a secret of anybody", "us-west-2"
MIB = 1 << 20


class Refused(Exception):
    """An error answer of the service."""

    def __init__(self, code: str, status: int = 400, message: str = "hidden: not for users") -> None:
        super().__init__(code)
        self.status = status
        self.body = {"code": code, "message": message, "type": "Client" if status < 500 else "Server"}


@dataclass(frozen=True)
class Asked:
    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes


@dataclass
class Reply:
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""


def tree(data: bytes) -> str:
    """Return the tree hash by the book, level by level; a second opinion on ours."""
    level = [hashlib.sha256(data[at : at + MIB]).digest() for at in range(0, len(data), MIB)] or [
        hashlib.sha256(b"").digest()
    ]
    while len(level) > 1:
        pairs = [level[at : at + 2] for at in range(0, len(level), 2)]
        level = [pair[0] if len(pair) == 1 else hashlib.sha256(pair[0] + pair[1]).digest() for pair in pairs]
    return level[0].hex()


def covers_a_branch(start: int, stop: int, size: int) -> bool:
    """Return whether ``[start, stop)`` is a node of the tree over ``size`` bytes, found by building the levels."""
    level = [(at, min(at + MIB, size)) for at in range(0, size, MIB)]
    while level:
        if (start, stop) in level:
            return True
        if len(level) == 1:
            return False
        level = [(pair[0][0], pair[-1][1]) for pair in (level[at : at + 2] for at in range(0, len(level), 2))]
    return False


def check_signature(asked: Asked) -> None:
    """Raise where the request is not signed by our key, as the service would."""
    said = re.fullmatch(
        r"AWS4-HMAC-SHA256 Credential=([^/]+)/((\d{8})/([^/]+)/(glacier)/aws4_request), "
        r"SignedHeaders=([^,]+), Signature=([0-9a-f]{64})",
        asked.headers.get("authorization", ""),
    )
    if said is None:
        raise Refused("MissingAuthenticationTokenException", 403)
    key, scope, day, region, service, names, signature = said.groups()
    body_hash = hashlib.sha256(asked.body).hexdigest()
    if asked.headers.get("x-amz-content-sha256", body_hash) != body_hash:
        raise Refused("InvalidSignatureException", 403)
    query = "&".join(f"{quote(k, safe='-_.~')}={quote(v, safe='-_.~')}" for k, v in sorted(asked.query.items()))
    headers = "".join(f"{name}:{' '.join(asked.headers.get(name, '').split())}\n" for name in names.split(";"))
    canonical = "\n".join([asked.method, quote(asked.path, safe="/-_.~"), query, headers, names, body_hash])
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    to_sign = "\n".join(["AWS4-HMAC-SHA256", asked.headers.get("x-amz-date", ""), scope, digest])
    secret = f"AWS4{SECRET_KEY}".encode()
    for word in (day, region, service, "aws4_request"):
        secret = hmac.digest(secret, word.encode(), "sha256")
    if key != ACCESS_KEY:
        raise Refused("UnrecognizedClientException", 403)
    if not hmac.compare_digest(hmac.digest(secret, to_sign.encode(), "sha256").hex(), signature):
        raise Refused("InvalidSignatureException", 403)
