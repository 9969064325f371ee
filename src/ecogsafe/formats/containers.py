"""What is inside a container: zip and what is built on it (docx, odt …), tar, gzip, bzip2, xz, OLE2 (doc, xls, epo).

Unpacking is bounded in depth, in bytes, in members and in how much more comes out than went in; nothing is written
to disk. What cannot be opened is told as `NotSearched`, so that nobody takes it for clean.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import struct
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import IO, BinaryIO, Protocol, cast

import olefile  # type: ignore[import-untyped]

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.container_kinds import COMPRESSED, HEAD_BYTES, Container, closed_reason, container_of
from ecogsafe.formats.marked_text import marked_text
from ecogsafe.formats.ole_encryption import is_encrypted_ole
from ecogsafe.formats.regions import file_size, read_at

_PIECE_BYTES = 1 << 20
_OPENABLE = frozenset({zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA})
_ENCRYPTED = 0x1
#: What the readers of containers raise on damaged ones; a KeyError or IndexError is one of theirs as well.
_DAMAGE = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, OSError, RuntimeError, ValueError,
    struct.error, LookupError, OverflowError, TypeError,
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How far unpacking goes."""

    #: a docx in a zip in a tar is three deep
    nesting: int = 3
    #: bytes that may come out of one file, everything in it together
    total_bytes: int = 2 << 30
    #: so many times its packed size may come out of a member, once `ratio_from` bytes have
    ratio: int = 250
    ratio_from: int = 32 << 20
    #: bytes of one member that are held in memory: of a container in a container, of a document with marks
    held_bytes: int = 256 << 20
    members: int = 100_000


@dataclass(frozen=True, slots=True)
class Member:
    """One thing in a container. Its bytes must be taken before the next member is asked for.

    Iterating ``pieces`` raises MalformedFileError where they turn out damaged or too many.
    """

    #: names from the outermost container inwards; private
    path: tuple[str, ...]
    pieces: Iterator[bytes]
    #: the text of a document without its marks, after the member that holds the bytes as they are
    is_text: bool = False


@dataclass(frozen=True, slots=True)
class NotSearched:
    """What could not be opened, and why; ``path`` is private, empty for the file itself."""

    path: tuple[str, ...]
    reason: str


Found = Member | NotSearched


class _Source(Protocol):
    def read(self, size: int = ..., /) -> bytes: ...


@dataclass(slots=True)
class _Budget:
    limits: Limits
    spent: int = 0
    members: int = 0

    @property
    def is_spent(self) -> bool:
        return self.spent > self.limits.total_bytes or self.members > self.limits.members


class _Bounded(io.RawIOBase):
    """A stream that counts what comes out of it, and says of damage that it is damage."""

    def __init__(self, source: _Source, budget: _Budget, packed: int | None) -> None:
        self._source = source
        self._budget = budget
        self._packed = packed
        self._out = 0
        self._held = b""

    def read(self, size: int = -1, /) -> bytes:
        size = _PIECE_BYTES if size < 0 else size
        if self._held:
            given, self._held = self._held[:size], self._held[size:]
            return given
        try:
            data = self._source.read(size)
        except _DAMAGE:
            raise _refused("it is damaged, or not what it says") from None
        limits = self._budget.limits
        self._out += len(data)
        self._budget.spent += len(data)
        if self._budget.is_spent:
            raise _refused("too much comes out of the file it is in")
        if self._packed is not None and self._out > max(limits.ratio_from, limits.ratio * self._packed):
            raise _refused("far more comes out of it than went in")
        return data

    def give_back(self, data: bytes) -> None:
        """Let the next reads begin with ``data``."""
        self._held = data + self._held

    def up_to(self, size: int) -> bytes:
        """Return the next ``size`` bytes, fewer only at the end."""
        pieces: list[bytes] = []
        while size > 0 and (piece := self.read(min(size, _PIECE_BYTES))):
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def pieces(self) -> Iterator[bytes]:
        while piece := self.read(_PIECE_BYTES):
            yield piece


def _refused(reason: str) -> MalformedFileError:
    return MalformedFileError("a member of a container", reason)


def _decompressed(container: Container, file: IO[bytes]) -> IO[bytes]:
    if container is Container.GZIP:
        return cast("IO[bytes]", gzip.GzipFile(fileobj=file, mode="rb"))
    return cast("IO[bytes]", bz2.BZ2File(file) if container is Container.BZIP2 else lzma.LZMAFile(file))


def walk(file: BinaryIO, limits: Limits | None = None) -> Iterator[Found]:
    """Yield everything inside ``file``, however deep; nothing where it is no container.

    The bytes of ``file`` itself are not among it, but the text of a document with marks is.
    """
    budget = _Budget(limits or Limits())
    head = read_at(file, 0, HEAD_BYTES)
    container = container_of(head)
    size = file_size(file)
    walker = _Walker(budget)
    if container is Container.CLOSED:
        yield NotSearched((), closed_reason(head))
    elif container is Container.NONE:
        if marked_text(head) is not None:
            yield from walker.text((), read_at(file, 0, min(size, budget.limits.held_bytes)), size)
        elif zipfile.is_zipfile(file):
            # a program in front of an archive unpacks it
            yield from walker.inside(Container.ZIP, file, (), 1, size)
    else:
        file.seek(0)
        yield from walker.inside(container, file, (), 1, size)


