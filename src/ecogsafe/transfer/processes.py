"""Other processes of a run, each at the end of a socket: how one is begun.

No key stands in a list of processes: all that is there is the number of the socket, or what stands there of the run.
"""

from __future__ import annotations

import logging
import subprocess
import sys
from collections.abc import Collection
from multiprocessing.connection import Connection, Pipe
from typing import Protocol

from ecogsafe.transfer.nursery import begun

_log = logging.getLogger(__name__)


class Process(Protocol):
    """What its parent does with it beside the conversation."""

    def kill(self) -> None:
        """End it at once."""

    def wait(self) -> object:
        """Wait until it has ended."""


def begin_process(module: str, descriptors: Collection[int]) -> tuple[Process, Connection]:
    """Begin ``module`` in a process of its own; return it and our end of the conversation.

    It has loaded everything, where a nursery was set aside that knows it.

    Parameters
    ----------
    descriptors
        What it inherits, under the same numbers.

    Raises
    ------
    OSError
        It could not be begun.
    """
    nursery = begun()
    if nursery is not None and module in nursery.works:
        try:
            return nursery.begin(module, descriptors)
        except OSError as error:
            _log.warning("a process could not be forked errno=%s", error.errno)
    ours, theirs = Pipe()
    try:
        # a group of its own: Ctrl-C is for this process to judge
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", module, str(theirs.fileno())],
            pass_fds=[theirs.fileno(), *descriptors],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            process_group=0,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    return process, ours
