"""The null sink: an S3 server that takes every object and throws its bytes away, so that the client is the limit.

    python -m benchmarks.sink [--port 0]        prints the port on a line of its own

It answers what S3 answers: objects that were "put" are listed with their size, ``If-None-Match: *`` is obeyed,
and every checksum a client claims is given back unchecked, because ecogsafe counts a copy only if the store
names its checksum. What a client reads back in order to go on (``_ecogsafe/``, restic's own files) is kept in
memory. No signature and no body is looked at. One thread: bodies are dropped inside the kernel (``MSG_TRUNC``).
"""

from __future__ import annotations

import argparse
import selectors
import socket
import time
from email.utils import formatdate
from urllib.parse import parse_qs, unquote

from benchmarks.sink_objects import Answer, Buckets, Request

_HEAD_LIMIT = 64 * 1024
_SCRATCH = bytearray(4 * 1024 * 1024)
#: bytes of a socket that wait in the kernel; large, so that the sink wakes up seldom
_RECEIVE_BUFFER = 4 * 1024 * 1024


class _Connection:
    """One client connection: heads are parsed, bodies dropped or kept."""

    def __init__(self, client: socket.socket, buckets: Buckets) -> None:
        self._socket = client
        self._buckets = buckets
        self._waiting = bytearray()
        self._request: Request | None = None
        self._left = 0

    def on_readable(self) -> bool:
        """Take what came; return whether the connection goes on."""
        if self._left and self._request is not None and not self._request.keep_body:
            count = self._socket.recv_into(_SCRATCH, min(self._left, len(_SCRATCH)), socket.MSG_TRUNC)
            if not count:
                return False
            self._left -= count
        else:
            data = self._socket.recv(_HEAD_LIMIT)
            if not data:
                return False
            self._waiting += data
        while self._step():
            pass
        return True

    def _step(self) -> bool:
        """Carry out what is complete; return whether there may be more to do."""
        if self._request is None and not self._begin():
            return False
        request = self._request
        assert request is not None
        if self._left and self._waiting:
            count = min(self._left, len(self._waiting))
            if request.keep_body:
                request.body += self._waiting[:count]
            del self._waiting[:count]
            self._left -= count
        if self._left:
            return False
        self._request = None
        self._answer(request, self._buckets.answer(request))
        return bool(self._waiting)

    def _begin(self) -> bool:
        """Parse the head of the next request, if all of it is here."""
        end = self._waiting.find(b"\r\n\r\n")
        if end < 0:
            return False
        first, *lines = self._waiting[:end].decode("latin-1").split("\r\n")
        del self._waiting[: end + 4]
        method, target, _ = first.split(" ")
        path, _, query = target.partition("?")
        headers = {}
        for line in lines:
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        bucket, _, key = unquote(path).lstrip("/").partition("/")
        self._request = Request(
            method=method,
            bucket=bucket,
            key=key,
            query={name: values[0] for name, values in parse_qs(query, keep_blank_values=True).items()},
            headers=headers,
        )
        self._left = int(headers.get("content-length", "0"))
        if headers.get("transfer-encoding"):
            raise ValueError("the null sink takes bodies of a declared length only")
        if headers.get("expect"):
            self._socket.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        return True

    def _answer(self, request: Request, answer: Answer) -> None:
        head = [f"HTTP/1.1 {answer.status} -", f"date: {formatdate(time.time(), usegmt=True)}"]
        head += [f"{name}: {value}" for name, value in answer.headers.items()]
        if "content-length" not in answer.headers:
            head.append(f"content-length: {len(answer.body)}")
        message = "\r\n".join([*head, "", ""]).encode("latin-1")
        if request.method != "HEAD":
            message += answer.body
        self._socket.setblocking(True)
        self._socket.sendall(message)
        self._socket.setblocking(False)


def serve(listener: socket.socket) -> None:
    """Serve for ever."""
    buckets = Buckets()
    waiting = selectors.DefaultSelector()
    waiting.register(listener, selectors.EVENT_READ)
    while True:
        for key, _ in waiting.select():
            connection = key.data
            if connection is None:
                client, _ = listener.accept()
                client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                client.setblocking(False)
                waiting.register(client, selectors.EVENT_READ, _Connection(client, buckets))
                continue
            try:
                goes_on = connection.on_readable()
            except BlockingIOError:
                continue
            except OSError:
                # the client is gone
                goes_on = False
            if not goes_on:
                client = key.fileobj  # type: ignore[assignment]
                waiting.unregister(client)
                client.close()


def main() -> None:
    """Listen on loopback."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--port", type=int, default=0)
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", parser.parse_args().port))
    listener.listen(512)
    print(listener.getsockname()[1], flush=True)
    serve(listener)


if __name__ == "__main__":
    main()
