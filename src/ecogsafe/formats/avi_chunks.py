"""AVI clips: where text stands in one, and how long it plays.

An AVI is a RIFF file: chunks of a four-letter name, a size, data and a byte of padding where the size is odd.
Which chunks the hospital's recorder fills with text is not known, so every chunk counts as text that is not
known to carry structure or pictures and sound. What is inside the ``movi`` list is walked chunk by chunk, 8
bytes read for each, so that text between frames is seen; frames themselves are never text. The index
(``idx1``) is not needed and not trusted.

References
----------
AVI RIFF file reference, https://learn.microsoft.com/windows/win32/directshow/avi-riff-file-reference;
OpenDML AVI file format extensions 1.02
"""

from __future__ import annotations

import re
import struct
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from typing import BinaryIO, Final

from ecogsafe.core.errors import MalformedFileError
from ecogsafe.formats.regions import Region, file_size, read_at

_RIFF: Final = b"RIFF"
_LIST: Final = b"LIST"
_MOVI: Final = b"movi"
_JUNK: Final = b"JUNK"
_INDEX: Final = b"idx1"
#: by list, the chunks that are structure; all others are text
_KEPT: Final = {
    _RIFF: (_INDEX,),
    b"hdrl": (b"avih",),
    b"strl": (b"strh", b"strf", b"indx", b"vprp"),
    b"odml": (b"dmlh",),
}
_KNOWN: Final = (_RIFF, _LIST, _JUNK, *(name for names in _KEPT.values() for name in names))
#: chunks that are text wherever they stand
_TEXTS: Final = (_JUNK, b"IDIT", b"ISMP", b"strn", b"strd", b"_PMX", b"exif")
_NAME: Final = re.compile(rb"[\x20-\x7e]{4}")
# two digits of the stream, two letters of the kind; ix## is the index of a stream
_FRAME: Final = re.compile(rb"\d\d[\x20-\x7e]{2}|ix\d\d")
_SUBTITLE: Final = re.compile(rb"\d\dtx")
# the same with a size behind it, and lists of them: what tells a recording from text
_MEDIA: Final = re.compile(rb"(?s)LIST.{4}movi|RIFF.{4}AVI|\d\d(?:dc|db|wb)(?:.{3}\0|\0.{3})")
#: What cannot be walked is taken for text up to this size; more is more likely a damaged recording.
_LEFTOVER_BYTES: Final = 16 << 20
_DEPTH: Final = 16


@dataclass(frozen=True, slots=True)
class _Chunk:
    name: bytes
    #: list type, or the first four bytes of the data
    form: bytes
    start: int
    #: end of the data, as the chunk says; may lie beyond its list
    stop: int


