"""The plaintext of a volume read from its beginning: zstd, tar, manifest; nothing in it is believed.

Only what `ecogsafe.transfer.archive.tar_stream` writes is read: regular files with names of our form, a pax
header where a number is too large for ustar, the manifest last. Everything else is refused before its bytes
are looked at, whoever sealed it: a public key is enough to seal.

References
----------
POSIX.1-2017, pax: ustar and pax interchange formats. RFC 8878 for zstd.
"""

from __future__ import annotations

import hashlib
import re
import tarfile
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import IO, cast

import zstandard

from ecogsafe.core.errors import VerificationError
from ecogsafe.transfer.archive.frames import FRAME_BYTES
from ecogsafe.transfer.archive.tar_stream import BLOCK_BYTES, MANIFEST, Entry

_PIECE_BYTES = 1 << 20
#: longer headers and manifests are none of ours
_MOST_PAX_BYTES = 1 << 16
_MOST_MANIFEST_BYTES = 256 << 20
_MOST_FILE_BYTES = 1 << 50
_MANIFEST_LINE = re.compile(r"([0-9a-f]{64})  (.+)")
_PAX_RECORD = re.compile(rb"([0-9]{1,6}) ([^=]{1,100})=")
#: what is refused by its type (ustar, GNU)
_KINDS = {
    tarfile.LNKTYPE: "a hard link",
    tarfile.SYMTYPE: "a symbolic link",
    tarfile.CHRTYPE: "a device",
    tarfile.BLKTYPE: "a device",
    tarfile.FIFOTYPE: "a FIFO",
    tarfile.DIRTYPE: "a folder entry",
}


@dataclass(frozen=True, slots=True)
class Opened:
    """One file of the volume: to be read to its end before the next one."""

    entry: Entry
    content: Iterator[bytes]


def unzipped(pieces: Iterable[bytes], *, item: str) -> Iterator[bytes]:
    """Yield the tar stream of a volume whose age plaintext comes in ``pieces``.

    A cut stream ends early without an error: `VolumeReader` misses its end.

    Raises
    ------
    VerificationError
        A frame is damaged.
    """
    decompressor = zstandard.ZstdDecompressor(max_window_size=2 * FRAME_BYTES)
    reader = decompressor.stream_reader(cast(IO[bytes], _File(pieces)), read_across_frames=True)
    try:
        while data := reader.read(_PIECE_BYTES):
            yield data
    except zstandard.ZstdError as error:
        raise refused(item, "a compressed frame of it is damaged") from error


