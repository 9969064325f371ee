"""One file on its way out of a volume, piece by piece under a hidden name, named only when its digest is right."""

from __future__ import annotations

import errno
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecogsafe.core.errors import EcogsafeError, InterruptedRunError, VerificationError
from ecogsafe.stores.protocol import ObjectInfo
from ecogsafe.transfer.archive.volume_reader import refused
from ecogsafe.transfer.landing import Landing
from ecogsafe.transfer.received import no_room

_READ_BACK = 1024 * 1024
_NANOSECONDS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Wish:
    """A file that is wanted from a volume."""

    #: its path in the volume, and below the folder
    path: str
    #: bytes
    size: int
    #: what it must have; None where nobody knows before the manifest was read
    sha256: str | None
    mtime_ns: int


def whole_seconds(mtime: int) -> int:
    """Return a time of the tar file in nanoseconds."""
    return mtime * _NANOSECONDS


class Arrival:
    """Fills the hidden file of one wish; one thread at a time.

    Parameters
    ----------
    volume
        The volume's object, of which the file is a part.
    in_frames
        What is unfinished is worth keeping: it comes in several frames.
    aside
        It is going to be set aside.
    """

    def __init__(
        self, folder: Path, wish: Wish, volume: ObjectInfo, *, in_frames: bool = False, aside: bool = False
    ) -> None:
        self.wish = wish
        self.error: Exception | None = None
        #: frames that an earlier run left, by number
        self.landed: Mapping[int, int] = {}
        self._volume = volume
        self._in_frames = in_frames or aside
        #: what is noted of the one is nothing to the other
        self._part = f"{volume.key}#{'aside:' if aside else ''}{wish.path}"
        self._landing = Landing(folder, PurePosixPath(wish.path), mtime_ns=wish.mtime_ns)
        self._digest = hashlib.sha256()
        self._position = 0
        self._is_open = False

    def open(self, *, anew: bool = False) -> None:
        """Take the hidden name and see what an earlier run left; an error is kept in ``error``.

        Parameters
        ----------
        anew
            What an earlier run left is thrown away.
        """
        if self._is_open or self.error is not None:
            return
        info = ObjectInfo(key=self._part, size=self.wish.size, etag=self._etag())
        try:
            landed = self._landing.open(info, self.wish.size)
            self._is_open = True
            # without a digest nothing would tell whether what was left is still right
            if landed is not None and landed.ranges and self._in_frames and self.wish.sha256 is not None and not anew:
                self._landing.go_on()
                self.landed = landed.ranges
            else:
                self._landing.begin(info, self.wish.size, b"", in_ranges=self._in_frames)
        except (EcogsafeError, OSError) as error:
            self.fail(error)

    def _etag(self) -> str:
        volume = self._volume
        return volume.etag or f"{volume.size:x}-{volume.last_modified.isoformat() if volume.last_modified else ''}"

    def take(self, data: memoryview, frame: int | None = None) -> None:
        """Write and digest the next bytes; with ``frame`` note that they are there."""
        if self.error is not None:
            return
        try:
            self._landing.write(data, self._position)
            if frame is not None:
                self._landing.note(frame, 0, len(data))
        except OSError as error:
            self.fail(error)
            return
        self._digest.update(data)
        self._position += len(data)

    def take_landed(self, size: int) -> None:
        """Digest the next ``size`` bytes from the disk, where an earlier run wrote them."""
        if self.error is not None:
            return
        left = size
        try:
            with memoryview(bytearray(min(_READ_BACK, size))) as memory:
                while left:
                    count = self._landing.read(memory[:left], self._position)
                    if not count:
                        raise refused(self._volume.key, "the unfinished file of a part of it is shorter than was noted")
                    self._digest.update(memory[:count])
                    self._position += count
                    left -= count
        except (OSError, VerificationError) as error:
            self.fail(error)

    @property
    def sha256(self) -> str:
        """The digest of what came."""
        return self._digest.hexdigest()

    def end(self) -> bool:
        """Name the file if it is right; return whether to fetch it once more because what was left was wrong."""
        if self.error is None and (self._position != self.wish.size or self.wish.sha256 not in (None, self.sha256)):
            self.fail(refused(self._volume.key, f"gives {self.wish.path} another digest than it must have"))
        if isinstance(self.error, VerificationError) and self.landed:
            return True
        self._publish()
        return False

    def _publish(self) -> None:
        if self.error is None:
            try:
                self._landing.publish()
            except (EcogsafeError, OSError) as error:
                self.fail(error)

    def set_aside(self) -> None:
        """Keep the whole file under its hidden name until `publish_aside` or `drop_aside`, closed."""
        if self.error is not None:
            return
        try:
            self._landing.set_aside()
        except OSError as error:
            self.fail(error)
        self._is_open = False

    def publish_aside(self) -> None:
        """Name a file that was set aside; an error is kept in ``error``."""
        self._take_back()
        self._publish()

    def drop_aside(self, error: Exception) -> None:
        """Remove a file that was set aside."""
        self._take_back()
        self.error = None
        self.fail(error)

    def _take_back(self) -> None:
        # what became of it here says nothing of the store
        try:
            self._landing.take_back()
        except (EcogsafeError, OSError) as error:
            self.error = error
        self._is_open = True
        if self.error is not None:
            self.fail(self.error)

    def fail(self, error: Exception) -> None:
        """Give up: what came is removed where it is wrong, and kept for the next run where it is only unfinished."""
        self.error = self.error or error
        if not self._is_open:
            return
        self._is_open = False
        is_kept = False
        if isinstance(error, VerificationError | FileExistsError):
            self._landing.discard()
        else:
            is_kept = self._landing.leave()
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            self.error = no_room(self._landing.relative, is_kept=is_kept)

    def interrupt(self) -> None:
        """Give up because the run ends."""
        self.fail(
            InterruptedRunError(
                self.wish.path, "was interrupted", safe="What came of it is kept, and the next run goes on there"
            )
        )
