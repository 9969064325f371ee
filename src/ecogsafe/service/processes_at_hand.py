"""Before a command opens anything: a process is set aside from which those are forked that read and seal files."""

from __future__ import annotations

from contextlib import AbstractContextManager

from ecogsafe.crypt import checksums
from ecogsafe.transfer import cutter, worker
from ecogsafe.transfer.nursery import nursery


def processes_at_hand(*, to_s3: bool) -> AbstractContextManager[None]:
    """Load what they need, and set such a process aside for as long as the context lasts, where that can be done.

    Parameters
    ----------
    to_s3
        It is known that a bucket is sent to; else each of them loads what its store needs.
    """
    checksums.library()
    if to_s3:
        import ecogsafe.stores.s3  # noqa: F401  for the processes that are forked
    return nursery({module.__name__: module.serve for module in (cutter, worker)})
