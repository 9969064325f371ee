"""What came of an object that was received, and what stands here already: sizes and digests."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ecogsafe.core.errors import InterruptedRunError, NoSpaceError

_READ_BYTES = 1024 * 1024


@dataclass(frozen=True, slots=True)
class Received:
    """What one object turned out to hold."""

    sha256: str
    #: bytes of the content, opened
    size: int
    #: CRC64NVME of the object's bytes as they arrived; 0 where there was nothing to compare it with
    crc64: int


def interrupted(key: str) -> InterruptedRunError:
    """Return the error for an object that a run did not finish."""
    return InterruptedRunError(key, "was interrupted", safe="What came of it is kept, and the next run goes on there")


def no_room(relative: PurePosixPath, *, is_kept: bool) -> NoSpaceError:
    """Return the error for a file that does not fit."""
    part = "What came of it is kept" if is_kept else "No partial file was left"
    return NoSpaceError(
        str(relative),
        "there is not enough room for it on this disk",
        safe=f"{part}; the files already there are complete",
        next="make room, or choose another folder with -d, then run the same command again",
    )


def digest_of_file(path: Path) -> str:
    """Return the SHA-256 of a regular file, not following a link."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(errno.EINVAL, "not a regular file")
        while piece := file.read(_READ_BYTES):
            digest.update(piece)
    return digest.hexdigest()
