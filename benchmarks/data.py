"""Files to move: random bytes, which nothing compresses, in the layout of `ecogsafe deid apply`."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_PIECE = 4 * 2**20
_CODES = ("a0000001", "b0000002", "c0000003", "d0000004")
#: of every file; long past, so that nothing takes it for being written now
_MTIME_S = 1_700_000_000


@dataclass(frozen=True, kw_only=True)
class Clips:
    """Clips of one size below ``OUT/video``."""

    #: OUT
    folder: Path
    files: int
    bytes_each: int

    @property
    def video(self) -> Path:
        """What every client is given."""
        return self.folder / "video"

    @property
    def bytes(self) -> int:
        """All together."""
        return self.files * self.bytes_each

    @property
    def gib(self) -> float:
        """All together."""
        return self.bytes / 2**30

    def paths(self) -> list[Path]:
        """Return every file."""
        return sorted(path for path in self.video.rglob("*") if path.is_file())


def make_clips(folder: Path, *, files: int, bytes_each: int, sparse: bool = False) -> Clips:
    """Write ``files`` clips of ``bytes_each`` below ``folder``, spread over up to four subjects."""
    made = Clips(folder=folder, files=files, bytes_each=bytes_each)
    for number in range(files):
        code = _CODES[number % min(files, len(_CODES))]
        path = made.video / code / f"{code}_1" / f"{code}_1_{number + 1:05d}.avi"
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as out:
            if sparse:
                out.truncate(bytes_each)
            else:
                for start in range(0, bytes_each, _PIECE):
                    out.write(os.urandom(min(_PIECE, bytes_each - start)))
        os.utime(path, (_MTIME_S, _MTIME_S))
    return made


def warm(clips: Clips) -> None:
    """Read everything once, so that every client finds it in the page cache."""
    for path in clips.paths():
        with path.open("rb", buffering=0) as file:
            while file.read(_PIECE):
                pass


def cool(clips: Clips) -> None:
    """Drop the files from the page cache, so that reading them means the disk."""
    os.sync()
    for path in clips.paths():
        descriptor = os.open(path, os.O_RDONLY)
        try:
            if hasattr(os, "posix_fadvise"):
                os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        finally:
            os.close(descriptor)
