"""Text as it would stand without accents: ``Jose`` is found where ``José`` is written.

Whoever types a name may leave its accents out, and a file may have them in UTF-8, Latin-1 or UTF-16, composed
or not. So where bytes hold accented letters they are searched a second time in *views*: the bytes around such
letters, ASCII-lowered, each of the letters replaced by its plain one, and a map from places in the view to places
in the bytes.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cache

from ecogsafe.deid import spelling
from ecogsafe.deid.encoded import CP1252, UTF8, UTF16_BE, UTF16_LE

#: Latin with accents, combining marks, Greek, and the further Latin and Greek of Unicode's page 1E and 1F.
_RANGES = (range(0xC0, 0x250), range(0x300, 0x370), range(0x370, 0x400), range(0x1E00, 0x2000))
_UTF8 = re.compile(rb"[\xc3-\xc9\xcc-\xcf][\x80-\xbf]|\xe1[\xb8-\xbf][\x80-\xbf]")
#: Letters of cp1252 that are two plain ones: Œ œ Æ Þ ß æ þ; only behind a letter or before one.
_CP1252_PAIRS = re.compile(rb"[\x8c\x9c\xc6\xde\xdf\xe6\xfe](?![\x80-\xff])(?:(?=[a-z])|(?<=[a-z].))")
_TWO_BYTE_LETTER = re.compile(rb"[\xc2-\xdf][\x80-\xbf]")

#: What the bytes of UTF-16 are: a Latin letter, a zero, an accented one of Latin-1, the page of another letter.
_CLASSES = bytes(
    ord("a" if b < 0x80 and chr(b).isalpha() else "0" if b == 0 else "f" if b >= 0xC0 else "p" if b in _P else ".")
    for _P in ((1, 2, 3, 0x1E, 0x1F),)
    for b in range(256)
)
#: In classes: an accented letter of Latin-1 beside a plain one, and how far into it the accented one begins.
_LATIN1_BESIDE_PLAIN = {UTF16_LE: ((b"a0f0", 2), (b"f0a0", 0)), UTF16_BE: ((b"0a0f", 2), (b"0f0a", 0))}
_PAGE = re.compile(b"p")
#: Greek, where no letter is plain: runs of it are read unit by unit, because the halves of two letters look like one.
_OTHER_PAGES = {
    UTF16_LE: re.compile(rb"(?:[\x20-\x7e\xa0-\xff]\x00|[\x00-\xff][\x01-\x03\x1e\x1f]){3,}", re.DOTALL),
    UTF16_BE: re.compile(rb"(?:\x00[\x20-\x7e\xa0-\xff]|[\x01-\x03\x1e\x1f][\x00-\xff]){3,}", re.DOTALL),
}
#: ... from so many bytes before the first sign of it, and so many bytes of it at a time.
_RUN_UP, _RUN = 16, 4096
_HINT_OF_OTHER_PAGES = re.compile(b"p.p.p")
#: Text longer than this without an accent parts two views; a name in UTF-16 is shorter.
_WIDEST_GAP = 1024
#: With more different accented letters they are looked for one by one.
_FEW_LETTERS = 24

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


@cache
def _cp1252_table() -> bytes:
    plain = _encoded(CP1252)
    return bytes(p[0] if len(p := plain.get(bytes((b,)), b"")) == 1 else b for b in range(256))


@dataclass(frozen=True, slots=True)
class View:
    """``data``: some bytes without accents, ASCII-lowered, read as text in ``encoding``."""

    data: bytes
    encoding: str
    _edits: tuple[_Edit, ...]
    _starts: tuple[int, ...]
    #: where the view begins in the bytes
    _base: int
    #: the bytes lowered, where a letter takes the place of one of the same length
    _lowered: bytes = b""

    def span(self, start: int, stop: int) -> tuple[int, int]:
        """Return the place in the bytes of what stands at ``[start, stop)`` of the view, marks that follow included."""
        first, last = self._edit_before(start), self._edit_before(stop - 1)
        raw_start = (
            self._base + start if first is None else first[2] if start < first[1] else first[3] + start - first[1]
        )
        raw_stop = self._base + stop if last is None else last[3] if stop <= last[1] else last[3] + stop - last[1]
        following = bisect_right(self._starts, stop - 1)
        while following < len(self._edits) and self._edits[following][:3] == (stop, stop, raw_stop):
            raw_stop = self._edits[following][3]
            following += 1
        return raw_start, raw_stop

    def differs(self, start: int, stop: int) -> bool:
        """Return whether ``[start, stop)`` holds other letters than the bytes there, or marks follow it there."""
        if self._lowered:
            return self._lowered[start:stop] != self.data[start:stop]
        following = bisect_left(self._starts, stop)
        is_marked = following < len(self._edits) and self._edits[following][1] == stop
        return is_marked or bisect_left(self._starts, start) < following

    def _edit_before(self, position: int) -> _Edit | None:
        index = bisect_right(self._starts, position) - 1
        return self._edits[index] if index >= 0 else None


def _folded(lowered: bytes) -> bytes | None:
    """Return all of ``lowered`` without its UTF-8 accents, as the views together show it; None where that costs more.

    Text in one language has few different letters; noise has all of them.
    """
    plain_of = _encoded(UTF8)
    letters = set(_UTF8.findall(lowered)) & plain_of.keys()
    if len(letters) > _FEW_LETTERS:
        return None
    # one sequence never overlaps or makes another: each is replaced wherever it stands
    for letter in letters:
        lowered = lowered.replace(letter, plain_of[letter])
    return lowered


def views(
    data: bytes, lowered: bytes, reach: int, may_match: Callable[[bytes], bool] = lambda _folded: True
) -> Iterator[View]:
    """Yield views of ``data`` where it has letters with accents, encoding by encoding; mostly none.

    Parameters
    ----------
    lowered
        ``data`` with its ASCII letters lowered; in UTF-16 such a byte may be half of another letter.
    reach
        How much a view shows beside the letters, in bytes.
    may_match
        Asked, where that is cheap, whether anything is found in the whole without accents; if not, nothing is shown.
    """
    if not data.isascii() and ((folded := _folded(lowered)) is None or may_match(folded)):
        yield from _views(lowered, UTF8, ((m.start(), m[0]) for m in _UTF8.finditer(lowered)), reach)
    if not data.isascii():
        plain = lowered.translate(_cp1252_table())
        if plain != lowered:
            yield View(plain, CP1252, (), (), 0, lowered)
        yield from _views(plain, CP1252, ((m.start(), m[0]) for m in _CP1252_PAIRS.finditer(plain)), reach)
    classes = data.translate(_CLASSES)
    if b"p" in classes or b"f0" in classes or b"0f" in classes:
        for encoding in (UTF16_LE, UTF16_BE):
            yield from _views(lowered, encoding, _units(data, classes, encoding), reach)


def _units(data: bytes, classes: bytes, encoding: str) -> Iterator[tuple[int, bytes]]:
    """Yield the accented letters of ``data`` in UTF-16, in order."""
    plain_of = _encoded(encoding)
    places: set[int] = set()
    for beside in _beside_plain(classes, encoding):
        # what stands beside an accented letter may be one as well
        for first, step in ((beside, 2), (beside - 2, -2)):
            at = first
            while at >= 0 and at not in places and data[at : at + 2] in plain_of:
                places.add(at)
                at += step
    done = 0
    for hint in _HINT_OF_OTHER_PAGES.finditer(classes):
        if hint.start() < done:
            continue
        # from a little before, so that the run is read from its beginning
        for run in _OTHER_PAGES[encoding].finditer(data, max(hint.start() - _RUN_UP, done), hint.start() + _RUN):
            places.update(at for at in range(*run.span(), 2) if data[at : at + 2] in plain_of)
            done = run.end()
    done = 0
    for at in sorted(places):
        if at >= done:
            yield at, data[at : at + 2]
            done = at + 2


def _beside_plain(classes: bytes, encoding: str) -> Iterator[int]:
    """Yield where an accented letter may begin that stands beside a plain one."""
    for pattern, offset in _LATIN1_BESIDE_PLAIN[encoding]:
        at = classes.find(pattern)
        while at >= 0:
            yield at + offset
            at = classes.find(pattern, at + 2)
    for page in _PAGE.finditer(classes):
        at = page.start()
        if encoding == UTF16_LE and (
            classes[at + 1 : at + 3] == b"a0" or (at > 2 and classes[at - 3 : at - 1] == b"a0")
        ):
            yield at - 1
        if encoding == UTF16_BE and (classes[at + 2 : at + 4] == b"0a" or (at > 1 and classes[at - 2 : at] == b"0a")):
            yield at


def _views(lowered: bytes, encoding: str, letters: Iterable[tuple[int, bytes]], reach: int) -> Iterator[View]:
    plain_of = _encoded(encoding)
    near: list[tuple[int, bytes, bytes]] = []
    for at, letter in letters:
        plain = plain_of.get(letter)
        if plain is None:
            continue
        if near and at - near[-1][0] > 2 * reach + _WIDEST_GAP:
            yield _view(lowered, encoding, near, reach)
            near = []
        near.append((at, letter, plain))
    if near:
        yield _view(lowered, encoding, near, reach)


def _view(lowered: bytes, encoding: str, letters: list[tuple[int, bytes, bytes]], reach: int) -> View:
    base = max(letters[0][0] - reach, 0)
    edits: list[_Edit] = []
    pieces: list[bytes] = []
    length, done = 0, base
    for at, letter, plain in letters:
        between = lowered[done:at]
        length += len(between)
        done = at + len(letter)
        edits.append((length, length + len(plain), at, done))
        pieces += (between, plain)
        length += len(plain)
    pieces.append(lowered[done : done + reach])
    return View(b"".join(pieces), encoding, tuple(edits), tuple(e[0] for e in edits), base)


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
