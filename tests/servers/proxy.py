"""A loopback HTTP proxy in front of a test server: it notes every request and makes some of them go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import re
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
_PIECE = 64 << 10
_CHECKSUM = "x-amz-checksum-crc64nvme"
_IN_XML = re.compile(rb"<ChecksumCRC64NVME>[^<]*</ChecksumCRC64NVME>")
_UPLOAD_ID = re.compile(rb"<UploadId>([^<]+)</UploadId>")
#: a checksum that no test has
_LIE = "AAAAAAAAAAE="

#: method, path, query, body: all that arrived of a request, also where its sender died in the middle of it
Recorder = Callable[[str, str, dict[str, str], bytes], None]


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
    """What happens to the next ``times`` requests that ``match``, after the first ``skip`` of those.

    Before the server sees the request: ``reset``: the connection breaks; ``break``: it breaks after ``after``
    bytes of the body; ``busy``: 503 SlowDown; ``answer``: ``status`` and ``body``. After it did: ``lose``: the
    connection breaks; ``stall``: so it does, after ``seconds`` without a sign; ``cut``: the answer ends after
    ``after`` body bytes; ``lie``: the answer has another checksum; ``rot``: a bit of its body is another one.
    And: ``delay``: answered ``seconds`` late; ``twice``: the server gets it twice, and answers to the second;
    ``spoil``: a bit of the body is another one when it arrives.
    """

    kind: Literal["reset", "break", "busy", "answer", "lose", "stall", "cut", "lie", "rot", "delay", "twice", "spoil"]
    match: Callable[[str, str], bool] = lambda method, target: True
    times: int = 1
    seconds: float = 0.0
    after: int = 0
    skip: int = 0
    status: int = 500
    body: bytes = b""
    #: how often it happened
    happened: int = 0


class Proxy:
    """Use it as a context manager; ``url`` takes the place of the server's endpoint."""

    def __init__(self, endpoint_url: str, record: Recorder | None = None) -> None:
        target = urlsplit(endpoint_url)
        self.record = record
        self._target = (target.hostname or "127.0.0.1", target.port or 80)
        self._lock = threading.Lock()
        self.seen: list[Seen] = []
        #: id of every upload in parts that the server began, and how many requests had been seen before
        self.begun: dict[str, int] = {}
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
                    if trouble.skip:
                        trouble.skip -= 1
                        continue
                    trouble.times -= 1
                    trouble.happened += 1
                    return trouble
        return None

    def _note(self, method: str, target: str, body: bytes, status: int) -> None:
        seen = Seen(method, urlsplit(target).path, _query(target), len(body), hashlib.sha256(body).hexdigest(), status)
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
        trouble = self._trouble(method, target)
        kind = trouble.kind if trouble else None
        announced = int(request.headers.get("Content-Length", 0))
        body = _read(request, min(announced, trouble.after) if trouble and kind == "break" else announced)
        if self.record is not None and method in ("PUT", "POST"):
            parts = urlsplit(target)
            self.record(method, parts.path, _query(target), body)
        if len(body) < announced:
            # its sender died, or is told so
            self._note(method, target, body, 0)
            _break(request)
            return
        if trouble and not self._let_through(request, trouble, body):
            return
        if kind == "twice":
            self._forward(method, target, request, body)
        status, headers, data = self._forward(
            method, target, request, _spoiled(body, trouble.after) if trouble and kind == "spoil" else body
        )
        self._note(method, target, body, 0 if kind in ("lose", "stall") else status)
        self._give(request, trouble, status, headers, data)

    def _let_through(self, request: BaseHTTPRequestHandler, trouble: Trouble, body: bytes) -> bool:
        """Return whether the server sees the request; else it is answered here, or not at all."""
        method, target = request.command, request.path
        if trouble.kind in ("reset", "break"):
            self._note(method, target, body, 0)
            _break(request)
            return False
        if trouble.kind in ("busy", "answer"):
            status, data = (503, _SLOW_DOWN) if trouble.kind == "busy" else (trouble.status, trouble.body)
            self._note(method, target, body, status)
            _answer(request, status, [("Content-Type", "application/xml")], data, len(data))
            return False
        if trouble.kind == "delay":
            time.sleep(trouble.seconds)
        return True

    def _give(
        self,
        request: BaseHTTPRequestHandler,
        trouble: Trouble | None,
        status: int,
        headers: list[tuple[str, str]],
        data: bytes,
    ) -> None:
        kind = trouble.kind if trouble else None
        announced = next((int(v) for k, v in headers if k.lower() == "content-length"), len(data))
        if trouble and kind in ("lose", "stall"):
            time.sleep(trouble.seconds)
            _break(request)
        elif trouble and kind == "cut":
            _answer(request, status, headers, data[: trouble.after], announced)
            _break(request)
        elif kind == "lie":
            headers = [(name, _LIE if name.lower() == _CHECKSUM else value) for name, value in headers]
            told = f"<ChecksumCRC64NVME>{_LIE}</ChecksumCRC64NVME>".encode()
            data = _IN_XML.sub(told, data)
            _answer(request, status, headers, data, len(data) if data else announced)
        else:
            rotten = trouble is not None and kind == "rot"
            _answer(request, status, headers, _spoiled(data, trouble.after) if rotten and trouble else data, announced)

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
            data = answer.read()
            if method == "POST" and "uploads" in _query(target) and (found := _UPLOAD_ID.search(data)):
                with self._lock:
                    self.begun[found[1].decode()] = len(self.seen)
            return answer.status, answer.getheaders(), data
        finally:
            connection.close()


def _query(target: str) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(urlsplit(target).query, keep_blank_values=True).items()}


def _read(request: BaseHTTPRequestHandler, size: int) -> bytes:
    """Return the body, or as much of it as came before its sender died."""
    body = bytearray()
    with contextlib.suppress(ConnectionError):
        while len(body) < size and (piece := request.rfile.read1(min(_PIECE, size - len(body)))):
            body += piece
    return bytes(body)


def _spoiled(data: bytes, position: int) -> bytes:
    if not data:
        return data
    spoiled = bytearray(data)
    spoiled[position % len(data)] ^= 1
    return bytes(spoiled)


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
