"""One request on a connection that is open: answers of every form, and what may not leave."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

import pytest
from urllib3.exceptions import HTTPError, NewConnectionError

from ecogsafe.stores import s3_exchange
from ecogsafe.stores.s3_connections import Connection, Pool
from ecogsafe.stores.s3_exchange import Answer, exchange

HEADERS = {"host": "store", "content-length": "4"}
PLAIN = b'HTTP/1.1 200 OK\r\nETag: "e"\r\nContent-Length: 2\r\n\r\nok'


class Server:
    """Answers each request with the next of ``answers``, byte for byte; notes heads and connections."""

    def __init__(self) -> None:
        self.answers: list[bytes] = []
        self.heads: list[bytes] = []
        self.connections = 0
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            with contextlib.suppress(OSError), connection, connection.makefile("rb") as stream:
                while line := stream.readline():
                    head = line
                    while (line := stream.readline()) != b"\r\n":
                        head += line
                    if not head.startswith(b"HEAD"):
                        stream.read(4)
                    self.heads.append(head)
                    answer = self.answers.pop(0)
                    connection.sendall(answer)
                    if b"close" in answer or b"HTTP/1.0" in answer or answer.endswith(b"..."):
                        break

    def close(self) -> None:
        """Take no more connections."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def server() -> Iterator[Server]:
    running = Server()
    yield running
    running.close()


@pytest.fixture
def pool(server: Server) -> Iterator[Pool]:
    made = Pool("127.0.0.1", server.port, maxsize=2)
    server.answers.append(PLAIN)
    assert ask(made).data == b"ok"
    yield made
    made.close()


def ask(pool: Pool, method: str = "PUT", **more: str) -> Answer:
    body = None if method == "HEAD" else [b"bo", memoryview(b"dy")]
    return exchange(pool, method, "/b/key", HEADERS | more, body, connect_s=5, read_s=1)


@pytest.mark.parametrize(
    ("answer", "data", "is_kept"),
    [
        (PLAIN, b"ok", True),
        (b"HTTP/1.1 200\r\ncontent-length:2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 204 No Content\r\nETag: e\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 100 Continue\r\n\r\n" + PLAIN, b"ok", True),
        (b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + PLAIN, b"ok", True),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * 3 + PLAIN, b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nX: a\r\n b\r\nContent-Length: 2\r\n\r\nok", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (PLAIN + PLAIN, b"ok", False),
    ],
)
def test_every_form_of_an_answer_is_understood(
    server: Server, pool: Pool, answer: bytes, data: bytes, is_kept: bool
) -> None:
    server.answers += [answer, PLAIN]
    answered = ask(pool)
    assert answered.data == data and answered.status in (200, 204)
    assert ask(pool).headers["etag"] == '"e"', "an answer was taken for that of the next request"
    assert server.connections == (1 if is_kept else 2)


def test_an_answer_to_head_has_no_body_whatever_it_says(server: Server, pool: Pool) -> None:
    server.answers += [b"HTTP/1.1 200 OK\r\nContent-Length: 900\r\nX-Amz-Meta-A: b\r\n\r\n", PLAIN]
    answered = ask(pool, "HEAD")
    assert answered.headers["content-length"] == "900" and answered.headers["x-amz-meta-a"] == "b"
    assert ask(pool).data == b"ok" and server.connections == 1


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n...",
        b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 9\r\n\r\n...",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\n...",
        b"HTTP/1.1 200 OK\r\nContent-Le...",
        b"SSH-2.0-not what was asked for\r\n\r\n...",
        b"...",
    ],
)
def test_half_an_answer_is_none(server: Server, pool: Pool, answer: bytes) -> None:
    server.answers += [answer, PLAIN]
    with pytest.raises((HTTPError, OSError)):
        ask(pool)
    assert ask(pool).data == b"ok" and server.connections == 2


def test_an_answer_longer_than_any_error_is_cut_and_its_connection_is_not_used_again(
    server: Server, pool: Pool
) -> None:
    server.answers += [b"HTTP/1.1 400 No\r\nContent-Length: 90000\r\n\r\n" + b"x" * 90_000, PLAIN]
    answered = ask(pool)
    assert answered.status == 400 and len(answered.data) == 64 << 10
    assert ask(pool).data == b"ok" and server.connections == 2


