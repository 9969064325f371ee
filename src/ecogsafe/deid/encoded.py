"""From a term to the byte patterns that find it: every case, in UTF-8, Latin-1/cp1252 and UTF-16.

The searched bytes have their ASCII letters lowered, and so have the patterns; letters outside ASCII are
written out in each of their cases (by Unicode case folding: ``Σ``, ``σ`` and ``ς`` are one letter). Since
that multiplies, only the first few such letters are written out; what follows is a *tail*, compared when
a pattern has been met.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

#: The encodings in which text is searched, by the names that findings show.
UTF8, CP1252, UTF16_LE, UTF16_BE = "utf-8", "cp1252", "utf-16-le", "utf-16-be"
#: Raw bytes of a GUID, an OLE date, a FILETIME.
BINARY = "binary"

#: What rules look at beside a match: the widest character, and the zeros before a record number.
CONTEXT_BYTES = 64

#: A term is written out in at most so many patterns an encoding; the rest of it becomes the tail.
_MOST_PATTERNS = 32
#: Every letter that has two cases lies below this.
_CASED_END = 0x1F000


@dataclass(frozen=True, slots=True)
class Pattern:
    """Bytes to search for, ASCII-lowered, and the alternatives of each letter that must follow."""

    anchor: bytes
    tail: tuple[tuple[bytes, ...], ...]
    encoding: str

    @property
    def longest(self) -> int:
        """The most bytes a match can have."""
        return len(self.anchor) + sum(max(map(len, letter)) for letter in self.tail)


@cache
def _letters_by_fold() -> dict[str, tuple[str, ...]]:
    """Return, for each case-folded letter, every letter that folds to it."""
    groups: dict[str, list[str]] = {}
    for number in range(0x80, _CASED_END):
        letter = chr(number)
        if letter.isalpha() and (letter.lower() != letter or letter.upper() != letter):
            groups.setdefault(letter.casefold(), []).append(letter)
    return {fold: tuple(letters) for fold, letters in groups.items()}


@cache
def _cases(letter: str) -> tuple[str, ...]:
    """Return ``letter`` in each of its cases; for an ASCII letter one, because the haystack is lowered."""
    if letter.isascii():
        return (letter.lower(),)
    fold = letter.casefold()
    return tuple(dict.fromkeys((letter, fold, letter.lower(), letter.upper(), *_letters_by_fold().get(fold, ()))))


def _encoded_cases(letter: str, encoding: str) -> tuple[bytes, ...]:
    found: dict[bytes, None] = {}
    for case in _cases(letter):
        try:
            found[case.encode(encoding).lower()] = None
        except UnicodeEncodeError:
            continue
    return tuple(found)


def _in_one_encoding(text: str, encoding: str) -> Iterator[Pattern]:
    if text.isascii():
        yield Pattern(text.lower().encode(encoding), (), encoding)
        return
    letters = [_encoded_cases(c, encoding) for c in text]
    if not all(letters):
        return
    count = next(
        (n for n in range(len(letters)) if math.prod(map(len, letters[: n + 1])) > _MOST_PATTERNS),
        len(letters),
    )
    tail = tuple(letters[count:])
    for pieces in itertools.product(*letters[:count]):
        yield Pattern(b"".join(pieces), tail, encoding)


def patterns(text: str) -> Iterator[Pattern]:
    """Yield the patterns that together find ``text`` in any case and encoding."""
    yield from _in_one_encoding(text, UTF8)
    if not text.isascii():
        yield from _in_one_encoding(text, CP1252)
    yield from _in_one_encoding(text, UTF16_LE)
    yield from _in_one_encoding(text, UTF16_BE)


def tail_stop(lowered: bytes, position: int, tail: tuple[tuple[bytes, ...], ...]) -> int | None:
    """Return where ``tail`` ends if it stands at ``position`` of ``lowered``; None if it does not."""
    for letter in tail:
        piece = next((p for p in letter if lowered.startswith(p, position)), None)
        if piece is None:
            return None
        position += len(piece)
    return position


def char_before(data: bytes, position: int, encoding: str) -> str:
    """Return the character that ends at ``position``; empty at the start or where there is none."""
    if encoding in (UTF16_LE, UTF16_BE):
        if position >= 2:
            return data[position - 2 : position].decode(encoding, "replace")
        # half a unit: in big-endian text its low byte alone tells an ASCII letter
        return chr(data[0]) if position == 1 and encoding == UTF16_BE and data[0] < 0x80 else ""
    if position <= 0:
        return ""
    last = data[position - 1]
    if last < 0x80:
        return chr(last)
    for start in range(position - 2, max(position - 5, -1), -1):
        if data[start] >= 0xC0:
            return _one_character(data[start:position])
        if data[start] < 0x80:
            break
    return _single_byte(last)


def _single_byte(byte: int) -> str:
    """Return the letter of ``byte`` in cp1252; none for 0xFF, which pads binary files far more often than it is ÿ."""
    return "" if byte == 0xFF else bytes((byte,)).decode(CP1252, "replace")


def _one_character(encoded: bytes) -> str:
    """Return the character that the bytes are in UTF-8; if they are none, the last byte in cp1252."""
    try:
        text = encoded.decode(UTF8)
    except UnicodeDecodeError:
        text = ""
    return text if len(text) == 1 else _single_byte(encoded[-1])


def char_after(data: bytes, position: int, encoding: str) -> str:
    """Return the character that starts at ``position``; empty at the end or where there is none."""
    if encoding in (UTF16_LE, UTF16_BE):
        unit = data[position : position + 2]
        if len(unit) == 2:
            return unit.decode(encoding, "replace")
        # half a unit: in little-endian text its low byte alone tells an ASCII letter
        return chr(unit[0]) if unit and encoding == UTF16_LE and unit[0] < 0x80 else ""
    if position >= len(data):
        return ""
    first = data[position]
    if first < 0x80:
        return chr(first)
    length = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
    try:
        text = data[position : position + length].decode(UTF8)
    except UnicodeDecodeError:
        text = ""
    return text if len(text) == 1 else _single_byte(first)


def is_misread(data: bytes, start: int, stop: int, encoding: str) -> bool:
    """Return whether a UTF-16 match at ``[start, stop)`` is the other byte order, read a byte off.

    With dots for zero bytes, both readings are in ``·D·o·e·``; both cover every letter, one is told.
    """
    if encoding == UTF16_BE:
        return _in_doubt(data, start, stop) and not _is_big_endian(data, start, stop)
    if encoding == UTF16_LE:
        return _in_doubt(data, start - 1, stop - 1) and _is_big_endian(data, start - 1, stop - 1)
    return False


def _in_doubt(data: bytes, start: int, stop: int) -> bool:
    """Return whether a big-endian match at ``[start, stop)`` is a little-endian one a byte later as well."""
    return start >= 0 and stop < len(data) and not any(data[start : stop + 1 : 2])


def _is_big_endian(data: bytes, start: int, stop: int) -> bool:
    """Return whether the doubtful match is big-endian: its run of text begins or ends so, or its place is even."""
    reach = CONTEXT_BYTES // 2
    first = start
    while first >= 2 and data[first - 1] and not data[first - 2] and start - first < reach:
        first -= 2
    if start - first < reach and first and data[first - 1]:
        return False
    last = stop
    while last + 2 < len(data) and data[last + 1] and not data[last + 2] and last - stop < reach:
        last += 2
    if last - stop < reach and last + 1 < len(data) and data[last + 1]:
        return True
    return start % 2 == 0
