"""The one read of a file: every byte goes past the digest, the gate's watch, and whoever takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable

from ecogsafe.transfer.source import Source
from ecogsafe.transfer.work import Shipment


def read_once(shipment: Shipment, source: Source, take: Callable[[bytes], bool]) -> str | None:
    """Read ``source`` to its end and prove that it did not change meanwhile.

    Parameters
    ----------
    take
        Gets each piece; a false answer says that nobody wants more.

    Returns
    -------
    The SHA-256 of the file; None if nobody wanted all of it.

    Raises
    ------
    SourceChangedError
        It is not what it was when it was opened, or its text is not what was cleared.
    """
    watch = shipment.text_watch() if shipment.text_watch else None
    digest = hashlib.sha256()
    offset = 0
    for piece in source.pieces():
        digest.update(piece)
        if watch:
            watch.feed(offset, piece)
        offset += len(piece)
        if not take(piece):
            return None
    source.check_unchanged()
    if watch:
        watch.check()
    return digest.hexdigest()
