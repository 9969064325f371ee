"""Other processes of a run, each at the end of a socket: how one is begun.

Neither a name nor a key stands in a list of processes: all that is there is the number of the socket.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Collection
from multiprocessing.connection import Connection, Pipe


def begin_process(module: str, descriptors: Collection[int]) -> tuple[subprocess.Popen[bytes], Connection]:
    """Begin ``module`` in a process of its own; return it and our end of the conversation.

    Parameters
    ----------
    descriptors
        What it inherits, under the same numbers.

    Raises
    ------
    OSError
        It could not be begun.
    """
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
