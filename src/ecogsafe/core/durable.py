"""Files that survive a power cut: temporary name, fsync, rename, fsync of the folder."""

from __future__ import annotations

import ctypes
import errno
import functools
import os
import secrets
import sys
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_AT_FDCWD = -100
_RENAME_NOREPLACE = 1
_RENAME_EXCL = 4  # macOS <sys/stdio.h>


def fsync_directory(folder: Path) -> None:
    """Make the names in ``folder`` durable."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_atomically(path: Path, data: bytes, *, mode: int = 0o600, replace: bool = True) -> None:
    """Write ``data`` to ``path`` so that a reader sees the old file or the new one, never a part.

    Raises
    ------
    FileExistsError
        ``replace`` is false and ``path`` exists.
    OSError
        The disk refused; nothing but a temporary file may have been left, and it is removed.
    """
    write_pieces_atomically(path, (data,), mode=mode, replace=replace)


def write_pieces_atomically(path: Path, pieces: Iterable[bytes], *, mode: int = 0o600, replace: bool = True) -> None:
    """Do `write_atomically` for bytes that come in ``pieces``; what their iteration raises leaves no file."""
    # a hidden name keeps its own beginning: a folder store knows its unfinished files by it
    hidden = path.name if path.name.startswith(".") else f".{path.name}"
    temporary = path.with_name(f"{hidden}.{secrets.token_hex(4)}.tmp")
    fd = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        with os.fdopen(fd, "wb") as out:
            for piece in pieces:
                out.write(piece)
            out.flush()
            with suppress(PermissionError):
                # the file is ours, so it is the file system (FAT) that keeps no permissions but the mount's
                os.fchmod(out.fileno(), mode)
            os.fsync(out.fileno())
        if replace:
            temporary.replace(path)
        else:
            rename_noreplace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    fsync_directory(path.parent)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _kernel_rename_noreplace(source: bytes, target: bytes) -> bool:
    """Rename in one kernel call that refuses to replace; False where this system has no such call."""
    libc = _libc()
    if sys.platform == "darwin":
        call = getattr(libc, "renamex_np", None)
        arguments: tuple[object, ...] = (source, target, ctypes.c_uint(_RENAME_EXCL))
    else:
        call = getattr(libc, "renameat2", None)
        arguments = (_AT_FDCWD, source, _AT_FDCWD, target, ctypes.c_uint(_RENAME_NOREPLACE))
    if call is None:
        return False
    if call(*arguments) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP):
        return False
    raise OSError(number, os.strerror(number))


def rename_noreplace(source: Path, target: Path) -> None:
    """Give ``source`` the name ``target``; never replaces.

    Uses the kernel's own call; where a file system has none, a hard link and an unlink; where it has
    no hard links either, a check and a rename (the caller owns the folder then). The folders are not
    fsynced here.

    Raises
    ------
    FileExistsError
        ``target`` exists.
    OSError
        Anything else; the caller asks the disk what happened before it believes it.
    """
    if _kernel_rename_noreplace(os.fsencode(source), os.fsencode(target)):
        return
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS):
            raise
        if os.path.lexists(target):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST)) from None
        source.rename(target)
    else:
        source.unlink()
