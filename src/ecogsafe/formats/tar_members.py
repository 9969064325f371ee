"""The files of a tar stream that somebody else wrote: GNU tar, bsdtar, Python; as it comes, in any pieces.

`tarfile` takes a damaged or missing header in the middle of a stream for its end. Here a stream ends with its
end mark or it is cut. Names are taken as they stand: who makes files of them asks `problem_with` first.

References
----------
POSIX.1-2017, pax and ustar interchange formats; GNU tar manual, "Basic Tar Format" (long names, large sizes).
"""

from __future__ import annotations

import re
import tarfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.core.private import Private

BLOCK_BYTES = 512
#: longer names and pax headers are none
_MOST_HEADER_BYTES = 1 << 20
_MOST_NAME_BYTES = 4096
_PAX_RECORD = re.compile(rb"([0-9]{1,7}) ([^=]{1,200})=")
_ITEM: Final = "a tar file"
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.GNUTYPE_SPARSE: "a sparse file",
}
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LONG_NAME = {tarfile.GNUTYPE_LONGNAME: b"path", tarfile.GNUTYPE_LONGLINK: b"linkpath"}


@dataclass(frozen=True, slots=True)
class Member:
    """One entry; ``content`` is to be read before the next one, and may be left unread."""

    #: as it stands in the stream, without slashes at its end; perhaps a patient's name
    path: Private
    size: int
    #: seconds since 1970
    mtime: float
    is_folder: bool
    #: what it is where it is neither file nor folder
    refused_kind: str | None
    content: Iterator[bytes]


def problem_with(path: Private) -> str | None:
    """Return why ``path`` may not become a file below a folder; None where it may."""
    text = path.reveal()
    parts = text.split("/")
    if text.startswith("/"):
        return "an absolute path"
    if ".." in parts:
        return "a path that leads outside"
    if not text or "\0" in text or any(len(part.encode("utf-8", "surrogateescape")) > 255 for part in parts):
        return "a name that no file can have"
    return None


class TarMembers:
    """The entries of one tar stream.

    Parameters
    ----------
    pieces
        The stream.

    Attributes
    ----------
    taken : int
        Bytes read so far.
    """

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = memoryview(b"")
        self.taken = 0

    def __iter__(self) -> Iterator[Member]:
        """Yield every entry; when the iteration ends by itself, the stream was whole and read to its end.

        Raises
        ------
        MalformedFileError
            The stream is cut, or a header is damaged.
        """
        records: dict[bytes, bytes] = {}
        common: dict[bytes, bytes] = {}
        while (info := self._next_header()) is not None:
            if info.type in _LONG_NAME:
                records[_LONG_NAME[info.type]] = self._header_data(info).split(b"\0", 1)[0]
                continue
            if info.type in (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE):
                records |= _pax_records(self._header_data(info))
                continue
            if info.type == tarfile.XGLTYPE:
                common |= _pax_records(self._header_data(info))
                continue
            yield from self._member(info, common | records)
            records = {}
        for _ in self._pieces:
            pass

    def _member(self, info: tarfile.TarInfo, records: dict[bytes, bytes]) -> Iterator[Member]:
        try:
            name = records[b"path"].decode("utf-8", "surrogateescape") if b"path" in records else info.name
            size = int(records[b"size"]) if b"size" in records else info.size
            mtime = float(records[b"mtime"]) if b"mtime" in records else float(info.mtime)
        except ValueError as error:
            raise _damaged() from error
        is_file = info.type in _FILES and not any(key.startswith(b"GNU.sparse") for key in records)
        # an old habit: a folder is a file whose name ends with a slash
        is_folder = info.type == tarfile.DIRTYPE or (info.type == tarfile.AREGTYPE and name.endswith("/"))
        kind = None
        if not is_file and not is_folder:
            kind = _KINDS.get(info.type, "a sparse file" if info.type in _FILES else "an entry of an unknown kind")
        if size < 0 or len(name) > _MOST_NAME_BYTES:
            raise _damaged()
        # links and folders have no data, whatever size they tell
        size = size if info.type in _FILES or (info.type not in _KINDS and not is_folder) else 0
        content = self._bytes(size)
        yield Member(Private(name.rstrip("/") if is_folder else name), size, mtime, is_folder, kind, content)
        for _ in content:
            pass
        self._exactly(-size % BLOCK_BYTES)

    def _next_header(self) -> tarfile.TarInfo | None:
        block = self._exactly(BLOCK_BYTES)
        if not any(block):
            return None
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as error:
            raise _damaged() from error

    def _header_data(self, info: tarfile.TarInfo) -> bytes:
        if not 0 < info.size <= _MOST_HEADER_BYTES:
            raise _damaged()
        data = self._exactly(info.size)
        self._exactly(-info.size % BLOCK_BYTES)
        return data

    def _bytes(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._held:
                piece = next(self._pieces, None)
                if piece is None:
                    raise MalformedFileError(_ITEM, "is cut: it ends before its end mark")
                self._held = memoryview(piece)
                continue
            given = bytes(self._held[:size])
            self._held = self._held[size:]
            size -= len(given)
            self.taken += len(given)
            yield given

    def _exactly(self, size: int) -> bytes:
        return b"".join(self._bytes(size))


def _pax_records(data: bytes) -> dict[bytes, bytes]:
    records: dict[bytes, bytes] = {}
    while data:
        match = _PAX_RECORD.match(data)
        length = int(match[1]) if match else 0
        if match is None or not match.end() < length <= len(data) or data[length - 1 : length] != b"\n":
            raise _damaged()
        records[match[2]] = data[match.end() : length - 1]
        data = data[length:]
    return records


def _damaged() -> MalformedFileError:
    return MalformedFileError(_ITEM, "holds a header that is damaged")
