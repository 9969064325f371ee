"""Writing to standard output and standard error, whose reader may be gone (``ecogsafe … | head``)."""

from __future__ import annotations

import errno
import os
import stat
import sys
from typing import TextIO


def say(text: str, *, to_errors: bool = False) -> None:
    """Write a line and flush it, so that a script sees it at once.

    Where nobody reads any more, the work matters more than its words: they go nowhere from then on.
    """
    stream = sys.stderr if to_errors else sys.stdout
    try:
        print(text, file=stream, flush=True)
    except OSError as error:
        # a pipe without a reader, or a terminal that was closed
        if error.errno not in (errno.EPIPE, errno.EIO):
            raise
        _silence(stream)


def silence_terminal() -> None:
    """Say nothing more to a terminal that was closed; what goes to a file or a pipe still goes there."""
    for stream in (sys.stdout, sys.stderr):
        if stat.S_ISCHR(os.fstat(stream.fileno()).st_mode):
            _silence(stream)


def _silence(stream: TextIO) -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, stream.fileno())
    os.close(nowhere)
