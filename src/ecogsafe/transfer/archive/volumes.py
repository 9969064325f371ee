"""How files are shared out among volumes, what volumes are called, and how large their parts are. Arithmetic only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeVar, cast

from ecogsafe.catalog.archives import ArchiveKind
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, TAG_BYTES, chunks_in
from ecogsafe.transfer.archive.frames import FRAME_BYTES, MIB, FrameSpan, most_frame_bytes
from ecogsafe.transfer.parts import MOST_PARTS

T = TypeVar("T")

#: a volume is closed when the next file would make it larger: less is begun again when a source changes, and
#: less is thawed for one file
VOLUME_BYTES = 128 * 1024 * MIB
#: a part of the upload ends at the first frame end after this many bytes of zstd stream
PART_BYTES = 16 * MIB
#: header blocks of one member in the tar stream, about
_HEADER_BYTES = 1024
_KEY = re.compile(r"([a-f][0-9a-f]{7})/\1_(vid|edf)_([0-9]{4,})\.(tar\.zst|index)\.age")


@dataclass(frozen=True, slots=True)
class VolumeName:
    """What the key of a volume, or of its index, says."""

    subject: str
    kind: ArchiveKind
    #: from 1
    number: int
    is_index: bool

    @property
    def key(self) -> str:
        """The object key below the store's prefix (DESIGN 3)."""
        ending = "index" if self.is_index else "tar.zst"
        return f"{self.subject}/{self.subject}_{self.kind}_{self.number:04d}.{ending}.age"


def parse_volume_key(key: str) -> VolumeName | None:
    """Return what ``key`` says, None where it is not one of an archive."""
    match = _KEY.fullmatch(key)
    if match is None:
        return None
    name = VolumeName(match[1], cast(ArchiveKind, match[2]), int(match[3]), match[4] == "index")
    return name if name.key == key else None


def share_out(files: Iterable[T], size_of: Callable[[T], int], *, limit: int = VOLUME_BYTES) -> list[list[T]]:
    """Return the files of each volume, in their order; a file larger than ``limit`` has one for itself."""
    volumes: list[list[T]] = []
    room = 0
    for file in files:
        needed = size_of(file) + _HEADER_BYTES
        if not volumes or needed > room:
            volumes.append([])
            room = limit
        volumes[-1].append(file)
        room -= needed
    return volumes


def part_size_of(spans: Iterable[FrameSpan], *, least: int = PART_BYTES) -> int:
    """Return the part size with which the volume of these frames has at most 9,000 parts, whatever they shrink to."""
    share = -(-most_zstd_bytes(spans) // MOST_PARTS)
    return least if share <= least else -(-share // MIB) * MIB


def most_zstd_bytes(spans: Iterable[FrameSpan]) -> int:
    """Return what these frames can have at most together."""
    return sum(most_frame_bytes(span.length) for span in spans)


def most_part_bytes(part_size: int, *, prefix: int) -> int:
    """Return what one part of the object can have at most: frames, filled up to whole age chunks, sealed.

    Parameters
    ----------
    prefix
        Bytes of the age header and nonce, which the first part begins with.
    """
    plain = part_size - 1 + most_frame_bytes(FRAME_BYTES) + 2 * CHUNK_BYTES
    return prefix + plain + chunks_in(plain) * TAG_BYTES


def most_object_bytes(spans: Iterable[FrameSpan], part_size: int, *, prefix: int) -> int:
    """Return what the whole object can have at most."""
    most = most_zstd_bytes(spans)
    plain = most + (most // part_size + 1) * 2 * CHUNK_BYTES
    return prefix + plain + chunks_in(plain) * TAG_BYTES
