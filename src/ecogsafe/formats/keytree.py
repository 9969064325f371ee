"""Key-tree text, the body of .eeg files and of each .ent note (FORMATS 2.2 to 2.4).

``(.(."Key", value), (."Key", value))``: a value is a tree, a list, a string, a number, a hex blob or a
GUID. Only tokens are told apart here, never a grammar: that is what cleaning needs, and it stays
correct for keys and values that nobody has described.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from ecogsafe.formats.natus import GENERIC_HEADER_BYTES, decode_text, malformed, parse_generic_header

_SPACE = frozenset(b" \t\r\n\v\f")
_ENDS_ATOM = _SPACE | frozenset(b"(),\"'\0")
#: Opens a node; before a digit it would be the point of a number.
_DOT = re.compile(rb"\.(?![0-9])")
_QUOTED = re.compile(rb'[^"\\\0]*(?:\\[^\0][^"\\\0]*)*"')
_APOSTROPHED = re.compile(rb"[^'\\\0]*(?:\\[^\0][^'\\\0]*)*'")
_DEEPEST = 200
_NOTE_HEADER = struct.Struct("<4i")
_ESCAPE = re.compile(rb"\\(x[0-9A-Fa-f]{1,2}|.)", re.DOTALL)


class TokenKind(Enum):
    """What a token is."""

    KEY = "key"
    STRING = "string"
    #: anything without quotes: a number, a hex blob, a bare GUID, True, False, None
    ATOM = "atom"


@dataclass(frozen=True, slots=True)
class Token:
    """The token ``text[start:stop]``, without its quotes; ``path`` holds the keys it lies under."""

    kind: TokenKind
    start: int
    stop: int
    path: tuple[bytes, ...]


@dataclass(slots=True)
class _Frame:
    """An open parenthesis."""

    is_node: bool = False
    is_at_start: bool = True
    key: bytes | None = None


@dataclass(frozen=True, slots=True)
class Note:
    """One .ent record: its ``kind`` (1 = key tree), and where its text stands in the file, in bytes."""

    kind: int
    start: int
    stop: int


def tokens(text: bytes) -> Iterator[Token]:
    """Yield the keys, strings and atoms of a key tree, in order.

    Raises
    ------
    MalformedFileError
        A string or parenthesis is not closed, bytes stand outside the tree, or it nests too deeply.
        Tokens before that place have been yielded.
    """
    frames: list[_Frame] = []
    path: tuple[bytes, ...] = ()
    is_closed = False
    at = 0
    while at < len(text):
        byte = text[at]
        if byte in _SPACE:
            at += 1
            continue
        if is_closed:
            raise malformed("text stands after the end of its key tree")
        if byte == ord("("):
            if frames:
                frames[-1].is_at_start = False
            if len(frames) == _DEEPEST:
                raise malformed("its key tree nests too deeply")
            frames.append(_Frame())
            at += 1
            continue
        if not frames:
            raise malformed("it holds no key tree")
        frame = frames[-1]
        if byte == ord(")"):
            frames.pop()
            is_closed = not frames
            path = tuple(f.key for f in frames if f.key is not None)
            at += 1
        elif byte == ord(","):
            frame.is_at_start = False
            at += 1
        elif frame.is_at_start and not frame.is_node and _DOT.match(text, at):
            frame.is_node = True
            at += 1
        elif byte in b"\"'":
            stop = _end_of_string(text, at)
            if frame.is_node and frame.is_at_start:
                yield Token(TokenKind.KEY, at + 1, stop, path)
                frame.key = text[at + 1 : stop]
                path = (*path, frame.key)
            else:
                yield Token(TokenKind.STRING, at + 1, stop, path)
            frame.is_at_start = False
            at = stop + 1
        else:
            stop = at + 1
            while stop < len(text) and text[stop] not in _ENDS_ATOM:
                stop += 1
            yield Token(TokenKind.ATOM, at, stop, path)
            frame.is_at_start = False
            at = stop
    if not is_closed:
        raise malformed("its key tree is not closed")


def _end_of_string(text: bytes, start: int) -> int:
    """Return the offset of the quote that closes the string opened at ``start``."""
    found = (_QUOTED if text[start] == ord('"') else _APOSTROPHED).match(text, start + 1)
    if found is not None:
        return found.end() - 1
    raise malformed("a string in its key tree is not closed")


def unescaped(raw: bytes) -> str:
    """Return the text of a string token; an unknown escape stays as it is written (paths)."""

    def resolve(match: re.Match[bytes]) -> bytes:
        escape = match.group(1)
        if escape in (b"\\", b'"', b"'"):
            return escape
        if escape[:1] == b"x" and len(escape) > 1:
            return bytes([int(escape[1:], 16)])
        return {b"n": b"\n", b"r": b"\r", b"t": b"\t"}.get(escape, match.group())

    return decode_text(_ESCAPE.sub(resolve, raw))


def eeg_tree(data: bytes) -> tuple[int, int]:
    """Return start and stop of the key tree of the .eeg ``data``; it ends at the first NUL, or with the file.

    Raises
    ------
    MalformedFileError
        ``data`` does not begin with a Natus header.
    """
    parse_generic_header(data)
    stop = data.find(b"\0", GENERIC_HEADER_BYTES)
    return GENERIC_HEADER_BYTES, len(data) if stop < 0 else stop


def ent_notes(data: bytes) -> Iterator[Note]:
    """Yield the notes of the .ent ``data``, up to the end record or the end of the file.

    Raises
    ------
    MalformedFileError
        Not a Natus header, or a length that does not fit.
    """
    parse_generic_header(data)
    at = GENERIC_HEADER_BYTES
    while at < len(data):
        if len(data) - at < _NOTE_HEADER.size:
            raise malformed("its last note is cut")
        kind, length, _, _ = _NOTE_HEADER.unpack_from(data, at)
        if kind == 0:
            yield Note(0, at + _NOTE_HEADER.size, len(data))
            return
        if not _NOTE_HEADER.size <= length <= len(data) - at:
            raise malformed("the length of a note does not fit")
        yield Note(kind, at + _NOTE_HEADER.size, at + length)
        at += length
