"""Connections to a store: urllib3's, with time enough for bodies; opened here, so that even the first request is lean.

Behind a proxy urllib3 finds them itself.
"""

from __future__ import annotations

import queue
import select
import socket
import ssl
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any, cast

from urllib3 import BaseHTTPResponse, HTTPConnectionPool, HTTPSConnectionPool, Timeout
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, SSLError
from urllib3.util.ssl_match_hostname import CertificateError

#: something of a body must have left within this, over one of many connections that share a slow line
SENDING_TIMEOUT_S = 120.0
#: where Python's time-out covers all that is given at once (TLS, and whatever urllib3 sends), not more is given
TIMED_BYTES = 512 << 10


class Connection(HTTPConnection):
    """urllib3's, with time enough for each piece of a body."""

    piece_s = SENDING_TIMEOUT_S
    #: what is left over is given again: no limit
    piece_bytes = sys.maxsize

    def request(self, *args: Any, **more: Any) -> None:
        """Send a request; urllib3 would allow each piece of its body the time that connecting may take."""
        if self.sock is None:
            self.connect()
        self.timeout = self.piece_s
        super().request(*args, **more)


class SecureConnection(HTTPSConnection):
    """See `Connection`."""

    piece_s = SENDING_TIMEOUT_S
    piece_bytes = TIMED_BYTES

    def request(self, *args: Any, **more: Any) -> None:
        """See `Connection.request`."""
        if self.sock is None:
            self.connect()
        self.timeout = self.piece_s
        super().request(*args, **more)


class Pool(HTTPConnectionPool):
    """Connections to one server."""

    ConnectionCls = Connection


class SecurePool(HTTPSConnectionPool):
    """Connections to one server over TLS."""

    ConnectionCls = SecureConnection


def usable(pool: Pool | SecurePool, connect_s: float) -> Connection | SecureConnection | None:
    """Take a connection that is open, or open one; None where urllib3 is to find one.

    Raises
    ------
    urllib3.exceptions.HTTPError, OSError
        None could be opened within ``connect_s`` seconds.
    """
    if pool.proxy is not None or pool.pool is None:
        return None
    connection = None
    with suppress(queue.Empty):
        connection = cast("Connection | SecureConnection | None", pool.pool.get(block=False))
    if connection is None:
        connection = cast("Connection | SecureConnection", pool._new_conn())
    elif connection.sock is not None:
        if not _is_over(connection.sock):
            return connection
        connection.close()
    try:
        _open(connection, connect_s)
    except BaseException:
        connection.close()
        pool._put_conn(connection)
        raise
    return connection


def _open(connection: Connection | SecureConnection, connect_s: float) -> None:
    connection.timeout = connect_s
    try:
        connection.connect()
    except TimeoutError as error:
        raise ConnectTimeoutError(connection, "no secure connection in time") from error
    except (ssl.SSLError, CertificateError) as error:
        raise SSLError(error) from error


def _is_over(sock: socket.socket) -> bool:
    """Return whether the server has closed a connection that nobody uses, or said something unasked."""
    looking = select.poll()
    looking.register(sock, select.POLLIN)
    return bool(looking.poll(0))


def streamed(
    pool: Pool | SecurePool,
    method: str,
    target: str,
    headers: Mapping[str, str],
    body: Iterable[Any] | None,
    timeout: Timeout,
) -> BaseHTTPResponse:
    """Return an answer of which the body is still to be read, to its end, or to be closed."""
    return pool.urlopen(
        method,
        target,
        body=body,
        headers=headers,
        retries=False,
        redirect=False,
        assert_same_host=False,
        timeout=timeout,
        preload_content=False,
        decode_content=False,
    )
