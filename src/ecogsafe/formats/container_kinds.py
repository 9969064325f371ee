"""Which container, if any, a file is: told by its first bytes, whatever its name says."""

from __future__ import annotations

import tarfile
from enum import Enum

#: What `container_of` wants to see of a file.
HEAD_BYTES = 4096


class Container(Enum):
    """Files that hold other files, or text that is not there as it stands; the value is a word for a message."""

    ZIP = "zip"
    OLE = "OLE2"
    TAR = "tar"
    GZIP = "gzip"
    BZIP2 = "bzip2"
    XZ = "xz"
    #: known, and not opened here
    CLOSED = "closed"
    NONE = ""


#: A compressed file is one member under another name: it is unpacked, and does not count as nesting.
COMPRESSED = frozenset({Container.GZIP, Container.BZIP2, Container.XZ})

_MAGIC = (
    (b"PK\x03\x04", Container.ZIP),
    (b"PK\x05\x06", Container.ZIP),
    (b"PK\x07\x08", Container.ZIP),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", Container.OLE),
    (b"\x1f\x8b\x08", Container.GZIP),
    (b"BZh", Container.BZIP2),
    (b"\xfd7zXZ\x00", Container.XZ),
)
#: Their text is compressed or sealed, and nothing here reads them.
_CLOSED = (
    (b"%PDF-", "a PDF: its text is compressed and is not read"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive: not opened"),
    (b"Rar!\x1a\x07", "a rar archive: not opened"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd: not opened"),
    (b"\x04\x22\x4d\x18", "compressed with lz4: not opened"),
    (b"\x1f\x9d", "compressed with compress: not opened"),
    (b"MSCF", "a cabinet file: not opened"),
    (b"age-encryption.org/v1", "sealed with age: nobody can read it without the key"),
    (b"-----BEGIN AGE ENCRYPTED FILE", "sealed with age: nobody can read it without the key"),
    (b"Salted__", "encrypted with OpenSSL: nobody can read it without the password"),
    (b"LUKS\xba\xbe", "an encrypted disk image"),
)


def container_of(head: bytes) -> Container:
    """Return which container begins with ``head``, the first `HEAD_BYTES` of a file."""
    for magic, container in _MAGIC:
        if head.startswith(magic):
            return container
    if closed_reason(head):
        return Container.CLOSED
    return Container.TAR if _is_tar(head) else Container.NONE


def closed_reason(head: bytes) -> str:
    """Return why a file that begins with ``head`` cannot be searched; empty where nothing is known against it."""
    return next((reason for magic, reason in _CLOSED if head.startswith(magic)), "")


def _is_tar(head: bytes) -> bool:
    """Return whether a tar header stands there: its checksum says so, also of the old ones without a magic."""
    if len(head) < tarfile.BLOCKSIZE or not any(head[: tarfile.BLOCKSIZE]):
        return False
    try:
        tarfile.TarInfo.frombuf(head[: tarfile.BLOCKSIZE], "utf-8", "surrogateescape")
    except tarfile.HeaderError:
        return False
    return True
