"""Signature version 4 for the few requests that carry bodies, their bytes left out of it (``UNSIGNED-PAYLOAD``).

The SDK's own signer takes many times as long (``docs/performance.md``); a test holds this one to it, byte for
byte. A body is protected by its CRC64NVME, which is signed, and by TLS.

References
----------
https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol
from urllib.parse import quote

from ecogsafe.core.clock import utc_now

_UNSIGNED = "UNSIGNED-PAYLOAD"
_ALGORITHM = "AWS4-HMAC-SHA256"
#: what stands in a URL as it is; of a key nothing else need be looked at then
_AS_IT_IS = re.compile(r"[A-Za-z0-9._/~-]*")


class AccessKeys(Protocol):
    """Credentials frozen at one moment; botocore's ``ReadOnlyCredentials`` are such."""

    @property
    def access_key(self) -> str: ...

    @property
    def secret_key(self) -> str: ...

    @property
    def token(self) -> str | None: ...


def path_of(key: str) -> str:
    """Return an object's key as it stands in a URL, without the slash before it."""
    return key if _AS_IT_IS.fullmatch(key) else quote(key, safe="/~")


def query_of(parameters: Mapping[str, str]) -> str:
    """Return parameters as a query that is canonical already: by name, everything else percent-encoded."""
    return "&".join(f"{quote(name, safe='-_.~')}={quote(parameters[name], safe='-_.~')}" for name in sorted(parameters))


@dataclass(slots=True)
class Signer:
    """Signs requests to one host; used by all threads.

    Parameters
    ----------
    host
        As the ``Host`` header has it.
    """

    host: str
    region: str
    service: str = "s3"
    #: what the last signing key was made of, and the key: one object, so that threads see both or none
    _cached: tuple[tuple[str, str], bytes] | None = field(default=None, repr=False)

    def signed(
        self,
        method: str,
        path: str,
        query: str,
        headers: Mapping[str, str],
        keys: AccessKeys,
        *,
        now: datetime | None = None,
    ) -> dict[str, str]:
        """Return ``headers`` with those that prove who asks.

        Parameters
        ----------
        path, query
            As they stand in the request, in the forms of `path_of` and `query_of`.
        headers
            All that is to be signed; names in lower case.
        now
            In UTC; default the clock.
        """
        stamp = f"{now or utc_now():%Y%m%dT%H%M%SZ}"
        day = stamp[:8]
        sent = {**headers, "host": self.host, "x-amz-content-sha256": _UNSIGNED, "x-amz-date": stamp}
        if keys.token:
            sent["x-amz-security-token"] = keys.token
        names = sorted(sent)
        listed = ";".join(names)
        lines = "".join([f"{name}:{sent[name]}\n" for name in names])
        if "  " in lines or ": " in lines or " \n" in lines or not lines.replace("\n", "").isprintable():
            # Runs of spaces count as one, and none at the ends.
            lines = "".join([f"{name}:{' '.join(sent[name].split())}\n" for name in names])
        asked = f"{method}\n{path}\n{query}\n{lines}\n{listed}\n{_UNSIGNED}"
        scope = f"{day}/{self.region}/{self.service}/aws4_request"
        text = f"{_ALGORITHM}\n{stamp}\n{scope}\n{hashlib.sha256(asked.encode()).hexdigest()}"
        signature = hmac.digest(self._key(keys.secret_key, day), text.encode(), "sha256").hex()
        sent["authorization"] = (
            f"{_ALGORITHM} Credential={keys.access_key}/{scope}, SignedHeaders={listed}, Signature={signature}"
        )
        return sent

    def _key(self, secret: str, day: str) -> bytes:
        """Return the signing key of a day; it changes with the day and with renewed credentials only."""
        cached = self._cached
        if cached is not None and cached[0] == (secret, day):
            return cached[1]
        key = f"AWS4{secret}".encode()
        for step in (day, self.region, self.service, "aws4_request"):
            key = hmac.digest(key, step.encode(), "sha256")
        self._cached = ((secret, day), key)
        return key