class _Walk:
    """A walk through one file; yields text regions in the order of the file."""

    def __init__(self, file: BinaryIO) -> None:
        self.file = file
        self.size = file_size(file)
        head = read_at(file, 0, 12)
        self.order = ">" if head[:4] == b"RIFX" else "<"
        if head[:4] not in (_RIFF, b"RIFX") or head[8:] != b"AVI ":
            raise _malformed("it does not begin as one")

    def chunk(self, offset: int) -> _Chunk | None:
        """Return the chunk at ``offset``, None where its name is not four printable letters."""
        head = read_at(self.file, offset, 12)
        if len(head) < 8 or not _NAME.fullmatch(head[:4]):
            return None
        (size,) = struct.unpack_from(f"{self.order}I", head, 4)
        name = _RIFF if head[:4] == b"RIFX" else head[:4]
        return _Chunk(name, head[8:], offset + 8, offset + 8 + size)

    def after(self, chunk: _Chunk) -> int:
        """Return where the next chunk begins: after the padding, unless the writer forgot it."""
        if (chunk.stop - chunk.start) % 2 == 0:
            return chunk.stop
        head = read_at(self.file, chunk.stop, 5)
        is_name = head[:4] in _KNOWN or _FRAME.fullmatch(head[:4]) is not None
        is_name |= _NAME.fullmatch(head[:4]) is not None and not _NAME.fullmatch(head[1:])
        return chunk.stop if is_name else chunk.stop + 1

    def text(self, start: int, stop: int) -> Iterator[Region]:
        if stop > start:
            yield Region(start, stop - start)

    def leftover(self, start: int, stop: int) -> Iterator[Region]:
        """Yield, as text, what is no chunk; refuse it where it may be a recording."""
        if stop - start > _LEFTOVER_BYTES or _MEDIA.search(read_at(self.file, start, stop - start)):
            raise _malformed("its structure is damaged")
        yield from self.text(start, stop)

    def whole(self) -> Iterator[Region]:
        position = 0
        while position < self.size:
            chunk = self.chunk(position)
            if chunk and chunk.name == _RIFF and chunk.form in (b"AVI ", b"AVIX"):
                position = yield from self.riff(chunk)
            elif chunk and chunk.stop <= self.size and chunk.name in (_JUNK, _INDEX):
                position = min(self.after(chunk), self.size)
                if chunk.name == _JUNK:
                    yield from self.text(chunk.start, position)
            else:
                yield from self.leftover(position, self.size)
                return

    def riff(self, riff: _Chunk) -> Generator[Region, None, int]:
        """Walk one RIFF; return where what follows it begins."""
        # 0 is what a recorder leaves that was stopped by force
        end = self.size if riff.stop - riff.start <= 4 else min(riff.stop, self.size)
        position = riff.start + 4
        while position + 8 <= end and (chunk := self.chunk(position)) is not None:
            if chunk.name == _RIFF:
                return position
            if chunk.name == _LIST and chunk.form == _MOVI:
                stop = end if chunk.stop - chunk.start <= 4 else min(chunk.stop, self.size)
                position = yield from self.movi(chunk.start + 4, stop, end)
                end = max(end, position)
                continue
            if chunk.name in (_LIST, _INDEX):
                # lists tell their size more truly than a RIFF around them that is too short
                end = max(end, min(chunk.stop, self.size))
            position = yield from self.child(chunk, end, _KEPT[_RIFF], depth=0)
        yield from self.leftover(position, end)
        odd = (end - riff.start) % 2 == 1 and read_at(self.file, end, 1) == b"\0"
        return end + 1 if odd else end

    def child(self, chunk: _Chunk, end: int, kept: tuple[bytes, ...], *, depth: int) -> Generator[Region, None, int]:
        """Walk one chunk of a list that ends at ``end``; return where the next one begins."""
        if chunk.name == _RIFF or (_FRAME.fullmatch(chunk.name) and chunk.name not in kept):
            raise _malformed("frames stand outside the list of frames")
        position = min(self.after(chunk), end)
        if chunk.name in kept or chunk.name == _INDEX:
            return position
        if chunk.name == _LIST and chunk.form == _MOVI:
            return (yield from self.movi(chunk.start + 4, min(chunk.stop, end), end))
        if chunk.name == _LIST and chunk.stop - chunk.start >= 4 and depth < _DEPTH:
            yield from self.members(chunk, min(chunk.stop, end), depth + 1)
        elif chunk.stop <= end and chunk.name in _TEXTS and chunk.form != _MOVI:
            yield from self.text(chunk.start, position)
        else:
            # a damaged name or size must not make text of frames
            yield from self.leftover(chunk.start, position)
        return position

    def members(self, parent: _Chunk, end: int, depth: int) -> Iterator[Region]:
        position = parent.start + 4
        while position + 8 <= end and (chunk := self.chunk(position)) is not None:
            position = yield from self.child(chunk, end, _KEPT.get(parent.form, ()), depth=depth)
        yield from self.leftover(position, end)

    def movi(self, start: int, stop: int, end: int) -> Generator[Region, None, int]:
        """Walk the frames of a list that claims to end at ``stop``, in a RIFF that claims to end at ``end``.

        Returns where the next chunk begins: the index, the next RIFF or ``end`` where frames lead there
        before ``stop``. Where the walk is lost (a damaged size), the rest counts as frames, not as text.
        """
        position = start
        while position < stop:
            chunk = self.chunk(position)
            if position in (end, end + 1) or (chunk and chunk.name in (_RIFF, _INDEX)):
                return position
            if chunk is None or position + 8 > stop:
                break
            following = self.after(chunk)
            is_frame = _FRAME.fullmatch(chunk.name) and not _SUBTITLE.fullmatch(chunk.name)
            if chunk.name == _LIST and chunk.form == b"rec ":
                yield from self.movi(chunk.start + 4, min(chunk.stop, stop), end)
            elif chunk.name == _LIST and chunk.stop <= stop:
                yield from self.members(chunk, chunk.stop, depth=1)
            elif not is_frame and chunk.stop <= stop and self.is_text(chunk, following, stop):
                yield from self.text(chunk.start, min(following, stop))
            elif chunk.name in _TEXTS:
                yield from self.leftover(chunk.start, stop)
                break
            elif not is_frame or chunk.stop > stop:
                break
            position = following
        return stop + (stop - start) % 2

    def is_text(self, chunk: _Chunk, following: int, stop: int) -> bool:
        """Return whether a chunk between frames is one: a name by chance does not lead on to further chunks."""
        while chunk.name not in _TEXTS and not _SUBTITLE.fullmatch(chunk.name) and following + 8 <= stop:
            further = self.chunk(following)
            if further is None or further.stop > stop:
                return False
            if further.name in _KNOWN or _FRAME.fullmatch(further.name):
                return True
            chunk, following = further, self.after(further)
        return True