@pytest.mark.parametrize("value", ["a\r\nx-amz-acl: public-read", "a\nb: c", "a\rb", "a\0b"])
def test_a_header_cannot_bring_another_one_along(server: Server, pool: Pool, value: str) -> None:
    with pytest.raises(ValueError, match="header"):
        ask(pool, **{"x-amz-meta-a": value})
    server.answers.append(PLAIN)
    ask(pool, **{"x-amz-meta-a": "fine"})
    assert len(server.heads) == 2 and b"x-amz-meta-a: fine\r\n" in server.heads[1]


def test_a_line_that_goes_on_brings_no_header_along_and_a_header_twice_is_none_of_ours(
    server: Server, pool: Pool
) -> None:
    server.answers += [
        b"HTTP/1.1 200 OK\r\nX: a\r\n ETag: b\r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nVary: Origin\r\nVary: Accept\r\nETag: e \r\nContent-Length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nok",
    ]
    answers = [ask(pool) for _ in range(3)]
    assert [answer.data for answer in answers] == [b"ok"] * 3
    assert [answer.headers.get("etag") for answer in answers] == [None, "e", None]


def test_a_connection_that_ended_while_nobody_used_it_is_not_used(server: Server, pool: Pool) -> None:
    server.answers += [b"HTTP/1.1 200 OK\r\nX: close\r\nContent-Length: 2\r\n\r\nok", PLAIN, PLAIN]
    # the server hangs up behind this answer, without having said so
    assert ask(pool).data == b"ok"
    assert pool.pool is not None
    connection = pool.pool.get()
    pool.pool.put(connection)
    assert select.select([connection.sock], [], [], 10)[0]
    assert [ask(pool).data, ask(pool).data] == [b"ok", b"ok"]
    assert server.connections == 2


@pytest.mark.parametrize("answer", [b"HTTP/1.1 101 Switching\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\n\r\n" * 17])
def test_an_answer_before_the_answer_is_none(server: Server, pool: Pool, answer: bytes) -> None:
    server.answers += [answer, PLAIN]
    assert ask(pool).status < 200
    assert ask(pool).data == b"ok" and server.connections == 2, "its connection was used again"


def test_success_is_not_believed_of_a_request_that_had_not_all_left(
    server: Server, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.answers += [PLAIN, PLAIN]
    with monkeypatch.context() as patched:
        send = s3_exchange._send

        def cut(*args: object) -> bool:
            send(*args)  # type: ignore[arg-type]
            return False

        patched.setattr(s3_exchange, "_send", cut)
        with pytest.raises(HTTPError, match="had not all left"):
            ask(pool)
    assert ask(pool).data == b"ok" and server.connections == 2


def test_the_first_request_goes_no_other_way(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Pool, "urlopen", None)
    server.answers += [PLAIN[:-2] + b"no" + b"...", PLAIN]
    fresh = Pool("127.0.0.1", server.port, maxsize=2)
    ask(fresh)
    assert ask(fresh).data == b"ok" and server.connections == 2, "nor does one on a connection that ended"
    fresh.close()


def test_nobody_there_is_told_in_the_words_of_urllib3(server: Server, pool: Pool) -> None:
    with socket.create_server(("127.0.0.1", 0)) as unused:
        port = unused.getsockname()[1]
    nobody = Pool("127.0.0.1", port, maxsize=2)
    for _ in range(3):
        with pytest.raises(NewConnectionError):
            ask(nobody)
    assert nobody.pool is not None and nobody.pool.qsize() == 2, "a place in the pool was lost"


def test_a_line_that_moves_is_given_up_at_no_size(monkeypatch: pytest.MonkeyPatch) -> None:
    """The whole takes longer than a pause may last; no pause does."""
    monkeypatch.setattr(Connection, "piece_s", 0.5)
    body = bytes(48 << 20)
    came = bytearray()

    def take_slowly(listener: socket.socket) -> None:
        taken, _ = listener.accept()
        with taken:
            while not came.endswith(b"end"):
                came.extend(taken.recv(1 << 20))
                time.sleep(0.02)
            taken.sendall(PLAIN)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        slow = threading.Thread(target=take_slowly, args=(listener,), daemon=True)
        slow.start()
        pool = Pool("127.0.0.1", listener.getsockname()[1], maxsize=1)
        headers = {"host": "store", "content-length": str(len(body) + 3)}
        began = time.monotonic()
        answer = exchange(pool, "PUT", "/b/key", headers, [body, b"end"], connect_s=5, read_s=20)
        assert time.monotonic() - began > 0.5, "this was no slow line"
        slow.join(5)
        pool.close()
    assert answer.status == 200 and came.endswith(body[-1000:] + b"end")
    assert len(came) - came.index(b"\r\n\r\n") - 4 == len(body) + 3
