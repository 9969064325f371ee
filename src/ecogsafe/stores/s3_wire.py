"""The lean way of an object's bytes: HEAD, GET, PUT and POST over urllib3, signed here; and the bucket's listing.

A body leaves as it lies in memory, piece by piece. Failures are the SDK's exceptions, so that
`ecogsafe.stores.s3_errors` is the only place that knows what they mean. Nothing is repeated, with two
exceptions that are nobody's failure: a bucket that turns out to be elsewhere, and credentials that were
renewed meanwhile.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Mapping
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar

from botocore.exceptions import ClientError, NoCredentialsError
from urllib3 import BaseHTTPResponse, Timeout

from ecogsafe.stores.protocol import Body
from ecogsafe.stores.s3_address import Address, Addresses
from ecogsafe.stores.s3_connections import Pool, SecurePool, streamed
from ecogsafe.stores.s3_errors import EXPIRED
from ecogsafe.stores.s3_exchange import Answer, exchange
from ecogsafe.stores.s3_receiving import Arriving, receive
from ecogsafe.stores.s3_signing import path_of, query_of

if TYPE_CHECKING:
    from datetime import datetime

    from mypy_boto3_s3 import S3Client

    from ecogsafe.stores.s3_plain import PlainSettings

CONNECT_TIMEOUT_S = 10.0
# An answer may be minutes away: Complete of many parts, or a busy disk that takes 64 parts at once.
READ_TIMEOUT_S = 180.0
#: between two pieces of an object that is being received
RECEIVING_TIMEOUT_S = 60.0
#: a thousand names of a thousand bytes each, and what is said of them, with room to spare
_MOST_LISTING_BYTES = 16 << 20
#: error documents are short; more is not read
_MOST_ERROR_BYTES = 64 << 10
# Searched, not parsed: whatever an unknown server sends, no parser works on it.
_ERROR_CODE = re.compile(rb"<Error[ >].{0,4096}?<Code>\s*([A-Za-z0-9.]{1,60})\s*</Code>", re.DOTALL)
_ELSEWHERE = frozenset({"PermanentRedirect", "TemporaryRedirect", "Redirect", "AuthorizationHeaderMalformed"})
_TOLD = {
    "etag": "ETag",
    "x-amz-version-id": "VersionId",
    "x-amz-storage-class": "StorageClass",
    "x-amz-restore": "Restore",
    "x-amz-checksum-crc64nvme": "ChecksumCRC64NVME",
    "x-amz-checksum-type": "ChecksumType",
    "content-range": "ContentRange",
}
_METADATA = "x-amz-meta-"
_Response = TypeVar("_Response", Answer, Arriving, BaseHTTPResponse)


class Wire:
    """Requests for objects of one bucket; used by all threads.

    Parameters
    ----------
    client
        Gives the SDK's client, which is asked where the bucket is, and to find out anew.
    plain
        Where it is, if that is known without the SDK.
    credentials
        botocore's, which renew themselves if they can; None where it found none.
    renew
        Looks for credentials anew, in files that may have been written since; None where they were given.
    verify
        The certificates' file that the SDK was given; None for its own.
    connections
        How many are kept open between requests.
    """

    def __init__(
        self,
        client: Callable[[], S3Client],
        credentials: Any,
        bucket: str,
        *,
        plain: PlainSettings | None = None,
        renew: Callable[[], Any] | None = None,
        verify: str | None = None,
        connections: int = 16,
    ) -> None:
        self._addresses = Addresses(client, bucket, plain=plain, verify=verify, connections=connections)
        self._credentials = credentials
        self._renew = renew
        self._renewing = threading.Lock()

    def head(self, key: str) -> dict[str, Any]:
        """Return what the store says of an object, in the SDK's words (``head_object``)."""
        headers = {"x-amz-checksum-mode": "ENABLED"}
        try:
            return _told(self._send("HEAD", key, headers=headers).headers)
        except ClientError as error:
            if _status_of(error) != 400:
                raise
        # Credentials have expired, say; an answer to HEAD has no body to tell it. GET's has, and it has them renewed.
        try:
            self.get(key, stop=1)[1].close()
        except ClientError as error:
            if _status_of(error) == 400:
                raise
        return _told(self._send("HEAD", key, headers=headers).headers)

    def head_bucket(self) -> None:
        """Ask whether the bucket is there; that it is not, or must not be asked for, is an error."""
        self._send("HEAD", None, headers={})

    def list(self, parameters: Mapping[str, str]) -> tuple[bytes, str | None]:
        """Return one page of a listing of the bucket as it came, and the time at the store."""

        def ask(pool: Pool | SecurePool, target: str, signed: Mapping[str, str]) -> BaseHTTPResponse:
            timeout = Timeout(connect=CONNECT_TIMEOUT_S, read=READ_TIMEOUT_S)
            return streamed(pool, "GET", target, signed, None, timeout)

        response = self._asked(ask, "GET", None, {}, parameters)
        try:
            data = response.read(_MOST_LISTING_BYTES)
        finally:
            # nothing happens where all was read: the connection is in the pool again
            response.close()
        return data, response.headers.get("date")

    def get(
        self, key: str, *, start: int = 0, stop: int | None = None, etag: str | None = None
    ) -> tuple[dict[str, Any], Arriving]:
        """Return the answer to GET and its body, which is to be read to its end or closed."""
        headers = {}
        if start or stop is not None:
            headers["range"] = f"bytes={start}-{'' if stop is None else stop - 1}"
        if etag is not None:
            headers["if-match"] = etag

        def ask(pool: Pool | SecurePool, target: str, signed: Mapping[str, str]) -> Arriving:
            return receive(pool, target, signed, connect_s=CONNECT_TIMEOUT_S, read_s=RECEIVING_TIMEOUT_S)

        response = self._asked(ask, "GET", key, headers)
        return _told(response.headers), response

    def put(
        self,
        key: str,
        body: Body,
        size: int,
        *,
        headers: Mapping[str, str],
        parameters: Mapping[str, str] | None = None,
    ) -> dict[str, Any]:
        """Send an object or, with the ``parameters`` of one, a part; returns the answer in the SDK's words.

        Parameters
        ----------
        size
            Bytes in ``body``; its buffers are sent as they are, one after the other.
        headers
            With names in lower case.
        """
        return self._exchange("PUT", key, body, size, headers, parameters or {})[0]

    def post(
        self, key: str, body: bytes, *, headers: Mapping[str, str], parameters: Mapping[str, str]
    ) -> tuple[dict[str, Any], bytes]:
        """Ask for something to be done with an object; returns the answer's headers as `put` does, and its body."""
        return self._exchange("POST", key, body, len(body), headers, parameters)

    def _exchange(
        self,
        method: str,
        key: str,
        body: Body,
        size: int,
        headers: Mapping[str, str],
        parameters: Mapping[str, str],
    ) -> tuple[dict[str, Any], bytes]:
        answer = self._send(
            method, key, headers={**headers, "content-length": str(size)}, parameters=parameters, body=body
        )
        # also where the status says that all went well: Complete begins its answer before it knows
        if answer.data and (found := _ERROR_CODE.search(answer.data)):
            raise _failed(found[1].decode(), answer.status)
        return _told(answer.headers), answer.data

    def _send(
        self,
        method: str,
        key: str | None,
        *,
        headers: Mapping[str, str],
        parameters: Mapping[str, str] | None = None,
        body: Body | None = None,
    ) -> Answer:
        """Return an answer that is no error, read to its end; raises as `_asked`."""

        def ask(pool: Pool | SecurePool, target: str, signed: Mapping[str, str]) -> Answer:
            return exchange(pool, method, target, signed, body, connect_s=CONNECT_TIMEOUT_S, read_s=READ_TIMEOUT_S)

        return self._asked(ask, method, key, headers, parameters)

    def _asked(
        self,
        ask: Callable[[Pool | SecurePool, str, Mapping[str, str]], _Response],
        method: str,
        key: str | None,
        headers: Mapping[str, str],
        parameters: Mapping[str, str] | None = None,
    ) -> _Response:
        """Return an answer that is no error to what ``ask`` sends, once or twice, signed and to the right place.

        Parameters
        ----------
        key
            None for the bucket itself.

        Raises
        ------
        botocore.exceptions.ClientError, botocore.exceptions.BotoCoreError, urllib3.exceptions.HTTPError, OSError
            An error was answered; there are no credentials; there was no answer.
        """
        path = None if key is None else path_of(key)
        query = query_of(parameters) if parameters else ""
        address, keys = self._addresses.present(), self._keys()
        repeated = False
        while True:
            target, whole = address.of(path)
            signed = address.signer.signed(method, whole, query, headers, keys)
            signed["user-agent"] = "ecogsafe"
            response = ask(address.pool, f"{target}?{query}" if query else target, signed)
            if 200 <= response.status < 300:
                return response
            error = _error(response)
            if repeated:
                raise error
            code = error.response["Error"]["Code"]
            if response.status in (301, 307, 308) or code in _ELSEWHERE or _other_region(response, address):
                address = self._addresses.present(instead_of=address)
            elif code in EXPIRED and (renewed := self._renewed(keys)) != keys:
                keys = renewed
            else:
                raise error
            repeated = True

    def _keys(self) -> Any:
        if self._credentials is None:
            raise NoCredentialsError
        return self._credentials.get_frozen_credentials()

    def _renewed(self, expired: Any) -> Any:
        """Return other keys than those that have expired; the same where there are none."""
        with self._renewing:
            if self._renew is not None and self._keys() == expired:
                self._credentials = self._renew() or self._credentials
            return self._keys()

    def close(self) -> None:
        """Close the connections that are not in use; the others close when their request ends."""
        self._addresses.close()


