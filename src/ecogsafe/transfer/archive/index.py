"""The index of a volume: which bytes of the object hold which member, so that one file can be fetched alone.

It is JSON, sealed as an age file of its own and kept in a warm place. Whatever it says is proven again by
whoever fetches: age authenticates every chunk, and each member has its SHA-256.
"""

from __future__ import annotations

import json
from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from ecogsafe.core.errors import VerificationError
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, SEALED_CHUNK_BYTES

FORMAT = "ecogsafe archive index"
VERSION = 1


@dataclass(frozen=True, slots=True)
class Frame:
    """One zstd frame: its places in the tar stream and in the zstd stream, 0-based bytes, ends excluded."""

    tar_start: int
    tar_stop: int
    zstd_start: int
    zstd_stop: int


@dataclass(frozen=True, slots=True)
class Member:
    """One file in the volume."""

    path: str
    #: bytes
    size: int
    #: whole seconds since 1970
    mtime: int
    sha256: str
    #: where its bytes begin in the tar stream
    data_offset: int


@dataclass(frozen=True, slots=True, kw_only=True)
class VolumeIndex:
    """Everything there is to know of a volume without its key; sizes in bytes."""

    subject: str
    #: ``vid`` or ``edf``
    kind: str
    #: from 1
    volume: int
    #: of the object
    key: str
    created: str
    object_size: int
    object_crc64nvme: int
    #: age header and payload nonce: where the first chunk begins
    header_bytes: int
    zstd_size: int
    tar_size: int
    zstd_version: str
    frames: tuple[Frame, ...]
    members: tuple[Member, ...]

    def member(self, path: str) -> Member | None:
        """Return the member ``path``."""
        return next((member for member in self.members if member.path == path), None)

    def frames_for(self, member: Member) -> tuple[Frame, ...]:
        """Return the frames that hold the bytes of ``member``, in order; none for an empty file."""
        if not member.size:
            return ()
        first = bisect_right(self.frames, member.data_offset, key=lambda frame: frame.tar_start) - 1
        stop = bisect_left(self.frames, member.data_offset + member.size, key=lambda frame: frame.tar_start)
        return self.frames[first:stop]

    def ranges_for(self, member: Member) -> tuple[tuple[int, int], ...]:
        """Return the ranges of the zstd stream to be fetched for ``member``; neighbouring frames are joined.

        A gap between two ranges is a skippable frame.
        """
        ranges: list[tuple[int, int]] = []
        for frame in self.frames_for(member):
            if ranges and ranges[-1][1] == frame.zstd_start:
                ranges[-1] = (ranges[-1][0], frame.zstd_stop)
            else:
                ranges.append((frame.zstd_start, frame.zstd_stop))
        return tuple(ranges)

    def object_range(self, zstd_start: int, zstd_stop: int) -> tuple[int, int]:
        """Return the bytes of the object, whole age chunks, that hold ``[zstd_start, zstd_stop)``."""
        first, last = zstd_start // CHUNK_BYTES, (zstd_stop - 1) // CHUNK_BYTES
        start = self.header_bytes + first * SEALED_CHUNK_BYTES
        return start, min(self.header_bytes + (last + 1) * SEALED_CHUNK_BYTES, self.object_size)

    def to_bytes(self) -> bytes:
        """Return the JSON text: the same bytes for the same index."""
        record = {
            "format": FORMAT,
            "version": VERSION,
            "subject": self.subject,
            "kind": self.kind,
            "volume": self.volume,
            "key": self.key,
            "created": self.created,
            "object_size": self.object_size,
            "object_crc64nvme": f"{self.object_crc64nvme:016x}",
            "header_bytes": self.header_bytes,
            "zstd_size": self.zstd_size,
            "tar_size": self.tar_size,
            "zstd_version": self.zstd_version,
            "frames": [[f.tar_start, f.tar_stop, f.zstd_start, f.zstd_stop] for f in self.frames],
            "members": [
                {
                    "path": member.path,
                    "size": member.size,
                    "mtime": member.mtime,
                    "sha256": member.sha256,
                    "data_offset": member.data_offset,
                }
                for member in self.members
            ],
        }
        return json.dumps(record, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def parse_index(text: bytes, *, item: str) -> VolumeIndex:
    """Return the index that ``text`` holds.

    Parameters
    ----------
    item
        What messages call it: its key.

    Raises
    ------
    VerificationError
        It is not such an index, is of a newer version, or contradicts itself.
    """
    try:
        record = json.loads(text)
        if record["format"] != FORMAT:
            raise _bad(item, "is not the index of an archive")
        if record["version"] != VERSION:
            raise _bad(item, f"is of version {int(record['version'])}, which this ecogsafe does not know")
        index = _index_of(record)
    except (ValueError, KeyError, TypeError) as error:
        raise _bad(item, "does not have the form of an archive's index") from error
    _check(index, item)
    return index


def _index_of(record: Mapping[str, Any]) -> VolumeIndex:
    return VolumeIndex(
        subject=str(record["subject"]),
        kind=str(record["kind"]),
        volume=int(record["volume"]),
        key=str(record["key"]),
        created=str(record["created"]),
        object_size=int(record["object_size"]),
        object_crc64nvme=int(record["object_crc64nvme"], 16),
        header_bytes=int(record["header_bytes"]),
        zstd_size=int(record["zstd_size"]),
        tar_size=int(record["tar_size"]),
        zstd_version=str(record["zstd_version"]),
        frames=tuple(Frame(*_four(frame)) for frame in record["frames"]),
        members=tuple(
            Member(str(m["path"]), int(m["size"]), int(m["mtime"]), str(m["sha256"]), int(m["data_offset"]))
            for m in record["members"]
        ),
    )


def _four(numbers: Sequence[Any]) -> tuple[int, int, int, int]:
    tar_start, tar_stop, zstd_start, zstd_stop = map(int, numbers)
    return tar_start, tar_stop, zstd_start, zstd_stop


def _check(index: VolumeIndex, item: str) -> None:
    """Refuse what would make a reader go astray."""
    frames = index.frames
    is_whole = bool(frames) and frames[0].tar_start == 0 and frames[-1].tar_stop == index.tar_size
    is_whole = is_whole and all(f.tar_start < f.tar_stop and 0 <= f.zstd_start < f.zstd_stop for f in frames)
    is_whole = is_whole and all(a.tar_stop == b.tar_start and a.zstd_stop <= b.zstd_start for a, b in pairwise(frames))
    if not is_whole or frames[-1].zstd_stop > index.zstd_size:
        raise _bad(item, "has holes in its table of frames")
    if len({member.path for member in index.members}) < len(index.members):
        raise _bad(item, "names a file twice")
    if any(m.size < 0 or m.data_offset < 0 or m.data_offset + m.size > index.tar_size for m in index.members):
        raise _bad(item, "names a file that is not inside the archive")


def _bad(item: str, problem: str) -> VerificationError:
    return VerificationError(
        item,
        problem,
        safe="The archive itself is not affected",
        next="ecogsafe restore reads the whole archive where there is no index",
    )
