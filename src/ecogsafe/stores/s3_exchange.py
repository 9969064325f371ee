"""One request and its short answer on a connection that is open already.

urllib3 opens, secures, pools and closes connections (`s3_connections`). What it and ``http.client`` do for each
request beyond that costs four times what the request itself does (``docs/performance.md``), so what is asked for
every object is written and read here. Whatever is out of the ordinary is left to them: a proxy, an answer that does
not simply say how long it is.

References
----------
https://www.rfc-editor.org/rfc/rfc9112
"""

from __future__ import annotations

import errno
import re
import socket
from collections.abc import Iterable, Iterator, Mapping
from http.client import HTTPException, HTTPResponse, RemoteDisconnected
from io import BufferedReader, RawIOBase
from typing import Any, NamedTuple, cast

from urllib3 import Timeout
from urllib3.exceptions import ProtocolError, ReadTimeoutError

from ecogsafe.stores.bodies import leaving
from ecogsafe.stores.protocol import Body
from ecogsafe.stores.s3_connections import TIMED_BYTES, Pool, SecurePool, streamed, usable

#: of an answer that is no object; more is not read
_MOST_ANSWER_BYTES = 64 << 10
#: a piece up to this size leaves together with the headers
_TOGETHER_BYTES = 64 << 10
#: an answer before the answer: 100, 102, 103 (RFC 9110, 15.2); behind 101 it is another protocol's
_INTERIM = re.compile(rb"HTTP/1\.1 1(?!01)\d\d[ \r]")
#: so many of them come before no answer of a server that is sane
_MOST_INTERIM = 16
_STATUS = re.compile(rb"HTTP/1\.1 ([2-5]\d\d)(?: [^\r\n]*)?\r\n")
_HEADER = re.compile(r"^([^\s:]+):[ \t]*([^\r\n]*)\r\n", re.MULTILINE)
#: a server that has answered already may take no more of the body: its answer counts
_ANSWERED_EARLY = (errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE)


class Answer(NamedTuple):
    """An answer, read to its end."""

    status: int
    #: names in lower case
    headers: Mapping[str, str]
    #: not more than 64 KiB of it
    data: bytes


def exchange(
    pool: Pool | SecurePool,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Body | None,
    *,
    connect_s: float,
    read_s: float,
) -> Answer:
    """Send a request and return its answer.

    Parameters
    ----------
    target
        As it stands in the request.
    headers
        All of them, with ``host`` and, where there is a body, ``content-length``.
    body
        Sent in pieces, each when it may go (`ecogsafe.stores.bodies.leaving`).
    connect_s, read_s
        Seconds that opening a connection, and each wait for a piece of the answer, may take.

    Raises
    ------
    urllib3.exceptions.HTTPError, OSError
        There was no answer, or none that can be understood.
    """
    connection = usable(pool, connect_s)
    sock = None if connection is None else connection.sock
    if connection is None or sock is None:
        pieces = None if body is None else leaving(body, TIMED_BYTES)
        return _by_urllib3(pool, method, target, headers, pieces, Timeout(connect=connect_s, read=read_s))
    keep = False
    try:
        sock.settimeout(connection.piece_s)
        pieces = iter(()) if body is None else leaving(body, connection.piece_bytes)
        has_left = _send(sock, request_head(method, target, headers), pieces)
        sock.settimeout(read_s)
        answer, is_usable = _receive(sock, method)
        if not has_left and answer.status < 300:
            raise ProtocolError("an answer of success to a request that had not all left")
        keep = is_usable and has_left and answer.status >= 200
    except TimeoutError as error:
        raise ReadTimeoutError(pool, target, "no answer in time") from error
    except HTTPException as error:
        raise ProtocolError("no answer that can be understood", error) from error
    finally:
        if not keep:
            connection.close()
        pool._put_conn(connection)
    return answer