def _other_region(response: Answer | Arriving | BaseHTTPResponse, address: Address) -> bool:
    return str(response.headers.get("x-amz-bucket-region", address.signer.region)) != address.signer.region


def _error(response: Answer | Arriving | BaseHTTPResponse) -> ClientError:
    """Return an error answer as the SDK's exception; HEAD has only its status."""
    if isinstance(response, Answer):
        data = response.data
    elif isinstance(response, Arriving):
        data = bytes(response.piece(_MOST_ERROR_BYTES))
        response.close()
    else:
        data = response.read(_MOST_ERROR_BYTES)
        if response.length_remaining != 0 or response.status < 200:
            response.close()
        response.release_conn()
    found = _ERROR_CODE.search(data)
    code = found[1].decode() if found else str(response.status)
    return _failed(code, response.status, response.headers.get("date"))


def _status_of(error: ClientError) -> int:
    return int(error.response["ResponseMetadata"]["HTTPStatusCode"])


def _failed(code: str, status: int, date: str | None = None) -> ClientError:
    answer: Any = {"Error": {"Code": code}, "ResponseMetadata": {"HTTPStatusCode": status}}
    if date is not None:
        answer["ResponseMetadata"]["HTTPHeaders"] = {"date": date}
    return ClientError(answer, "Wire")


@lru_cache(maxsize=256)
def date_of(text: str | None) -> datetime | None:
    """Return the time in a header of an answer, None where it is none."""
    if text is None:
        return None
    try:
        return parsedate_to_datetime(text)
    except ValueError:
        return None


def _told(headers: Mapping[str, str]) -> dict[str, Any]:
    """Return the headers of an answer as the SDK gives them."""
    answer: dict[str, Any] = {}
    metadata: dict[str, str] = {}
    date = None
    for given, value in headers.items():
        name = given.lower()
        if name in _TOLD:
            answer[_TOLD[name]] = value
        elif name == "content-length" and value.isdecimal():
            answer["ContentLength"] = int(value)
        elif name == "last-modified":
            answer["LastModified"] = date_of(value)
        elif name == "date":
            date = value
        elif name.startswith(_METADATA):
            metadata[name.removeprefix(_METADATA)] = value
    answer["Metadata"] = metadata
    answer["ResponseMetadata"] = {"HTTPHeaders": {"date": date}}
    return answer
