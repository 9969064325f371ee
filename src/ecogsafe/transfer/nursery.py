"""A process that has loaded what others need and opened nothing, from which they are forked when they are wanted.

Python and its libraries take 0.15 to 0.2 s of processor time to load in each process. A fork has them at once; but
only a process of one thread, without a catalogue or a lock, may safely be forked. So one is set aside when a command
begins, before it opens anything.

Two that are forked from one must never draw the same chance. Our keys and nonces come from the system itself, call by
call (``secrets``). OpenSSL, which makes those of TLS and of post-quantum recipients, notices a fork and seeds its
generator anew (1.1.1 to 1.1.1c did not, CVE-2019-1549; ``cryptography`` brings 3 or later in its wheels), and so does
Python with that of the pauses between attempts. ``tests/transfer/test_nursery.py`` looks at each; of OpenSSL that is no
proof, as it mixes the time in too.
"""

from __future__ import annotations

import errno
import fcntl
import gc
import logging
import os
import select
import signal
import socket
import threading
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, Pipe
from typing import Final, TypeAlias

_log = logging.getLogger(__name__)
#: as many as Linux lets pass over a socket at once, and a few less
_MOST_DESCRIPTORS: Final = 250
_BORN: Final = b"born"
#: by name
Works: TypeAlias = Mapping[str, Callable[[Connection], None]]
#: of the command that this process carries out
_begun: Nursery | None = None


class Forked:
    """A process that was forked elsewhere; another process with its number is never taken for it.

    Parameters
    ----------
    descriptor
        Speaks of the process (``pidfd_open(2)``).
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor

    def kill(self) -> None:
        """End it at once, if it has not ended."""
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self._descriptor, signal.SIGKILL)

    def wait(self) -> None:
        """Wait until it has ended; to be called once, and last."""
        ended = select.poll()
        ended.register(self._descriptor, select.POLLIN)
        ended.poll()
        os.close(self._descriptor)


class Nursery:
    """That process, as the process sees it that began it.

    Parameters
    ----------
    works
        What those who are forked may be asked to do, by name, given their end of the conversation.

    Raises
    ------
    OSError
        It could not be begun.
    """

    def __init__(self, works: Works) -> None:
        self.works = works
        self._socket, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            self._process = os.fork()
            if self._process == 0:
                self._socket.close()
                _tend(theirs, works)

    def begin(self, work: str, descriptors: Collection[int]) -> tuple[Forked, Connection]:
        """Have a process forked; return it and our end of the conversation.

        Parameters
        ----------
        work
            One of `works`.
        descriptors
            What it inherits, under the same numbers.

        Raises
        ------
        OSError
            It could not be forked.
        """
        if len(descriptors) >= _MOST_DESCRIPTORS:
            raise OSError(errno.E2BIG, os.strerror(errno.E2BIG))
        ours, theirs = Pipe()
        try:
            order = " ".join([work, *map(str, descriptors)]).encode()
            socket.send_fds(self._socket, [order], [theirs.fileno(), *descriptors])
            answer, found, _, _ = socket.recv_fds(self._socket, 64, 1)
            if answer != _BORN:
                number = int(answer or errno.ESRCH)
                raise OSError(number, os.strerror(number))
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return Forked(found[0]), ours

    def close(self) -> None:
        """End it, and those of its children that have not ended."""
        self._socket.close()
        os.waitpid(self._process, 0)


@contextmanager
def nursery(works: Works) -> Iterator[None]:
    """Set a process aside for `begun`, where that can be done and there is a processor for it.

    Whoever calls this has opened nothing yet; with threads, which a fork would cut off, nothing is set aside.
    """
    global _begun  # noqa: PLW0603  one for the process, as its processors are
    can = hasattr(os, "pidfd_open") and len(os.sched_getaffinity(0)) > 1
    if can and threading.active_count() == 1:
        try:
            _begun = Nursery(works)
        except OSError as error:
            _log.warning("no process could be set aside errno=%s", error.errno)
    try:
        yield
    finally:
        ended, _begun = _begun, None
        if ended is not None:
            ended.close()


def begun() -> Nursery | None:
    """Return the process that was set aside for this command, if one was."""
    return _begun


def _tend(orders: socket.socket, works: Works) -> None:
    """Fork a process for each order until the one that gives them has ended; never returns."""
    children: list[int] = []
    try:
        # a group of its own: Ctrl-C is for the process that gives the orders to judge
        os.setpgid(0, 0)
        _let_go_of_everything(but=orders.fileno())
        # what is loaded stays; to look it through for garbage would copy every page of it
        gc.disable()
        gc.freeze()
        while (order := socket.recv_fds(orders, 4096, _MOST_DESCRIPTORS))[0]:
            children.extend(_fork(orders, order[0], order[1], works))
    finally:
        # without the process that gave the orders nothing here is of use
        for child in children:
            with suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        for child in children:
            os.waitpid(child, 0)
        os._exit(0)


def _let_go_of_everything(*, but: int) -> None:
    """Close what was inherited: a terminal or a pipe that is held open here would never end for others."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):
        os.dup2(nothing, standard)
    os.closerange(3, but)
    os.closerange(but + 1, os.sysconf("SC_OPEN_MAX"))


def _fork(orders: socket.socket, order: bytes, received: Sequence[int], works: Works) -> Iterator[int]:
    """Carry one order out; yield the number of the process, if one came of it."""
    try:
        child = os.fork()
        if child == 0:
            orders.close()
            _be_born(order, received, works)
        yield child
        speaks = os.pidfd_open(child)
        socket.send_fds(orders, [_BORN], [speaks])
        os.close(speaks)
    except OSError as error:
        orders.send(str(error.errno).encode())
    finally:
        for descriptor in received:
            os.close(descriptor)


def _be_born(order: bytes, received: Sequence[int], works: Works) -> None:
    """Work as what was just forked; never returns."""
    try:
        os.setpgid(0, 0)
        work, *numbers = order.decode().split()
        wanted = [int(number) for number in numbers]
        # out of the way first: a number that is wanted may be that of another
        free = max(wanted, default=0) + 1
        connection, *roots = [fcntl.fcntl(descriptor, fcntl.F_DUPFD_CLOEXEC, free) for descriptor in received]
        for descriptor in received:
            os.close(descriptor)
        for root, number in zip(roots, wanted, strict=True):
            os.dup2(root, number, inheritable=False)
            os.close(root)
        gc.enable()
        works[work](Connection(connection))
    finally:
        os._exit(1)
