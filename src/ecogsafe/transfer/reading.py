"""The one read of a file: every byte goes past the digest, the gate's watch, and whoever takes it."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING

from ecogsafe.transfer.source import Source

if TYPE_CHECKING:
    from ecogsafe.transfer.work import TextWatch


Piece = bytes | memoryview


class PrefixDigests:
    """The SHA-256 of a file while it is read, remembered at some offsets.

    Two readings with the same digest at an offset had the same bytes all the way to there.

    Parameters
    ----------
    stops
        The offsets to remember, in any order.
    """

    def __init__(self, stops: Iterable[int] = ()) -> None:
        self._stops = sorted(set(stops), reverse=True)
        self._digest = hashlib.sha256()
        self._offset = 0
        self._known: dict[int, bytes] = {}
        self._remember()

    def update(self, piece: Piece) -> None:
        """Take the next bytes of the file."""
        start = 0
        with memoryview(piece) as view:
            while self._stops and self._stops[-1] <= self._offset + len(view) - start:
                count = self._stops[-1] - self._offset
                self._digest.update(view[start : start + count])
                self._offset += count
                start += count
                self._remember()
            self._digest.update(view[start:])
            self._offset += len(view) - start

    def _remember(self) -> None:
        if self._stops and self._stops[-1] == self._offset:
            self._known[self._stops.pop()] = self._digest.copy().digest()

    def at(self, stop: int) -> bytes:
        """Return the digest of the bytes before ``stop``, which was asked for and has been read."""
        return self._known[stop]

    def hexdigest(self) -> str:
        """Return the digest of all that was read."""
        return self._digest.hexdigest()


def read_once(
    source: Source,
    pieces: Iterable[Piece],
    take: Callable[[Piece], bool],
    *,
    watch: TextWatch | None,
    digests: PrefixDigests,
) -> str | None:
    """Read ``source`` to its end and prove that it did not change meanwhile.

    Parameters
    ----------
    pieces
        Of ``source``, from its start. Whoever gets one keeps nothing of it: the next may lie in its place.
    take
        Gets each piece; a false answer says that nobody wants more.
    watch
        Of a file that goes plain.
    digests
        Gets each piece before ``take``.

    Returns
    -------
    The SHA-256 of the file; None if nobody wanted all of it.

    Raises
    ------
    SourceChangedError
        It is not what it was when it was opened, or its text is not what was cleared.
    """
    offset = 0
    for piece in pieces:
        digests.update(piece)
        if watch:
            watch.feed(offset, piece)
        offset += len(piece)
        if not take(piece):
            return None
    source.check_unchanged()
    if watch:
        watch.check()
    return digests.hexdigest()
