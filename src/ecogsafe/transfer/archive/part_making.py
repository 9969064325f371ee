"""One part of a volume: whole zstd frames, filled up to whole age chunks, sealed where it will be sent from."""

from __future__ import annotations

import hashlib
import sys
from dataclasses import dataclass

from ecogsafe.crypt.age_stream import ChunkSealer
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, TAG_BYTES, chunks_in
from ecogsafe.transfer.archive.frames import padding_for, skippable_frame

#: no chunk has this number: the end of the stream is in another part
_NEVER = sys.maxsize


@dataclass(frozen=True, slots=True)
class MadePart:
    """One whole part."""

    #: its bytes of the object
    body: memoryview
    crc64: int
    #: of its bytes of the zstd stream
    plain_sha256: bytes
    #: bytes of zstd stream, the filling included
    plain_size: int


class PartMaker:
    """Takes zstd frames in order and seals them, chunk after chunk.

    Parameters
    ----------
    target
        Memory for the part, at least `ecogsafe.transfer.archive.volumes.most_part_bytes`.
    prefix
        What the object begins with, for the first part; else nothing.
    first_chunk
        Number of the age chunk that the part begins with.
    """

    def __init__(self, sealer: ChunkSealer, target: memoryview, *, prefix: bytes, first_chunk: int) -> None:
        self._sealer = sealer
        self._target = target
        self._chunk = first_chunk
        self._digest = hashlib.sha256()
        target[: len(prefix)] = prefix
        self._made = len(prefix)
        self._crc = crc64nvme(prefix)
        #: what is not sealed yet: never more than one chunk, which may be the last of all
        self._rest = bytearray()
        #: bytes of zstd stream taken
        self.size = 0

    def add(self, frame: bytes | memoryview) -> None:
        """Take the next frame."""
        self._digest.update(frame)
        self.size += len(frame)
        with memoryview(frame) as view:
            used = 0
            if self._rest:
                used = min(CHUNK_BYTES - len(self._rest), len(view))
                self._rest += view[:used]
                if used == len(view):
                    return
                self._seal(memoryview(self._rest), last=_NEVER)
            left = len(view) - used
            kept = (left - 1) % CHUNK_BYTES + 1 if left else 0
            self._seal(view[used : len(view) - kept], last=_NEVER)
            self._rest = bytearray(view[len(view) - kept :])

    def finish(self, *, is_last: bool) -> MadePart:
        """Return the part; every one but the last of the volume is filled up to whole chunks."""
        if not is_last:
            filling = skippable_frame(padding_for(self.size))
            if filling:
                self.add(filling)
        last = self._chunk if is_last else _NEVER
        self._seal(memoryview(self._rest), last=last)
        self._rest = bytearray()
        return MadePart(self._target[: self._made], self._crc, self._digest.digest(), self.size)

    def _seal(self, plain: memoryview, *, last: int) -> None:
        if not len(plain):
            return
        count = chunks_in(len(plain))
        out = self._target[self._made : self._made + len(plain) + count * TAG_BYTES]
        self._sealer.seal_run_into(self._chunk, plain, out, last=last)
        self._crc = crc64nvme(out, self._crc)
        self._made += len(out)
        self._chunk += count
