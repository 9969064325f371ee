"""What tells one state of a file from another; plain data, so that whoever reads files needs no database."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SourceStat:
    """What a file was when it was opened."""

    #: bytes
    size: int
    mtime_ns: int
    ctime_ns: int
    inode: int
    device: int

    def __reduce__(self) -> tuple[type[SourceStat], tuple[int, ...]]:
        """Say how it is made again: one goes to this process from a worker for every small file."""
        return SourceStat, (self.size, self.mtime_ns, self.ctime_ns, self.inode, self.device)
