"""Room for a file, reserved before its first byte comes, so that a full disk is met at the beginning."""

from __future__ import annotations

import ctypes
import errno
import os
import sys

#: the file system or the system cannot reserve
_CANNOT = frozenset({errno.EOPNOTSUPP, errno.ENOTSUP, errno.ENOSYS, errno.EINVAL})


def reserve(fd: int, size: int) -> None:
    """Make the empty file ``fd`` ``size`` bytes long, with room for all of them where that can be had.

    The kernel's own call only: the C library's ``posix_fallocate`` writes into every block of a file
    system that cannot reserve (NFS 3), which takes as long as the file.

    Raises
    ------
    OSError
        There is not so much room (ENOSPC, EDQUOT), or the disk refused otherwise.
    """
    if size and sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        offset, length = ctypes.c_int64(0), ctypes.c_int64(size)
        # some C libraries have the one name only, always of 64 bits
        fallocate = getattr(libc, "fallocate64", None) or libc.fallocate
        if fallocate(fd, 0, offset, length) == 0:
            return
        number = ctypes.get_errno()
        if number not in _CANNOT:
            raise OSError(number, os.strerror(number))
    os.ftruncate(fd, size)
