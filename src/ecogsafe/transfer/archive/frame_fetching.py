"""Frames of a volume by byte range: fetched, opened, decompressed, compared with their checksums."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence

import zstandard

from ecogsafe.core.errors import VerificationError
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.age_stream import ChunkOpener
from ecogsafe.crypt.errors import PayloadError
from ecogsafe.crypt.sealed_layout import CHUNK_BYTES, plain_size_of
from ecogsafe.crypt.unsealer import ChunkRun, open_prefix
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.archive.frames import FRAME_BYTES, most_frame_bytes, open_frame
from ecogsafe.transfer.archive.index import Frame, VolumeIndex
from ecogsafe.transfer.archive.volume_reader import refused

_log = logging.getLogger(__name__)
#: bytes that arrive wrong so often are not wrong by chance
_ATTEMPTS = 3


class FrameFetcher:
    """Fetches frames of one volume; several threads may, after `open`.

    Parameters
    ----------
    on_bytes
        Called with the count of object bytes that arrived.
    wait
        Returns when something may be begun.
    """

    def __init__(
        self,
        store: Store,
        index: VolumeIndex,
        identities: Sequence[Identity],
        on_bytes: Callable[[int], None] = lambda _count: None,
        wait: Callable[[], None] = lambda: None,
    ) -> None:
        self._store = store
        self.index = index
        self._identities = identities
        self._on_bytes = on_bytes
        self._wait = wait
        self._opener: ChunkOpener | None = None

    def open(self) -> None:
        """Fetch the header and open it.

        Raises
        ------
        NoMatchError
            The volume is sealed to other keys.
        VerificationError
            The header is damaged, or not as long as the index says.
        StoreError
            As `Store.read`.
        """
        head = self._read(0, self.index.header_bytes)
        try:
            opened = open_prefix(head, self._identities)
        except VerificationError as error:
            raise refused(self.index.key, f"does not open: {error.problem}") from error
        if opened is None or opened[1] != self.index.header_bytes:
            raise refused(self.index.key, "has another header than its index says")
        self._opener = opened[0]

    def fetch(self, frames: Sequence[Frame]) -> list[bytes]:
        """Return the tar bytes of neighbouring ``frames``, fetched with one request.

        Raises
        ------
        VerificationError
            The bytes are not what was sealed, also after they were fetched again.
        StoreError
            As `Store.read`.
        """
        self._wait()
        for _ in range(_ATTEMPTS - 1):
            try:
                return self._fetch(frames)
            except VerificationError as error:
                _log.info("frames came wrong and are fetched again key=%s code=%s", self.index.key, error.code)
        return self._fetch(frames)

    def _fetch(self, frames: Sequence[Frame]) -> list[bytes]:
        zstd_start, zstd_stop = frames[0].zstd_start, frames[-1].zstd_stop
        start, stop = self.index.object_range(zstd_start, zstd_stop)
        first = zstd_start // CHUNK_BYTES
        plain = memoryview(bytearray(self._plain_stop(zstd_stop) - first * CHUNK_BYTES))
        if self._opener is None:
            raise ValueError("open first")
        run = ChunkRun(self._opener, first, plain, with_last=stop == self.index.object_size)
        try:
            for data in self._store.read(self.index.key, start, stop):
                self._on_bytes(len(data))
                run.feed(memoryview(data))
            run.finish()
        except PayloadError as error:
            raise refused(self.index.key, f"is damaged: {error.problem}") from error
        begin = first * CHUNK_BYTES
        return [
            self._opened(plain[f.zstd_start - begin : f.zstd_stop - begin], f.tar_stop - f.tar_start) for f in frames
        ]

    def _opened(self, frame: memoryview, length: int) -> bytes:
        try:
            # the library takes as much memory as the frame announces
            if zstandard.frame_content_size(frame) != length:
                raise refused(self.index.key, "holds a frame of another length than its index says")
            return open_frame(frame, length)
        except zstandard.ZstdError as error:
            raise refused(self.index.key, "a compressed frame of it is damaged") from error
        except VerificationError as error:
            raise refused(self.index.key, error.problem) from error

    def _plain_stop(self, zstd_stop: int) -> int:
        """Return where the age chunk ends that holds the byte before ``zstd_stop``."""
        return min(-(-zstd_stop // CHUNK_BYTES) * CHUNK_BYTES, self.index.zstd_size)

    def _read(self, start: int, stop: int) -> bytes:
        data = b"".join(self._store.read(self.index.key, start, stop))
        self._on_bytes(len(data))
        return data


def index_fits(index: VolumeIndex, info: ObjectInfo, *, crc64: int | None) -> bool:
    """Return whether ``index`` speaks of the object that stands there now, and of frames that fit into memory.

    Parameters
    ----------
    crc64
        What the catalogue knows of the object where the store tells none.
    """
    most = most_frame_bytes(FRAME_BYTES)
    if any(f.tar_stop - f.tar_start > FRAME_BYTES or f.zstd_stop - f.zstd_start > most for f in index.frames):
        return False
    told = info.crc64 if info.crc64 is not None else crc64
    if told is not None and told != index.object_crc64nvme:
        return False
    plain_size = plain_size_of(index.object_size - index.header_bytes)
    return info.key == index.key and info.size == index.object_size and plain_size == index.zstd_size
