"""The words of free text in bytes, whatever its encoding: UTF-8, Latin-1/cp1252, UTF-16."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from ecogsafe.deid.encoded import CP1252, UTF8, UTF16_BE, UTF16_LE, is_misread

#: Letters and digits, by their bytes; 0xFF pads binary files.
_RUN = re.compile(rb"[0-9A-Za-z\x80-\xfe]+")
_UTF16_RUNS = {
    UTF16_LE: re.compile(rb"(?:[\x20-\x7e\xa0-\xff]\x00|[\x00-\xff][\x01-\x05\x1e-\x20]){2,}", re.DOTALL),
    UTF16_BE: re.compile(rb"(?:\x00[\x20-\x7e\xa0-\xff]|[\x01-\x05\x1e-\x20][\x00-\xff]){2,}", re.DOTALL),
}
#: What the bytes of UTF-16 are: a Latin letter, a zero, the page of another letter.
_CLASSES = bytes(
    ord("a") if chr(b).isalpha() else ord("0") if b == 0 else ord("p") if b in (1, 2, 3, 4, 5, 30, 31) else ord(".")
    for b in range(256)
)
_OTHER_PAGES = re.compile(rb"p.p.p")
#: A letter or digit, and the combining marks that follow it.
_WORD = re.compile("(?:[^\\W_][\u0300-\u036f]*)+")


@dataclass(frozen=True, slots=True)
class Word:
    """Letters and digits without a gap, at ``[start, stop)`` of the bytes."""

    text: str
    start: int
    stop: int
    encoding: str


def words_of(text: str) -> list[str]:
    """Return the words of ``text``."""
    return _WORD.findall(text)


def runs_in(data: bytes) -> set[bytes]:
    """Return, each once, the runs of 8-bit letters and digits in ``data``."""
    return set(_RUN.findall(data))


def decoded(run: bytes) -> tuple[str, str]:
    """Return the text that a run of 8-bit letters is, and its encoding; as many bytes either way."""
    try:
        return run.decode(UTF8), UTF8
    except UnicodeDecodeError:
        return run.decode(CP1252, "replace").replace("\N{REPLACEMENT CHARACTER}", "?"), CP1252


def eight_bit_words(data: bytes) -> Iterator[Word]:
    """Yield the words of ``data`` read as UTF-8 where it is, else as cp1252, in order."""
    for run in _RUN.finditer(data):
        if run[0].isascii():
            yield Word(run[0].decode("ascii"), run.start(), run.end(), UTF8)
            continue
        text, encoding = decoded(run[0])
        for word in _WORD.finditer(text):
            start = run.start() + len(text[: word.start()].encode(encoding))
            yield Word(word[0], start, start + len(word[0].encode(encoding)), encoding)


def utf16_texts(data: bytes) -> Iterator[tuple[str, list[tuple[int, str]]]]:
    """Yield, for each byte order that ``data`` may hold text in, the runs of it: where, and what."""
    classes = data.translate(_CLASSES)
    has_other_pages = b"p" in classes and _OTHER_PAGES.search(classes) is not None
    for encoding, sign in ((UTF16_LE, b"a0a0"), (UTF16_BE, b"0a0a")):
        if has_other_pages or sign in classes:
            found = _UTF16_RUNS[encoding].finditer(data)
            yield encoding, [(run.start(), run[0].decode(encoding)) for run in found]


def sixteen_bit_words(data: bytes, encoding: str, texts: list[tuple[int, str]]) -> Iterator[Word]:
    """Yield the words of `utf16_texts`, in order; not those that are the other byte order, read a byte off."""
    for start, text in texts:
        for word in _WORD.finditer(text):
            first, last = start + 2 * word.start(), start + 2 * word.end()
            if not is_misread(data, first, last, encoding):
                yield Word(word[0], first, last, encoding)


def joint(data: bytes, first: Word, second: Word, *, most: int = 1) -> str | None:
    """Return what stands between two words if it is printable and at most ``most`` characters, else None."""
    gap = data[first.stop : second.start]
    if not 0 < len(gap) <= 4 * most:
        return None
    try:
        text = gap.decode(second.encoding)
    except UnicodeDecodeError:
        return None
    return text if len(text) <= most and text.isprintable() else None
