"""Files out of a volume without its index: all of it is read from the beginning, and proven by its manifest.

A file whose digest nobody knows keeps its hidden name until the manifest, the last member, says that it is
right: a volume that is cut or was changed leaves nothing behind.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, VerificationError
from ecogsafe.crypt.age_file import open_pieces
from ecogsafe.crypt.age_recipients import Identity
from ecogsafe.crypt.checksums import crc64nvme
from ecogsafe.stores.protocol import ObjectInfo, Store
from ecogsafe.transfer.archive.tar_stream import Entry
from ecogsafe.transfer.archive.unpacked import Arrival, Wish
from ecogsafe.transfer.archive.volume_reader import Opened, VolumeReader, refused, unzipped


class WholeUnpacking:
    """Reads one volume from its first byte to its last.

    Parameters
    ----------
    volume
        What the store says of its object.
    crc64
        The checksum that the object must have; None where nobody knows.
    is_ours
        Whether a path is one that this subject's archives can hold.
    on_bytes
        Called with the count of object bytes that arrived.
    """

    def __init__(
        self,
        store: Store,
        volume: ObjectInfo,
        identities: Sequence[Identity],
        folder: Path,
        *,
        crc64: int | None,
        is_ours: Callable[[str], bool],
        stop: threading.Event,
        on_bytes: Callable[[int], None] = lambda _count: None,
    ) -> None:
        self._store = store
        self._volume = volume
        self._identities = identities
        self._folder = folder
        self._expected_crc = crc64
        self._is_ours = is_ours
        self._stop = stop
        self._on_bytes = on_bytes
        self._crc = 0
        self._aside: list[Arrival] = []
        self._begun: Arrival | None = None
        #: SHA-256 by path of everything in the volume; complete when `run` has ended by itself
        self.digests: dict[str, str] = {}

    def run(self, decide: Callable[[Entry], Wish | None]) -> Iterator[Arrival]:
        """Yield each wanted file when it has ended, whatever became of it.

        Parameters
        ----------
        decide
            Returns what is wanted of a file of the volume, None to pass over it.

        Raises
        ------
        VerificationError
            The volume is not what it should be; what was not proven before by a digest of its own is gone.
        NoMatchError
            The volume is sealed to other keys.
        InterruptedRunError
            ``stop`` was set.
        StoreError
            As `Store.read`.
        """
        reader = VolumeReader(self._tar(), is_ours=self._is_ours, item=self._volume.key)
        try:
            for opened in reader.files():
                wish = decide(opened.entry)
                if wish is not None and (ended := self._unpack(opened, wish)) is not None:
                    yield ended
            self._check()
        except EcogsafeError as error:
            yield from self._give_up(error)
            raise
        except GeneratorExit:
            for _ in self._give_up(self._interrupted()):
                pass
            raise
        self.digests = reader.digests
        for arrival in self._aside:
            arrival.publish_aside()
            yield arrival

    def _unpack(self, opened: Opened, wish: Wish) -> Arrival | None:
        """Return the file if it has ended, None where it waits for the manifest."""
        arrival = Arrival(self._folder, wish, self._volume, aside=wish.sha256 is None)
        arrival.open(anew=True)
        self._begun = arrival
        for piece in opened.content:
            arrival.take(memoryview(piece))
        self._begun = None
        if wish.sha256 is not None:
            arrival.end()
            return arrival
        arrival.set_aside()
        if arrival.error is not None:
            return arrival
        self._aside.append(arrival)
        return None

    def _give_up(self, error: EcogsafeError) -> Iterator[Arrival]:
        if self._begun is not None:
            self._begun.fail(error)
            yield self._begun
        for arrival in self._aside:
            arrival.drop_aside(error)
            yield arrival

    def _tar(self) -> Iterator[bytes]:
        try:
            yield from unzipped(open_pieces(self._pieces(), self._identities), item=self._volume.key)
        except VerificationError as error:
            if error.item == self._volume.key:
                raise
            raise refused(self._volume.key, f"is damaged: {error.problem}") from error

    def _pieces(self) -> Iterator[bytes]:
        for data in self._store.read(self._volume.key):
            if self._stop.is_set():
                raise self._interrupted()
            self._crc = crc64nvme(data, self._crc)
            self._on_bytes(len(data))
            yield bytes(data)

    def _interrupted(self) -> InterruptedRunError:
        return InterruptedRunError(
            self._volume.key, "was interrupted", safe="Complete files are kept", next="run the same command again"
        )

    def _check(self) -> None:
        if self._expected_crc is not None and self._crc != self._expected_crc:
            raise refused(self._volume.key, "does not have the checksum that was recorded for it")