class _File:
    """Pieces as the decompressor reads them."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._held = b""

    def read(self, size: int = -1) -> bytes:
        if not self._held:
            self._held = next(self._pieces, b"")
        data, self._held = (self._held, b"") if size < 0 else (self._held[:size], self._held[size:])
        return data


class VolumeReader:
    """The files of one volume in the order of its tar stream.

    Parameters
    ----------
    pieces
        The tar stream.
    is_ours
        Whether a path is one that this subject's archives can hold.
    item
        What messages call the volume: its key.
    """

    def __init__(self, pieces: Iterable[bytes], *, is_ours: Callable[[str], bool], item: str) -> None:
        self._pieces = iter(pieces)
        self._held = memoryview(b"")
        self._is_ours = is_ours
        self._item = item
        #: SHA-256 by path, as the manifest says; complete when `files` has ended
        self.manifest: dict[str, str] = {}
        #: what was read, by path
        self.digests: dict[str, str] = {}

    def files(self) -> Iterator[Opened]:
        """Yield the files; when the iteration ends by itself, the manifest has been compared with all of them.

        Raises
        ------
        VerificationError
            While iterated: something is not as it must be. What came before is not proven by it.
        """
        seen: set[str] = set()
        while True:
            entry = self._next_entry(seen)
            if entry.path == MANIFEST:
                self._read_manifest(entry)
                return
            digest = hashlib.sha256()
            content = self._content(entry.size, digest)
            yield Opened(entry, content)
            for _ in content:
                pass
            self.digests[entry.path] = digest.hexdigest()

    def _content(self, size: int, digest: hashlib._Hash) -> Iterator[bytes]:
        for piece in self._bytes(size):
            digest.update(piece)
            yield piece
        self._skip(-size % BLOCK_BYTES)

    def _next_entry(self, seen: set[str]) -> Entry:
        block = self._exactly(BLOCK_BYTES)
        records: dict[bytes, bytes] = {}
        info = self._header(block)
        if info.type == tarfile.XHDTYPE:
            records = self._pax(info)
            info = self._header(self._exactly(BLOCK_BYTES))
        path, size, mtime = self._described(info, records)
        if info.type not in (tarfile.REGTYPE, tarfile.AREGTYPE):
            raise self._refuse(f"holds {_KINDS.get(info.type, 'an entry of a kind that is none of ours')}")
        if path in seen:
            raise self._refuse("holds two files of one name")
        seen.add(path)
        if path != MANIFEST:
            self._check_path(path)
        if not 0 <= size <= _MOST_FILE_BYTES:
            raise self._refuse("holds a file of an impossible size")
        return Entry(path, size, mtime)

    def _header(self, block: bytes) -> tarfile.TarInfo:
        if not any(block):
            raise self._refuse("ends without its manifest")
        try:
            return tarfile.TarInfo.frombuf(block, "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError, ValueError) as error:
            raise self._refuse("holds a header that is damaged") from error

    def _pax(self, info: tarfile.TarInfo) -> dict[bytes, bytes]:
        if not 0 < info.size <= _MOST_PAX_BYTES:
            raise self._refuse("holds a header of an impossible size")
        data = self._exactly(info.size)
        self._skip(-info.size % BLOCK_BYTES)
        records: dict[bytes, bytes] = {}
        while data:
            match = _PAX_RECORD.match(data)
            length = int(match[1]) if match else 0
            if match is None or not match.end() < length <= len(data) or data[length - 1 : length] != b"\n":
                raise self._refuse("holds a header that is damaged")
            records[match[2]] = data[match.end() : length - 1]
            data = data[length:]
        return records

    def _described(self, info: tarfile.TarInfo, records: dict[bytes, bytes]) -> tuple[str, int, int]:
        if not records.keys() <= {b"path", b"size", b"mtime"}:
            raise self._refuse("holds a header of a kind that is none of ours")
        try:
            path = records[b"path"].decode() if b"path" in records else info.name
            size = int(records[b"size"]) if b"size" in records else info.size
            mtime = int(float(records[b"mtime"])) if b"mtime" in records else int(info.mtime)
        except (ValueError, OverflowError) as error:
            raise self._refuse("holds a header that is damaged") from error
        return path, size, mtime

    def _check_path(self, path: str) -> None:
        # the name itself is not repeated: whoever made it may have put a person's name there
        if path.startswith("/"):
            raise self._refuse("holds an absolute path")
        if ".." in path.split("/"):
            raise self._refuse("holds a path that leads outside")
        if not self._is_ours(path):
            raise self._refuse("holds a name that is not of our form, or another subject's")

    def _read_manifest(self, entry: Entry) -> None:
        if entry.size > _MOST_MANIFEST_BYTES:
            raise self._refuse("has a manifest of an impossible size")
        text = self._exactly(entry.size)
        self._skip(-entry.size % BLOCK_BYTES)
        for rest in self._pieces_left():
            if any(rest):
                raise self._refuse("goes on behind its manifest")
        self.manifest = parse_manifest(text, item=self._item)
        if self.manifest.keys() != self.digests.keys():
            raise self._refuse("holds other files than its manifest says")
        wrong = sum(self.digests[path] != digest for path, digest in self.manifest.items())
        if wrong:
            raise self._refuse(f"holds {wrong} files whose digests are not those of its manifest")

    def _pieces_left(self) -> Iterator[bytes | memoryview]:
        yield self._held
        yield from self._pieces

    def _bytes(self, size: int) -> Iterator[bytes]:
        while size:
            if not self._held:
                piece = next(self._pieces, None)
                if piece is None:
                    raise self._refuse("is cut: it ends inside a file")
                self._held = memoryview(piece)
                continue
            piece = bytes(self._held[:size])
            self._held = self._held[size:]
            size -= len(piece)
            yield piece

    def _exactly(self, size: int) -> bytes:
        return b"".join(self._bytes(size))

    def _skip(self, size: int) -> None:
        if any(self._exactly(size)):
            raise self._refuse("holds bytes between its files")

    def _refuse(self, problem: str) -> VerificationError:
        return refused(self._item, problem)


def parse_manifest(text: bytes, *, item: str) -> dict[str, str]:
    """Return SHA-256 by path from the lines of a ``MANIFEST.sha256``.

    Raises
    ------
    VerificationError
        It does not have that form.
    """
    found: dict[str, str] = {}
    try:
        lines = text.decode().split("\n")
    except UnicodeDecodeError as error:
        raise refused(item, "has a manifest that is damaged") from error
    if lines.pop() != "":
        raise refused(item, "has a manifest that is cut")
    for line in lines:
        match = _MANIFEST_LINE.fullmatch(line)
        if match is None or match[2] in found:
            raise refused(item, "has a manifest that is damaged")
        found[match[2]] = match[1]
    return found


def refused(item: str, problem: str) -> VerificationError:
    """Return the error for a volume that is not what it should be."""
    return VerificationError(
        item,
        problem,
        safe="Nothing was put in place of what is wrong",
        next="ecogsafe restore from another store, or ecogsafe download",
    )
