"""A loopback HTTP server that answers what it is told to, badly if it is told to, and notes every request."""

from __future__ import annotations

import contextlib
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

_CHECKSUM = "x-amz-checksum-crc64nvme"


@dataclass(frozen=True)
class Asked:
    """One request as it arrived; names of headers in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes
    #: requests on one connection have the same
    connection: int


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What one request gets; without anything set, 200 with an ETag and the checksum that was sent."""

    status: int = 200
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    #: the Content-Length, where it is not the body's; -1 for none
    announced: int | None = None
    #: before the request's body is read, before the answer begins, and before its body
    read_delay_s: float = 0.0
    delay_s: float = 0.0
    body_delay_s: float = 0.0
    #: the connection breaks in the place of an answer
    reset: bool = False
    #: the connection ends after the answer, though it said nothing of that
    close: bool = False
    #: the answer is given before the request's body was read, and the connection ends
    early: bool = False
    #: the request's body is read, and not kept
    forget: bool = False
    no_etag: bool = False
    #: the answer comes a second time, unasked
    twice: bool = False


def error(code: str, status: int, **headers: str) -> Answer:
    """Return an error answer as S3 gives it."""
    body = f'<?xml version="1.0"?>\n<Error><Code>{code}</Code><Message>hidden</Message></Error>'.encode()
    return Answer(status=status, headers={"Content-Type": "application/xml", **headers}, body=body)


class ScriptedServer:
    """Use it as a context manager; requests beyond the script get the plain `Answer`.

    With ``tls`` (a certificate's file and its key's) it speaks TLS, also behind a CONNECT: as a proxy it is the
    server too.
    """

    def __init__(self, *answers: Answer, tls: tuple[str, str] | None = None, connect: bool = False) -> None:
        self._answers = deque(answers)
        self._lock = threading.Lock()
        self._tls: ssl.SSLContext | None = None
        if tls is not None:
            self._tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            self._tls.load_cert_chain(*tls)
        self._connect = connect
        self.asked: list[Asked] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"{'https' if tls and not connect else 'http'}://127.0.0.1:{self.port}"
        self._open: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]

    def __enter__(self) -> ScriptedServer:
        self._threads[0].start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for connection in self._open:
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(10)
        for connection in self._open:
            connection.close()

    def then(self, *answers: Answer) -> None:
        """Answer so next."""
        with self._lock:
            self._answers += answers

    @property
    def methods(self) -> list[str]:
        """The methods of the requests, in their order."""
        return [asked.method for asked in self.asked]

    @property
    def connections(self) -> int:
        """How many connections were made that asked something."""
        return len({asked.connection for asked in self.asked})

    def _accept(self) -> None:
        number = 0
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            number += 1
            self._open.append(connection)
            thread = threading.Thread(target=self._serve, args=(connection, number), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket, number: int) -> None:
        with contextlib.suppress(OSError, ValueError):
            if self._tls is not None and not self._connect:
                connection = self._tls.wrap_socket(connection, server_side=True)
                self._open.append(connection)
            stream = connection.makefile("rb")
            while line := stream.readline():
                method, target, _ = line.decode().split()
                headers: dict[str, str] = {}
                while (header := stream.readline().decode().strip()) != "":
                    name, _, value = header.partition(":")
                    headers[name.lower()] = value.strip()
                if method == "CONNECT":
                    self.asked.append(Asked(method, target, headers, b"", number))
                    connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
                    assert self._tls is not None
                    connection = self._tls.wrap_socket(connection, server_side=True)
                    self._open.append(connection)
                    stream = connection.makefile("rb")
                    continue
                with self._lock:
                    answer = self._answers.popleft() if self._answers else Answer()
                size = 0 if answer.early else int(headers.get("content-length", 0))
                body = b""
                time.sleep(answer.read_delay_s)
                if answer.forget:
                    while size > 0:
                        size -= len(stream.read(min(size, 65_536)))
                else:
                    body = stream.read(size)
                self.asked.append(Asked(method, target, headers, body, number))
                if not self._give(connection, method, headers, answer):
                    # Bytes that nobody read make the system reset the connection, as with any server.
                    stream.close()
                    connection.close()
                    return

    def _give(self, connection: socket.socket, method: str, asked: Mapping[str, str], answer: Answer) -> bool:
        """Answer, and return whether the connection goes on."""
        time.sleep(answer.delay_s)
        if answer.reset:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            return False
        headers = {"Date": "Mon, 02 Mar 2026 10:00:00 GMT", **answer.headers}
        if answer.status < 300 and method != "GET" and not answer.no_etag:
            headers.setdefault("ETag", '"e"')
            if method == "PUT" and _CHECKSUM in asked:
                headers.setdefault(_CHECKSUM, asked[_CHECKSUM])
        if answer.announced != -1:
            headers.setdefault(
                "Content-Length", str(len(answer.body) if answer.announced is None else answer.announced)
            )
        head = f"HTTP/1.1 {answer.status} Said\r\n" + "".join(f"{n}: {v}\r\n" for n, v in headers.items()) + "\r\n"
        for _ in range(2 if answer.twice else 1):
            connection.sendall(head.encode())
            if method != "HEAD":
                time.sleep(answer.body_delay_s)
                connection.sendall(answer.body)
        return not (answer.close or answer.early)