def request_head(method: str, target: str, headers: Mapping[str, str]) -> bytes:
    lines = [f"{method} {target} HTTP/1.1", "accept-encoding: identity"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    text = "\r\n".join([*lines, "", ""])
    ends = len(lines) + 1
    if text.count("\n") != ends or text.count("\r") != ends or "\0" in text:
        raise ValueError("a header that does not end where it should is not sent")
    return text.encode("latin-1")


def _send(sock: socket.socket, head: bytes, pieces: Iterator[bytes | memoryview]) -> bool:
    """Return whether all has left; where not, there may be an answer all the same."""
    first = next(pieces, b"")
    try:
        if len(first) <= _TOGETHER_BYTES:
            sock.sendall(b"".join((head, first)))
        else:
            sock.sendall(head)
            _send_on(sock, first)
        for piece in pieces:
            _send_on(sock, piece)
    except OSError as error:
        if error.errno not in _ANSWERED_EARLY:
            raise
        return False
    return True


def _send_on(sock: socket.socket, piece: bytes | memoryview) -> None:
    """Send all of ``piece``; raises where nothing of it leaves within the socket's time-out.

    The time-out of ``sendall`` covers the whole, so a slow line may not be given much at a time; and 512 KiB at a time
    cost 3 % of the processor time of an upload (``docs/performance.md``).
    """
    left = memoryview(piece)
    while left:
        left = left[sock.send(left) :]


class Head(NamedTuple):
    """The beginning of an answer that says how long it is, on a connection that stays."""

    status: int
    #: names in lower case
    headers: dict[str, str]
    #: what came behind it
    rest: bytes


def await_head(sock: socket.socket) -> tuple[bytes, Head | None]:
    """Return what came first of an answer, and what it says; None where that is left to ``http.client``."""
    data, interim = b"", 0
    while True:
        end = data.find(b"\r\n\r\n")
        if end >= 0 and interim < _MOST_INTERIM and _INTERIM.match(data):
            data, interim = data[end + 4 :], interim + 1
            continue
        if end >= 0 or len(data) >= _MOST_ANSWER_BYTES:
            break
        more = sock.recv(_MOST_ANSWER_BYTES)
        if not more:
            raise RemoteDisconnected("the connection ended without an answer")
        data = data + more if data else more
    status = _STATUS.match(data)
    if end < 0 or status is None:
        return data, None
    text = data[status.end() : end + 2].decode("latin-1")
    lines = _HEADER.findall(text)
    headers = {name.lower(): value.rstrip() for name, value in lines}
    # a line of another form, or a length that is told twice
    is_doubled = len(headers) < len(lines) and sum(name.lower() == "content-length" for name, _ in lines) > 1
    if len(lines) != text.count("\n") or is_doubled:
        return data, None
    if "transfer-encoding" in headers or headers.get("connection", "keep-alive").lower() != "keep-alive":
        return data, None
    return data, Head(int(status[1]), headers, data[end + 4 :])


def _receive(sock: socket.socket, method: str) -> tuple[Answer, bool]:
    """Return the answer, and whether the connection can be used again."""
    data, head = await_head(sock)
    if head is None:
        return _by_http_client(sock, data, method)
    length = 0
    if method != "HEAD" and head.status not in (204, 304):
        told = head.headers.get("content-length", "")
        if not (told.isascii() and told.isdecimal()) or int(told) > _MOST_ANSWER_BYTES:
            return _by_http_client(sock, data, method)
        length = int(told)
    body = head.rest
    while len(body) < length:
        more = sock.recv(length - len(body))
        if not more:
            raise RemoteDisconnected("the connection ended within an answer")
        body += more
    # what came beyond belongs to no request of ours
    return Answer(head.status, head.headers, body[:length]), len(body) == length


class Again(RawIOBase):
    """What came already, and then the rest: a socket as ``http.client`` wants it."""

    def __init__(self, data: bytes, sock: socket.socket) -> None:
        self._data = data
        self._sock = sock

    def readable(self) -> bool:
        return True

    def readinto(self, into: Any) -> int:
        """Give some bytes; 0 at the end."""
        if not self._data:
            return self._sock.recv_into(into)
        count = min(len(into), len(self._data))
        into[:count] = self._data[:count]
        self._data = self._data[count:]
        return count

    def makefile(self, *_: object) -> BufferedReader:
        """Return it with a buffer."""
        return BufferedReader(self)


def _by_http_client(sock: socket.socket, data: bytes, method: str) -> tuple[Answer, bool]:
    """Understand an answer of which ``data`` came already, whatever form it has."""
    response = HTTPResponse(cast("socket.socket", Again(data, sock)), method=method)
    response.begin()
    body = response.read(_MOST_ANSWER_BYTES)
    if response.length and len(body) < _MOST_ANSWER_BYTES:
        raise RemoteDisconnected("the connection ended within an answer")
    headers = {name.lower(): value for name, value in response.getheaders()}
    keep = response.isclosed() and not response.will_close
    response.close()
    return Answer(response.status, headers, body), keep


def _by_urllib3(
    pool: Pool | SecurePool,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Iterable[Any] | None,
    timeout: Timeout,
) -> Answer:
    response = streamed(pool, method, target, headers, body, timeout)
    data = response.read(_MOST_ANSWER_BYTES)
    # nothing happens where all was read: the connection is in the pool again
    if response.length_remaining != 0 or response.status < 200:
        response.close()
    response.release_conn()
    return Answer(response.status, {name.lower(): value for name, value in response.headers.items()}, data)
