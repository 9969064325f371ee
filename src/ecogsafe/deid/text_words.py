"""The words of free text in bytes, whatever its encoding: UTF-8, Latin-1/cp1252, UTF-16."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ecogsafe.deid.encoded import CP1252, UTF8, UTF16_BE, UTF16_LE, is_misread

_RUN = re.compile(rb"[0-9A-Za-z\x80-\xfe]+")
_UTF16_RUNS = {
    UTF16_LE: re.compile(rb"(?:[\x20-\x7e\xa0-\xff]\x00|[\x00-\xff][\x01-\x05\x1e-\x20])+", re.DOTALL),
    UTF16_BE: re.compile(rb"(?:\x00[\x20-\x7e\xa0-\xff]|[\x01-\x05\x1e-\x20][\x00-\xff])+", re.DOTALL),
}
#: The first or second byte of a letter in UTF-16.
_PAGE = re.compile(rb"[\x00-\x05\x1e\x1f]")
#: A letter or digit, and the combining marks that follow it.
_WORD = re.compile("(?:[^\\W_][\u0300-\u036f]*)+")


@dataclass(frozen=True, slots=True)
class Word:
    """Letters and digits without a gap, at ``[start, stop)`` of the bytes."""

    text: str
    start: int
    stop: int
    encoding: str


def words_in(data: bytes) -> Iterator[list[Word]]:
    """Yield the words of ``data``, in order, for each family of encodings that it may be in: 8-bit, UTF-16."""
    yield list(_eight_bit(data))
    if _PAGE.search(data):
        for encoding, run in _UTF16_RUNS.items():
            yield [w for w in _sixteen_bit(data, encoding, run) if not is_misread(data, w.start, w.stop, encoding)]


def _eight_bit(data: bytes) -> Iterator[Word]:
    for run in _RUN.finditer(data):
        raw = run[0]
        if raw.isascii():
            yield Word(raw.decode("ascii"), run.start(), run.end(), UTF8)
            continue
        encoding, text = _decoded(raw)
        for word in _WORD.finditer(text):
            start = run.start() + len(text[: word.start()].encode(encoding, "replace"))
            yield Word(word[0], start, start + len(word[0].encode(encoding, "replace")), encoding)


def _decoded(raw: bytes) -> tuple[str, str]:
    try:
        return UTF8, raw.decode(UTF8)
    except UnicodeDecodeError:
        # a byte that cp1252 does not have becomes "?" and back: one byte either way
        return CP1252, raw.decode(CP1252, "replace").replace("\N{REPLACEMENT CHARACTER}", "?")


def _sixteen_bit(data: bytes, encoding: str, runs: re.Pattern[bytes]) -> Iterator[Word]:
    for run in runs.finditer(data):
        if run.end() - run.start() < 4:
            continue
        text = run[0].decode(encoding)
        for word in _WORD.finditer(text):
            yield Word(word[0], run.start() + 2 * word.start(), run.start() + 2 * word.end(), encoding)


def joint(data: bytes, first: Word, second: Word, *, most: int = 1) -> str | None:
    """Return what stands between two words if it is printable and at most ``most`` characters, else None."""
    gap = data[first.stop : second.start]
    if first.encoding != second.encoding and not gap.isascii():
        return None
    if not 0 < len(gap) <= 4 * most:
        return None
    try:
        text = gap.decode(second.encoding)
    except UnicodeDecodeError:
        return None
    return text if len(text) <= most and text.isprintable() else None
