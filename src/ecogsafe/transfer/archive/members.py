"""The tar stream as it is read: headers made, members read from their files in order, the manifest at the end."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ecogsafe.catalog.files import SeenFile, Tree
from ecogsafe.catalog.source_stat import SourceStat
from ecogsafe.core.errors import EcogsafeError, SourceChangedError
from ecogsafe.transfer.archive.tar_stream import Entry, TarPlan, header_of, manifest_content
from ecogsafe.transfer.source import READ_SIZE, RangedSource


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSource:
    """One file that is to go into a volume, in the state in which it was planned."""

    entry: Entry
    tree: Tree
    segment: int | None
    stat: SourceStat
    #: in frames of raw blocks
    stored: bool
    open: Callable[[], RangedSource]


def seen_member(subject: str, member: MemberSource, sha256: str | None) -> SeenFile:
    """Return a member as the catalogue notes it."""
    return SeenFile(
        tree=member.tree,
        path=member.entry.path,
        subject=subject,
        segment=member.segment,
        size=member.stat.size,
        mtime_ns=member.stat.mtime_ns,
        inode=member.stat.inode,
        device=member.stat.device,
        sha256=sha256,
    )


class MemberLostError(SourceChangedError):
    """A member cannot go into its volume as it was planned; ``cause`` says why."""

    def __init__(self, position: int, cause: EcogsafeError) -> None:
        super().__init__(cause.item, cause.problem, safe=cause.safe, next=cause.next)
        #: from 0
        self.position = position
        self.cause = cause


class TarReader:
    """Gives any range of the tar stream, and the digest of each member that was read from its start to its end.

    Parameters
    ----------
    known
        Digests from before, by position; such a member is not hashed again.
    """

    def __init__(self, plan: TarPlan, members: Sequence[MemberSource], known: Mapping[int, str]) -> None:
        self._plan = plan
        self._members = members
        self.digests = dict(known)
        self._new: list[int] = []
        self._open: tuple[int, RangedSource] | None = None
        #: the member that is being hashed, and how far
        self._hashing = -1
        self._hashed = 0
        self._digest = hashlib.sha256()
        self._manifest: bytes | None = None

    def read_into(self, start: int, view: memoryview) -> None:
        """Fill ``view`` with the tar stream from ``start`` on.

        Raises
        ------
        MemberLostError
            A file is not what it was when it was planned, changed meanwhile, or cannot be read.
        """
        stop = start + len(view)
        position = start
        for index in range(self._plan.index_at(start), len(self._members) + 1):
            placed = self._plan.placed(index)
            if placed.start >= stop:
                break
            if position < placed.data_offset:
                header = header_of(placed.entry)
                piece = header[position - placed.start : stop - placed.start]
                view[position - start : position - start + len(piece)] = piece
                position += len(piece)
                if position == placed.data_offset and not placed.entry.size and index < len(self._members):
                    self._read_member(index, 0, view[:0])
            if placed.data_offset <= position < min(stop, placed.data_stop):
                until = min(stop, placed.data_stop)
                self._read_data(index, position - placed.data_offset, view[position - start : until - start])
                position = until
            if placed.data_stop <= position < stop:
                until = stop if index == len(self._members) else min(stop, placed.stop)
                view[position - start : until - start] = bytes(until - position)
                position = until

    def needs(self, start: int, stop: int) -> bool:
        """Return whether a member without a digest has bytes, or its header, in ``[start, stop)``."""
        first, last = self._plan.index_at(start), self._plan.index_at(stop - 1)
        return any(index not in self.digests for index in range(first, min(last + 1, len(self._members))))

    def take_new(self) -> list[int]:
        """Return the positions of the members whose digests became known since the last call."""
        new, self._new = self._new, []
        return new

    def manifest(self) -> bytes:
        """Return the content of the manifest, once every digest is known."""
        if self._manifest is None:
            digests = [self.digests[index] for index in range(len(self._members))]
            self._manifest = manifest_content(self._plan, digests)
        return self._manifest

    def close(self) -> None:
        """Close the file that is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _read_data(self, index: int, offset: int, view: memoryview) -> None:
        if index == len(self._members):
            view[:] = self.manifest()[offset : offset + len(view)]
        else:
            self._read_member(index, offset, view)

    def _read_member(self, index: int, offset: int, view: memoryview) -> None:
        try:
            source = self._source(index)
            self._fill(index, source, offset, view)
            if offset + len(view) == source.size:
                source.check_unchanged()
                self._note(index)
        except EcogsafeError as error:
            self.close()
            raise MemberLostError(index, error) from error

    def _source(self, index: int) -> RangedSource:
        if self._open is not None and self._open[0] == index:
            return self._open[1]
        self.close()
        member = self._members[index]
        source = member.open()
        self._open = (index, source)
        if source.stat != member.stat:
            raise SourceChangedError(
                source.name, "is not what it was when its archive was planned", safe="nothing of this state is stored"
            )
        return source

    def _fill(self, index: int, source: RangedSource, offset: int, view: memoryview) -> None:
        to_hash = index not in self.digests
        if to_hash and offset == 0:
            self._hashing, self._hashed, self._digest = index, 0, hashlib.sha256()
        if to_hash and (self._hashing, self._hashed) != (index, offset):
            raise ValueError("a member whose digest is not known must be read from its start")
        done = 0
        while done < len(view):
            piece = view[done : done + READ_SIZE]
            source.read_into(piece, offset + done)
            if to_hash:
                self._digest.update(piece)
            done += len(piece)
        self._hashed += len(view) if to_hash else 0

    def _note(self, index: int) -> None:
        if index not in self.digests:
            self.digests[index] = self._digest.hexdigest()
            self._new.append(index)
