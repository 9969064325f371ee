"""A loopback HTTP proxy in front of a test server: it notes every request and makes some of them go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import socket
import struct
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal
from urllib.parse import parse_qs, urlsplit

_SLOW_DOWN = b"<?xml version='1.0'?><Error><Code>SlowDown</Code><Message>later</Message></Error>"


@dataclass(frozen=True)
class Seen:
    """One request: what was asked, the digest of its body, and the status that the client got (0: none)."""

    method: str
    path: str
    query: dict[str, str]
    size: int
    sha256: str
    status: int

    @property
    def part_number(self) -> int | None:
        """The part a request sends, None for other requests."""
        return int(self.query["partNumber"]) if self.method == "PUT" and "partNumber" in self.query else None


@dataclass
class Trouble:
    """What happens to the next ``times`` requests that ``match``.

    ``reset``: the connection breaks before the server sees the request; ``lose``: after it did; ``busy``:
    503 SlowDown; ``delay``: answered ``seconds`` late; ``cut``: the answer ends after ``after`` body bytes.
    """

    kind: Literal["reset", "lose", "busy", "delay", "cut"]
    match: Callable[[str, str], bool] = lambda method, target: True
    times: int = 1
    seconds: float = 0.0
    after: int = 0


class Proxy:
    """Use it as a context manager; ``url`` takes the place of the server's endpoint."""

    def __init__(self, endpoint_url: str) -> None:
        target = urlsplit(endpoint_url)
        self._target = (target.hostname or "127.0.0.1", target.port or 80)
        self._lock = threading.Lock()
        self.seen: list[Seen] = []
        self._troubles: list[Trouble] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def make(self, *troubles: Trouble) -> None:
        """Let these happen from now on."""
        with self._lock:
            self._troubles += troubles

    def calm(self) -> None:
        """Let nothing go wrong any more."""
        with self._lock:
            self._troubles.clear()

    def parts(self) -> list[int]:
        """Return the numbers of the parts that arrived, in their order."""
        with self._lock:
            return [seen.part_number for seen in self.seen if seen.part_number is not None]

    def methods(self) -> list[str]:
        """Return the methods of the requests, in their order."""
        with self._lock:
            return [seen.method for seen in self.seen]

    def _trouble(self, method: str, target: str) -> Trouble | None:
        with self._lock:
            for trouble in self._troubles:
                if trouble.times > 0 and trouble.match(method, target):
                    trouble.times -= 1
                    return trouble
        return None

    def _note(self, method: str, target: str, body: bytes, status: int) -> None:
        parts = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        seen = Seen(method, parts.path, query, len(body), hashlib.sha256(body).hexdigest(), status)
        with self._lock:
            self.seen.append(seen)

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle(self) -> None:
                with contextlib.suppress(ConnectionError):
                    super().handle()

            def do(self) -> None:
                proxy._serve(self)

            do_GET = do_PUT = do_POST = do_HEAD = do_DELETE = do  # noqa: N815 (names of the base class)

            def log_message(self, format: str, *args: object) -> None:
                """Say nothing: `Proxy.seen` has it."""

        return Handler

    def _serve(self, request: BaseHTTPRequestHandler) -> None:
        method, target = request.command, request.path
        body = request.rfile.read(int(request.headers.get("Content-Length", 0)))
        trouble = self._trouble(method, target)
        kind = trouble.kind if trouble else None
        if kind == "reset":
            self._note(method, target, body, 0)
            _break(request)
            return
        if kind == "busy":
            self._note(method, target, body, 503)
            _answer(request, 503, [("Content-Type", "application/xml")], _SLOW_DOWN, len(_SLOW_DOWN))
            return
        if trouble and kind == "delay":
            time.sleep(trouble.seconds)
        status, headers, data = self._forward(method, target, request, body)
        self._note(method, target, body, 0 if kind == "lose" else status)
        if kind == "lose":
            _break(request)
            return
        announced = next((int(v) for k, v in headers if k.lower() == "content-length"), len(data))
        if trouble and kind == "cut":
            _answer(request, status, headers, data[: trouble.after], announced)
            _break(request)
            return
        _answer(request, status, headers, data, announced)

    def _forward(
        self, method: str, target: str, request: BaseHTTPRequestHandler, body: bytes
    ) -> tuple[int, list[tuple[str, str]], bytes]:
        connection = http.client.HTTPConnection(*self._target, timeout=60)
        try:
            # The signature covers the Host that the client saw, so headers pass unchanged.
            connection.putrequest(method, target, skip_host=True, skip_accept_encoding=True)
            for name, value in request.headers.items():
                if name.lower() not in ("connection", "expect"):
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            connection.close()


def _answer(
    request: BaseHTTPRequestHandler, status: int, headers: list[tuple[str, str]], data: bytes, announced: int
) -> None:
    request.send_response_only(status)
    for name, value in headers:
        if name.lower() not in ("content-length", "transfer-encoding", "connection"):
            request.send_header(name, value)
    request.send_header("Content-Length", str(announced))
    request.end_headers()
    # The answer to HEAD has no body; one would be taken for the beginning of the next answer.
    if request.command != "HEAD":
        request.wfile.write(data)


def _break(request: BaseHTTPRequestHandler) -> None:
    """Close the connection with a reset, as a dead router or a killed server does."""
    request.wfile.flush()
    request.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    request.close_connection = True
    request.connection.close()
