"""An object as it comes: its bytes go from the connection straight into the caller's memory.

Whatever is out of the ordinary is left to urllib3 and ``http.client``, as in `ecogsafe.stores.s3_exchange`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from http.client import HTTPException, HTTPResponse
from typing import cast

from urllib3 import Timeout
from urllib3.exceptions import HTTPError, ProtocolError, ReadTimeoutError

from ecogsafe.stores.s3_connections import Pool, SecurePool, streamed, usable
from ecogsafe.stores.s3_exchange import Again, await_head, request_head


class Arriving:
    """An answer of which the body is still to come: it is read to its end, or closed.

    Parameters
    ----------
    fill
        Reads into memory and returns how many bytes; 0 at the end.
    end
        Is called once, with whether the body was read to its end.
    first
        What of the body came with the headers.
    left
        Bytes of the body; None where `fill` knows the end.
    """

    def __init__(
        self,
        status: int,
        headers: Mapping[str, str],
        *,
        fill: Callable[[memoryview], int],
        end: Callable[[bool], None],
        first: bytes = b"",
        left: int | None = None,
    ) -> None:
        self.status = status
        self.headers = headers
        self._fill = fill
        self._end: Callable[[bool], None] | None = end
        self._first = memoryview(first)
        self._left = left
        if left == 0:
            self._finish(whole=True)

    def piece(self, most: int, into: memoryview | None = None) -> memoryview:
        """Return the next ``most`` bytes, in ``into`` if that is given; fewer only at the end, none behind it."""
        if self._left is not None:
            most = min(most, self._left)
        view = memoryview(bytearray(most)) if into is None else into[:most]
        count = min(len(self._first), len(view))
        view[:count] = self._first[:count]
        self._first = self._first[count:]
        while count < len(view) and self._end is not None:
            try:
                more = self._fill(view[count:])
            except (OSError, HTTPError, HTTPException):
                if not count:
                    raise
                # what came is whole bytes of the object; whoever asks for more is told
                break
            if not more:
                self._finish(whole=self._left is None)
            count += more
        if self._left is not None:
            self._left -= count
            if not self._left:
                self._finish(whole=True)
        return view[:count]

    def close(self) -> None:
        """End it; what has not come is not waited for."""
        self._finish(whole=False)

    def _finish(self, *, whole: bool) -> None:
        end, self._end = self._end, None
        if end is not None:
            end(whole)


def receive(
    pool: Pool | SecurePool, target: str, headers: Mapping[str, str], *, connect_s: float, read_s: float
) -> Arriving:
    """Ask for ``target`` (GET) and return the answer as soon as its headers have come.

    Raises
    ------
    urllib3.exceptions.HTTPError, OSError
        There was no answer, or none that can be understood.
    """
    connection = usable(pool, connect_s)
    sock = None if connection is None else connection.sock
    if connection is None or sock is None:
        return _by_urllib3(pool, target, headers, Timeout(connect=connect_s, read=read_s))

    def end(can_be_used: bool) -> None:  # noqa: FBT001 - by position
        if not can_be_used:
            connection.close()
        pool._put_conn(connection)

    try:
        sock.settimeout(connection.piece_s)
        sock.sendall(request_head("GET", target, headers))
        sock.settimeout(read_s)
        return _arriving(sock, end)
    except TimeoutError as error:
        end(False)
        raise ReadTimeoutError(pool, target, "no answer in time") from error
    except HTTPException as error:
        end(False)
        raise ProtocolError("no answer that can be understood", error) from error
    except BaseException:
        end(False)
        raise


def _arriving(sock: socket.socket, end: Callable[[bool], None]) -> Arriving:
    data, head = await_head(sock)
    length = "" if head is None else head.headers.get("content-length", "")
    if head is None or not (length.isascii() and length.isdecimal()):
        return _by_http_client(sock, data, end)
    left = int(length)
    # what came beyond belongs to no request of ours
    is_clean = len(head.rest) <= left
    return Arriving(
        head.status,
        head.headers,
        fill=sock.recv_into,
        end=lambda whole: end(whole and is_clean),
        first=head.rest[:left],
        left=left,
    )


def _by_http_client(sock: socket.socket, data: bytes, end: Callable[[bool], None]) -> Arriving:
    """Understand an answer of which ``data`` came already, whatever form it has."""
    response = HTTPResponse(cast("socket.socket", Again(data, sock)), method="GET")
    response.begin()

    def over(_whole: bool) -> None:  # noqa: FBT001 - by position
        response.close()
        end(False)

    headers = {name.lower(): value for name, value in response.getheaders()}
    return Arriving(response.status, headers, fill=response.readinto, end=over, left=response.length)


def _by_urllib3(pool: Pool | SecurePool, target: str, headers: Mapping[str, str], timeout: Timeout) -> Arriving:
    response = streamed(pool, "GET", target, headers, None, timeout)

    def fill(view: memoryview) -> int:
        data = response.read(len(view))
        view[: len(data)] = data
        return len(data)

    def end(_whole: bool) -> None:  # noqa: FBT001 - by position
        # nothing happens where all was read: the connection is in the pool again
        if response.length_remaining != 0 or response.status < 200:
            response.close()
        response.release_conn()

    told = {name.lower(): value for name, value in response.headers.items()}
    return Arriving(response.status, told, fill=fill, end=end, left=response.length_remaining)