def _malformed(problem: str) -> MalformedFileError:
    return MalformedFileError("an AVI file", problem)


def text_regions(file: BinaryIO) -> Iterator[Region]:
    """Yield the data of every chunk of ``file`` that may hold text, and what follows the end.

    The same regions are found after they have been overwritten: names and sizes of chunks are not in them.

    Raises
    ------
    MalformedFileError
        Not an AVI, or its chunks cannot be walked and what is left may be a recording; possibly after
        regions before the damage were yielded.
    """
    return _Walk(file).whole()


def clip_duration_s(file: BinaryIO) -> float | None:
    """Return how long the clip plays in seconds, as its main header says; None where it does not say.

    Raises
    ------
    MalformedFileError
        Not an AVI.
    """
    walk = _Walk(file)
    main = _find(walk, 12, walk.size, (b"hdrl", b"avih"))
    if main is None or main.stop - main.start < 20 or len(head := read_at(file, main.start, 20)) < 20:
        return None
    frame_us, _, _, _, frames = struct.unpack(f"{walk.order}5I", head)
    # the main header counts the frames of the first RIFF only
    extended = _find(walk, 12, walk.size, (b"hdrl", b"odml", b"dmlh"))
    if extended is not None and len(count := read_at(file, extended.start, 4)) == 4:
        frames = max(frames, *struct.unpack(f"{walk.order}I", count))
    if frames == 0 and _has_frames(walk):
        return None
    return frames * frame_us / 1e6 if frame_us else None


def _find(walk: _Walk, start: int, end: int, path: tuple[bytes, ...]) -> _Chunk | None:
    """Return the first chunk under the lists that ``path`` names, its own name last."""
    position = start
    while position + 8 <= end and (chunk := walk.chunk(position)) is not None:
        if len(path) == 1 and chunk.name == path[0]:
            return chunk
        if len(path) > 1 and chunk.name == _LIST and chunk.form == path[0]:
            return _find(walk, chunk.start + 4, min(chunk.stop, end), path[1:])
        position = walk.after(chunk)
    return None


def _has_frames(walk: _Walk) -> bool:
    position = 12
    while (chunk := walk.chunk(position)) is not None:
        if chunk.name == _LIST and chunk.form == _MOVI:
            first = walk.chunk(chunk.start + 4)
            return first is not None and _FRAME.fullmatch(first.name) is not None
        position = walk.after(chunk)
    return False
