"""Text as it would stand without accents: ``Jose`` is found where ``José`` is written.

Whoever types a name may leave its accents out, and a file may have them in UTF-8, Latin-1 or UTF-16, composed
or not. So bytes that hold accented letters are searched a second time in a *view*: the same bytes, ASCII-lowered,
with each such letter replaced by its plain one, and a map from places in the view to places in the bytes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from ecogsafe.deid import spelling
from ecogsafe.deid.encoded import CP1252, UTF8, UTF16_BE, UTF16_LE

#: Latin with accents, combining marks, Greek, and the further Latin and Greek of Unicode's page 1E and 1F.
_RANGES = (range(0xC0, 0x250), range(0x300, 0x370), range(0x370, 0x400), range(0x1E00, 0x2000))
_UTF8 = re.compile(rb"[\xc3-\xc9\xcc-\xcf][\x80-\xbf]|\xe1[\xb8-\xbf][\x80-\xbf]")
#: ... beside another letter; elsewhere such a byte is hardly ever text
_CP1252 = re.compile(
    rb"(?<=[a-z\xc0-\xff])[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xfe]"
    rb"|[\x8a\x8c\x8e\x9a\x9c\x9e\x9f\xc0-\xfe](?=[a-z])"
)
#: Bytes that accented letters have in UTF-16: where one of either kind is missing, so are those letters.
_PAGE = re.compile(rb"[\x00-\x03\x1e\x1f]")
_PAGE_OR_LATIN1 = re.compile(rb"[\x01-\x03\x1e\x1f\xc0-\xff]")
#: Runs of Latin or Greek text, unit by unit, so that the halves of two units are not taken for one.
_RUNS = {
    UTF16_LE: re.compile(rb"(?:[\x20-\x7e\xa0-\xff]\x00|[\x00-\xff][\x01-\x03\x1e\x1f]){2,}", re.DOTALL),
    UTF16_BE: re.compile(rb"(?:\x00[\x20-\x7e\xa0-\xff]|[\x01-\x03\x1e\x1f][\x00-\xff]){2,}", re.DOTALL),
}
_TWO_BYTE_LETTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]")

#: start and stop in the view, start and stop in the bytes
_Edit = tuple[int, int, int, int]


@cache
def plain_letters() -> dict[str, str]:
    """Return, for each letter with an accent, the plain one (``ß`` gives ``ss``, a combining mark nothing)."""
    found = {}
    for letter in (chr(number) for numbers in _RANGES for number in numbers):
        plain = spelling.unaccented(letter)
        is_mark = 0x300 <= ord(letter) < 0x370
        if is_mark or (plain.isalpha() and plain != letter.lower()):
            found[letter] = "" if is_mark else plain
    return found


@cache
def _encoded(encoding: str) -> dict[bytes, bytes]:
    found = {}
    for letter, plain in plain_letters().items():
        try:
            found[letter.encode(encoding)] = plain.encode(encoding)
        except UnicodeEncodeError:
            continue
    return found


@dataclass(frozen=True, slots=True)
class View:
    """``data``: bytes without accents, ASCII-lowered, read as text in ``encoding``."""

    data: bytes
    encoding: str
    _edits: tuple[_Edit, ...]
    _starts: tuple[int, ...]

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the place in the bytes of what stands at ``[start, stop)`` of the view, marks that follow included."""
        first, last = self._edit_before(start), self._edit_before(stop - 1)
        raw_start = start if first is None else first[2] if start < first[1] else first[3] + start - first[1]
        raw_stop = stop if last is None else last[3] if stop <= last[1] else last[3] + stop - last[1]
        following = bisect_right(self._starts, stop - 1)
        while following < len(self._edits) and self._edits[following][:3] == (stop, stop, raw_stop):
            raw_stop = self._edits[following][3]
            following += 1
        return raw_start, raw_stop

    def differs(self, start: int, stop: int) -> bool:
        """Return whether ``[start, stop)`` holds other letters than the bytes there, or marks follow it there."""
        following = bisect_left(self._starts, stop)
        is_marked = following < len(self._edits) and self._edits[following][1] == stop
        return is_marked or bisect_left(self._starts, start) < following

    def _edit_before(self, position: int) -> _Edit | None:
        index = bisect_right(self._starts, position) - 1
        return self._edits[index] if index >= 0 else None


def views(data: bytes, lowered: bytes) -> Iterator[View]:
    """Yield a view of ``data`` for each encoding in which it has letters with accents; mostly none.

    ``lowered`` is ``data`` with its ASCII letters lowered; in UTF-16 such a byte may be half of another letter.
    """
    if not data.isascii():
        for encoding, pattern in ((UTF8, _UTF8), (CP1252, _CP1252)):
            yield from _view(lowered, encoding, ((m.start(), m[0]) for m in pattern.finditer(lowered)))
    if _PAGE.search(data) and _PAGE_OR_LATIN1.search(data):
        for encoding, run in _RUNS.items():
            yield from _view(lowered, encoding, _units(data, run))


def _units(data: bytes, run: re.Pattern[bytes]) -> Iterator[tuple[int, bytes]]:
    for found in run.finditer(data):
        for at in range(*found.span(), 2):
            yield at, data[at : at + 2]


def _view(lowered: bytes, encoding: str, letters: Iterator[tuple[int, bytes]]) -> Iterator[View]:
    plain_of = _encoded(encoding)
    edits: list[_Edit] = []
    pieces: list[bytes] = []
    length = done = 0
    for at, letter in letters:
        plain = plain_of.get(letter)
        if plain is None:
            continue
        between = lowered[done:at]
        length += len(between)
        edits.append((length, length + len(plain), at, at + len(letter)))
        pieces += (between, plain)
        length += len(plain)
        done = at + len(letter)
    if edits:
        pieces.append(lowered[done:])
        yield View(b"".join(pieces), encoding, tuple(edits), tuple(e[0] for e in edits))


def says(data: bytes, start: int, stop: int, encoding: str, text: str) -> bool:
    """Return whether ``data[start:stop]`` is ``text`` in ``encoding``, whatever its accents.

    A view can be wrong about what it is a view of: two bytes of UTF-8 are also two letters of Latin-1.
    """
    if encoding == CP1252 and _TWO_BYTE_LETTER.search(data, start, stop + 1):
        return False
    try:
        read = data[start:stop].decode(encoding)
    except UnicodeDecodeError:
        return False
    return spelling.unaccented(read).casefold() == spelling.unaccented(text).casefold()