@dataclass(frozen=True, slots=True)
class _Walker:
    budget: _Budget = field(repr=False)

    def inside(
        self, container: Container, file: IO[bytes], path: tuple[str, ...], depth: int, size: int | None
    ) -> Iterator[Found]:
        """Yield what is in ``file``; what goes wrong in it is told, never raised."""
        try:
            if container is Container.ZIP:
                yield from self._zip(file, path, depth)
            elif container is Container.OLE:
                yield from self._ole(file, path, depth)
            elif container is Container.TAR:
                yield from self._tar(file, path, depth)
            else:
                with _decompressed(container, file) as stream:
                    yield from self._member(stream, (*path, f"({container.value})"), depth, size)
        except MalformedFileError as error:
            yield NotSearched(path, error.problem)
        except _DAMAGE:
            yield NotSearched(path, f"a damaged {container.value} file: not all of it could be opened")

    def text(self, path: tuple[str, ...], data: bytes, size: int) -> Iterator[Found]:
        """Yield the text of the document ``data``, of ``size`` bytes, without its marks."""
        if size > len(data):
            yield NotSearched(path, "a document too large to be read without its marks")
        elif (text := marked_text(data)) is not None:
            yield Member(path, iter((text.encode("utf-8", "replace"),)), is_text=True)

    def _member(self, source: _Source, path: tuple[str, ...], depth: int, packed: int | None) -> Iterator[Found]:
        limits = self.budget.limits
        stream = _Bounded(source, self.budget, packed)
        try:
            head = stream.up_to(HEAD_BYTES)
        except MalformedFileError as error:
            yield NotSearched(path, error.problem)
            return
        container = container_of(head)
        stream.give_back(head)
        if container in (Container.NONE, Container.CLOSED):
            if container is Container.CLOSED:
                yield NotSearched(path, closed_reason(head))
            yield from self._plain(stream, path, has_marks=marked_text(head) is not None)
        elif depth + (container not in COMPRESSED) > limits.nesting or len(path) > 2 * limits.nesting:
            yield NotSearched(path, "it lies too deep in other containers")
        elif container in (Container.ZIP, Container.OLE):
            held = stream.up_to(limits.held_bytes + 1)
            if len(held) > limits.held_bytes:
                yield NotSearched(path, "it is too large to be opened inside another container")
                return
            yield Member(path, iter((held,)))
            yield from self.inside(container, io.BytesIO(held), path, depth + 1, len(held))
        else:
            yield from self.inside(
                container, cast("IO[bytes]", stream), path, depth + (container not in COMPRESSED), None
            )

    def _plain(self, stream: _Bounded, path: tuple[str, ...], *, has_marks: bool) -> Iterator[Found]:
        if not has_marks:
            yield Member(path, stream.pieces())
            return
        held = stream.up_to(self.budget.limits.held_bytes + 1)
        is_whole = len(held) <= self.budget.limits.held_bytes
        stream.give_back(held)
        yield Member(path, stream.pieces())
        yield from self.text(path, held, len(held) if is_whole else len(held) + 1)

    def _counted(self, path: tuple[str, ...]) -> Iterator[NotSearched]:
        """Count one member; yield why it and the rest stay closed, if they do."""
        self.budget.members += 1
        if self.budget.is_spent:
            yield NotSearched(path, "too much is in it: from here on it was not opened")

    def _zip(self, file: IO[bytes], path: tuple[str, ...], depth: int) -> Iterator[Found]:
        with zipfile.ZipFile(file) as archive:
            for info in archive.infolist():
                inner = (*path, info.filename)
                if stop := list(self._counted(inner)):
                    yield from stop
                    return
                if info.flag_bits & _ENCRYPTED:
                    yield NotSearched(inner, "encrypted with a password")
                elif info.compress_type not in _OPENABLE:
                    yield NotSearched(inner, "compressed in a way that is not opened here")
                elif not info.is_dir():
                    with archive.open(info) as stream:
                        yield from self._member(stream, inner, depth, info.compress_size)

    def _tar(self, file: IO[bytes], path: tuple[str, ...], depth: int) -> Iterator[Found]:
        with tarfile.open(fileobj=file, mode="r|", encoding="utf-8", errors="surrogateescape") as archive:
            for info in archive:
                inner = (*path, info.name)
                if stop := list(self._counted(inner)):
                    yield from stop
                    return
                said = "\n".join((info.linkname, info.uname, info.gname, *info.pax_headers.values()))
                yield Member(inner, iter((said.encode("utf-8", "surrogateescape"),)))
                if info.isreg() and (stream := archive.extractfile(info)) is not None:
                    yield from self._member(stream, inner, depth, None)
                # it would remember every member
                archive.members = []  # type: ignore[attr-defined]

    def _ole(self, file: IO[bytes], path: tuple[str, ...], depth: int) -> Iterator[Found]:
        with olefile.OleFileIO(file) as compound:
            if is_encrypted_ole(compound):
                yield NotSearched(path, "encrypted with a password")
            for entry in compound.listdir(streams=True, storages=False):
                inner = (*path, "/".join(entry))
                if stop := list(self._counted(inner)):
                    yield from stop
                    return
                if compound.get_size(entry) > self.budget.limits.held_bytes:
                    yield NotSearched(inner, "a stream too large to be opened")
                else:
                    yield from self._member(compound.openstream(entry), inner, depth, None)
