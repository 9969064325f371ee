"""A file below DIR as plain data, so that another process can open it: what it is, and how it was cleared."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePosixPath

from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import SourceChangedError
from ecogsafe.formats.regions import Region
from ecogsafe.formats.text_digest import TextDigest
from ecogsafe.transfer.source import FileSource


@dataclass(frozen=True, slots=True)
class Cleared:
    """One file that may go plain: its text regions and their digest."""

    regions: tuple[Region, ...]
    text_sha256: str
    #: of the file when it was judged
    stat: SourceStat


class ClearedWatch:
    """Recomputes the digest of the text regions during the one full read (DESIGN 5.5.3)."""

    def __init__(self, name: str, cleared: Cleared) -> None:
        self._name = name
        self._cleared = cleared
        self._digest = TextDigest(cleared.regions)

    def feed(self, offset: int, piece: bytes | memoryview) -> None:
        """Take the bytes at ``offset``."""
        self._digest.feed(offset, piece)

    def check(self) -> None:
        """Raise SourceChangedError if these are not the bytes that were cleared."""
        # the regions were those of a file of that size: in a longer one there could be text elsewhere
        same_size = self._digest.position == self._cleared.stat.size
        if not same_size or self._digest.hexdigest() != self._cleared.text_sha256:
            raise _changed(self._name)


@dataclass(frozen=True, slots=True)
class FileOrder:
    """One file and how it is to be read."""

    #: descriptor of DIR; a worker inherits it under the same number
    root: int
    #: below DIR
    relative: str
    #: what messages call it
    name: str
    #: what it may go plain by; None for a file that goes sealed
    cleared: Cleared | None = None

    def __reduce__(self) -> tuple[type[FileOrder], tuple[int, str, str, Cleared | None]]:
        """Say how it is made again: one goes to a worker for every small file."""
        return FileOrder, (self.root, self.relative, self.name, self.cleared)

    def open(self) -> FileSource:
        """Open it; one that goes plain only in the state in which it was judged.

        Raises
        ------
        SourceUnreadableError
            As `FileSource`.
        SourceChangedError
            It moved or changed since it was cleared: where its text stands now nobody knows.
        """
        source = FileSource(self.root, PurePosixPath(self.relative), name=self.name)
        if self.cleared is not None and source.stat != self.cleared.stat:
            source.close()
            raise _changed(self.name)
        return source

    def watch(self) -> ClearedWatch | None:
        """Return what follows the read of it, if it goes plain."""
        return None if self.cleared is None else ClearedWatch(self.name, self.cleared)


def _changed(name: str) -> SourceChangedError:
    return SourceChangedError(
        name,
        "changed after it was cleared",
        safe="It was not stored",
        next="ecogsafe deid scan, then the same command again",
    )
