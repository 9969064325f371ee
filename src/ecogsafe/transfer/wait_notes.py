"""What a person is told of the pauses of a store in trouble: not of everyone's on every thread."""

from __future__ import annotations

from ecogsafe.core.clock import monotonic
from ecogsafe.stores.retrying import Wait

#: told of at most this often, and only if it is waited for so long, seconds
_TELL_EVERY_S = 10.0
_TELL_FROM_S = 1.0


class WaitNotes:
    """Those of one process."""

    def __init__(self) -> None:
        self._told = -_TELL_EVERY_S

    def message(self, wait: Wait) -> str:
        """Return what is to be said of ``wait``; "" if nothing is."""
        if wait.pause_s < _TELL_FROM_S or monotonic() - self._told < _TELL_EVERY_S:
            return ""
        self._told = monotonic()
        return wait.text
