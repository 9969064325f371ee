"""Writing to standard output and standard error, whose reader may be gone (``ecogsafe … | head``)."""

from __future__ import annotations

import os
import sys


def say(text: str, *, to_errors: bool = False) -> None:
    """Write a line and flush it, so that a script sees it at once.

    Where nobody reads any more, the work matters more than its words: they go nowhere from then on.
    """
    stream = sys.stderr if to_errors else sys.stdout
    try:
        print(text, file=stream, flush=True)
    except BrokenPipeError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
